"""Dispersion, against direct loops, and noise and waves of known dispersion."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from pictures import smooth_picture
from scipy import stats

import nst_jax
from nst_jax.metrics import distances
from nst_jax.metrics.dispersion import (
    Dispersion,
    coefficient_of_variation,
    dispersion,
    mean_image,
    std_image,
    variance_components,
)
from nst_jax.metrics.distances import band_rms, pairwise_ssim, rms
from nst_jax.metrics.feature_distances import relative_distances
from nst_jax.metrics.statistics import Estimate

A, B = smooth_picture(1, 13, 15), smooth_picture(2, 13, 15)
#: Some of it beyond the gamut.
NOISE = np.random.default_rng(0).normal(0.5, 0.4, (6, 12, 14, 3)).astype("f4")


def ssim(a, b) -> float:
    """SSIM of two images."""
    return float(pairwise_ssim(np.stack([a, b]))[0, 1])


def holds(found: Estimate, truth: float) -> bool:
    assert found.low is not None
    assert found.high is not None
    return found.low <= truth <= found.high


def assert_close(here, there, scale: float = 1) -> None:
    """Two records of estimates are equal, their numbers up to a scale."""
    for one, other in zip(
        dataclasses.astuple(here), dataclasses.astuple(there), strict=True
    ):
        assert np.multiply(scale, one) == pytest.approx(np.array(other), rel=1e-6)


# Pictures of an ensemble.


def test_mean_and_deviation_are_of_what_is_seen():
    seen = np.clip(np.float64(NOISE), 0, 1)
    np.testing.assert_allclose(mean_image(NOISE), seen.mean(0), rtol=1e-13)
    np.testing.assert_allclose(std_image(NOISE), seen.std(0, ddof=1), rtol=1e-12)
    assert mean_image(NOISE).dtype == std_image(NOISE).dtype == np.float64


def test_a_deviation_far_below_float32_is_not_lost():
    close = 0.7 + 1e-12 * np.array([1, 2, 3]).reshape(3, 1, 1, 1) * np.ones((2, 2, 3))
    np.testing.assert_allclose(std_image(close), 1e-12, rtol=1e-3)
    assert (std_image(np.stack([A, A, A])) == 0).all()


# Structural similarity.


def direct_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004, equations 13 to 16, one window at a time."""
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    weights /= weights.sum()
    height, width, channels = a.shape
    values = []
    for y, x, c in itertools.product(
        range(height - 10), range(width - 10), range(channels)
    ):
        p, q = (np.float64(z[y : y + 11, x : x + 11, c]) for z in (a, b))
        mean_p, mean_q = (weights * p).sum(), (weights * q).sum()
        var_p = (weights * (p - mean_p) ** 2).sum()
        var_q = (weights * (q - mean_q) ** 2).sum()
        covariance = (weights * (p - mean_p) * (q - mean_q)).sum()
        luminance = (2 * mean_p * mean_q + 1e-4) / (mean_p**2 + mean_q**2 + 1e-4)
        rest = (2 * covariance + 9e-4) / (var_p + var_q + 9e-4)
        values.append(luminance * rest)
    return float(np.mean(values))


@pytest.mark.parametrize(("a", "b"), [(A, B), (A, 1 - A), tuple(NOISE[:2].clip(0, 1))])
def test_ssim_is_the_direct_formula(a: np.ndarray, b: np.ndarray):
    assert ssim(a, b) == pytest.approx(direct_ssim(a, b), rel=1e-11)
    assert ssim(a, b) == ssim(b, a)
    assert ssim(a, a) == 1


def test_flat_pictures_have_the_similarity_of_their_brightness():
    flat = np.ones((11, 11, 3))
    for p, q in ((0.2, 0.5), (0, 1), (0.4, 0.4)):
        wanted = (2 * p * q + 1e-4) / (p**2 + q**2 + 1e-4)
        assert ssim(p * flat, q * flat) == pytest.approx(wanted, rel=1e-10)
    assert ssim(flat + 1, 5 * flat) == 1  # Both are white.


def test_channels_count_alike():
    mixed = A.copy()
    mixed[..., 1] = B[..., 1]
    gray_a, gray_b = (np.repeat(z[..., 1:2], 3, axis=-1) for z in (A, B))
    assert ssim(A, mixed) == pytest.approx((2 + ssim(gray_a, gray_b)) / 3, rel=1e-12)


