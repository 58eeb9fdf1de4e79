"""Estimates, against closed forms, enumeration, and ensembles of known truth."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

import nst_jax
from nst_jax.metrics import statistics
from nst_jax.metrics.statistics import (
    Estimate,
    jackknife,
    mean_of_pairs,
    rank_correlation,
    root_ratio_of_pairs,
)

VALUES = np.random.default_rng(0).normal(2, 3, 8)


def interval(found: Estimate) -> tuple[float, float]:
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


def half(found: Estimate) -> float:
    low, high = interval(found)
    return (high - low) / 2


def coverage(found: list[Estimate], truth: float) -> float:
    """Share of intervals that hold the truth; 300 of 95 % are off by ±0.025 (2σ)."""
    ends = np.array([interval(one) for one in found])
    return float(((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean())


def squared_differences(points: np.ndarray) -> np.ndarray:
    """|a − b|² of points [N, D], the direct formula."""
    return ((points[:, None] - points) ** 2).sum(-1)


# One member left out.


def test_the_mean_has_students_interval():
    found = jackknife(lambda members: VALUES[members].mean(), 8)
    wanted = stats.ttest_1samp(VALUES, 0).confidence_interval(0.95)
    assert found.value == VALUES.mean()
    assert interval(found) == pytest.approx((wanted.low, wanted.high), rel=1e-12)
    assert half(found) == pytest.approx((wanted.high - wanted.low) / 2, rel=1e-12)


def test_the_variance_has_the_closed_form_of_its_error():
    """θ₋ᵢ of s² by hand: (n − 1) s² − n / (n − 1) (xᵢ − mean)², over n − 2."""
    found = jackknife(lambda members: VALUES[members].var(ddof=1), 8)
    squares = (VALUES - VALUES.mean()) ** 2
    without = (squares.sum() - 8 / 7 * squares) / 6
    error = math.sqrt(7 / 8 * ((without - without.mean()) ** 2).sum())
    assert found.value == pytest.approx(squares.sum() / 7, rel=1e-12)
    assert half(found) == pytest.approx(2.3646243 * error, rel=1e-7)  # t of 7, 97.5 %.


def test_too_little_gives_a_value_without_an_interval():
    two = jackknife(lambda members: VALUES[members].mean(), 2)
    assert two == Estimate(VALUES[:2].mean(), None, None)
    assert jackknife(lambda members: 7, 1) == Estimate(7.0)
    assert mean_of_pairs(np.array([[0, 4], [4, 0]]), math.sqrt) == Estimate(2.0)
    three = mean_of_pairs(np.array([[0, 1, 2], [1, 0, 6], [2, 6, 0]]))
    # Without one of them: 6, 2 and 1. Student's t of 2 at 97.5 % is 4.3026527.
    assert half(three) == pytest.approx(4.3026527 * math.sqrt(2 / 3 * 14), rel=1e-7)
    # Without member 0 there is no slope.
    x = np.array([1.0, 0, 0, 0])
    with np.errstate(invalid="ignore"):
        found = jackknife(lambda members: (x[members] / x[members].sum()).sum(), 4)
    assert found == Estimate(1.0)


# Pairs.


def test_pairs_are_left_out_with_their_member():
    matrix = squared_differences(np.random.default_rng(1).normal(size=(7, 3)))

    def direct(members: np.ndarray) -> float:
        pairs = itertools.combinations(members, 2)
        return math.sqrt(np.mean([matrix[pair] for pair in pairs]))

    wanted, found = jackknife(direct, 7), mean_of_pairs(matrix, math.sqrt)
    assert found.value == pytest.approx(wanted.value, rel=1e-13)
    assert interval(found) == pytest.approx(interval(wanted), rel=1e-12)


def test_the_mean_square_of_differences_is_twice_the_variance():
    matrix = squared_differences(VALUES[:, None])
    found = mean_of_pairs(matrix, lambda mean: mean / 2)
    wanted = jackknife(lambda members: VALUES[members].var(ddof=1), 8)
    assert found.value == pytest.approx(wanted.value, rel=1e-12)
    assert interval(found) == pytest.approx(interval(wanted), rel=1e-11)


def test_the_diagonal_and_the_order_do_not_count_and_the_scale_does():
    matrix = squared_differences(VALUES[:, None])
    order = np.random.default_rng(2).permutation(8)
    here = mean_of_pairs(matrix)
    shuffled = 5 * matrix[np.ix_(order, order)] + np.diag(VALUES)
    there = mean_of_pairs(shuffled)
    assert there.value == pytest.approx(5 * here.value, rel=1e-12)
    assert interval(there) == pytest.approx([5 * end for end in interval(here)])
    np.testing.assert_array_equal(np.diag(shuffled), VALUES)  # It is left as it was.


@pytest.mark.parametrize("dimensions", [1, 30])
def test_the_intervals_hold_the_truth_as_often_as_they_say(dimensions: int):
    """Gini's mean difference 2 / √π of a line; 2 D in D dimensions."""
    rng = np.random.default_rng(3)
    found = []
    for points in rng.normal(size=(300, 8, dimensions)):
        matrix = squared_differences(points)
        found.append(mean_of_pairs(np.sqrt(matrix) if dimensions == 1 else matrix))
    truth = 2 / math.sqrt(math.pi) if dimensions == 1 else 2 * dimensions
    assert 0.90 <= coverage(found, truth) <= 0.99
    # The pairs taken for independent would not.
    first, second = np.triu_indices(8, 1)
    naive = []
    for points in rng.normal(size=(300, 8, 1)):
        differences = np.abs(points[first] - points[second])[:, 0]
        naive.append(jackknife(lambda pairs, d=differences: d[pairs].mean(), 28))
    assert coverage(naive, 2 / math.sqrt(math.pi)) < 0.90


