"""How an ensemble is dispersed: pictures of one request that differ in their seeds.

Pictures are taken as a person sees them, clipped to [0, 1], as in `spread`.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from nst_jax.core.errors import RequestError
from nst_jax.metrics.distances import low_pass, squared_distances
from nst_jax.metrics.statistics import Estimate, jackknife, mean_of_pairs

#: The side of the window of `pairwise_ssim` in pixels, and its Gaussian's deviation.
SSIM_WINDOW, SIGMA = 11, 1.5
#: (K1 L)² and (K2 L)² of `pairwise_ssim`, for pictures of range L = 1.
_C1, _C2 = 0.01**2, 0.03**2


@dataclasses.dataclass(frozen=True)
class Dispersion:
    """How far apart the pictures of an ensemble are; coarse² + fine² = 2 std².

    Attributes:
      rms: mean over pairs of their RMS distance.
      coarse: root mean square over pairs of their difference below the cutoff.
      fine: the same above it.
      ssim: mean over pairs of their structural similarity.
      std: root of the mean variance of a value over the members.
    """

    rms: Estimate
    coarse: Estimate
    fine: Estimate
    ssim: Estimate
    std: Estimate


@dataclasses.dataclass(frozen=True)
class Components:
    """What the variance of a value comes from, mean over pixels and channels.

    Attributes:
      seed: the variance between seeds, had each been computed exactly.
      arithmetic: the variance among executions of one seed.
      share: arithmetic / (seed + arithmetic), of the means; 0 if all are equal.
    """

    seed: Estimate
    arithmetic: Estimate
    share: Estimate


def mean_image(pictures: np.ndarray) -> np.ndarray:
    """The mean, float64 [H, W, 3], of pictures [N, H, W, 3], clipped to [0, 1].

    Raises:
      RequestError: no such array, or a picture holds NaN.
    """
    _check("pictures", pictures, "N, H, W, 3", 1)
    return sum(_seen(pictures), np.zeros(pictures.shape[1:])) / len(pictures)


def std_image(pictures: np.ndarray) -> np.ndarray:
    """The standard deviation of each value over pictures [N, H, W, 3].

    Returns:
      float64 [H, W, 3], with N − 1 in the denominator.

    Raises:
      RequestError: no such array, fewer than 2 pictures, or one holds NaN.
    """
    _check("pictures", pictures, "N, H, W, 3", 2)
    mean = mean_image(pictures)
    squares = np.zeros_like(mean)
    for picture in _seen(pictures):
        squares += (picture - mean) ** 2
    return np.sqrt(squares / (len(pictures) - 1))


def pairwise_ssim(pictures: np.ndarray) -> np.ndarray:
    """Structural similarity [N, N] of all pairs of pictures [N, H, W, 3], at most 1.

    Wang et al. 2004, "Image quality assessment: from error visibility to structural
    similarity", equation 13, with the constants given there: an 11×11 Gaussian
    window of deviation 1.5, K1 = 0.01, K2 = 0.03 and a range of 1. The mean is over
    the channels, each for itself, and those positions where the window lies wholly
    in the picture. Clipped to [0, 1] first. One filtering a pair.

    Raises:
      RequestError: no such array, a side below 11 pixels, or a picture holds NaN.
    """
    _check("pictures", pictures, "N, H, W, 3", 1)
    if min(pictures.shape[1:3]) < SSIM_WINDOW:
        raise RequestError(
            f"pictures must have sides of {SSIM_WINDOW} pixels or more for SSIM, "
            f"got {pictures.shape[1]}×{pictures.shape[2]}"
        )
    local = [_local(picture) for picture in _seen(pictures)]
    found = np.eye(len(pictures))
    for i, j in itertools.combinations(range(len(pictures)), 2):
        found[i, j] = found[j, i] = _similarity(local[i], local[j])
    return found


def relative_distances(arrays: np.ndarray) -> np.ndarray:
    """Distances [N, N] of arrays [N, ...] over the root mean square of their norms.

    For features and Gram matrices, whose size says nothing across layers. Without
    dimension: 0 for equal arrays, √2 for orthogonal ones of one norm, 2 for two that
    are each other's negative. Arrays that are all zero are at distance 0.

    Raises:
      RequestError: no such array, or one holds NaN.
    """
    _check("arrays", arrays, "N, ...", 1)
    energy = np.mean([np.square(array, dtype=np.float64).sum() for array in arrays])
    return np.sqrt(squared_distances(arrays) / (energy or 1))


def dispersion(pictures: np.ndarray, cutoff: float) -> Dispersion:
    """How far apart pictures [N, H, W, 3] are, with intervals from N = 3 on.

    Args:
      pictures: the members, independent of each other.
      cutoff: what parts coarse from fine, in cycles per pixel, as for `spread.bands`.

    Raises:
      RequestError: as for `std_image`, `pairwise_ssim` and `spread.bands`.
    """
    _check("pictures", pictures, "N, H, W, 3", 2)
    if not 0 <= cutoff < math.inf:
        raise RequestError(f"cutoff must be finite and not negative, got {cutoff}")
    similarities = pairwise_ssim(pictures)
    seen = np.stack(list(_seen(pictures)))
    low = np.stack([low_pass(picture, cutoff) for picture in seen])
    whole, coarse, fine = (
        squared_distances(part) / seen[0].size for part in (seen, low, seen - low)
    )
    return Dispersion(
        rms=mean_of_pairs(np.sqrt(whole), positive=True),
        coarse=mean_of_pairs(coarse, math.sqrt, positive=True),
        fine=mean_of_pairs(fine, math.sqrt, positive=True),
        ssim=mean_of_pairs(similarities),
        # The unbiased variance is half the mean square of the differences.
        std=mean_of_pairs((coarse + fine) / 2, math.sqrt, positive=True),
    )


def coefficient_of_variation(values: ArrayLike) -> Estimate:
    """Standard deviation over mean of a loss term [N] among members; 0 if all are 0.

    Raises:
      RequestError: fewer than 2 values, or one that is negative or not finite.
    """
    terms = np.asarray(values, np.float64)
    if terms.ndim != 1 or len(terms) < 2:
        raise RequestError(f"values must be 2 or more in a row, got {terms.tolist()}")
    if not (np.isfinite(terms) & (terms >= 0)).all():
        raise RequestError(
            f"values must be finite and not negative, got {terms.tolist()}"
        )

    def statistic(members: np.ndarray) -> float:
        chosen = terms[members]
        return float(chosen.std(ddof=1) / chosen.mean()) if chosen.any() else 0.0

    return jackknife(statistic, len(terms), positive=True)


def variance_components(pictures: np.ndarray) -> Components:
    """How much of a value's variance is due to the seed, how much to arithmetic.

    One-way random-effects analysis of variance (Searle, Casella and McCulloch 1992,
    Variance Components, chapter 3). Arithmetic: the mean over seeds of the variance
    among their executions. Seed: the variance of the seeds' means, less the share
    arithmetic / A that executions leave in a mean of A. That is unbiased, and for
    this reason may come out negative where seeds matter little; it is left so, and
    the share is then above 1. The errors come from leaving out seeds.

    Args:
      pictures: [S, A, H, W, 3], A executions of each of S seeds; clipped to [0, 1].

    Raises:
      RequestError: no such array, S or A is less than 2, or a picture holds NaN.
    """
    _check("pictures", pictures, "S, A, H, W, 3", 2)
    seeds, executions, *shape = pictures.shape
    if executions < 2:
        raise RequestError(f"pictures must have 2 executions a seed, got {executions}")
    within, means = np.zeros(seeds), np.zeros((seeds, *shape))
    for s, group in enumerate(_seen(pictures)):
        # Equal executions then have a variance of exactly 0.
        offsets = group - group[0]
        within[s] = offsets.var(0, ddof=1).mean()
        means[s] = group[0] + offsets.mean(0)
    squares = squared_distances(means) / means[0].size

    def arithmetic(members: np.ndarray) -> float:
        return float(within[members].mean())

    def seed(members: np.ndarray) -> float:
        # The variance of the means is half the mean square of their differences.
        between = mean_of_pairs(squares[np.ix_(members, members)]).value / 2
        return between - arithmetic(members) / executions

    def share(members: np.ndarray) -> float:
        total = seed(members) + arithmetic(members)
        return arithmetic(members) / total if total else 0.0

    return Components(
        seed=jackknife(seed, seeds),
        arithmetic=jackknife(arithmetic, seeds),
        share=jackknife(share, seeds),
    )


class _Local(NamedTuple):
    """A picture, and its mean and variance in the window around each position."""

    picture: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


def _local(picture: np.ndarray) -> _Local:
    mean = _windowed(picture)
    return _Local(picture, mean, _windowed(picture**2) - mean**2)


def _similarity(a: _Local, b: _Local) -> float:
    product = a.mean * b.mean
    covariance = _windowed(a.picture * b.picture) - product
    luminance = (2 * product + _C1) / (a.mean**2 + b.mean**2 + _C1)
    structure = (2 * covariance + _C2) / (a.variance + b.variance + _C2)
    return float((luminance * structure).mean())


def _windowed(field: np.ndarray) -> np.ndarray:
    """Weighted means [H − 10, W − 10, 3] of a field [H, W, 3] under the window."""
    edge = SSIM_WINDOW // 2
    smooth = scipy.ndimage.gaussian_filter(field, SIGMA, radius=edge, axes=(0, 1))
    return smooth[edge:-edge, edge:-edge]


def _seen(pictures: np.ndarray) -> Iterator[np.ndarray]:
    """One entry of the first axis at a time, float64, clipped to [0, 1]."""
    return (np.clip(picture.astype(np.float64), 0, 1) for picture in pictures)


def _check(name: str, arrays: np.ndarray, shape: str, least: int) -> None:
    """Refuses an array that is not of a shape, written as "N, H, W, 3", or finite."""
    axes = shape.split(", ")
    fits = "..." in axes or arrays.ndim == len(axes)
    if not fits or not arrays.ndim or 0 in arrays.shape or len(arrays) < least:
        raise RequestError(
            f"{name} must be of shape [{shape}] with {axes[0]} at least {least}, "
            f"got {list(arrays.shape)}"
        )
    for i, array in enumerate(arrays):
        if not np.isfinite(array).all():
            raise RequestError(f"{name}[{i}] holds NaN or infinity, wanted finite ones")