def test_pairwise_ssim_has_every_pair():
    wanted = [[ssim(a, b) for b in NOISE] for a in NOISE]
    np.testing.assert_allclose(pairwise_ssim(NOISE), wanted, rtol=1e-13)


# Arrays of any size.


def test_relative_distances_have_no_unit():
    rng = np.random.default_rng(1)
    arrays = rng.normal(3, 1, (5, 7, 4))
    found = relative_distances(arrays)
    scale = math.sqrt((arrays**2).sum() / 5)
    wanted = [[np.linalg.norm(a - b) / scale for b in arrays] for a in arrays]
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-7)
    np.testing.assert_allclose(relative_distances(1e-9 * arrays), found, atol=1e-7)


def test_relative_distances_of_known_arrays():
    first, second = np.eye(2)
    np.testing.assert_allclose(
        relative_distances(7 * np.stack([first, second, -first])),
        [[0, math.sqrt(2), 2], [math.sqrt(2), 0, math.sqrt(2)], [2, math.sqrt(2), 0]],
        atol=1e-7,
    )
    assert (relative_distances(np.zeros((3, 2, 2))) == 0).all()
    assert relative_distances(np.ones((1, 4))).tolist() == [[0.0]]


def test_arrays_that_are_all_close_are_told_apart():
    """The common part cancels before anything is squared."""
    rng = np.random.default_rng(2)
    close = 5 + 1e-9 * rng.normal(size=(4, 100))
    wanted = [[np.linalg.norm(a - b) / 50 for b in close] for a in close]
    np.testing.assert_allclose(relative_distances(close), wanted, rtol=1e-5)
    # A square that rounds to less than nothing is nothing.
    far = np.concatenate([close, -close]) + 1e-14 * rng.normal(size=(8, 100))
    assert np.isfinite(relative_distances(np.repeat(far, 9, axis=0))).all()


def test_arrays_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch):
    arrays = np.random.default_rng(2).normal(size=(4, 31)).astype("f4")
    whole = relative_distances(arrays)
    monkeypatch.setattr(distances, "_BLOCK", 4 * 7)  # 7 does not divide 31.
    np.testing.assert_allclose(relative_distances(arrays), whole, rtol=1e-12)


# Ensembles.


def test_dispersion_is_of_all_pairs():
    found = dispersion(NOISE, 0.2)
    pairs = list(itertools.combinations(NOISE, 2))
    low, high = np.array([band_rms(a, b, 0.2) for a, b in pairs]).T
    assert found.rms.value == pytest.approx(np.mean([rms(*p) for p in pairs]))
    assert found.coarse.value == pytest.approx(math.sqrt((low**2).mean()), rel=1e-10)
    assert found.fine.value == pytest.approx(math.sqrt((high**2).mean()), rel=1e-10)
    assert found.ssim.value == pytest.approx(np.mean([ssim(*p) for p in pairs]))
    variance = (std_image(NOISE) ** 2).mean()
    assert found.std.value == pytest.approx(math.sqrt(variance), rel=1e-10)


def test_the_bands_are_those_of_the_cutoff_and_add_up():
    for cutoff in (0, 0.1, 1):
        found = dispersion(NOISE, cutoff)
        both = math.hypot(found.coarse.value, found.fine.value)
        assert both == pytest.approx(math.sqrt(2) * found.std.value, rel=1e-12)
    assert found.fine.value < 1e-12  # All is below a cycle per pixel.


def test_white_noise_has_its_deviation_and_its_share_of_the_frequencies():
    sigma, cutoff = 0.05, 1 / 8
    rng = np.random.default_rng(3)
    noise = 0.5 + sigma * rng.normal(size=(8, 48, 64, 3))
    radius = np.hypot(np.fft.fftfreq(48)[:, None], np.fft.fftfreq(64))
    share = np.mean(radius <= cutoff)
    found = dispersion(noise, cutoff)
    apart = sigma * math.sqrt(2)
    assert found.rms.value == pytest.approx(apart, rel=0.01)
    assert found.std.value == pytest.approx(sigma, rel=0.01)
    assert found.coarse.value == pytest.approx(apart * math.sqrt(share), rel=0.05)
    assert found.fine.value == pytest.approx(apart * math.sqrt(1 - share), rel=0.01)
    assert 0.02 < share < 0.1


