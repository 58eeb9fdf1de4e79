"""Estimates with confidence intervals.

The members of an ensemble are independent, its pairs are not: two of the N (N − 1) / 2
pairs correlate if they share a member. Errors of pair statistics therefore come from
leaving out members.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from nst_jax.core.errors import RequestError
from nst_jax.metrics.validation import check_array, check_same_shape

#: Coverage of the intervals.
CONFIDENCE = 0.95
#: Least number of members for an interval.
MIN_MEMBERS = 3
#: Most points for which `rank_correlation` tries every permutation.
MAX_EXACT = 8
#: Random permutations for more points.
PERMUTATIONS = 10_000


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value with its 95 % confidence interval.

    Attributes:
      value: estimate.
      low: lower end of the interval; None where there are too few data.
      high: upper end of the interval; None with `low`.
    """

    value: float
    low: float | None = None
    high: float | None = None


@dataclasses.dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation.

    Attributes:
      rho: coefficient, −1 to 1.
      p: two-sided p-value of a permutation test.
      count: number of points.
    """

    rho: Estimate
    p: float
    count: int


def jackknife(
    statistic: Callable[[np.ndarray], float], count: int, *, positive: bool = False
) -> Estimate:
    """Return a statistic of all members, with an interval by leaving out one at a time.

    The variance is (n − 1) / n · Σᵢ (θ₋ᵢ − mean θ₋)² and the interval Student's with
    n − 1 degrees of freedom (Tukey 1958, Annals of Mathematical Statistics 29, 614).
    For a mean this is the usual t-interval. It also holds for means over pairs if a
    member is left out with all of its pairs (Arvesen 1969, ibid. 40, 2076), and is then
    rather too wide (Efron and Stein 1981, Annals of Statistics 9, 586). It does not
    hold for medians and other ranks. The value is not corrected for bias.

    Args:
      statistic: function of member indices [n], n being `count` or one less.
      count: number of members.
      positive: the statistic is a scale, such as a deviation or a ratio. Its interval
        is then symmetric in the logarithm, which improves the coverage for the
        deviation of 8 normal values from 90 % to 94 %.

    Returns:
      The estimate. It has no interval for fewer than `MIN_MEMBERS` members, or if the
      statistic is not finite without one of them.

    Raises:
      RequestError: `count` is less than 1.
    """
    if count < 1:
        raise RequestError(f"count must be at least 1, got {count}")
    members = np.arange(count)
    value = float(statistic(members))
    if count < MIN_MEMBERS:
        return Estimate(value)
    replicates = [statistic(np.delete(members, i)) for i in members]
    return _student_interval(value, replicates, positive)


def mean_of_pairs(
    matrix: ArrayLike,
    transform: Callable[[float], float] = float,
    *,
    positive: bool = False,
) -> Estimate:
    """Return the mean over pairs of different members, as `jackknife` does.

    It takes N² operations: the mean without a member is the total minus its row.

    Args:
      matrix: [N, N] symmetric, one number a pair. The diagonal is ignored.
      transform: function of the mean to estimate, such as `math.sqrt` for squares.
      positive: as for `jackknife`.

    Raises:
      RequestError: wrong shape, N is less than 2, the matrix is not symmetric, or a
        pair has NaN or infinity.
    """
    matrix = np.array(matrix, np.float64)
    check_array(matrix, "matrix", "N, N", min_count=2)
    np.fill_diagonal(matrix, 0)
    if not np.allclose(matrix, matrix.T, rtol=0, atol=1e-6 * np.abs(matrix).max()):
        raise RequestError("matrix must be symmetric")
    count = len(matrix)
    rows = matrix.sum(1)
    value = transform(rows.sum() / (count * (count - 1)))
    if count < MIN_MEMBERS:
        return Estimate(value)
    means = (rows.sum() - 2 * rows) / ((count - 1) * (count - 2))
    return _student_interval(value, [transform(mean) for mean in means], positive)


def root_ratio_of_pairs(numerator: ArrayLike, denominator: ArrayLike) -> Estimate:
    """Return the root of the ratio of two sums over pairs, as `jackknife` does.

    A member is left out of both sums, so that common variation cancels.

    Args:
      numerator: [N, N] squares, one a pair. The diagonal is ignored.
      denominator: [N, N] squares.

    Returns:
      The ratio; 0 if the numerator is 0, infinity if the denominator alone is.

    Raises:
      RequestError: wrong shape, the shapes differ, N is less than 2, or a pair has NaN
        or infinity.
    """
    above, below = (
        np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
        for matrix in check_same_shape(
            "N, N", min_count=2, numerator=numerator, denominator=denominator
        )
    )

    def ratio(members: np.ndarray) -> float:
        pairs = np.ix_(members, members)
        squares = float(above[pairs].sum()), float(below[pairs].sum())
        if not squares[1]:
            return math.inf if squares[0] else 0.0
        return math.sqrt(squares[0] / squares[1])

    return jackknife(ratio, len(above), positive=True)


def rank_correlation(x: ArrayLike, y: ArrayLike) -> RankCorrelation:
    """Return Spearman's rank correlation of a few independent points.

    The interval is Fisher's: normal in z = artanh rho, with the variance
    (1 + rho²/2) / (n − 3) of Bonett and Wright (2000, Psychometrika 65, 23). A
    bootstrap would bias rho towards ±1, because few points are drawn with ties. At
    rho = ±1, where z is infinite, half of the smallest step of rho is taken off.

    p is twice the share of permutations with a rho as extreme on the rarer side. All
    permutations are tried for up to `MAX_EXACT` points. For more, `PERMUTATIONS` are
    drawn with a fixed seed, and the observed order is added.

    Args:
      x: [n]; ties share their mean rank.
      y: [n].

    Returns:
      The correlation, without an interval for three points.

    Raises:
      RequestError: the lengths differ, n is less than 3, a value is NaN or infinite,
        or x or y is constant.
    """
    from scipy import stats  # A slow import.

    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    x, y = check_same_shape("N", min_count=3, x=x, y=y)
    for name, values in (("x", x), ("y", y)):
        if np.ptp(values) == 0:
            raise RequestError(f"{name} must not be constant, got {values[0]}")
    x_ranks, y_ranks = stats.rankdata(x), stats.rankdata(y)
    rho = float(np.corrcoef(x_ranks, y_ranks)[0, 1])
    # Ranks are halves of integers, so equal sums of products are equal in floats too.
    test = stats.permutation_test(
        (x_ranks,),
        lambda ranks, axis: (ranks * y_ranks).sum(axis),
        permutation_type="pairings",
        n_resamples=math.factorial(MAX_EXACT) if len(x) <= MAX_EXACT else PERMUTATIONS,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    return RankCorrelation(_fisher_interval(rho, len(x)), float(test.pvalue), len(x))


def _fisher_interval(rho: float, count: int) -> Estimate:
    if count <= 3:
        return Estimate(rho)
    from scipy import stats  # A slow import.

    limit = 1 - 6 / (count**3 - count)
    z = math.atanh(min(max(rho, -limit), limit))
    error = math.sqrt((1 + rho**2 / 2) / (count - 3))
    half = stats.norm.ppf((1 + CONFIDENCE) / 2) * error
    return Estimate(rho, min(math.tanh(z - half), rho), max(math.tanh(z + half), rho))


def _student_interval(
    value: float, replicates: Sequence[float], positive: bool
) -> Estimate:
    """Return a value with the interval of its leave-one-out replicates."""
    values = np.asarray(replicates, np.float64)
    if positive and values.any():
        if not (value > 0 and (values > 0).all()):
            return Estimate(value)
        log = _student_interval(math.log(value), np.log(values).tolist(), False)
        if log.low is None or log.high is None:
            return Estimate(value)
        return Estimate(value, math.exp(log.low), math.exp(log.high))
    if not np.isfinite(values).all():
        return Estimate(value)
    from scipy import stats  # A slow import.

    count = len(values)
    error = math.sqrt((count - 1) * values.var())
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * error
    return Estimate(value, value - half, value + half)
