"""Measures against planted faults, and their score against its formula.

Unharmed results are parts of a painting: they have its palette, its strokes and no
defect. A fault must raise its measure beyond all of them.
"""

import math
import pathlib

import numpy as np
import pytest
from command_line import ROOT
from pictures import smooth_picture

from nst_jax.images.colour import MAPS, match_moments
from nst_jax.images.io import read_image
from nst_jax.metrics import quality
from nst_jax.metrics.artefacts import clipped_share, flat_share, speckle_share
from nst_jax.metrics.edges import edge_agreement
from nst_jax.metrics.palette import palette_distance
from nst_jax.metrics.quality import Comparison

#: Three sizes of kernels, of which the quarter of 80 pixels is large enough.
LAYERS = ("relu1_2", "relu2_2", "relu3_2")
SAMPLES: pathlib.Path = ROOT / "samples"
HEIGHT, WIDTH = 80, 96
RNG = np.random.default_rng(0)
Y, X, _ = np.mgrid[:HEIGHT, :WIDTH, :1]


@pytest.fixture(scope="module")
def painting():
    return read_image(SAMPLES / "swirls.jpg", 160)


@pytest.fixture(scope="module")
def content():
    return read_image(SAMPLES / "coffee.png", 128)[:HEIGHT, :WIDTH]


@pytest.fixture(scope="module")
def parts(painting):
    """The four corners of the painting."""
    top, left = painting.shape[0] - HEIGHT, painting.shape[1] - WIDTH
    return [painting[y:, x:][:HEIGHT, :WIDTH] for y in (0, top) for x in (0, left)]


@pytest.fixture(scope="module")
def comparison(painting, content, network):
    return Comparison(content, (painting,), network, LAYERS)


@pytest.fixture(scope="module")
def worst(parts, comparison):
    """The largest of each measure over the unharmed parts."""
    unharmed = [comparison.measure(part) for part in parts]
    return {name: max(measures[name] for measures in unharmed) for name in unharmed[0]}


def recoloured(content, painting):
    mapped = match_moments(content, painting, MAPS["match_symmetric"])
    return np.clip(mapped, 0, 1).astype(np.float32)


def speckled(part):
    is_hit = RNG.random((HEIGHT, WIDTH, 1)) < 0.03
    return np.where(is_hit, 1 - part.mean(-1, keepdims=True), part)


