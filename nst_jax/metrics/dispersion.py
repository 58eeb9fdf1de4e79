"""Dispersion across seeds: images that differ in their seed alone.

Images are clipped to [0, 1] first, as a screen shows them. Functions raise
`RequestError` for NaN, infinity, wrong shapes and too few members.
"""

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike

from nst_jax.core.errors import RequestError
from nst_jax.metrics.distances import (
    check_cutoff,
    low_pass,
    pairwise_ssim,
    shifted_squared_distances,
    squared_distances,
)
from nst_jax.metrics.statistics import (
    Estimate,
    jackknife,
    mean_of_pairs,
    root_ratio_of_pairs,
)
from nst_jax.metrics.validation import as_displayed, check_array


@dataclasses.dataclass(frozen=True)
class Dispersion:
    """Distances between the members of an ensemble; coarse² + fine² = 2 std².

    A standard deviation depends on the contrast of the images. Its share does not: it
    compares with unrelated images of the same contrast, spectrum and mean colours, the
    members at all circular shifts against each other.

    Attributes:
      rms: mean over pairs of the RMS distance, 0 to 1.
      coarse: root mean square over pairs of the difference below the cutoff.
      fine: root mean square over pairs of the difference above the cutoff.
      ssim: mean over pairs of the structural similarity, at most 1.
      std: root of the mean variance of a value over the members.
      unrelated: std of unrelated images; see `shifted_squared_distances`.
      share: std / unrelated; near 1 for independent images, 0 for equal ones. Near 1
        the interval is too wide, because single members have no effect there.
      coarse_share: the share below the cutoff.
      fine_share: the share above the cutoff.
    """

    rms: Estimate
    coarse: Estimate
    fine: Estimate
    ssim: Estimate
    std: Estimate
    unrelated: Estimate
    share: Estimate
    coarse_share: Estimate
    fine_share: Estimate


@dataclasses.dataclass(frozen=True)
class VarianceComponents:
    """Sources of the variance of a value, mean over pixels and channels.

    Attributes:
      seed: variance between seeds under exact arithmetic.
      arithmetic: variance among executions of one seed.
      share: arithmetic / (seed + arithmetic); 0 if all images are equal.
    """

    seed: Estimate
    arithmetic: Estimate
    share: Estimate


def mean_image(images: ArrayLike) -> np.ndarray:
    """Return the mean, float64 [H, W, 3], of images [N, H, W, 3]."""
    images = check_array(images, "images", "N, H, W, 3")
    return sum(map(as_displayed, images), np.zeros(images.shape[1:])) / len(images)


def std_image(images: ArrayLike) -> np.ndarray:
    """Return the standard deviation, float64 [H, W, 3], over images [N, H, W, 3].

    The denominator is N − 1.
    """
    images = check_array(images, "images", "N, H, W, 3", min_count=2)
    mean = mean_image(images)
    squares = np.zeros_like(mean)
    for image in images:
        squares += (as_displayed(image) - mean) ** 2
    return np.sqrt(squares / (len(images) - 1))


def dispersion(images: ArrayLike, cutoff: float) -> Dispersion:
    """Measure the distances between independent images, with intervals from N = 3 on.

    Args:
      images: [N, H, W, 3].
      cutoff: boundary of coarse and fine in cycles per pixel; see `band_energies`.
    """
    images = check_array(images, "images", "N, H, W, 3", min_count=2)
    check_cutoff(cutoff)
    similarities = pairwise_ssim(images)
    displayed = as_displayed(images)
    low = np.stack([low_pass(image, cutoff) for image in displayed])
    bands = displayed, low, displayed - low
    total, coarse, fine = (squared_distances(x) / displayed[0].size for x in bands)
    shifted, shifted_coarse, shifted_fine = (
        shifted_squared_distances(x) / displayed[0].size for x in bands
    )
    return Dispersion(
        rms=mean_of_pairs(np.sqrt(total), positive=True),
        coarse=mean_of_pairs(coarse, math.sqrt, positive=True),
        fine=mean_of_pairs(fine, math.sqrt, positive=True),
        ssim=mean_of_pairs(similarities),
        # The unbiased variance is half the mean square of the differences.
        std=mean_of_pairs((coarse + fine) / 2, math.sqrt, positive=True),
        unrelated=mean_of_pairs(shifted / 2, math.sqrt, positive=True),
        share=root_ratio_of_pairs(total, shifted),
        coarse_share=root_ratio_of_pairs(coarse, shifted_coarse),
        fine_share=root_ratio_of_pairs(fine, shifted_fine),
    )


def twin_deviation(distances: ArrayLike) -> Estimate:
    """Return the standard deviation of pairs of twins: root of half the mean square.

    Twins differ in rounding alone. Their deviation is the floor of the effect of a
    seed. The interval comes from leaving out seeds.

    Args:
      distances: [N], RMS distance of the twins of each of N seeds.
    """
    squares = np.square(
        check_array(np.asarray(distances, np.float64), "distances", "N")
    )
    return jackknife(
        lambda seeds: math.sqrt(squares[seeds].mean() / 2), len(squares), positive=True
    )


def coefficient_of_variation(values: ArrayLike) -> Estimate:
    """Return standard deviation / mean of a loss [N] over members; 0 if all are 0."""
    losses = check_array(np.asarray(values, np.float64), "values", "N", min_count=2)

    def statistic(members: np.ndarray) -> float:
        sample = losses[members]
        return float(sample.std(ddof=1) / sample.mean()) if sample.any() else 0.0

    return jackknife(statistic, len(losses), positive=True)


def variance_components(images: ArrayLike) -> VarianceComponents:
    """Split the variance of a value into that of the seed and that of arithmetic.

    One-way random-effects analysis of variance (Searle, Casella and McCulloch 1992,
    Variance Components, chapter 3). Arithmetic is the mean over seeds of the variance
    among executions. Seed is the variance of the seeds' means minus arithmetic / A, the
    part that A executions leave in a mean. The estimate is unbiased, so it can be
    negative where seeds matter little; the share is then above 1. Intervals come from
    leaving out seeds.

    Args:
      images: [S, A, H, W, C], A executions of each of S seeds.
    """
    images = check_array(images, "images", "S, A, H, W, C", min_count=2)
    seeds, executions, *shape = images.shape
    if executions < 2:
        raise RequestError(f"images must have 2 executions a seed, got {executions}")
    within, means = np.zeros(seeds), np.zeros((seeds, *shape))
    for s, group in enumerate(images):
        displayed = as_displayed(group)
        # Equal executions then have a variance of exactly 0.
        offsets = displayed - displayed[0]
        within[s] = offsets.var(0, ddof=1).mean()
        means[s] = displayed[0] + offsets.mean(0)
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

    return VarianceComponents(
        seed=jackknife(seed, seeds),
        arithmetic=jackknife(arithmetic, seeds),
        share=jackknife(share, seeds),
    )
