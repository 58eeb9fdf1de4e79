"""Distances of images, against direct formulas, Parseval and sinusoids."""

import dataclasses
import math
import tracemalloc

import numpy as np
import pytest
from pictures import smooth_picture

import nst_jax
from nst_jax.metrics import distances as distances_module
from nst_jax.metrics.distances import (
    ALL,
    AxisDistances,
    band_energies,
    band_rms,
    difference_image,
    distances_by_axis,
    low_pass,
    pairwise_rms,
    rms,
    steps_to_loss,
)

A, B = smooth_picture(1, 12, 18), smooth_picture(2, 12, 18)


# Distances.


def test_rms_is_of_what_is_seen():
    black, white = np.zeros((2, 3, 3)), np.ones((2, 3, 3))
    assert rms(black, white) == 1
    assert rms(black - 5, white + 7) == 1
    assert rms(black, np.float32(white) / 4) == 0.25
    half = black.copy()
    half[0] = 1
    assert rms(half, black) == pytest.approx(math.sqrt(0.5), rel=1e-15)


def test_pairwise_is_the_direct_formula(monkeypatch: pytest.MonkeyPatch):
    pictures = np.random.default_rng(0).normal(0.5, 0.5, (7, 5, 9, 3)).astype("f4")
    wanted = [[rms(a, b) for b in pictures] for a in pictures]
    whole = pairwise_rms(pictures)
    np.testing.assert_allclose(whole, wanted, rtol=1e-13)
    monkeypatch.setattr(distances_module, "_BLOCK", 7 * 13)  # 13 does not divide 135.
    np.testing.assert_allclose(pairwise_rms(pictures), wanted, rtol=1e-13)
    np.testing.assert_array_equal(whole, whole.T)


def test_equal_pictures_are_at_distance_zero_and_close_ones_are_not():
    near = A.copy()
    near[3, 4, 1] += 1e-3
    distances = pairwise_rms(np.stack([A, B, A, near]))
    assert (np.diag(distances) == 0).all()
    assert distances[0, 2] < 1e-7
    np.testing.assert_allclose(distances[0, 3], rms(A, near), rtol=1e-6)
    assert pairwise_rms(A[None]).tolist() == [[0.0]]


def test_pictures_that_are_all_close_are_told_apart():
    """The common part cancels before anything is squared."""
    noise = np.random.default_rng(0).normal(0, 1e-9, (5, *A.shape))
    wanted = [[rms(a, b) for b in A + noise] for a in A + noise]
    np.testing.assert_allclose(pairwise_rms(A + noise), wanted, rtol=1e-6)


def test_a_square_that_rounds_to_less_than_nothing_is_nothing():
    noise = np.random.default_rng(0).normal(0, 1e-12, (30, *A.shape))
    distances = pairwise_rms(np.concatenate([A + noise, B - noise]))
    assert (distances[:30, :30] < 1e-7).all()


def test_a_thousand_pictures_take_little_memory():
    """Beside the pictures and the [N, N] results: less than half of N in float64."""
    pictures = np.random.default_rng(0).random((1000, 64, 64, 3), np.float32)
    tracemalloc.start()
    distances = pairwise_rms(pictures)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < pictures.size * 8 / 2
    uniform = math.sqrt(1 / 6)  # The variance of a difference of two uniforms.
    np.testing.assert_allclose(distances[0, 1:], uniform, rtol=0.05)


# By axis.


def line_metric(*scales: float):
    """Distances of grid points: a step along axis a is worth scales[a], added up."""

    def distances(index: np.ndarray) -> np.ndarray:
        weighted = np.asarray(index) * np.array(scales)
        return np.abs(weighted[:, None] - weighted[None]).sum(-1)

    return distances


