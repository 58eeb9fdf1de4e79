"""Quality and artefacts, against closed forms, direct formulas and planted faults."""

import math

import numpy as np
import pytest
from pictures import smooth_picture
from scipy import stats

import nst_jax
from nst_jax.metrics.artefacts import (
    FLAT,
    GREY,
    border_error,
    gamut_excess,
    grey_patch_share,
    scale_consistency,
)
from nst_jax.metrics.distances import rms
from nst_jax.metrics.feature_distances import (
    GRID,
    _directions,
    content_distance,
    extract_features,
    self_similarity_distance,
    sliced_distance,
    style_distance,
)

RNG = np.random.default_rng(0)
F, G = RNG.normal(size=(2, 4, 5, 6)).astype("f4")


def grey(level, height=64, width=72):
    return np.full((height, width, 3), level)


def framed(wide, inside, border):
    """A picture with another one's pixels where it is less than `wide` from a side."""
    picture = border.copy()
    picture[wide:-wide, wide:-wide] = inside[wide:-wide, wide:-wide]
    return picture


def checkered(level, amplitude, height=64, width=72):
    y, x = np.mgrid[:height, :width]
    return level + amplitude * ((-1.0) ** (x + y))[..., None] * np.ones(3)


# The style.


def test_where_features_are_and_how_many_is_not_seen():
    shuffled = RNG.permutation(F.reshape(-1, 6)).reshape(5, 4, 6)
    twice = np.concatenate([F, shuffled.reshape(F.shape)])
    for same in (F, shuffled, twice):
        assert sliced_distance(same, F) < 1e-6
        assert sliced_distance(G, same) == pytest.approx(sliced_distance(G, F))
    assert sliced_distance(G, F) > 0.1


def test_the_unit_of_a_layer_is_not_seen():
    whole = sliced_distance(F, G)
    assert sliced_distance(1e4 * F, 1e4 * G) == pytest.approx(whole, rel=1e-5)


def test_no_features_are_at_distance_1_and_so_are_doubled_ones():
    assert sliced_distance(0 * F, G) == pytest.approx(1, rel=1e-6)
    assert sliced_distance(2 * G, G) == pytest.approx(1, rel=1e-6)
    assert sliced_distance(0 * F, 0 * G) == 0


@pytest.mark.parametrize("channels", [1, 2, 20])
def test_shifts_along_all_channels_add_up_to_their_square(channels):
    """A unit direction has Σᵢ θᵢ² = 1, and these features the identity for F Fᵀ/M."""
    axes = math.sqrt(channels) * np.eye(channels)
    style = np.concatenate([axes, -axes])
    shifted = [sliced_distance(style + 0.3 * e, style) for e in np.eye(channels)]
    assert np.square(shifted).sum() == pytest.approx(0.3**2, rel=1e-5)


def test_normal_distributions_are_apart_as_their_means_and_deviations():
    """W₂² = (μ − ν)² + (σ − τ)² in one dimension, for samples of two sizes."""
    ours, theirs = (
        mean + deviation * stats.norm.ppf((np.arange(n) + 0.5) / n)[:, None]
        for mean, deviation, n in ((1.0, 2.0, 7000), (3.0, 0.5, 5000))
    )
    wanted = math.sqrt((4 + 2.25) / (9 + 0.25))
    assert sliced_distance(ours, theirs) == pytest.approx(wanted, rel=2e-3)


def test_a_wider_normal_distribution_is_so_in_every_direction():
    drawn = np.random.default_rng(0).normal(size=(2, 20_000, 5))
    assert sliced_distance(1.5 * drawn[0], drawn[1]) == pytest.approx(0.5, rel=0.02)


def test_directions_are_of_one_length_and_even():
    """θ θᵀ is I/c on average: of K vectors to about √(1/K)/c."""
    for channels in (1, 3, 64):
        drawn = np.float64(_directions(channels))
        np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1, rtol=1e-6)
        second = channels * drawn.T @ drawn / len(drawn)
        assert np.abs(second - np.eye(channels)).max() < 4 / math.sqrt(len(drawn))
    np.testing.assert_array_equal(drawn, _directions(64))


def test_unlike_counts_are_compared_as_if_repeated():
    six, four = RNG.normal(size=(6, 1)), RNG.normal(size=(4, 1))
    ours, theirs = np.repeat(np.sort(six[:, 0]), 2), np.repeat(np.sort(four[:, 0]), 3)
    wanted = math.sqrt(((ours - theirs) ** 2).mean() / (four**2).mean())
    assert sliced_distance(six, four) == pytest.approx(wanted, rel=1e-6)


# The content.


def direct(features, content):
    """Equation 7, written out, times n."""
    sides = []
    for picture in (features, content):
        f = np.float64(picture).reshape(-1, picture.shape[-1])
        n = len(f)
        d = np.array(
            [
                [
                    1 - f[i] @ f[j] / math.sqrt(f[i] @ f[i] * (f[j] @ f[j]))
                    for j in range(n)
                ]
                for i in range(n)
            ]
        )
        sides.append(d / d.sum(0))
    return n * np.abs(sides[0] - sides[1]).sum() / n**2


