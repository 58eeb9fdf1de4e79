"""Numbers with error bars.

The members of an ensemble are independent, its pairs are not: N members have
N (N − 1) / 2 pairs, of which any two that share a member go together. So the error
of whatever is told from pairs comes from leaving out members.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import scipy
from numpy.typing import ArrayLike

from nst_jax.core.errors import RequestError

#: How often an interval holds the truth.
CONFIDENCE = 0.95
#: Members, at least, of which one can be left out and a spread remains.
MIN_MEMBERS = 3
#: Points, at most, of which every permutation is tried.
EXACT = 8
#: Permutations that are drawn of more points.
PERMUTATIONS = 10_000


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number, and the 95 % confidence interval that goes with it.

    Attributes:
      value: in the unit of what is estimated.
      low: where the interval begins, None where there is too little to tell.
      high: where it ends, None with `low`.
    """

    value: float
    low: float | None = None
    high: float | None = None


@dataclasses.dataclass(frozen=True)
class RankCorrelation:
    """Whether one quantity rises with another.

    Attributes:
      rho: Spearman's, from −1 to 1, as is its interval.
      p: how often points without any relation give a rho as extreme; two-sided, as
        `rank_correlation` has it.
      count: the points.
    """

    rho: Estimate
    p: float
    count: int


def jackknife(
    statistic: Callable[[np.ndarray], float], count: int, *, positive: bool = False
) -> Estimate:
    """A statistic of all members, its error by leaving out one at a time.

    The variance is (n − 1) / n · Σᵢ (θ₋ᵢ − mean θ₋)² and the interval Student's with
    n − 1 degrees of freedom (Tukey 1958, Annals of Mathematical Statistics 29, 614).
    For a mean that is the usual t-interval. It holds for means over pairs, whose
    members are left out with all of their pairs (Arvesen 1969, ibid. 40, 2076), and
    is then rather too wide than too narrow (Efron and Stein 1981, Annals of
    Statistics 9, 586). It does not hold for medians and other ranks. The value is
    the plain one, not corrected for bias.

    Args:
      statistic: of the members whose indices [n] it is given; n is `count` or one
        less.
      count: how many members there are.
      positive: whether it is a scale, such as a deviation or a ratio: the interval is
        then that of its logarithm. Of the deviation of 8 normal values that holds the
        truth 94 times in 100, the plain one 90 times.

    Returns:
      The estimate; without interval where there are fewer than `MIN_MEMBERS` members, or
      the statistic is not finite without one of them.

    Raises:
      RequestError: there is no member.
    """
    if count < 1:
        raise RequestError(f"count must be at least 1, got {count}")
    members = np.arange(count)
    value = float(statistic(members))
    if count < MIN_MEMBERS:
        return Estimate(value)
    without = [statistic(np.delete(members, i)) for i in members]
    return _estimate(value, without, positive)


def mean_of_pairs(
    matrix: np.ndarray,
    transform: Callable[[float], float] = float,
    *,
    positive: bool = False,
) -> Estimate:
    """The mean over all pairs of two different members, as `jackknife` has it.

    In N² operations: the mean without a member is the sum less its row.

    Args:
      matrix: [N, N] symmetric, a number for each pair; the diagonal is not looked at.
      transform: what of the mean to estimate, `math.sqrt` for one of squares.
      positive: as for `jackknife`.

    Raises:
      RequestError: no such matrix, N is less than 2, or a pair has NaN or infinity.
    """
    matrix = np.array(matrix, np.float64)
    count = len(matrix) if matrix.ndim else 0
    if count < 2 or matrix.shape != (count, count):
        raise RequestError(
            f"matrix must be of shape [N, N] with N at least 2, "
            f"got {list(matrix.shape)}"
        )
    np.fill_diagonal(matrix, 0)
    if not np.isfinite(matrix).all():
        raise RequestError("matrix holds NaN or infinity, wanted finite numbers")
    if not np.allclose(matrix, matrix.T, rtol=0, atol=1e-6 * np.abs(matrix).max()):
        raise RequestError("matrix must be symmetric, each pair having one number")
    rows = matrix.sum(1)
    value = transform(rows.sum() / (count * (count - 1)))
    if count < MIN_MEMBERS:
        return Estimate(value)
    without = (rows.sum() - 2 * rows) / ((count - 1) * (count - 2))
    return _estimate(value, [transform(mean) for mean in without], positive)


def rank_correlation(x: ArrayLike, y: ArrayLike) -> RankCorrelation:
    """Spearman's rank correlation of a few independent points.

    The interval is Fisher's: normal in z = artanh rho, with the variance
    (1 + rho²/2) / (n − 3) of Bonett and Wright (2000, Psychometrika 65, 23). A
    bootstrap of six points draws some of them twice, and such ties pull rho towards
    ±1. At rho = ±1, where z is infinite, half of the least step that rho can make is
    taken off it: six points in order are no certainty.

    p is the share of permutations that give a rho as extreme, twice that of the
    rarer side: of all permutations for up to `EXACT` points, else of `PERMUTATIONS`
    drawn with a fixed seed, the points as they are being one more.

    Args:
      x: [n]; equal values share their mean rank.
      y: [n].

    Returns:
      The correlation; its interval is None for three points.

    Raises:
      RequestError: the lengths differ, n is less than 3, a value is NaN or infinite,
        or all of one side are equal.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 3:
        raise RequestError(
            f"x and y must be two rows of one length, at least 3, got shapes "
            f"{x.shape} and {y.shape}"
        )
    for name, values in (("x", x), ("y", y)):
        if not np.isfinite(values).all():
            raise RequestError(f"{name} holds NaN or infinity, wanted finite numbers")
        if np.ptp(values) == 0:
            raise RequestError(
                f"{name} must not be the same everywhere, got {values[0]}"
            )
    first, second = scipy.stats.rankdata(x), scipy.stats.rankdata(y)
    rho = float(np.corrcoef(first, second)[0, 1])
    # Ranks are halves of integers, so equal sums of products are equal in floats too.
    test = scipy.stats.permutation_test(
        (first,),
        lambda ranks, axis: (ranks * second).sum(axis),
        permutation_type="pairings",
        n_resamples=math.factorial(EXACT) if len(x) <= EXACT else PERMUTATIONS,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    return RankCorrelation(_fisher(rho, len(x)), float(test.pvalue), len(x))


def _fisher(rho: float, count: int) -> Estimate:
    """The interval of `rank_correlation`."""
    if count <= 3:
        return Estimate(rho)
    limit = 1 - 6 / (count**3 - count)
    z = math.atanh(min(max(rho, -limit), limit))
    half = scipy.stats.norm.ppf((1 + CONFIDENCE) / 2) * math.sqrt(
        (1 + rho**2 / 2) / (count - 3)
    )
    return Estimate(rho, min(math.tanh(z - half), rho), max(math.tanh(z + half), rho))


def _estimate(value: float, without: list[float], positive: bool) -> Estimate:
    """A value, and the interval by what it is without each of the members."""
    values = np.asarray(without, np.float64)
    if positive and values.any():
        if not (value > 0 and (values > 0).all()):
            return Estimate(value)
        log = _estimate(math.log(value), np.log(values).tolist(), positive=False)
        if log.low is None or log.high is None:
            return Estimate(value)
        return Estimate(value, math.exp(log.low), math.exp(log.high))
    if not np.isfinite(values).all():
        return Estimate(value)
    count = len(values)
    error = math.sqrt((count - 1) * values.var())
    half = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * error
    return Estimate(value, value - half, value + half)