@pytest.mark.parametrize("count", [4, 8])
def test_a_scale_has_the_interval_of_its_logarithm(count: int):
    """The deviation of normal values: plain intervals hold it 0.90 times or less."""
    rng = np.random.default_rng(7)
    found = []
    for values in rng.normal(size=(2000, count)):
        matrix = squared_differences(values[:, None]) / 2
        found.append(mean_of_pairs(matrix, math.sqrt, positive=True))
    assert 0.92 <= coverage(found, 1) <= 0.97
    assert all(interval(one)[0] > 0 for one in found)
    log = jackknife(lambda members: math.log(values[members].std(ddof=1)), count)
    assert interval(found[-1]) == pytest.approx(np.exp(interval(log)), rel=1e-9)


def test_a_scale_that_may_be_zero_has_no_interval():
    assert mean_of_pairs(np.zeros((4, 4)), positive=True) == Estimate(0, 0, 0)
    one = np.zeros((4, 4))
    one[0, 1:] = one[1:, 0] = 1  # Without member 0 there is no distance.
    assert mean_of_pairs(one, positive=True) == Estimate(0.5)


# Ranks.


def test_rho_is_pearsons_of_the_ranks_ties_and_all():
    x, y = [1, 5, 2, 2, 9, 3, 8], [3, 4, 1, 2, 8, 8, 7]
    found = rank_correlation(x, y)
    assert found.rho.value == pytest.approx(stats.spearmanr(x, y).statistic, rel=1e-12)
    assert found.count == 7


@pytest.mark.parametrize("count", [3, 5, 8])
def test_only_one_order_and_its_reverse_are_as_extreme_as_order_itself(count: int):
    x = np.arange(count)
    for y, rho in ((np.exp(x), 1), (-(x**3), -1)):
        found = rank_correlation(x, y)
        assert found.rho.value == pytest.approx(rho, rel=1e-14)
        assert found.p == pytest.approx(2 / math.factorial(count), rel=1e-12)


def test_p_is_the_share_of_all_permutations():
    x, y = np.array([3, 1, 4, 15, 9, 2]), np.array([2, 7, 18, 28, 1, 8])
    rhos = [stats.spearmanr(x, each).statistic for each in itertools.permutations(y)]
    observed = stats.spearmanr(x, y).statistic
    wanted = np.mean(np.abs(rhos) >= abs(observed) - 1e-12)
    assert 0.1 < wanted < 0.9
    assert rank_correlation(x, y).p == pytest.approx(wanted, rel=1e-12)