def test_self_similarity_is_equation_7():
    assert self_similarity_distance(F, G) == pytest.approx(direct(F, G), rel=1e-9)


def test_what_turns_or_stretches_features_changes_no_self_similarity():
    turn = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    lengths = RNG.uniform(0.5, 2, (4, 5, 1))
    for alike in (F, F @ turn, lengths * F, np.concatenate([F, F], axis=-1)):
        assert self_similarity_distance(alike, F) < 1e-6
        found = self_similarity_distance(alike, G)
        assert found == pytest.approx(self_similarity_distance(F, G), rel=1e-5)


def test_positions_matter_unless_both_pictures_exchange_them():
    order = RNG.permutation(20)
    here, there = (x.reshape(20, 6)[order].reshape(4, 5, 6) for x in (F, G))
    whole = self_similarity_distance(F, G)
    assert self_similarity_distance(here, there) == pytest.approx(whole, rel=1e-6)
    assert self_similarity_distance(here, F) > 0.1


def test_of_many_positions_those_of_a_grid_are_compared():
    small, other = RNG.normal(size=(2, GRID, GRID, 3))
    large, further = (x.repeat(2, axis=0).repeat(2, axis=1) for x in (small, other))
    wanted = self_similarity_distance(small, other)
    assert self_similarity_distance(large, further) == pytest.approx(wanted, rel=1e-12)
    other = small.copy()
    other[17, 5] *= -1
    assert self_similarity_distance(other, small) > 1e-4


def test_features_of_one_direction_are_alike_whatever_their_rounding():
    one = RNG.uniform(1, 2, (4, 5, 1)) * RNG.normal(size=6)
    for flat in (one, one.astype("f4"), 0 * one + 0.1):
        assert self_similarity_distance(flat, F) == pytest.approx(1, abs=1e-3)
        assert self_similarity_distance(flat, one) < 1e-3


# To the network.


def test_pictures_are_seen_clipped_with_a_distance_a_layer(network):
    layers = ("relu1_1", "relu1_2")
    a, b = (smooth_picture(i, 16, 20) for i in range(2))
    beyond = extract_features(network, 0.5 + 3 * (a - 0.5), layers)
    within = network(np.clip(0.5 + 3 * (a - 0.5), 0, 1), layers)
    assert tuple(beyond) == layers
    for layer in layers:
        np.testing.assert_allclose(beyond[layer], within[layer], rtol=1e-4, atol=1e-3)
    other = extract_features(network, b, layers)
    style = style_distance(beyond, [other, beyond])
    content = content_distance(beyond, other)
    for layer in layers:
        half = sliced_distance(beyond[layer], other[layer]) / 2
        assert style[layer] == pytest.approx(half, rel=1e-6) and half > 0.01
        wanted = self_similarity_distance(beyond[layer], other[layer])
        assert content[layer] == wanted > 0.01


# The border.


def test_noise_has_no_frame():
    """Error² and floor² are the same on average, with and without correlations."""
    rng = np.random.default_rng(0)
    squares = []
    for _ in range(150):
        noise = rng.normal(size=(62, 70, 3))
        smooth = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)) / 3
        found = border_error(0.5 + 0.05 * smooth)
        squares.append((found.error**2, found.floor**2))
    error, floor = np.mean(squares, axis=0)
    excess = np.subtract(*np.transpose(squares))
    assert abs(excess.mean()) < 3 * excess.std() / math.sqrt(len(excess))
    assert excess.std() / math.sqrt(len(excess)) < 0.05 * floor
    assert error > 0


@pytest.mark.parametrize("wide", [8, 11, 16])
def test_a_lighter_frame_counts_by_how_much(wide):
    error, floor = border_error(framed(wide, grey(0.4), grey(0.5)))
    assert (error, floor) == pytest.approx((0.1, 0), abs=1e-12)


def test_a_frame_of_half_the_width_is_a_deviation_too():
    """Half of the strip is lighter by d: mean d/2, deviation d/2, one step of d."""
    error, _ = border_error(framed(4, grey(0.4), grey(0.5)))
    # Of 8 rows and 7 differences of them there is one, across none.
    assert error == pytest.approx(math.sqrt(0.05**2 * 2 + 0.1**2 / 7), rel=1e-9)


def test_one_side_is_a_quarter():
    picture = grey(0.4)
    picture[-8:] = 0.5
    error, floor = border_error(picture)
    assert (error, floor) == pytest.approx((0.05, 0), abs=1e-12)


def test_grain_is_a_deviation_and_a_gradient():
    """A checkerboard of ±d: deviation d, differences of 2 d each way."""
    error, floor = border_error(framed(8, grey(0.4), checkered(0.4, 0.02)))
    assert (error, floor) == pytest.approx((3 * 0.02, 0), abs=1e-12)
    smooth_inside = framed(16, checkered(0.4, 0.02), grey(0.4))
    assert border_error(smooth_inside).error == pytest.approx(3 * 0.02, abs=1e-12)
    assert border_error(checkered(0.4, 0.02)).error == pytest.approx(0, abs=1e-12)


