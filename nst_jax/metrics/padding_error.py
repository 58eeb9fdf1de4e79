"""Borders: wrong features where convolutions make values up, and change of strips."""

from collections.abc import Sequence

import numpy as np

from nst_jax.core.errors import RequestError
from nst_jax.metrics.quality import extract_features
from nst_jax.models.layers import smallest_side
from nst_jax.models.vgg import Network


def padding_error(
    network: Network, picture: np.ndarray, margin: int, layers: Sequence[str]
) -> dict[str, float]:
    """How far features at a border are from those where the picture goes on.

    The picture [H, W, 3] is seen whole, and without a margin on each side. Given is, at
    each layer, the root mean square difference of the two over the outermost positions
    of the inner part, over the root mean square of the former there: 0 if the padding
    guesses what is outside, 1 for features that are 0.

    Args:
      network: with the padding in question.
      picture: in [0, 1].
      margin: in pixels, a multiple of the stride of each layer. Where it is less than
        half of a layer's field of view the whole picture's own border is seen too.
      layers: where.

    Raises:
      RequestError: the margin is no such multiple, or leaves nothing.
    """
    steps = {layer: smallest_side([layer]) for layer in layers}  # A position's pixels.
    height, width = picture.shape[0] - 2 * margin, picture.shape[1] - 2 * margin
    if margin < 1 or any(margin % step for step in steps.values()):
        raise RequestError(
            f"margin must be a positive multiple of {max(steps.values())} pixels for "
            f"these layers, got {margin}"
        )
    if min(height, width) < 1:
        raise RequestError(
            f"margin must leave something of a picture of {picture.shape[1]}×"
            f"{picture.shape[0]} px, got {margin}"
        )
    inner = picture[margin : margin + height, margin : margin + width]
    whole, alone = (extract_features(network, x, layers) for x in (picture, inner))
    errors = {}
    for layer, guessed in alone.items():
        rows, columns, _ = guessed.shape
        start = margin // steps[layer]
        true = whole[layer][start : start + rows, start : start + columns]
        border = np.ones((rows, columns), bool)
        border[1:-1, 1:-1] = False
        off, size = (guessed - true)[border], true[border]
        errors[layer] = float(np.sqrt((off**2).mean() / (size**2).mean()))
    return errors


def strip_changes(
    before: np.ndarray, after: np.ndarray, width: int = 4
) -> dict[str, float]:
    """Return the mean absolute change of a picture's four outer strips.

    Args:
      before: [H, W, 3].
      after: [H, W, 3].
      width: of a strip, in pixels.

    Returns:
      "left", "right", "top" and "bottom" -> mean |after − before| of the outermost
      `width` columns or rows.

    Raises:
      RequestError: the pictures differ in shape or are narrower than a strip.
    """
    if before.shape != after.shape or min(before.shape[:2]) < width:
        raise RequestError(
            "strip_changes needs two pictures of one shape, at least "
            f"{width} px each way, got {before.shape} and {after.shape}"
        )
    change = np.abs(np.asarray(after, np.float64) - before).mean(-1)
    return {
        "left": float(change[:, :width].mean()),
        "right": float(change[:, -width:].mean()),
        "top": float(change[:width].mean()),
        "bottom": float(change[-width:].mean()),
    }