@pytest.mark.parametrize(("frequency", "coarse"), [((1, 2), True), ((5, 3), False)])
def test_a_wave_of_any_phase_lies_in_one_band(frequency: tuple, coarse: bool):
    """Phases 2πk/N: the mean over pairs of 1 − cos of their difference is N/(N − 1)."""
    count, amplitude = 5, 0.3
    y, x = np.mgrid[:32, :32] / 32
    turns = frequency[0] * y + frequency[1] * x
    waves = [
        0.5 + amplitude * np.sin(2 * np.pi * (turns + k / count)) for k in range(count)
    ]
    found = dispersion(np.repeat(np.stack(waves)[..., None], 3, axis=-1), 1 / 8)
    inside, outside = (found.coarse, found.fine)[:: 1 if coarse else -1]
    wanted = amplitude * math.sqrt(count / (count - 1))
    assert inside.value == pytest.approx(wanted, rel=1e-10)
    assert outside.value < 1e-7
    assert found.std.value == pytest.approx(wanted / math.sqrt(2), rel=1e-10)


def test_members_may_stand_in_any_order_and_lie_at_any_scale():
    order = np.random.default_rng(4).permutation(6)
    small = 0.5 + (np.float64(NOISE) - 0.5) / 10
    here = dispersion(small, 0.1)
    assert_close(here, dispersion(small[order], 0.1))
    half = dispersion(0.5 + (small - 0.5) / 2, 0.1)
    for name in ("rms", "coarse", "fine", "std", "unrelated"):
        assert_close(getattr(here, name), getattr(half, name), 0.5)
    for name in ("share", "coarse_share", "fine_share"):
        assert_close(getattr(here, name), getattr(half, name))


def test_two_members_have_no_interval_and_equal_ones_no_distance():
    two = dispersion(NOISE[:2], 0.1)
    assert all(getattr(two, f.name).low is None for f in dataclasses.fields(Dispersion))
    equal = dispersion(np.stack([A] * 4), 0.1)
    for found in (equal.rms, equal.coarse, equal.fine, equal.std):
        assert 0 <= found.value < 1e-7
    assert equal.ssim == Estimate(1, 1, 1)


def test_the_intervals_of_an_ensemble_hold_the_truth():
    """Noise of a random strength each, so that members differ in more than a draw."""
    rng = np.random.default_rng(5)
    shape, sigma = (11, 12, 3), 0.05
    radius = np.hypot(np.fft.fftfreq(11)[:, None], np.fft.fftfreq(12))
    share = np.mean(radius <= 0.2)
    # |strength|² is 1 on average, and each band has its share of the energy.
    truth = {
        "std": sigma,
        "coarse": sigma * math.sqrt(2 * share),
        "fine": sigma * math.sqrt(2 * (1 - share)),
    }
    held = dict.fromkeys(truth, 0)
    for _ in range(300):
        strength = np.sqrt(rng.uniform(0.5, 1.5, (8, 1, 1, 1)))
        found = dispersion(0.5 + sigma * strength * rng.normal(size=(8, *shape)), 0.2)
        for name, value in truth.items():
            held[name] += holds(getattr(found, name), value)
    for name, times in held.items():
        assert 0.90 <= times / 300 <= 0.99, name


# Unrelated images.


def shifts(image: np.ndarray) -> list[np.ndarray]:
    """All circular shifts of an image."""
    rows, columns = image.shape[:2]
    offsets = itertools.product(range(rows), range(columns))
    return [np.roll(image, offset, (0, 1)) for offset in offsets]


def test_unrelated_arrays_are_all_shifts():
    arrays = np.random.default_rng(11).normal(2, 1, (3, 4, 5, 2))
    arrays[1] *= 3
    wanted = [
        [np.mean([((a - c) ** 2).sum() for c in shifts(b)]) for b in arrays]
        for a in arrays
    ]
    found = distances.shifted_squared_distances(arrays)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    single = distances.shifted_squared_distances(arrays.astype("f4"))
    np.testing.assert_allclose(single, wanted, rtol=1e-5)