def test_each_axis_has_the_pairs_that_differ_in_it_alone():
    """A full 2×4 grid: 4 pairs along the first axis, 2·(4 choose 2) along the other."""
    index = np.array([(i, j) for i in range(2) for j in range(4)])
    across, along, everything = distances_by_axis(
        line_metric(10, 1)(index), index, ("a", "b")
    )
    assert across == AxisDistances("a", 4, 10, 10, 10, 10)
    # Along b: three pairs a step apart, two by two, one by three.
    assert along == AxisDistances("b", 12, 10 / 6, 1.5, 3, 1)
    assert (everything.axis, everything.pairs, everything.max) == (ALL, 28, 13)
    assert everything.neighbours == pytest.approx((4 * 10 + 6 * 1) / 10)


def test_members_may_stand_in_any_order():
    index = np.array([(i, j, k) for i in range(2) for j in range(3) for k in range(2)])
    shuffled = np.random.default_rng(0).permutation(index)
    metric = line_metric(5, 2, 1)
    here = distances_by_axis(metric(index), index, "abc")
    there = distances_by_axis(metric(shuffled), shuffled, "abc")
    for one, other in zip(here, there, strict=True):
        assert dataclasses.astuple(one) == pytest.approx(dataclasses.astuple(other))


def test_a_grid_may_have_holes():
    """An interrupted run leaves (0, 0), (0, 2) and (1, 0)."""
    index = np.array([(0, 0), (0, 2), (1, 0)])
    a, b, everything = distances_by_axis(line_metric(10, 1)(index), index, ("a", "b"))
    assert a == AxisDistances("a", 1, 10, 10, 10, 10)
    assert b == AxisDistances("b", 1, 2, 2, 2, None)  # No two that are a step apart.
    assert everything == AxisDistances(ALL, 3, 8, 10, 12, 10)


def test_an_axis_of_length_1_and_a_single_member_have_no_pairs():
    index = np.array([(0, 0), (1, 0)])
    _, one, _ = distances_by_axis(line_metric(1, 1)(index), index, ("a", "b"))
    assert one == AxisDistances("b", 0, None, None, None, None)
    alone = distances_by_axis(np.zeros((1, 1)), np.array([[3, 4]]), ("a", "b"))
    assert [record.pairs for record in alone] == [0, 0, 0]
    assert distances_by_axis(np.zeros((1, 1)), np.zeros((1, 0), int), ())[0].axis == ALL


# Frequencies.


@pytest.mark.parametrize("shape", [(16, 16, 3), (7, 12, 3), (9, 5, 1), (1, 8, 3)])
@pytest.mark.parametrize("cutoff", [0, 0.1, 0.25, 0.5, 1])
def test_the_bands_add_up_to_the_mean_square(shape: tuple, cutoff: float):
    difference = np.random.default_rng(0).normal(size=shape)
    low, high = band_energies(difference, cutoff)
    assert low + high == pytest.approx((difference**2).mean(), rel=1e-13)
    if cutoff == 1:  # The corner of the spectrum is at √½.
        assert high == 0


@pytest.mark.parametrize(("fy", "fx"), [(0, 3), (5, 0), (3, 4), (-3, 4), (6, 8)])
def test_a_sinusoid_is_in_one_band_with_half_its_squared_amplitude(fy: int, fx: int):
    y, x = np.mgrid[:32, :32] / 32
    wave = 0.2 * np.sin(2 * np.pi * (fy * y + fx * x) + 1)
    difference = np.stack([wave, 0 * wave, 0 * wave], axis=-1)
    energy, frequency = 0.2**2 / 2 / 3, math.hypot(fy, fx) / 32
    assert band_energies(difference, frequency) == pytest.approx((energy, 0), abs=1e-16)
    below = frequency - 1e-9
    assert band_energies(difference, below) == pytest.approx((0, energy), abs=1e-16)


def test_cutoff_zero_leaves_the_mean_colour():
    difference = np.float64(A) - B
    low, high = band_energies(difference, 0)
    assert low == pytest.approx((difference.mean((0, 1)) ** 2).mean(), rel=1e-12)
    assert high == pytest.approx(difference.var((0, 1)).mean(), rel=1e-12)