def test_a_gradation_is_no_frame():
    """Two strips of two of the sides are 16 pixels apart, those of the others 0."""
    ramp = 0.2 + 0.005 * np.arange(72)[None, :, None] + grey(0)
    error, floor = border_error(ramp)
    assert (error, floor) == pytest.approx((0.08 / math.sqrt(2),) * 2, rel=1e-9)


def test_a_frame_is_told_in_noise():
    rng = np.random.default_rng(0)
    noise = 0.5 + 0.1 * rng.normal(size=(64, 72, 3))
    error, floor = border_error(framed(8, noise, noise - 0.2))
    assert error == pytest.approx(0.2, rel=0.05) and floor < 0.02


def test_the_border_does_not_see_a_turn_nor_what_is_beyond_the_gamut():
    picture = smooth_picture(0, 61, 75)
    whole = border_error(picture)
    for turned in (picture[::-1], picture[:, ::-1], picture.swapaxes(0, 1)):
        assert border_error(turned) == pytest.approx(whole, rel=1e-9)
    assert border_error(framed(8, grey(1.0), grey(7.0))) == (0, 0)


# Scales.


@pytest.mark.parametrize(("down", "across"), [(1, 1), (2, 2), (3, 2)])
def test_a_picture_of_larger_pixels_is_the_same_from_afar(down, across):
    small = smooth_picture(0, 12, 15)
    large = small.repeat(down, axis=0).repeat(across, axis=1)
    assert scale_consistency(large, small) == pytest.approx((0, 1), abs=1e-7)


def test_detail_within_a_pixel_is_no_difference():
    small = 0.5 + 0.5 * (smooth_picture(0, 12, 15) - 0.5)
    large = np.kron(small, np.ones((2, 2, 1))) + checkered(0, 0.1, 24, 30)
    assert scale_consistency(large, small) == pytest.approx((0, 1), abs=1e-7)
    found = scale_consistency(large + 0.05, small)
    assert found.rms == pytest.approx(0.05, rel=1e-6) and found.ssim < 1


def test_sizes_need_be_no_multiples():
    """24 rows for 16: by way of 48, and 25 columns for 15 by way of 75."""
    large, small = smooth_picture(0, 24, 25), smooth_picture(1, 16, 15)
    fine = np.float64(large).repeat(2, axis=0).repeat(3, axis=1)
    reduced = fine.reshape(16, 3, 15, 5, 3).mean((1, 3))
    assert scale_consistency(large, reduced) == pytest.approx((0, 1), abs=1e-9)
    wanted = rms(reduced, small)
    assert scale_consistency(large, small).rms == pytest.approx(wanted, rel=1e-9)


# Grey patches, and what no screen shows.


def test_grey_patches_are_counted_by_windows():
    picture = np.random.default_rng(0).random((20, 35, 3))  # Room for 2 × 4 of them.
    assert grey_patch_share(picture) == 0
    picture[:8, 8:16] = 0.5
    picture[8:16, :8] = 0.0
    picture[8:16, 20:28] = 0.7  # Half of one window and half of another.
    picture[16:], picture[:, 32:] = 0.5, 0.5  # Of no window.
    assert grey_patch_share(picture) == 2 / 8


@pytest.mark.parametrize(("factor", "share"), [(0.99, 1), (1.01, 0)])
def test_patches_are_flat_and_grey_up_to_a_limit(factor, share):
    assert grey_patch_share(checkered(0.5, factor * FLAT)) == share
    assert grey_patch_share(grey(0.5) + np.array([0, 0, factor * GREY])) == share


def test_what_is_outside_the_gamut_is_counted_and_measured():
    canvas = np.array([[[0, 1, 0.5], [-0.5, 0.25, 1.5]], [[2, 1, 1], [0, 0, 0]]])
    assert gamut_excess(canvas) == pytest.approx((3 / 12, 2 / 12))
    assert gamut_excess(np.clip(canvas, 0, 1)) == (0, 0)


# Requests.


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: sliced_distance(F, G[..., :5]), r"same c, got \[4, 5, 6\] and \[4, 5"),
        (lambda: sliced_distance(F[:0], G), r"got \[0, 5, 6\]"),
        (lambda: self_similarity_distance(F, G[:3]), r"got \[4, 5, 6\] and \[3, 5, 6"),
        (
            lambda: border_error(grey(0.5, 55, 80)),
            r"H at least 56 .* got \[55, 80, 3\]",
        ),
        (
            lambda: border_error(grey(0.5)[..., 0]),
            r"shape \[H, W, 3\] .* got \[64, 72\]",
        ),
        (
            lambda: scale_consistency(F[..., :3], grey(0.5, 16, 3)),
            "rows and columns as",
        ),
        (
            lambda: grey_patch_share(grey(0.5, 7, 80)),
            r"H at least 8 .* got \[7, 80, 3\]",
        ),
        (lambda: grey_patch_share(grey(np.nan)), "image holds NaN or infinity"),
        (lambda: gamut_excess(grey(np.inf)), "canvas holds NaN or infinity"),
    ],
)
def test_what_cannot_be_measured_is_refused(call, sentence):
    with pytest.raises(nst_jax.RequestError, match=sentence):
        call()
