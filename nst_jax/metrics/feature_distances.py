"""Distances between images in the features of the network.

Quality is measured by the distance to the style and to the content. It says most at
layers without a loss term: optimised distances are small by construction. Images are
clipped to [0, 1] first, as a screen shows them. Functions raise `RequestError` for
shapes that do not fit, and for layers that are unknown or beyond the image's size.
"""

import functools
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import as_floats, as_picture
from nst_jax.losses import gram
from nst_jax.metrics.distances import squared_distances
from nst_jax.metrics.validation import check_array
from nst_jax.models.vgg import Network

#: Random directions of `sliced_distance`, the same for all images.
DIRECTIONS = 64
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
    return jax.device_get(_features(network, jnp.asarray(image), tuple(layers)))


def style_distance(features: Features, styles: Sequence[Features]) -> dict[str, float]:
    """Return the mean `sliced_distance` from the styles by layer."""
    return {
        layer: float(np.mean([sliced_distance(array, s[layer]) for s in styles]))
        for layer, array in features.items()
    }


def content_distance(features: Features, content: Features) -> dict[str, float]:
    """Return the `self_similarity_distance` from the content by layer."""
    return {
        layer: self_similarity_distance(array, content[layer])
        for layer, array in features.items()
    }


def sliced_distance(features: np.ndarray, style: np.ndarray) -> float:
    """Return the sliced Wasserstein distance of features [..., c], relative to a style.

    Heitz, Vanhoey, Chambon and Belcour 2021, "A Sliced Wasserstein Loss for Neural
    Texture Synthesis", equation 5: the mean squared difference of the quantiles of
    projections on random directions. Differences from the paper: the directions are
    fixed, and the result is the root of the mean over the mean square of the style's
    projections. It is 0 for equal distributions, 1 for zero features and for doubled
    style features. The positions of features and their number do not count.
    """
    ours, theirs = (f.reshape(-1, f.shape[-1]) for f in (features, style))
    if ours.shape[1] != theirs.shape[1] or not ours.size or not theirs.size:
        raise RequestError(
            "features and style must be of shape [..., c] with the same c, "
            f"got {list(features.shape)} and {list(style.shape)}"
        )
    directions = _directions(ours.shape[1])
    ours, theirs = (np.sort(directions @ f.T, axis=1) for f in (ours, theirs))
    energy = np.square(theirs, dtype=np.float64).mean()
    return math.sqrt(_squared_wasserstein(ours, theirs) / (energy or 1))


@functools.cache
def _directions(channels: int) -> np.ndarray:
    """Return fixed uniform unit vectors, float32 [K, c]."""
    normals = np.random.default_rng(channels).normal(size=(DIRECTIONS, channels))
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return (normals / lengths).astype(np.float32)


def _squared_wasserstein(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the mean over rows of W₂² between sorted values [K, m] and [K, n].

    In units of 1 / (m n) the quantile functions have m steps of n and n steps of m.
    """
    m, n = ours.shape[1], theirs.shape[1]
    ends = np.union1d(n * np.arange(1, m + 1), m * np.arange(1, n + 1))
    widths = np.diff(ends, prepend=0) / (m * n)
    steps = ours[:, (ends - 1) // n] - theirs[:, (ends - 1) // m]
    return float((np.square(steps, dtype=np.float64) @ widths).mean())


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


def layer_distances(
    network: Network, images: ArrayLike, layers: Sequence[str]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return `relative_distances` of images [N, H, W, 3] by layer.

    The features of all images are in memory at once: 64 H W floats each at relu1_1.

    Args:
      network: applied to one image at a time, so features do not depend on the batch.
      images: of one size, in [0, 1].
      layers: canonical names.

    Returns:
      Layer -> (distances of features [N, N], distances of Gram matrices [N, N]).
    """
    layers = tuple(layers)
    pairs = [
        jax.device_get(_features_and_grams(network, image, layers))
        for image in as_floats(images, "images")
    ]
    return {
        layer: (
            relative_distances(np.stack([pair[layer][0] for pair in pairs])),
            relative_distances(np.stack([pair[layer][1] for pair in pairs])),
        )
        for layer in layers
    }


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
    energy = np.mean([np.square(array, dtype=np.float64).sum() for array in arrays])
    return np.sqrt(squared_distances(arrays) / (energy or 1))


@functools.partial(jax.jit, static_argnums=2)
def _features(
    network: Network, image: jax.Array, layers: tuple[str, ...]
) -> dict[str, jax.Array]:
    with jax.default_matmul_precision(network.numerics.precision):
        return network(jnp.clip(image, 0, 1), layers)


@functools.partial(jax.jit, static_argnums=2)
def _features_and_grams(
    network: Network, image: jax.Array, layers: tuple[str, ...]
) -> dict[str, tuple[jax.Array, jax.Array]]:
    with jax.default_matmul_precision(network.numerics.precision):
        features = network(jnp.clip(image, 0, 1), layers)
        return {layer: (x, gram(x)) for layer, x in features.items()}
