"""How far apart pictures are to the network: in its features, and in their Grams.

Pictures are taken as a person sees them, clipped to [0, 1], as in `spread`.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.core.image_array import as_floats, as_picture
from nst_jax.losses import gram
from nst_jax.metrics.dispersion import relative_distances
from nst_jax.models.vgg import Network


def layer_distances(
    network: Network, pictures: np.ndarray, layers: Sequence[str]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Distances of pictures [N, H, W, 3] in [0, 1], as `relative_distances` has them.

    The features of all pictures are held, 64 H W floats each at relu1_1.

    Args:
      network: what sees them, one at a time: so no picture's features depend on its
        place in a batch.
      pictures: of one size.
      layers: canonical names.

    Returns:
      Layer -> (distances of features [N, N], of Gram matrices [N, N]), relative to
      the root mean square of their norms.

    Raises:
      RequestError: a layer is unknown or beyond the pictures' size, or a picture
        holds NaN.
    """
    layers = tuple(layers)
    floats = as_floats(pictures, "pictures")
    seen = [jax.device_get(_statistics(network, p, layers)) for p in floats]
    return {
        layer: (
            relative_distances(np.stack([own[layer][0] for own in seen])),
            relative_distances(np.stack([own[layer][1] for own in seen])),
        )
        for layer in layers
    }


def gram_traces(
    network: Network, picture: np.ndarray, layers: Sequence[str]
) -> dict[str, float]:
    """The trace of the Gram matrix of a picture [H, W, 3] in [0, 1], by layer.

    `gram` is FFᵀ over the number of positions, so this is the mean over positions of
    the sum of squares over channels: it goes with no size, but with the contrast of
    the picture and the unit of the network's input.

    Raises:
      RequestError: a layer is unknown or beyond the picture's size.
    """
    checked = as_picture(picture, "picture", optimised=True)
    statistics = jax.device_get(_statistics(network, checked, tuple(layers)))
    return {layer: float(np.trace(g)) for layer, (_, g) in statistics.items()}


@functools.partial(jax.jit, static_argnums=2)
def _statistics(
    network: Network, picture: jax.Array, layers: tuple[str, ...]
) -> dict[str, tuple[jax.Array, jax.Array]]:
    """(features [h, w, c], Gram [c, c]) at each layer, with the network's precision."""
    with jax.default_matmul_precision(network.numerics.precision):
        features = network(jnp.clip(picture, 0, 1), layers)
        return {layer: (x, gram(x)) for layer, x in features.items()}
