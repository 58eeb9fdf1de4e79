"""Edge distortion: new colours against turns, warps and texture, in closed form."""

import numpy as np
import pytest
from pictures import smooth_picture

import nst_jax
from nst_jax.metrics.photorealism import edge_distortion

CONTENT = smooth_picture(0, 24, 30)
rng = np.random.default_rng


def stripes(degrees, side=32):
    """A grey wave whose gradient has that direction."""
    y, x = np.mgrid[:side, :side] - side / 2
    turn = np.radians(degrees)
    along = 0.3 * (x * np.cos(turn) + y * np.sin(turn))
    return np.repeat(0.5 + 0.4 * np.sin(along)[..., None], 3, axis=-1)


def test_the_same_picture_is_not_distorted():
    found = edge_distortion(CONTENT, CONTENT)
    assert found.angle == 0
    assert 0 <= found.residual < 1e-4


@pytest.mark.parametrize("slope", [0.7, -0.7])
def test_other_colours_are_no_distortion(slope):
    """Fainter, tinted, dark for light."""
    other = 0.5 + slope * (CONTENT - 0.5) + [0.05, 0, -0.05]
    found = edge_distortion(other, CONTENT)
    assert found.angle < 1e-5
    assert found.residual < 1e-4


def test_a_map_of_colours_leaves_no_residual():
    """Any 3 × 3 matrix, though the luma of its colours has other edges."""
    mixing = rng(1).random((3, 3)) / 3
    assert edge_distortion(CONTENT @ mixing, CONTENT).residual < 1e-4


@pytest.mark.parametrize(("degrees", "wanted"), [(0, 0), (30, 30), (90, 90), (150, 30)])
def test_turned_stripes_are_turned_by_so_much(degrees, wanted):
    found = edge_distortion(stripes(degrees), stripes(0))
    assert found.angle == pytest.approx(wanted, abs=1)


def test_noise_has_45_degrees_and_5_of_8_shares():
    """An affine map takes 3 of the 8 degrees of freedom beside a window's mean."""
    result, content = rng(2).uniform(0, 1, (2, 80, 90, 3))
    found = edge_distortion(result, content)
    assert found.angle == pytest.approx(45, abs=1)
    assert found.residual == pytest.approx(5 / 8, abs=0.01)


def test_the_edges_that_there_are_count():
    """Noise where the content is flat turns no edge."""
    content = stripes(0)
    content[:, :16] = content[:, 16:17]
    result = content.copy()
    result[:, :14] = rng(3).random((32, 14, 3))
    assert edge_distortion(result, content).angle < 1e-6
    result[:, 18:] = rng(3).random((32, 14, 3))
    assert edge_distortion(result, content).angle > 20


def test_a_warp_and_a_texture_are_more_than_new_colours():
    y = np.arange(24)
    bent = np.stack([np.roll(CONTENT[i], round(3 * np.sin(i))) for i in y])
    y, x = np.mgrid[:24, :30]
    textured = CONTENT + 0.1 * np.sin(2 * x + 1.5 * y)[..., None]
    recoloured = edge_distortion(0.6 * CONTENT + 0.2, CONTENT)
    for other in (bent, textured):
        found = edge_distortion(other, CONTENT)
        assert found.angle > recoloured.angle + 5
        assert found.residual > recoloured.residual + 0.05


def test_what_is_flat_has_no_lines():
    flat = np.full(CONTENT.shape, 0.5)
    found = edge_distortion(flat, CONTENT)
    assert (found.angle, found.residual) == (pytest.approx(45), 0)
    found = edge_distortion(CONTENT, flat)
    assert (found.angle, found.residual) == (0, pytest.approx(1, abs=1e-6))


def test_pictures_are_taken_as_they_are_seen():
    beyond = 3 * CONTENT - 1
    found = edge_distortion(beyond, CONTENT)
    assert found == edge_distortion(np.clip(beyond, 0, 1), CONTENT)
    assert found.residual > 1e-3


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (CONTENT[1:], r"one shape, got \[23, 30, 3\] and \[24, 30, 3\]"),
        (CONTENT * np.nan, "result holds NaN or infinity"),
    ],
)
def test_what_cannot_be_compared_is_refused(result, sentence):
    with pytest.raises(nst_jax.RequestError, match=sentence):
        edge_distortion(result, CONTENT)