def test_bands_do_not_see_a_turn_or_a_roll():
    difference = np.float64(A) - B
    here = band_energies(difference, 0.1)
    for other in (difference.swapaxes(0, 1), np.roll(difference, (3, 5), (0, 1))):
        assert band_energies(other, 0.1) == pytest.approx(here, rel=1e-12)


def test_band_rms_splits_rms():
    beyond = A + 0.5  # Some of it outside of the gamut.
    low, high = band_rms(beyond, B, 0.1)
    assert min(low, high) > 0
    assert math.hypot(low, high) == pytest.approx(rms(beyond, B), rel=1e-13)


# Pictures of differences.


def test_the_largest_difference_just_fits():
    picture, gain = difference_image(A, B)
    assert picture.dtype == np.float32
    assert np.abs(picture - 0.5).max() == pytest.approx(0.5, abs=1e-7)
    np.testing.assert_allclose((picture - 0.5) / gain, A - B, atol=1e-6)


def test_a_difference_turns_with_the_order():
    picture, other = difference_image(A, B)[0], difference_image(B, A)[0]
    np.testing.assert_allclose(picture + other, 1, atol=1e-6)


def test_no_difference_is_mid_grey():
    for picture, gain in (difference_image(A, A), difference_image(A + 2, A + 3)):
        assert gain == 1
        np.testing.assert_array_equal(picture, 0.5)


# Losses.


def test_a_geometric_loss_is_reached_where_the_formula_says():
    """Loss r^k reaches r^x at step x, between any looks."""
    for steps in (np.arange(0, 41, 5), np.array([0, 1, 10, 40])):
        for wanted in (0.0, 0.5, 5.0, 17.3, 40.0):
            found = steps_to_loss(0.8**steps, steps, 0.8**wanted)
            assert found == pytest.approx(wanted, abs=1e-9)
    assert steps_to_loss(0.8**steps, steps, 0.8**40.1) is None


def test_the_first_time_counts():
    assert steps_to_loss([8, 2, 6, 1], [0, 10, 20, 30], 4) == pytest.approx(5)
    assert steps_to_loss([3, 9], [5, 6], 4) == 5
    assert steps_to_loss([], [], 1) is None


def test_losses_without_a_logarithm_give_the_later_look():
    assert steps_to_loss([1, 0], [0, 10], 0.5) == 10
    assert steps_to_loss([np.inf, 0.1], [0, 10], 0.5) == 10
    assert steps_to_loss([np.nan, 0.1], [0, 10], 0.5) == 10
    assert steps_to_loss([1, np.nan, np.nan], [0, 10, 20], 0.5) is None


# Requests.


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: rms(A, B[1:]), r"one shape, got \[12, 18, 3\] and \[11, 18, 3\]"),
        (lambda: rms(A, B * np.nan), "b holds NaN or infinity"),
        (
            lambda: pairwise_rms(A),
            r"must be of shape \[N, H, W, 3\], got \[12, 18, 3\]",
        ),
        (
            lambda: pairwise_rms(np.stack([A, A + np.inf])),
            r"images\[1\] holds NaN or inf",
        ),
        (
            lambda: band_energies(A, -0.1),
            "cutoff must be finite and not negative, got -0.1",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(call, sentence: str):
    with pytest.raises(nst_jax.RequestError, match=sentence):
        call()


def test_the_low_pass_keeps_what_is_coarse():
    y, x = np.mgrid[:16, :24]
    slow = np.sin(2 * np.pi * x / 24)[..., None] * [0.1, 0.2, 0.3]
    fine = 0.2 * ((-1.0) ** (x + y))[..., None]
    found = low_pass(0.5 + slow + fine, 1 / 8)
    np.testing.assert_allclose(found, 0.5 + slow, atol=1e-12)
    picture = np.random.default_rng(0).random((9, 14, 3))
    low, high = band_energies(picture, 1 / 8)
    kept = low_pass(picture, 1 / 8)
    np.testing.assert_allclose((kept**2).mean(), low)
    np.testing.assert_allclose(((picture - kept) ** 2).mean(), high)
