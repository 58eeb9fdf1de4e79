"""Agreement of edges, against closed forms and invariances."""

import numpy as np
import pytest
from pictures import smooth_picture
from scipy import ndimage

import nst_jax
from nst_jax.metrics.edges import BLUR, edge_agreement
from nst_jax.metrics.palette import oklab

IMAGE = smooth_picture(0, 48, 64)
GREY = IMAGE.mean(-1, keepdims=True) * np.ones(3)


def waves(angle, period=16, size=128):
    """A grey wave whose gradient has an angle in degrees."""
    y, x = np.mgrid[:size, :size]
    along = x * np.cos(np.radians(angle)) + y * np.sin(np.radians(angle))
    return 0.5 + 0.2 * np.sin(2 * np.pi * along / period)[..., None] * np.ones(3)


def direct(image, content):
    """The correlation of angles doubled one pixel at a time, for grey images."""
    fields = []
    for x in (image, content):
        smooth = ndimage.gaussian_filter(oklab(x)[..., 0], BLUR * max(x.shape[:2]))
        down, across = np.gradient(smooth)
        angle = 2 * np.arctan2(down, across)
        fields.append(np.hypot(down, across) * np.array([np.cos(angle), np.sin(angle)]))
    a, b = fields
    return (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())


def test_for_grey_images_it_is_the_correlation_of_doubled_angles():
    other = smooth_picture(1, 48, 64).mean(-1, keepdims=True) * np.ones(3)
    wanted = direct(GREY, other)
    assert edge_agreement(GREY, other) == pytest.approx(wanted, abs=1e-6)


def test_an_image_agrees_with_itself_its_negative_and_its_paler_copies():
    assert edge_agreement(IMAGE, IMAGE) == pytest.approx(1)
    assert edge_agreement(1 - GREY, GREY) > 0.95
    assert edge_agreement(0.4 + 0.3 * IMAGE, IMAGE) > 0.95


#: Of waves at other places: (mean |cos|)² over mean cos².
INDEPENDENT = 8 / np.pi**2


@pytest.mark.parametrize(
    ("angle", "wanted"), [(0, 1), (90, -INDEPENDENT), (180, 1), (45, 0)]
)
def test_turned_waves_agree_by_the_cosine_of_twice_the_angle(angle, wanted):
    agreement = edge_agreement(waves(20 + angle), waves(20))
    assert agreement == pytest.approx(wanted, abs=0.05)


def test_unrelated_edges_average_about_0():
    """Those along the sides of the images agree, so the mean is not quite 0."""
    rng = np.random.default_rng(0)
    values = [
        edge_agreement(rng.random((64, 64, 3)), rng.random((64, 64, 3)))
        for _ in range(12)
    ]
    assert abs(np.mean(values)) < 0.05 and np.std(values) < 0.05


def test_recoloured_edges_agree():
    """The channels permuted, or the edges in chroma alone."""
    assert edge_agreement(IMAGE[..., ::-1], IMAGE) > 0.9


def test_it_is_symmetric_and_larger_pixels_change_little():
    other = smooth_picture(1, 48, 64)
    agreement = edge_agreement(IMAGE, other)
    assert edge_agreement(other, IMAGE) == pytest.approx(agreement)
    large, large_other = (x.repeat(2, 0).repeat(2, 1) for x in (IMAGE, other))
    assert edge_agreement(large, large_other) == pytest.approx(agreement, abs=0.03)


def test_without_edges_nothing_agrees():
    flat = np.full(IMAGE.shape, 0.5)
    assert edge_agreement(flat, IMAGE) == edge_agreement(IMAGE, flat) == 0


def test_pictures_of_two_sizes_are_refused():
    with pytest.raises(nst_jax.RequestError, match="one shape, got"):
        edge_agreement(IMAGE, IMAGE[1:])