def collapsed(part):
    sky = part.copy()
    sky[: HEIGHT // 2] = sky[: HEIGHT // 2].mean((0, 1))
    return sky


def half_scale(part):
    half = part.reshape(HEIGHT // 2, 2, WIDTH // 2, 2, 3).mean((1, 3))
    return np.pad(half, ((0, HEIGHT // 2), (0, WIDTH // 2), (0, 0)), "symmetric")


#: Fault -> (measure of pixels that it raises, its function of a part of the painting).
FAULTS = {
    "palette": (quality.PALETTE, lambda part: np.roll(part, 1, axis=-1)),
    "blown out": (quality.CLIPPED, lambda part: 0.5 + 2.5 * (part - 0.5)),
    "speckle": (quality.SPECKLE, speckled),
    "weave": (quality.WEAVE, lambda part: part + 0.03 * (-1.0) ** (X + Y)),
    "collapsed": (quality.FLAT, collapsed),
    "seam": (quality.SEAM, lambda part: part + 0.15 * (Y >= HEIGHT // 2)),
    "frame": (
        quality.BORDER,
        lambda part: part * ((Y > 7) & (Y < HEIGHT - 8) & (X > 7) & (X < WIDTH - 8)),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_raises_its_measure(fault, parts, painting):
    """By more than all of the unharmed parts differ."""
    name, harm = FAULTS[fault]
    comparison = Comparison(None, (painting,))
    unharmed = [comparison.measure(part)[name] for part in parts]
    harmed = [
        comparison.measure(np.clip(harm(part), 0, 1).astype(np.float32))[name]
        for part in parts
    ]
    assert min(harmed) > 2 * max(unharmed) - min(unharmed)


def test_strokes_of_half_the_size_are_far(parts, worst, comparison):
    for part in parts:
        measures = comparison.measure(half_scale(part).astype(np.float32))
        for name, ratio in ((quality.STROKES, 1.2), (quality.STROKES_AT[1], 1.5)):
            assert measures[name] > ratio * worst[name]


def test_a_blended_photograph_dilutes_the_strokes(
    parts, worst, comparison, content, painting
):
    photograph = recoloured(content, painting)
    for part in parts:
        blend = comparison.measure((part + photograph) / 2)
        assert blend[quality.STROKES] > worst[quality.STROKES]


def test_recolouring_gives_a_palette_but_no_strokes(
    worst, comparison, content, painting
):
    """7 % of the recoloured values are clipped; without it strokes would be equal."""
    plain, mapped = (
        comparison.measure(x) for x in (content, recoloured(content, painting))
    )
    assert mapped[quality.PALETTE] < 0.6 * plain[quality.PALETTE]
    assert mapped[quality.STROKES] == pytest.approx(plain[quality.STROKES], rel=0.05)
    assert mapped[quality.STROKES] > 1.5 * worst[quality.STROKES]


def test_the_content_is_told_from_other_pictures(parts, comparison, content, painting):
    mapped = comparison.measure(recoloured(content, painting))
    assert mapped[quality.EDGES] > 0.9
    for part in parts:
        other = comparison.measure(part)
        assert abs(other[quality.EDGES]) < 0.3
        assert other[quality.STRUCTURE] > 1.3 * mapped[quality.STRUCTURE]


def test_identity_has_no_distance(comparison, content, painting):
    same = comparison.measure(content)
    assert same[quality.EDGES] == pytest.approx(1) and same[quality.STRUCTURE] < 1e-4
    style = comparison.measure(painting)
    names = quality.PALETTE, quality.STROKES, *quality.STROKES_AT.values(), quality.FLAT
    assert max(style[name] for name in names) < 1e-3
    assert quality.EDGES not in style  # Another size than the content's.


def test_the_score_is_the_distance_from_the_ideal(comparison, content, parts):
    result = 0.5 * content + 0.5 * parts[0]
    measures, plain = comparison.measure(result), comparison.measure(content)
    (style,) = comparison.styles
    spoilt = flat_share(result, style)
    for share in (speckle_share, clipped_share):
        spoilt += max(0, share(result) - share(style))
    wanted = math.sqrt(
        (palette_distance(result, style) / palette_distance(content, style)) ** 2
        + (measures[quality.STROKES] / plain[quality.STROKES]) ** 2
        + (1 - edge_agreement(result, content)) ** 2
        + spoilt**2
    )
    assert comparison.score(measures) == pytest.approx(wanted)
    assert comparison.score(measures) < comparison.score(plain)
    del measures[quality.STROKES]
    assert comparison.score(measures) is None


def test_a_content_in_the_style_already_has_no_score(painting):
    comparison = Comparison(painting, (painting,))
    measures = comparison.measure(painting)
    measures[quality.STROKES] = 0.1
    assert comparison.score(measures) is None


def test_several_styles_are_averaged():
    image, *styles = (smooth_picture(i, 16, 16) for i in range(3))
    both = Comparison(None, styles).measure(image)
    single = [Comparison(None, (style,)).measure(image) for style in styles]
    for name in (quality.PALETTE, quality.FLAT):
        wanted = np.mean([measures[name] for measures in single])
        assert both[name] == pytest.approx(wanted)
    assert quality.EDGES not in both and quality.STROKES not in both


def test_small_images_have_fewer_measures():
    image = smooth_picture(0, 3, 3)
    measures = Comparison(image, (image,)).measure(image)
    assert set(measures) == {
        quality.PALETTE,
        quality.EDGES,
        quality.SPECKLE,
        quality.CLIPPED,
    }
    assert set(Comparison(None, ()).measure(smooth_picture(0, 4, 5))) == {
        quality.SPECKLE,
        quality.CLIPPED,
        quality.SEAM,
    }
