"""Sliced Wasserstein distance of two sets of vectors."""

import functools
from typing import Literal

import numpy as np

from nst_jax.core.errors import RequestError

#: Random directions, the same for all sets of one dimension.
DIRECTIONS = 64


def sliced_wasserstein(
    ours: np.ndarray, theirs: np.ndarray, power: Literal[1, 2]
) -> float:
    """Return the mean of W₁ or W₂² over projections on fixed random directions.

    Bonneel, Rabin, Peyré and Pfister 2015, "Sliced and Radon Wasserstein barycenters of
    measures". In one dimension the distance is between quantile functions, computed
    exactly for sets of any sizes. The order of vectors does not count.

    Args:
      ours: [..., c].
      theirs: [..., c].
      power: 1 for the mean absolute difference, 2 for the mean squared difference.

    Raises:
      RequestError: a set is empty, or their dimensions c differ.
    """
    a, b = (x.reshape(-1, x.shape[-1]) for x in (ours, theirs))
    if a.shape[1] != b.shape[1] or not a.size or not b.size:
        raise RequestError(
            "sets must be of shape [..., c] with the same c, "
            f"got {list(ours.shape)} and {list(theirs.shape)}"
        )
    a, b = (np.sort(project(x), axis=1) for x in (a, b))
    m, n = a.shape[1], b.shape[1]
    # In units of 1 / (m n) the quantile functions have m steps of n and n steps of m.
    ends = np.union1d(n * np.arange(1, m + 1), m * np.arange(1, n + 1))
    widths = np.diff(ends, prepend=0) / (m * n)
    steps = np.abs(a[:, (ends - 1) // n] - b[:, (ends - 1) // m], dtype=np.float64)
    return float((steps**power @ widths).mean())


def project(vectors: np.ndarray) -> np.ndarray:
    """Return the projections [K, n] of vectors [n, c] on the directions."""
    return unit_vectors(vectors.shape[1]) @ vectors.T


@functools.cache
def unit_vectors(dimension: int) -> np.ndarray:
    """Return `DIRECTIONS` uniform unit vectors, float32 [K, c]."""
    normals = np.random.default_rng(dimension).normal(size=(DIRECTIONS, dimension))
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return (normals / lengths).astype(np.float32)
