"""Distances between images in the features of the network.

Strokes are compared with a style, structure with a content. Distances say most at
layers without a loss term: optimised distances are small by construction. Images are
clipped to [0, 1] first, as a screen shows them. Functions raise `RequestError` for
shapes that do not fit, and for layers that are unknown or beyond the image's size.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import as_floats, as_picture
from nst_jax.images.colour import MAPS, match_moments
from nst_jax.losses import gram
from nst_jax.metrics.distances import (
    shifted_squared_distances,
    squared_distances,
)
from nst_jax.metrics.sliced import project, sliced_wasserstein
from nst_jax.metrics.validation import as_displayed, check_array
from nst_jax.models.layers import smallest_side
from nst_jax.models.vgg import Network

#: Divisors of the size at which strokes are compared.
SCALES = (1, 2, 4)
#: Most positions along each side in `self_similarity_distance`.
GRID = 32
#: Mean cosine distance below which all features count as parallel.
_PARALLEL = 1e-9

Features = Mapping[str, np.ndarray]


def extract_features(
    network: Network, image: ArrayLike, layers: Sequence[str]
) -> Features:
    """Return the features [h, w, c] of an image [H, W, 3] by layer."""
    image = as_picture(image, "image", optimised=True, nan=True)
    clipped = jnp.clip(jnp.asarray(image), 0, 1)
    return jax.device_get(_features(network, clipped, tuple(layers)))


def scaled_features(
    network: Network, image: ArrayLike, layers: Sequence[str], colours: ArrayLike
) -> dict[int, Features]:
    """Return the features of an image [H, W, 3], of its half and of its quarter.

    The image first gets the mean and the covariance of the colours of another one, by
    the symmetric linear map. Features then tell strokes and not colours: an image
    recoloured this way has the same features.

    Args:
      network: the network.
      image: [H, W, 3].
      layers: canonical names.
      colours: image [h, w, 3] with the colours, as a rule the style.

    Returns:
      Divisor of the size -> features by layer; without sizes too small for the layers.
    """
    clipped, target = (
        as_displayed(check_array(pixels, name))
        for name, pixels in (("image", image), ("colours", colours))
    )
    pixels = match_moments(clipped, target, MAPS["match_symmetric"])
    features = {}
    for divisor in SCALES:
        if divisor > 1:
            rows, columns = (side // 2 for side in pixels.shape[:2])
            whole = pixels[: 2 * rows, : 2 * columns]
            pixels = whole.reshape(rows, 2, columns, 2, 3).mean((1, 3))
        if min(pixels.shape[:2]) < smallest_side(layers):
            break
        array = jnp.asarray(pixels, jnp.float32)
        features[divisor] = jax.device_get(_features(network, array, tuple(layers)))
    return features


def stroke_distances(
    features: Mapping[int, Features], style: Mapping[int, Features]
) -> dict[int, float]:
    """Return the mean `sliced_distance` over layers at each scale that both have.

    Args:
      features: `scaled_features` of an image.
      style: `scaled_features` of a style, in the same colours.
    """
    return {
        divisor: mean_distance(sliced_distance, features[divisor], style[divisor])
        for divisor in features
        if divisor in style
    }


def mean_distance(
    distance: Callable[[np.ndarray, np.ndarray], float], a: Features, b: Features
) -> float:
    """Return the mean over layers of a distance between features."""
    return float(np.mean([distance(a[layer], b[layer]) for layer in a]))


def sliced_distance(features: np.ndarray, style: np.ndarray) -> float:
    """Return the sliced Wasserstein distance of features [..., c], relative to a style.

    Heitz, Vanhoey, Chambon and Belcour 2021, "A Sliced Wasserstein Loss for Neural
    Texture Synthesis", equation 5: the mean squared difference of the quantiles of
    projections on random directions. Differences from the paper: the directions are
    fixed, and the result is the root of the mean over the mean square of the style's
    projections. It is 0 for equal distributions, 1 for zero features and for doubled
    style features. The positions of features and their number do not count.
    """
    squared = sliced_wasserstein(features, style, power=2)
    projections = project(style.reshape(-1, style.shape[-1]))
    return math.sqrt(squared / (np.square(projections, dtype=np.float64).mean() or 1))


def self_similarity_distance(features: np.ndarray, content: np.ndarray) -> float:
    """Return the difference, 0 to 2, of the self-similarity of features [h, w, c].

    Kolkin, Salavon and Shakhnarovich 2019, "Style Transfer by Relaxed Optimal
    Transport and Self-Similarity", equation 7 times the number of positions n, as in
    their program: the mean over j of Σᵢ |Dᵢⱼ / ΣᵢDᵢⱼ − D′ᵢⱼ / ΣᵢD′ᵢⱼ| with the cosine
    distances D and D′ between positions, at most `GRID` along each side. A zero feature
    is at distance 1 from all others. All Dᵢⱼ / ΣᵢDᵢⱼ are 0 for parallel features.
    """
    if features.shape[:2] != content.shape[:2]:
        raise RequestError(
            "features and content must be of one height and width, "
            f"got {list(features.shape)} and {list(content.shape)}"
        )
    difference = _self_similarity(features) - _self_similarity(content)
    return float(np.abs(difference).sum(0).mean())


def _self_similarity(features: np.ndarray) -> np.ndarray:
    """Return Dᵢⱼ / ΣᵢDᵢⱼ [n, n] of the positions of a grid in features [h, w, c]."""
    rows, columns = (
        np.linspace(0, side - 1, min(side, GRID)).round().astype(int)
        for side in features.shape[:2]
    )
    vectors = features[np.ix_(rows, columns)].reshape(-1, features.shape[-1])
    vectors = vectors.astype(np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.where(norms > 0, norms, 1)
    distances = np.maximum(1 - units @ units.T, 0)
    np.fill_diagonal(distances, 0)
    return distances / np.maximum(distances.sum(0), _PARALLEL * len(distances))


class LayerDistances(NamedTuple):
    """`relative_distances` [N, N] of images at one layer.

    Gram matrices have no baseline: they do not depend on positions.

    Attributes:
      features: distances of the features.
      unrelated: root of the mean square over all circular shifts of one of the two.
      grams: distances of the Gram matrices.
    """

    features: np.ndarray
    unrelated: np.ndarray
    grams: np.ndarray


def layer_distances(
    network: Network, images: ArrayLike, layers: Sequence[str]
) -> dict[str, LayerDistances]:
    """Return the distances of images [N, H, W, 3] in feature space by layer.

    The features of all images are in memory at once: 64 H W floats each at relu1_1.

    Args:
      network: applied to one image at a time, so features do not depend on the batch.
      images: of one size, in [0, 1].
      layers: canonical names.
    """
    layers = tuple(layers)
    pairs = [
        jax.device_get(_features_and_grams(network, image, layers))
        for image in as_floats(images, "images")
    ]
    distances = {}
    for layer in layers:
        features, grams = (np.stack([pair[layer][i] for pair in pairs]) for i in (0, 1))
        shifted = shifted_squared_distances(features) / _mean_energy(features)
        distances[layer] = LayerDistances(
            relative_distances(features), np.sqrt(shifted), relative_distances(grams)
        )
    return distances


def gram_traces(
    network: Network, image: ArrayLike, layers: Sequence[str]
) -> dict[str, float]:
    """Return the trace of the Gram matrix of an image [H, W, 3] in [0, 1] by layer.

    `gram` is FFᵀ over the number of positions. The trace is thus the mean over
    positions of the sum of squares over channels. It does not depend on the image size,
    but on contrast and on the unit of the network's input.
    """
    image = as_picture(image, "image", optimised=True)
    pairs = jax.device_get(_features_and_grams(network, image, tuple(layers)))
    return {layer: float(np.trace(matrix)) for layer, (_, matrix) in pairs.items()}


def relative_distances(arrays: ArrayLike) -> np.ndarray:
    """Return the distances [N, N] of arrays [N, ...] over their root mean square norm.

    Dimensionless, so layers compare: 0 for equal arrays, √2 for orthogonal arrays of
    one norm, 2 for an array and its negative. Zero arrays are at distance 0.
    """
    arrays = check_array(arrays, "arrays", "N, ...")
    return np.sqrt(squared_distances(arrays) / _mean_energy(arrays))


def _mean_energy(arrays: np.ndarray) -> float:
    """Return the mean square norm of arrays [N, ...], 1 if all are zero."""
    energy = np.mean([np.square(array, dtype=np.float64).sum() for array in arrays])
    return float(energy) or 1.0


@functools.partial(jax.jit, static_argnums=2)
def _features(
    network: Network, image: jax.Array, layers: tuple[str, ...]
) -> dict[str, jax.Array]:
    with jax.default_matmul_precision(network.numerics.precision):
        return network(image, layers)


@functools.partial(jax.jit, static_argnums=2)
def _features_and_grams(
    network: Network, image: jax.Array, layers: tuple[str, ...]
) -> dict[str, tuple[jax.Array, jax.Array]]:
    with jax.default_matmul_precision(network.numerics.precision):
        features = network(jnp.clip(image, 0, 1), layers)
        return {layer: (x, gram(x)) for layer, x in features.items()}
