"""How good a picture is: how near it is to its style, and how near to its content.

No number is a judgement of taste. The distances are between features, at each of some
layers of the network, and say most at those that no term looks at: what is optimised is
small because it is optimised. Pictures are taken as a person sees them, clipped to
[0, 1]; what can be wrong with their pixels is in `faults`.
"""

import functools
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import as_picture
from nst_jax.models.vgg import Network

#: Directions that features are projected to, the same ones for all pictures.
DIRECTIONS = 64
#: Positions each way, at most, whose features are compared with each other.
GRID = 32
#: A mean cosine distance below which all features point in one direction.
_ALIKE = 1e-9

Features = Mapping[str, np.ndarray]


def extract_features(
    network: Network, picture: ArrayLike, layers: Sequence[str]
) -> Features:
    """What the network sees in a picture [H, W, 3]: layer -> features [h, w, c].

    Raises:
      RequestError: a layer is unknown or beyond the picture's size.
    """
    checked = as_picture(picture, "picture", optimised=True, nan=True)
    return jax.device_get(_features(network, jnp.asarray(checked), tuple(layers)))


def style_distance(picture: Features, styles: Sequence[Features]) -> dict[str, float]:
    """`sliced_distance` from a style at each layer, mean over the styles."""
    return {
        layer: float(np.mean([sliced_distance(own, style[layer]) for style in styles]))
        for layer, own in picture.items()
    }


def content_distance(picture: Features, content: Features) -> dict[str, float]:
    """`self_similarity_distance` from the content at each layer."""
    return {
        layer: self_similarity_distance(own, content[layer])
        for layer, own in picture.items()
    }


def sliced_distance(features: np.ndarray, style: np.ndarray) -> float:
    """Sliced Wasserstein distance of features [..., c] over the norm of the style's.

    Heitz, Vanhoey, Chambon and Belcour 2021, "A Sliced Wasserstein Loss for Neural
    Texture Synthesis", equation 5: features are projected to random directions, and
    the squares of the distances between quantiles averaged. Here the directions are
    fixed, and the root is taken of the average over that of the squares of the style's
    own projections, so layers of any unit compare: 0 for one distribution, 1 for no
    features at all or for those of the style doubled. Where features are, and how many,
    says nothing.

    Raises:
      RequestError: the channels differ, or there are no features.
    """
    ours, theirs = (f.reshape(-1, f.shape[-1]) for f in (features, style))
    if ours.shape[1] != theirs.shape[1] or not ours.size or not theirs.size:
        raise RequestError(
            "features and style must be of shape [..., c] with the same c, "
            f"got {list(features.shape)} and {list(style.shape)}"
        )
    directions = _directions(ours.shape[1])
    projected, wanted = (np.sort(directions @ f.T, axis=1) for f in (ours, theirs))
    energy = np.square(wanted, dtype=np.float64).mean()
    return math.sqrt(_transport(projected, wanted) / (energy or 1))


def self_similarity_distance(features: np.ndarray, content: np.ndarray) -> float:
    """How differently two pictures' features [h, w, c] are like each other, 0 to 2.

    Kolkin, Salavon and Shakhnarovich 2019, "Style Transfer by Relaxed Optimal
    Transport and Self-Similarity", equation 7, times the number of positions n, as in
    their program: the mean over positions j of Σᵢ |Dᵢⱼ / ΣᵢDᵢⱼ − D′ᵢⱼ / ΣᵢD′ᵢⱼ|, D
    and D′ the cosine distances between positions. Taken on a grid of at most `GRID`
    positions each way. A position without any feature is at distance 1 from the others,
    and where all features point in one direction every Dᵢⱼ / ΣᵢDᵢⱼ is 0.

    Raises:
      RequestError: the heights or widths differ.
    """
    if features.shape[:2] != content.shape[:2]:
        raise RequestError(
            "features and content must be of one height and width, "
            f"got {list(features.shape)} and {list(content.shape)}"
        )
    here, there = _relative_cosines(features), _relative_cosines(content)
    return float(np.abs(here - there).sum(0).mean())


@functools.partial(jax.jit, static_argnums=2)
def _features(
    network: Network, picture: jax.Array, layers: tuple[str, ...]
) -> dict[str, jax.Array]:
    with jax.default_matmul_precision(network.numerics.precision):
        return network(jnp.clip(picture, 0, 1), layers)


@functools.cache
def _directions(channels: int) -> np.ndarray:
    """[K, c], float32, of length 1 and evenly distributed, always the same."""
    drawn = np.random.default_rng(channels).normal(size=(DIRECTIONS, channels))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def _transport(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Mean over rows of W₂² between the values [K, m] and [K, n], sorted in each row.

    The quantile functions are staircases, m values that last n ticks each and n that
    last m, of m n ticks in all.
    """
    m, n = ours.shape[1], theirs.shape[1]
    ends = np.union1d(n * np.arange(1, m + 1), m * np.arange(1, n + 1))
    lasting = np.diff(ends, prepend=0) / (m * n)
    steps = ours[:, (ends - 1) // n] - theirs[:, (ends - 1) // m]
    return float((np.square(steps, dtype=np.float64) @ lasting).mean())


def _relative_cosines(features: np.ndarray) -> np.ndarray:
    """Dᵢⱼ / ΣᵢDᵢⱼ [n, n] of the positions of a grid in features [h, w, c]."""
    rows, columns = (
        np.linspace(0, side - 1, min(side, GRID)).round().astype(int)
        for side in features.shape[:2]
    )
    chosen = features[np.ix_(rows, columns)].reshape(-1, features.shape[-1])
    chosen = chosen.astype(np.float64)
    norms = np.linalg.norm(chosen, axis=1, keepdims=True)
    units = chosen / np.where(norms > 0, norms, 1)
    cosines = np.maximum(1 - units @ units.T, 0)
    np.fill_diagonal(cosines, 0)
    return cosines / np.maximum(cosines.sum(0), _ALIKE * len(cosines))
