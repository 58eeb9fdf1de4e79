"""Effects of padding: feature errors at the border, and changes of border strips."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from nst_jax.core.errors import RequestError
from nst_jax.metrics.feature_distances import extract_features
from nst_jax.metrics.validation import check_same_shape
from nst_jax.models.layers import smallest_side
from nst_jax.models.vgg import Network


def padding_error(
    network: Network, image: np.ndarray, margin: int, layers: Sequence[str]
) -> dict[str, float]:
    """Return the relative error by layer that padding causes at the border.

    Features of the image without a margin are compared with those of the whole image at
    the same positions. The error is the root mean square difference over the outermost
    positions, over the root mean square of the whole image's features there: 0 if the
    padding predicts the margin, 1 for zero features.

    Args:
      network: with the padding in question.
      image: [H, W, 3] in [0, 1].
      margin: pixels, a multiple of each layer's stride. Below half of a layer's
        receptive field, the border of the whole image counts as well.
      layers: canonical names.

    Raises:
      RequestError: the margin is no such multiple, or too large for the image.
    """
    strides = {layer: smallest_side([layer]) for layer in layers}
    height, width = image.shape[0] - 2 * margin, image.shape[1] - 2 * margin
    if margin < 1 or any(margin % stride for stride in strides.values()):
        raise RequestError(
            f"margin must be a positive multiple of {max(strides.values())} pixels for "
            f"these layers, got {margin}"
        )
    if min(height, width) < 1:
        raise RequestError(
            f"margin must be less than half of each side of {image.shape[1]}×"
            f"{image.shape[0]} px, got {margin}"
        )
    inner = image[margin : margin + height, margin : margin + width]
    reference, padded = (extract_features(network, x, layers) for x in (image, inner))
    errors = {}
    for layer, features in padded.items():
        rows, columns, _ = features.shape
        start = margin // strides[layer]
        truth = reference[layer][start : start + rows, start : start + columns]
        border = np.ones((rows, columns), bool)
        border[1:-1, 1:-1] = False
        difference, size = (features - truth)[border], truth[border]
        errors[layer] = float(np.sqrt((difference**2).mean() / (size**2).mean()))
    return errors


def strip_changes(
    before: ArrayLike, after: ArrayLike, width: int = 4
) -> dict[str, float]:
    """Return the mean absolute change of an image's four outer strips.

    Args:
      before: [H, W, 3].
      after: [H, W, 3].
      width: pixels of a strip.

    Returns:
      "left", "right", "top" and "bottom" -> mean |after − before| of the outermost
      `width` columns or rows.

    Raises:
      RequestError: the shapes differ, or a side is shorter than a strip.
    """
    before, after = check_same_shape(min_side=width, before=before, after=after)
    change = np.abs(np.asarray(after, np.float64) - before).mean(-1)
    return {
        "left": float(change[:, :width].mean()),
        "right": float(change[:, -width:].mean()),
        "top": float(change[:width].mean()),
        "bottom": float(change[-width:].mean()),
    }
