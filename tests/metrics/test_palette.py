"""Oklab and the distance of palettes, against published values and closed forms."""

import numpy as np
import pytest
from pictures import smooth_picture

import nst_jax
from nst_jax.metrics.palette import oklab, palette_distance

#: CIE XYZ (D65) and Oklab L, a, b, from the table of Ottosson's article.
PUBLISHED = (
    ((0.950, 1.000, 1.089), (1.000, 0.000, 0.000)),
    ((1.000, 0.000, 0.000), (0.450, 1.236, -0.019)),
    ((0.000, 1.000, 0.000), (0.922, -0.671, 0.263)),
    ((0.000, 0.000, 1.000), (0.153, -1.415, -0.449)),
)
#: Linear sRGB to XYZ (IEC 61966-2-1).
XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def from_xyz(xyz):
    """Oklab by way of XYZ: the article's first matrix, fitted here to its table."""
    cones = np.array(
        [
            [0.8189330101, 0.3618667424, -0.1288597137],
            [0.0329845436, 0.9293118715, 0.0361456387],
            [0.0482003018, 0.2643662691, 0.6338517070],
        ]
    )
    lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.cbrt(xyz @ cones.T) @ lab.T


def test_the_articles_table_and_our_constants_agree():
    for xyz, lab in PUBLISHED:
        np.testing.assert_allclose(from_xyz(np.array(xyz)), lab, atol=6e-4)
    srgb = np.random.default_rng(0).random((5, 7, 3))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(oklab(srgb), from_xyz(linear @ XYZ.T), atol=1e-3)


def test_greys_have_no_chroma_and_black_and_white_are_the_ends():
    grey = np.linspace(0, 1, 11)[:, None] * np.ones(3)
    colours = oklab(grey)
    np.testing.assert_allclose(colours[:, 1:], 0, atol=1e-6)
    assert colours[0, 0] == 0 and colours[-1, 0] == pytest.approx(1, abs=1e-6)
    assert (np.diff(colours[:, 0]) > 0).all()
    np.testing.assert_array_equal(
        oklab(grey * 3 - 1), oklab(np.clip(grey * 3 - 1, 0, 1))
    )


def test_two_flat_colours_are_half_their_distance_apart():
    """Over directions, the mean of |cos| is 1/2; over 64 fixed ones, to about 7 %."""
    a, b = np.full((4, 5, 3), (0.8, 0.3, 0.2)), np.full((7, 3, 3), (0.1, 0.4, 0.7))
    distance = np.linalg.norm(oklab(a)[0, 0] - oklab(b)[0, 0])
    assert palette_distance(a, b) == pytest.approx(distance / 2, rel=0.2)


def test_places_and_sizes_do_not_count():
    image, style = smooth_picture(0, 12, 15), smooth_picture(1, 9, 11)
    shuffled = np.random.default_rng(0).permutation(image.reshape(-1, 3))
    distance = palette_distance(image, style)
    assert palette_distance(shuffled.reshape(15, 12, 3), style) == pytest.approx(
        distance
    )
    doubled = image.repeat(2, axis=0).repeat(2, axis=1)
    assert palette_distance(doubled, style) == pytest.approx(distance)
    assert palette_distance(doubled, image) < 1e-9 < distance


def test_a_further_shift_is_further():
    image = 0.25 + 0.5 * smooth_picture(0, 20, 24)
    shifts = [
        palette_distance(image + np.array((d, 0, -d)), image)
        for d in (0, 0.05, 0.1, 0.2)
    ]
    assert shifts[0] == 0 and (np.diff(shifts) > 0).all()


def test_pictures_with_nan_are_refused():
    for pair in ((np.nan, 0.5), (0.5, np.nan)):
        with pytest.raises(nst_jax.RequestError, match="holds NaN or infinity"):
            palette_distance(*(np.full((4, 4, 3), level) for level in pair))