def test_a_share_is_of_the_deviation_over_all_shifts_in_each_band():
    found = dispersion(NOISE, 0.2)
    squares = []
    for a, b in itertools.combinations(NOISE, 2):
        aligned = np.square([rms(a, b), *band_rms(a, b, 0.2)])
        shifted = [np.square([rms(a, c), *band_rms(a, c, 0.2)]) for c in shifts(b)]
        squares.append((aligned, np.mean(shifted, 0)))
    aligned, shifted = np.mean(squares, 0)
    assert found.unrelated.value == pytest.approx(math.sqrt(shifted[0] / 2), rel=1e-10)
    shares = found.share, found.coarse_share, found.fine_share
    wanted = np.sqrt(aligned / shifted)
    assert [share.value for share in shares] == pytest.approx(wanted, rel=1e-9)


def test_independent_noise_has_a_share_of_one():
    """The interval is too wide: single members have no effect on the share."""
    rng = np.random.default_rng(12)
    held = 0
    for _ in range(200):
        strength = np.sqrt(rng.uniform(0.5, 1.5, (8, 1, 1, 1)))
        found = dispersion(0.5 + 0.05 * strength * rng.normal(size=(8, 16, 16, 3)), 0.2)
        held += holds(found.share, 1)
        assert found.share.value == pytest.approx(1, abs=0.02)
    assert held / 200 >= 0.95


def test_a_common_structure_below_noise_has_a_share_in_the_band_of_the_noise():
    """A slow wave that all members share, and white noise of their own."""
    rng = np.random.default_rng(13)
    wave = 0.3 * np.sin(2 * np.pi * np.arange(32) / 32)[:, None, None]
    found = dispersion(0.5 + wave + 0.02 * rng.normal(size=(8, 32, 32, 3)), 1 / 16)
    assert found.fine_share.value == pytest.approx(1, abs=0.01)
    assert found.coarse_share.value < 0.05
    assert found.share.value == pytest.approx(
        0.02 / math.hypot(0.02, 0.3 / 2**0.5), rel=0.1
    )


def test_equal_images_have_no_share_whatever_their_contrast():
    equal = dispersion(np.stack([A] * 4), 0.1)
    assert equal.share == equal.coarse_share == Estimate(0, 0, 0)
    assert equal.unrelated.value == pytest.approx(np.std(A, (0, 1)).mean(), rel=0.5)
    black = dispersion(np.zeros((3, 12, 12, 3)), 0.1)
    assert black.share == black.fine_share == black.unrelated == Estimate(0, 0, 0)


# Losses.


def test_coefficient_of_variation_is_deviation_over_mean():
    values = np.array([4.0, 5, 6, 9])
    found = coefficient_of_variation(values)
    assert found.value == pytest.approx(math.sqrt(14 / 3) / 6, rel=1e-14)
    assert_close(found, coefficient_of_variation(1e9 * values[::-1]))
    assert coefficient_of_variation([3, 3, 3]) == Estimate(0, 0, 0)
    assert coefficient_of_variation([0, 0, 0]) == Estimate(0, 0, 0)
    assert coefficient_of_variation([1, 3]) == Estimate(math.sqrt(2) / 2)


def test_the_interval_of_a_coefficient_of_variation_holds_the_truth():
    """The coverage for 8 normal values is 0.90 without the logarithm."""
    rng = np.random.default_rng(6)
    found = [
        coefficient_of_variation(values) for values in rng.normal(10, 1, (2000, 8))
    ]
    assert 0.92 <= np.mean([holds(one, 0.1) for one in found]) <= 0.97
    assert all(one.low is not None and one.low > 0 for one in found)


# Seeds and arithmetic.


def planted(
    rng: np.random.Generator, seed: float, arithmetic: float, shape: tuple
) -> np.ndarray:
    """0.5, a deviation of each seed's own, and one of each execution's."""
    seeds, _, *rest = shape
    return (
        0.5
        + seed * rng.normal(size=(seeds, 1, *rest))
        + arithmetic * rng.normal(size=shape)
    )


def test_components_are_those_of_the_f_test():
    """On a picture of one value: F = 1 + A seed / arithmetic."""
    values = planted(np.random.default_rng(7), 0.05, 0.03, (5, 4, 1, 1, 1))
    found = variance_components(values)
    wanted = stats.f_oneway(*values.reshape(5, 4)).statistic
    ratio = found.seed.value / found.arithmetic.value
    assert 1 + 4 * ratio == pytest.approx(wanted, rel=1e-10)
    within = np.mean([group.var(ddof=1) for group in values.reshape(5, 4)])
    assert found.arithmetic.value == pytest.approx(within, rel=1e-12)
    assert found.share.value == pytest.approx(1 / (1 + ratio), rel=1e-12)


