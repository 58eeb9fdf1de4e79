"""Artefacts, against closed forms and planted faults."""

import math

import numpy as np
import pytest
from pictures import smooth_picture

import nst_jax
from nst_jax.metrics.artefacts import (
    FLATTEST,
    VISIBLE,
    border_error,
    clipped_share,
    flat_share,
    gamut_excess,
    scale_consistency,
    seam,
    speckle_share,
    weave,
)
from nst_jax.metrics.distances import rms


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


def lightness(image):
    """The grey image of some Oklab lightness [H, W], whose values are cubes."""
    linear = np.asarray(image) ** 3
    srgb = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    )
    return srgb[..., None] * np.ones(3)


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


# Flat areas.


def test_a_style_and_its_copies_are_not_flat():
    style = np.random.default_rng(0).random((48, 80, 3))
    assert flat_share(style, style) == 0
    assert flat_share(style[::-1], style) == 0
    assert flat_share(np.concatenate([style, style]), style) == 0


def test_collapsed_patches_are_counted():
    """Half of the patches, and of the other half those that the style has as well."""
    rng = np.random.default_rng(0)
    style = rng.random((80, 80, 3))
    image = style.copy()
    image[:40] = rng.uniform(0.48, 0.52, (40, 80, 3))
    least, most = (
        (share - FLATTEST) / (1 - FLATTEST) for share in (0.5, 0.5 + FLATTEST)
    )
    assert least <= flat_share(image, style) <= most
    assert flat_share(grey(0.5), style) == 1
    assert flat_share(image, grey(0.5)) == 0


# Speckle.


def test_isolated_pixels_are_counted():
    image = lightness(np.full((20, 30), 0.5))
    places = (slice(2, 20, 4), slice(2, 30, 4))
    for lighter in (VISIBLE + 0.001, -VISIBLE - 0.001):
        speckled = image.copy()
        speckled[places] = lightness(np.full((5, 7), 0.5 + lighter))
        assert speckle_share(speckled) == pytest.approx(5 * 7 / (20 * 30))
    faint = image.copy()
    faint[places] = lightness(np.full((5, 7), 0.5 + VISIBLE - 0.001))
    assert speckle_share(faint) == speckle_share(image) == 0


def test_pixels_of_another_chroma_are_speckle():
    image = grey(0.5, 10, 10)
    image[4, 4] = 0.6, 0.45, 0.5
    image[7, 7] = 0.4, 0.54, 0.4
    assert speckle_share(image) == 2 / 100


@pytest.mark.parametrize("angle", [0, 45, 90])
def test_lines_edges_and_checkerboards_are_no_speckle(angle):
    y, x = np.mgrid[:24, :24]
    along = {0: x, 45: x + y + 3, 90: y}[angle]
    for pattern in (along % 6 == 0, along % 12 < 6, (x + y) % 2 == 0):
        assert speckle_share(lightness(0.4 + 0.3 * pattern)) == 0


# Weave.

Y, X = np.mgrid[:128, :160]


@pytest.mark.parametrize(
    "pattern",
    [
        (-1.0) ** X,
        (-1.0) ** (X + Y),
        math.sqrt(2) * np.sin(np.pi / 2 * X + 0.3),
        2 * np.sin(np.pi / 2 * X + 0.3) * np.sin(np.pi / 2 * Y),
        2 * np.sin(2 * np.pi / 3 * X) * np.sin(2 * np.pi / 3 * Y),
    ],
)
def test_the_amplitude_of_a_weave_is_its_root_mean_square(pattern):
    """The strong carrier is coarse, and the weave has an RMS of 0.02 in lightness."""
    carrier = 0.5 + 0.2 * np.sin(2 * np.pi * X / 40)
    assert weave(lightness(carrier)) < 1e-4
    woven = weave(lightness(carrier + 0.02 * pattern))
    assert woven == pytest.approx(0.02, rel=0.1)


def test_a_weave_in_a_part_of_the_image_counts_by_its_area():
    carrier = 0.5 + 0.2 * np.sin(2 * np.pi * X / 40)
    part = weave(lightness(carrier + 0.02 * (-1.0) ** (X + Y) * (Y < 64)))
    assert part == pytest.approx(0.02 / math.sqrt(2), rel=0.15)


def test_noise_edges_and_lines_are_no_weave():
    rng = np.random.default_rng(0)
    noise = 0.5 + 0.05 * rng.normal(size=Y.shape)
    edges = 0.3 + 0.3 * ((X > 50) ^ (Y > 70))
    lines = 0.3 + 0.3 * (X % 40 == 0)
    for image in (noise, edges, lines):
        assert weave(lightness(image)) < 1e-3


# Seams.


def test_a_seam_is_as_high_as_the_step():
    image = lightness(0.5 + 0.01 * np.sin(X / 9) + 0.05 * (Y >= 64))
    assert seam(image) == pytest.approx(0.05, abs=2e-3)
    assert seam(image.swapaxes(0, 1)) == pytest.approx(seam(image))


def test_half_a_line_is_no_seam_and_neither_is_a_gradation():
    half = lightness(0.5 + 0.05 * ((Y >= 70) & (X < 70)))
    assert seam(half) == 0
    assert seam(lightness(0.2 + 0.004 * Y)) < 1e-6
    assert seam(lightness(0.5 + 0.05 * (-1.0) ** Y)) < 1e-6


# Values at the ends, and what no screen shows.


def test_values_at_the_ends_are_counted():
    image = np.array([[[0, 1, 0.5], [-0.5, 0.25, 1.5]], [[0.999, 0.001, 1], [0.5] * 3]])
    assert clipped_share(image) == 5 / 12


def test_what_is_outside_the_gamut_is_counted_and_measured():
    canvas = np.array([[[0, 1, 0.5], [-0.5, 0.25, 1.5]], [[2, 1, 1], [0, 0, 0]]])
    assert gamut_excess(canvas) == pytest.approx((3 / 12, 2 / 12))
    assert gamut_excess(np.clip(canvas, 0, 1)) == (0, 0)


# Requests.


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: border_error(grey(0.5, 55, 80)),
            r"H at least 56 .* got \[55, 80, 3\]",
        ),
        (
            lambda: border_error(grey(0.5)[..., 0]),
            r"shape \[H, W, 3\] .* got \[64, 72\]",
        ),
        (
            lambda: scale_consistency(grey(0.5, 4, 5), grey(0.5, 16, 3)),
            "rows and columns as",
        ),
        (
            lambda: flat_share(grey(0.5, 7, 80), grey(0.5)),
            r"image .* H at least 8 .* got \[7, 80, 3\]",
        ),
        (lambda: flat_share(grey(0.5), grey(0.5, 7, 80)), "style must be of shape"),
        (lambda: weave(grey(0.5, 47, 80)), r"H at least 48 .* got \[47, 80, 3\]"),
        (lambda: seam(grey(0.5, 3, 80)), r"H at least 4 .* got \[3, 80, 3\]"),
        (lambda: speckle_share(grey(np.nan)), "image holds NaN or infinity"),
        (lambda: clipped_share(grey(np.nan)), "image holds NaN or infinity"),
        (lambda: gamut_excess(grey(np.inf)), "canvas holds NaN or infinity"),
    ],
)
def test_what_cannot_be_measured_is_refused(call, sentence):
    with pytest.raises(nst_jax.RequestError, match=sentence):
        call()
