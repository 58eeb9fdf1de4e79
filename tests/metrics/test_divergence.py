"""Divergence of two computations: planted exponents and bits, and a chaotic map."""

import math

import numpy as np
import pytest
from pictures import smooth_picture

import nst_jax
from nst_jax.metrics.divergence import (
    Divergence,
    Growth,
    divergence,
    growth,
    ulp_distances,
)

STEPS = np.arange(0, 100, 2)
A = smooth_picture(1, 5, 7)
PATH = np.stack([A * np.float32(1 - t / 10) for t in range(6)])


def float32(*bits: int) -> np.ndarray:
    return np.array(bits, np.uint32).view(np.float32)


def fitted(steps, distances) -> Growth:
    found = growth(steps, distances)
    assert found is not None
    return found


def noisy(rate: float, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """An exponential between 1e-7 and 1, with noise on its logarithm."""
    start = math.log(1e-7 if rate > 0 else 1)
    heights = np.clip(start + rate * STEPS, math.log(1e-7), 0)
    return np.exp(heights + sigma * rng.normal(size=len(STEPS)))


# Units in the last place.


def test_neighbours_are_one_apart():
    values = np.random.default_rng(0).normal(size=1000).astype("f4")
    values = np.concatenate([values, values * np.float32(1e-42), [1, 2, 0.5, 0]])
    values = values.astype(np.float32)
    for way in (-np.inf, np.inf):
        next_to = np.nextafter(values, np.float32(way))
        np.testing.assert_array_equal(ulp_distances(values, next_to), 1)
        np.testing.assert_array_equal(ulp_distances(next_to, values), 1)


def test_ulps_add_up_along_the_line():
    """Through zero, subnormal numbers and all sizes, to the infinities."""
    bits = np.random.default_rng(0).integers(0, 2**32, 4000, np.uint32)
    line = bits.view(np.float32)
    line = np.sort(np.append(line[~np.isnan(line)], np.float32([-np.inf, np.inf])))
    ends = ulp_distances(line[:1], line[-1:])
    assert ulp_distances(line[1:], line[:-1]).sum() == ends[0] == 2 * 0x7F800000
    assert ends.dtype == np.int64  # It would not fit into 32 bits.


def test_ulps_within_a_binade_are_the_difference_by_the_spacing():
    a, b = 1 + np.random.default_rng(0).random((2, 500), np.float32)
    wanted = np.abs(np.float64(a) - b) / np.spacing(np.float32(1))
    np.testing.assert_array_equal(ulp_distances(a, b), wanted)
    np.testing.assert_array_equal(ulp_distances(-a, -b), wanted)


def test_the_two_zeros_are_one_number():
    zero, tiny = np.float32([0, -0.0]), float32(1, 0x80000001)
    assert ulp_distances(zero, zero[::-1]).tolist() == [0, 0]
    assert ulp_distances(tiny, tiny[::-1]).tolist() == [2, 2]


# Where they part.


@pytest.mark.parametrize("k", range(6))
def test_a_planted_ulp_is_found_where_it_is(k: int):
    other = PATH.copy()
    other[k:, 2, 3, 1] = np.nextafter(other[k:, 2, 3, 1], np.float32(2))
    found = divergence(np.arange(6) * 10, PATH, list(other))
    assert (found.equal, found.first_difference, found.ulps) == (False, 10 * k, 1)
    assert found.distances[:k] == (0,) * k
    assert min(found.distances[k:]) > 0
    assert found.max == np.spacing(PATH[-1, 2, 3, 1])
    assert found.mean == pytest.approx(found.max / A.size, rel=1e-14)
    assert found.rms == pytest.approx(found.max / math.sqrt(A.size), rel=1e-14)
    assert found.rms == found.distances[-1]


def test_two_that_part_and_meet_again_are_not_equal():
    other = PATH.copy()
    other[2] += 1
    found = divergence(range(6), PATH, other)
    assert found == Divergence(
        equal=False,
        first_difference=2,
        max=0,
        mean=0,
        rms=0,
        ulps=0,
        steps=(0, 1, 2, 3, 4, 5),
        distances=(0, 0, found.distances[2], 0, 0, 0),
        growth=None,
    )
    assert found.distances[2] == pytest.approx(1, rel=1e-7)


def test_bits_are_compared_and_not_values():
    zero = np.zeros((1, 2, 2, 3), np.float32)
    found = divergence([7], zero, -zero)
    assert (found.equal, found.first_difference, found.max, found.ulps) == (
        False,
        7,
        0,
        0,
    )
    assert divergence([7], -zero, -zero).equal


def test_differences_are_those_of_float64():
    """1 and 2⁻³⁰ differ by what float32 would round; beyond the gamut counts too."""
    a = np.full((1, 1, 1, 3), [1, 5, -3], np.float32)
    b = np.full((1, 1, 1, 3), [2**-30, 5, 4], np.float32)
    found = divergence([0], a, b)
    assert found.max == 7
    assert found.mean == (1 - 2**-30 + 7) / 3
    assert found.rms == pytest.approx(math.sqrt(((1 - 2**-30) ** 2 + 49) / 3), 1e-15)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_canvas_that_is_not_finite_is_reported(bad: float):
    here = PATH.copy()
    here[3:, 0, 0, 0] = bad
    same = divergence(range(6), here, here.copy())
    assert same.equal and same.first_difference is None
    there = divergence(range(6), PATH, here)
    assert (there.equal, there.first_difference) == (False, 3)
    for found in (same, there):
        assert found.distances[:3] == (0, 0, 0)
        for number in (*found.distances[3:], found.max, found.mean, found.rms):
            assert math.isnan(number)
    assert (there.ulps is None) == math.isnan(bad)


def test_nans_of_other_bits_are_other_nans():
    """A signalling one too, which any arithmetic would change or warn about."""
    nans = float32(0x7FC00000, 0x7FC00001, 0xFFC00000, 0x7F800001)
    for i, one in enumerate(nans):
        for j, other in enumerate(nans):
            a, b = (np.full((1, 1, 1, 3), nan, np.float32) for nan in (one, other))
            a.view("u4")[:], b.view("u4")[:] = one.view("u4"), other.view("u4")
            found = divergence([1], a, b)
            assert (found.equal, found.ulps) == (i == j, None)


def descent(steps: int, start: np.ndarray, noise: np.random.Generator | None = None):
    """Gradient descent to A, whose sums may be taken in an order of the day."""
    x, path = start, []
    for _ in range(steps):
        rounding = 0 if noise is None else noise.normal(0, 1e-7, x.shape)
        x = (x - np.float32(0.1) * (x - A) + rounding).astype(np.float32)
        path.append(x)
    return path


def test_a_program_that_differs_from_run_to_run_is_caught():
    arm = [descent(20, 1 - A, np.random.default_rng(run)) for run in (1, 2)]
    found = divergence(range(20), *arm)
    assert (found.equal, found.first_difference) == (False, 0)
    assert found.ulps is not None and found.ulps > 0
    assert divergence(range(20), descent(20, 1 - A), descent(20, 1 - A)).equal


def test_descent_forgets_where_it_started():
    """By 0.9 a step, until what is left is rounding."""
    a, b = descent(300, 1 - A), descent(300, A**2)
    found = divergence(range(300), a, b).growth
    assert found is not None
    assert found.rate == pytest.approx(math.log(0.9), rel=1e-2)
    assert found.e_folding == 1 / found.rate
    assert found.first == 0 and 100 < found.last < 200


def test_the_exponent_of_a_chaotic_map_is_found_from_one_bit():
    """Arnold's cat map parts what is close by the square of the golden ratio a step.

    In multiples of 2⁻²³ float32 computes it exactly.
    """

    def cat(x: float, y: float):
        x, y, path = np.float32(x), np.float32(y), []
        for _ in range(40):
            path.append(np.full((1, 1, 3), [x, y, 0], np.float32))
            y = (x + y) % np.float32(1)
            x = (x + y) % np.float32(1)
        return path

    ulp = 2.0**-23
    start = np.random.default_rng(0).integers(2**22, 2**23, 2) * ulp
    found = divergence(range(40), cat(*start), cat(start[0] + ulp, start[1]))
    assert found.first_difference == 0
    assert found.distances[0] == pytest.approx(ulp / math.sqrt(3), rel=1e-14)
    assert found.growth is not None
    golden = (1 + math.sqrt(5)) / 2
    assert found.growth.rate == pytest.approx(2 * math.log(golden), rel=0.02)
    assert found.growth.last == pytest.approx(23 * math.log(2) / 0.9624, abs=3)


# How fast.


@pytest.mark.parametrize("rate", [0.3, 0.25, -0.3, -0.25])
@pytest.mark.parametrize("sigma", [0.03, 0.3])
def test_a_planted_rate_is_recovered_within_its_error(rate: float, sigma: float):
    """The errors of 400 draws have the stated size, and the bias is part of one.

    Where the noise is large, it ends the phase early if it points to the plateau; so
    the last looks of a phase are those where it does not. It also makes the largest
    distance, which few of the others may then come near.
    """
    rng = np.random.default_rng(0)
    draws = [fitted(STEPS, noisy(rate, sigma, rng)) for _ in range(400)]
    scores = np.array([(draw.rate - rate) / draw.error for draw in draws])
    assert abs(scores.mean()) < 0.2 + sigma  # 0.2: four standard errors of the mean.
    assert 0.9 < scores.std() < 1.15
    assert np.median([draw.error for draw in draws]) < sigma / 40


def test_a_pure_exponential_is_exact():
    for rate in (0.1, -0.1):
        found = fitted(STEPS, 1e-5 * np.exp(rate * STEPS))
        assert found.rate == pytest.approx(rate, rel=1e-12)
        assert found.error < 1e-12
        assert found.e_folding == pytest.approx(1 / rate)


def test_the_error_is_that_of_the_textbook():
    heights = np.array([0.0, 1.0, 2.1, 3.9, 5.2, 20.0, 20.0])
    steps = np.array([0, 1, 2, 4, 5, 7, 8])
    x, y = steps[:5], heights[:5]
    slope = ((x - x.mean()) * y).sum() / ((x - x.mean()) ** 2).sum()
    residuals = y - y.mean() - slope * (x - x.mean())
    error = math.sqrt((residuals**2).sum() / 3 / ((x - x.mean()) ** 2).sum())
    found = fitted(steps, np.exp(heights))
    assert (found.first, found.last) == (0, 5)
    assert found.rate == pytest.approx(slope, rel=1e-12)
    assert found.error == pytest.approx(error, rel=1e-12)


def test_the_phase_ends_where_half_of_the_plateau_is_reached():
    """A logistic curve: half after step 60, with half of its rate, and bent before."""
    steps = np.arange(121)
    found = fitted(steps, 3 / (1 + np.exp(-0.3 * (steps - 60.5))))
    assert (found.first, found.last) == (0, 60)
    assert 0.95 * 0.3 < found.rate < 0.3
    whole = np.polyfit(steps, np.log(3 / (1 + np.exp(-0.3 * (steps - 60.5)))), 1)[0]
    assert whole < 0.6 * 0.3  # What it would be of all steps.


@pytest.mark.parametrize("then", [0.2, 0.0, -0.1, -1.5])
@pytest.mark.parametrize("sigma", [0, 0.05])
def test_the_rate_is_that_of_the_first_of_two_phases(then: float, sigma: float):
    """0.8 a step for ten steps, then slower, level, or down, beyond the start too."""
    steps = np.arange(41)
    rng = np.random.default_rng(0)
    heights = np.minimum(0.8 * steps, 8) + then * np.maximum(steps - 10, 0)
    found = fitted(steps, 1e-6 * np.exp(heights + sigma * rng.normal(size=41)))
    assert found.rate == pytest.approx(0.8, rel=0.05)
    assert found.first == 0 and 5 <= found.last <= 11


def test_what_is_on_no_line_has_no_rate():
    """A jump, and a slow growth after it: no four points from the first are on one."""
    heights = np.array([0, 5, *(5 + 0.1 * np.arange(1, 20))])
    assert growth(range(21), np.exp(heights)) is None


def test_one_look_does_not_make_the_plateau():
    whole = noisy(0.3, 0, np.random.default_rng(0))
    for look in (-3, -1):
        for factor in (1e5, 1e-5):
            distances = whole.copy()
            distances[look] *= factor
            assert fitted(STEPS, distances).last == fitted(STEPS, whole).last


def test_the_rate_does_not_depend_on_units():
    distances = noisy(0.25, 0.1, np.random.default_rng(0))
    here = fitted(STEPS, distances)
    larger, later = fitted(STEPS, 1e4 * distances), fitted(3 * STEPS + 1000, distances)
    assert larger.rate == pytest.approx(here.rate, rel=1e-10)
    assert later.rate == pytest.approx(here.rate / 3, rel=1e-10)
    assert later.error == pytest.approx(here.error / 3, rel=1e-10)
    assert (later.first, later.last) == (3 * here.first + 1000, 3 * here.last + 1000)
    mirrored = fitted(STEPS, 1 / distances)
    assert mirrored.rate == pytest.approx(-here.rate, rel=1e-10)


def test_zeros_before_and_what_is_not_finite_after_do_not_count():
    distances = 1e-6 * np.exp(0.1 * STEPS)
    here = fitted(STEPS[10:40], distances[10:40])
    for end in (np.nan, np.inf, 0):
        bent = distances.copy()
        bent[:10], bent[40] = 0, end
        assert fitted(STEPS, bent) == here
    assert here.first == STEPS[10]


def test_without_four_points_there_is_no_rate():
    quick = [1e-6, 1e-4, 1e-2, 1, 1, 1, 1, 1, 1, 1]
    assert growth(range(10), quick) is None
    assert growth(range(11), [1e-8, *quick]) is not None
    assert growth(range(3), [1, 2, 4]) is None
    assert growth(range(9), [0] * 9) is None
    assert growth(range(9), [np.nan] * 9) is None
    assert growth(range(9), [1, 1.1, 0.9, 1, 1.2, 1, 1, 0.8, 1]) is None


def test_no_rate_takes_for_ever():
    assert Growth(0.0, 0.1, 0, 9).e_folding == math.inf


# Requests.


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: divergence([0, 1], PATH[:2], PATH[:3]), "length, got 2, 2 and 3"),
        (lambda: divergence([1, 1], PATH[:2], PATH[:2]), r"integers, got \[1, 1\]"),
        (lambda: divergence([], [], []), r"steps must be ascending integers, got \[\]"),
        (lambda: divergence([0], [A], [A[1:]]), r"got b\[0\] of shape \[4, 7, 3\]"),
        (lambda: divergence([0, 1], [A, A[1:]], [A, A]), r"a\[1\] of shape \[4, 7, 3"),
        (lambda: divergence([0], [A[0]], [A[0]]), r"\[H, W, 3\], got a\[0\] of shape"),
        (lambda: divergence([0], [A], [A.astype("f8")]), r"b\[0\] must be float32"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, sentence: str):
    with pytest.raises(nst_jax.RequestError, match=sentence):
        call()