def test_planted_components_are_found_and_held():
    rng = np.random.default_rng(8)
    truth = {"seed": 0.05**2, "arithmetic": 0.03**2, "share": 9 / 34}
    held = dict.fromkeys(truth, 0)
    values: dict[str, list[float]] = {name: [] for name in truth}
    for _ in range(300):
        found = variance_components(planted(rng, 0.05, 0.03, (8, 3, 5, 4, 3)))
        for name, value in truth.items():
            held[name] += holds(getattr(found, name), value)
            values[name].append(getattr(found, name).value)
    for name, value in truth.items():
        assert np.mean(values[name]) == pytest.approx(value, rel=0.02), name
        assert 0.90 <= held[name] / 300 <= 0.99, name


def test_seeds_without_effect_have_no_variance_on_average():
    """It is as often negative: with the executions' share left in it, it were not."""
    rng = np.random.default_rng(9)
    found = [
        variance_components(planted(rng, 0, 0.1, (4, 2, 2, 2, 3))) for _ in range(300)
    ]
    seeds = np.array([one.seed.value for one in found])
    assert abs(seeds.mean()) < 3 * seeds.std() / math.sqrt(300)
    assert 0.3 < (seeds < 0).mean() < 0.7
    assert all((one.share.value > 1) == (one.seed.value < 0) for one in found)


def test_exact_arithmetic_has_no_variance():
    seeds = NOISE[:, None].repeat(3, axis=1)
    found = variance_components(seeds)
    assert found.arithmetic == found.share == Estimate(0, 0, 0)
    variance = (std_image(NOISE) ** 2).mean()
    assert found.seed.value == pytest.approx(variance, rel=1e-10)
    equal = variance_components(np.stack([A] * 6).reshape(3, 2, *A.shape))
    assert equal.seed.value == pytest.approx(0, abs=1e-15)
    assert equal.share == Estimate(0, 0, 0)


def test_executions_an_ulp_apart_are_told_from_equal_ones():
    half = np.full((3, 2, 4, 4, 3), 0.5, np.float32)
    half[:, 1] = np.nextafter(np.float32(0.5), np.float32(1))
    found = variance_components(half)
    assert found.arithmetic.value == pytest.approx((2.0**-24) ** 2 / 2, rel=1e-12)


def test_components_do_not_see_an_order_and_grow_as_squares():
    rng = np.random.default_rng(10)
    pictures = planted(rng, 0.05, 0.03, (5, 3, 4, 4, 3))
    here = variance_components(pictures)
    assert_close(here, variance_components(pictures[rng.permutation(5)][:, ::-1]))
    twice = variance_components(0.5 + 2 * (pictures - 0.5))
    assert_close(here.seed, twice.seed, 4)
    assert_close(here.arithmetic, twice.arithmetic, 4)
    assert_close(here.share, twice.share)


# Requests.


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: mean_image(A), r"\[N, H, W, 3\], got \[13, 15, 3\]"),
        (lambda: std_image(NOISE[:1]), "with N at least 2, got"),
        (lambda: mean_image(NOISE * np.nan), r"images\[0\] holds NaN or infinity"),
        (lambda: ssim(A[:10], B[:10]), r"H at least 11 .* got \[2, 10, 15, 3\]"),
        (lambda: pairwise_ssim(NOISE[:, :, :3]), r"W at least 11, got \[6, 12, 3, 3\]"),
        (lambda: relative_distances(np.float64(1)), r"\[N, ...\], got \[\]"),
        (lambda: relative_distances(np.array([1, np.inf])), r"arrays\[1\] holds NaN"),
        (lambda: dispersion(NOISE[:1], 0.1), "with N at least 2, got"),
        (lambda: dispersion(NOISE, -1), "cutoff must be finite and not negative"),
        (lambda: coefficient_of_variation([1]), r"\[N\] with N at least 2, got \[1\]"),
        (lambda: variance_components(NOISE), r"must be of shape \[S, A, H, W, C\]"),
        (lambda: variance_components(NOISE[:, None]), "2 executions a seed, got 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(call, sentence: str):
    with pytest.raises(nst_jax.RequestError, match=sentence):
        call()
