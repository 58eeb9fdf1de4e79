"""Flicker of a film: sinusoids, white noise, Parseval and known motion."""

import math
import tracemalloc

import numpy as np
import pytest
from pictures import smooth_picture

import nst_jax
from nst_jax.metrics.flicker import (
    align_frames,
    flicker,
    flicker_map,
    mean_change,
    side_by_side,
    temporal_spectrum,
)

A, B = smooth_picture(1, 12, 18), smooth_picture(2, 12, 18)
STILL = np.stack([A] * 7)
WORLD = smooth_picture(3, 40, 50)
MOTION = np.array([(0, 0), (2, 1), (5, -3), (-4, 0), (1, 6)])


def noise(count: int, sigma: float, shape=(16, 16), seed: int = 0) -> np.ndarray:
    """Mid-grey and white Gaussian noise, well within the gamut."""
    return np.random.default_rng(seed).normal(0.5, sigma, (count, *shape, 3))


def pan(world: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """A film of a 20×30 window that moves over the world against `motion`."""
    return np.stack([world[10 - y : 30 - y, 10 - x : 40 - x] for y, x in motion])


# Change.


def test_change_is_the_mean_step():
    film = np.stack([A, B, B, A])
    step = np.abs(np.float64(A) - B).mean()
    assert mean_change(film) == pytest.approx(2 / 3 * step, rel=1e-14)
    black = np.zeros((1, 2, 2, 3))
    assert mean_change(np.concatenate([black, black + 1])) == 1


def test_what_is_beyond_the_gamut_does_not_flicker():
    film = np.stack([A - 2, A - 3, A - 4])
    assert mean_change(film) == temporal_spectrum(film)[1].max() == 0
    assert mean_change(np.stack([A - 3, A + 3])) == 1


def test_a_still_film_does_not_flicker_at_all():
    """Exactly: sums of 0.1 and the like do not round."""
    found = flicker(STILL, STILL)
    assert (found.change, found.std, found.ratio) == (0, 0, None)
    assert set(found.spectrum[1]) == {0}
    assert flicker_map(STILL).max() == 0


def test_white_noise_changes_by_two_sigma_over_root_pi():
    """The mean of |x − y| for two Gaussians; the error of this many is some 0.2 %."""
    for sigma in (0.01, 0.05):
        found = mean_change(noise(200, sigma))
        assert found == pytest.approx(2 * sigma / math.sqrt(math.pi), rel=5e-3)


def test_the_map_says_where():
    film = np.stack([A] * 5)
    film[::2, 3, 4, 1] = 0
    film[1::2, 3, 4, 1] = 0.75
    wanted = np.zeros(A.shape[:2])
    wanted[3, 4] = 0.75 / 3
    np.testing.assert_allclose(flicker_map(film), wanted, rtol=1e-14)
    other = noise(9, 0.3)
    assert flicker_map(other).mean() == pytest.approx(mean_change(other), rel=1e-13)


# Over time.


@pytest.mark.parametrize("count", [2, 3, 16, 17])
def test_the_spectrum_adds_up_to_the_variance(count: int):
    film = noise(count, 0.3, (5, 8))  # Some of it is clipped.
    frequencies, power = temporal_spectrum(film)
    variance = np.clip(film, 0, 1).var(0)
    assert power.sum() == pytest.approx(variance.mean(), rel=1e-12)
    assert power[0] == 0
    np.testing.assert_allclose(frequencies, np.arange(count // 2 + 1) / count)


@pytest.mark.parametrize(("count", "k"), [(16, 1), (16, 5), (16, 7), (17, 8), (9, 4)])
def test_a_sinusoid_has_half_its_squared_amplitude_at_its_place(count: int, k: int):
    t = np.arange(count)[:, None, None, None]
    phase = np.random.default_rng(0).uniform(0, 7, (4, 6, 1))
    amplitude = np.array([0.1, 0.2, 0.3])
    film = 0.5 + amplitude * np.sin(2 * np.pi * k * t / count + phase)
    frequencies, power = temporal_spectrum(film)
    wanted = np.zeros(count // 2 + 1)
    wanted[k] = (amplitude**2).mean() / 2
    assert frequencies[k] == k / count
    np.testing.assert_allclose(power, wanted, atol=1e-15)


def test_what_alternates_is_at_one_half():
    film = np.full((8, 2, 3, 3), 0.5)
    film[::2] += 0.2
    film[1::2] -= 0.2
    frequencies, power = temporal_spectrum(film)
    assert frequencies[-1] == 0.5
    np.testing.assert_allclose(power, [0, 0, 0, 0, 0.2**2], atol=1e-16)


@pytest.mark.parametrize("count", [12, 13])
def test_white_noise_is_at_all_frequencies(count: int):
    """2σ²/T each, half of it at ½, which has no other side."""
    sigma = 0.02
    _, power = temporal_spectrum(noise(count, sigma, (64, 64)))
    wanted = np.full(count // 2 + 1, 2 * sigma**2 / count)
    wanted[0] = 0
    if count % 2 == 0:
        wanted[-1] /= 2
    np.testing.assert_allclose(power, wanted, rtol=0.05)


def test_the_order_of_pixels_does_not_matter():
    film = noise(6, 0.2, (5, 8))
    turned = film.swapaxes(1, 2)[:, ::-1]
    np.testing.assert_allclose(
        temporal_spectrum(turned)[1], temporal_spectrum(film)[1], rtol=1e-12
    )
    assert mean_change(turned) == pytest.approx(mean_change(film), rel=1e-13)


def test_a_film_is_not_held_in_float64():
    film = np.random.default_rng(0).random((40, 64, 64, 3), np.float32)
    for measure in (mean_change, flicker_map, temporal_spectrum):
        tracemalloc.start()
        measure(film)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < film.nbytes / 2


# Motion.


def test_motion_is_taken_back_exactly():
    film = pan(WORLD, MOTION)
    found = align_frames(film, MOTION)
    assert found.shape == (5, 20 - 9, 30 - 9, 3)
    assert found.dtype == film.dtype
    for frame in found:  # Frame 0 from −(least dy) and −(least dx).
        np.testing.assert_array_equal(frame, film[0, 4 : 4 + 11, 3 : 3 + 21])
    assert mean_change(film) > 0.1
    assert mean_change(align_frames(film, -MOTION)) > 0.1


def test_a_roll_is_motion_but_for_its_edges():
    film = np.stack([np.roll(A, move, (0, 1)) for move in MOTION])
    found = align_frames(film, MOTION)
    assert found.shape == (5, 12 - 9, 18 - 9, 3)
    assert mean_change(found) == 0


def test_no_motion_cuts_nothing():
    film = np.stack([A, B])
    np.testing.assert_array_equal(align_frames(film, np.zeros((2, 2), int)), film)


# A film and its contents.


def test_the_ratio_is_of_the_changes():
    contents = noise(30, 0.02)
    frames = 0.5 + 3 * (contents - 0.5)
    found = flicker(frames, contents)
    assert found.ratio == pytest.approx(3, rel=1e-12)
    assert found.change == mean_change(frames)
    assert found.content_change == mean_change(contents)
    variance = frames.var(0).mean()
    assert found.std == pytest.approx(math.sqrt(variance), rel=1e-12)
    assert sum(found.spectrum[1]) == pytest.approx(variance, rel=1e-12)
    assert found.spectrum[0] == tuple(temporal_spectrum(frames)[0])


def test_what_moves_with_the_camera_does_not_flicker():
    contents = pan(WORLD, MOTION)
    painted = pan(1 - WORLD**2, MOTION)
    found = flicker(painted, contents, MOTION)
    assert (found.change, found.content_change, found.ratio) == (0, 0, None)
    stuck = flicker(painted + 0.1 * STUCK, contents, MOTION)
    assert stuck.change > 0
    moving = flicker(painted, contents)
    assert moving.change > 0 and moving.content_change > 0


#: Grain that keeps its place on the screen while the world moves.
STUCK = np.random.default_rng(0).random((20, 30, 3))


# To look at.


def test_three_panels():
    contents, frames = np.stack([B] * 3), np.stack([A, A, B])
    panels, gain = side_by_side(contents, frames)
    assert (panels.shape, panels.dtype) == ((3, 12, 54, 3), np.float32)
    content, result, changed = np.split(panels, 3, axis=2)
    np.testing.assert_array_equal(content, contents)
    np.testing.assert_array_equal(result, frames)
    np.testing.assert_array_equal(changed[:2], 0)
    wanted = np.minimum(gain * np.abs(np.float64(B) - A), 1)
    np.testing.assert_allclose(changed[2], wanted, atol=1e-6)
    assert (wanted == 1).any()


def test_the_gain_keeps_all_but_the_largest_changes():
    frames = np.full((2, 20, 50, 3), 0.25)
    ramp = np.linspace(0, 0.5, 3000)  # The quantile is 0.999 of the way.
    frames[1] += np.random.default_rng(0).permutation(ramp).reshape(20, 50, 3)
    panels, gain = side_by_side(frames, frames)
    assert gain == pytest.approx(1 / (0.999 * 0.5), rel=1e-6)
    assert (panels[1, :, 100:] == 1).sum() == 3


def test_few_changes_are_told_from_none():
    few = np.full((2, 40, 50, 3), 0.5)
    few[1, 0, 0, 0] = 0.75
    panels, gain = side_by_side(few, few)
    assert gain == 4
    assert panels[1, 0, 100, 0] == 1
    panels, gain = side_by_side(STILL, STILL)
    assert gain == 1
    assert panels[:, :, 36:].max() == 0


# Requests.


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: mean_change(A), r"frames must be of shape .* got \[12, 18, 3\]"),
        (lambda: temporal_spectrum(A[None]), r"T at least 2, got \[1, 12, 18, 3\]"),
        (lambda: mean_change(STILL[..., :1]), r"got \[7, 12, 18, 1\]"),
        (lambda: mean_change(np.zeros((2, 4, 4, 3), np.int32)), "floats .* of int32"),
        (lambda: flicker_map(STILL * np.nan), r"frames\[0\] holds NaN or infinity"),
        (
            lambda: flicker(STILL, STILL + np.inf),
            r"contents\[0\] holds NaN",
        ),
        (lambda: flicker(STILL, STILL[1:]), r"\[7, .* and \[6, 12, 18, 3\]"),
        (lambda: side_by_side(STILL[:, 1:], STILL), r"and \[7, 11, 18, 3\]"),
        (
            lambda: align_frames(STILL, MOTION),
            r"integers \[7, 2\].* got int64 \[5, 2\]",
        ),
        (lambda: align_frames(STILL[:5], MOTION / 2), "got float64"),
        (
            lambda: align_frames(STILL[:2], [(1, 0), (1, 0)]),
            r"\(0, 0\), got \(1, 0\)",
        ),
        (
            lambda: align_frames(STILL[:2], [(0, 0), (0, 18)]),
            r"range of \(0, 18\) for \[",
        ),
    ],
)
def test_what_is_no_film_is_refused(call, sentence: str):
    with pytest.raises(nst_jax.RequestError, match=sentence):
        call()