def test_p_of_many_points_is_drawn_always_alike():
    """Against Student's approximation, which is good at 40 points."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=40)
    y = 0.2 * x + rng.normal(size=40)
    found, wanted = rank_correlation(x, y), stats.spearmanr(x, y).pvalue
    assert 0.05 < wanted < 0.5
    assert found.p == pytest.approx(wanted, abs=4 * math.sqrt(wanted / 10_000) + 0.005)
    assert rank_correlation(x, y) == found
    assert rank_correlation(x, np.exp(x)).p == pytest.approx(2 / 10_001)  # Never 0.


def test_p_is_uniform_where_there_is_no_relation():
    rng = np.random.default_rng(5)
    p = np.array([rank_correlation(*rng.normal(size=(2, 6))).p for _ in range(300)])
    for level in (0.1, 0.3, 0.5):
        deviation = math.sqrt(level * (1 - level) / 300)
        assert (p <= level).mean() == pytest.approx(level, abs=3 * deviation + 0.02)


def test_fishers_interval_by_hand():
    """The first and last of 12 ranks are exchanged: Σd² = 242, rho = 1 − 6·242/1716."""
    x = np.arange(12)
    y = x.copy()
    y[[0, -1]] = y[[-1, 0]]
    rho = 1 - 6 * 242 / (12**3 - 12)
    half = 1.9599640 * math.sqrt((1 + rho**2 / 2) / 9)
    wanted = [math.tanh(math.atanh(rho) + side * half) for side in (-1, 1)]
    found = rank_correlation(x, y).rho
    assert found.value == pytest.approx(rho, rel=1e-12)
    assert interval(found) == pytest.approx(wanted, rel=1e-7)


def test_points_in_order_are_no_certainty():
    lows = []
    for count in (6, 9, 12):
        up = rank_correlation(range(count), range(count)).rho
        down = rank_correlation(range(count), range(0, -count, -1)).rho
        low, high = interval(up)
        assert high == pytest.approx(1, rel=1e-14)
        assert interval(down) == pytest.approx((-high, -low), rel=1e-12)
        lows.append(low)
    assert 0.4 < lows[0] < lows[1] < lows[2] < 0.99
    three = rank_correlation(range(3), range(3)).rho
    assert (three.low, three.high) == (None, None)


@pytest.mark.parametrize("rho", [0, 0.6, 0.85])
def test_fishers_interval_holds_the_truth_as_often_as_it_says(
    rho: float, monkeypatch: pytest.MonkeyPatch
):
    """For Gaussians of correlation r, Spearman's is 6/π arcsin(r/2)."""
    monkeypatch.setattr(statistics, "PERMUTATIONS", 1)  # p is not asked for.
    r = 2 * math.sin(rho * math.pi / 6)
    rng = np.random.default_rng(6)
    found = []
    for x, noise in rng.normal(size=(300, 2, 12)):
        found.append(rank_correlation(x, r * x + math.sqrt(1 - r**2) * noise).rho)
    assert 0.90 <= coverage(found, rho) <= 0.99


# Ratios of pairs.


def test_a_ratio_of_pairs_leaves_a_member_out_of_both_sums():
    points = np.random.default_rng(7).normal(size=(2, 6, 3))
    above, below = map(squared_differences, points)
    pairs = np.triu_indices(6, 1)
    found = root_ratio_of_pairs(above + 9 * np.eye(6), below)
    assert found.value == pytest.approx(
        math.sqrt(above[pairs].sum() / below[pairs].sum())
    )

    def ratio(members):
        kept = list(itertools.combinations(members, 2))
        sums = [sum(x[i, j] for i, j in kept) for x in (above, below)]
        return math.sqrt(sums[0] / sums[1])

    expected = jackknife(ratio, 6, positive=True)
    assert interval(found) == pytest.approx(interval(expected))
    # What is common to both sums cancels.
    assert half(root_ratio_of_pairs(4 * below, below)) == pytest.approx(0, abs=1e-12)


def test_a_ratio_to_nothing_is_nothing_or_infinite():
    zeros, ones = np.zeros((4, 4)), np.ones((4, 4))
    assert root_ratio_of_pairs(zeros, zeros) == Estimate(0, 0, 0)
    assert root_ratio_of_pairs(zeros, ones) == Estimate(0, 0, 0)
    assert root_ratio_of_pairs(ones, zeros) == Estimate(math.inf)


# Requests.


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: jackknife(np.mean, 0), "count must be at least 1, got 0"),
        (lambda: mean_of_pairs(np.eye(1)), r"N at least 2, got \[1, 1\]"),
        (lambda: mean_of_pairs(np.ones((2, 3))), r"\[N, N\] .* got \[2, 3\]"),
        (lambda: mean_of_pairs(np.float64(3)), r"\[N, N\] .* got \[\]"),
        (
            lambda: mean_of_pairs(np.full((3, 3), np.nan)),
            r"matrix\[0\] holds NaN or inf",
        ),
        (lambda: mean_of_pairs(np.tri(3)), "matrix must be symmetric"),
        (
            lambda: root_ratio_of_pairs(np.eye(3), np.eye(4)),
            r"must be of one shape, got \[3, 3\] and \[4, 4\]",
        ),
        (lambda: rank_correlation([1, 2], [1, 2]), r"N at least 3, got \[2\]"),
        (
            lambda: rank_correlation([1, 2, 3], [1, 2]),
            r"y must .* at least 3, got \[2\]",
        ),
        (lambda: rank_correlation([1, 2, 3], [1, 2, np.nan]), r"y\[2\] holds NaN"),
        (
            lambda: rank_correlation([4, 4, 4], [1, 2, 3]),
            "constant, got 4.0",
        ),
    ],
)
def test_what_cannot_be_estimated_is_refused(call, sentence: str):
    with pytest.raises(nst_jax.RequestError, match=sentence):
        call()
