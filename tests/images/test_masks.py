"""Masks and transparency: from files to the weights of the terms."""

import dataclasses
import functools
import json
import runpy

import jax
import numpy as np
import pytest
from command_line import ROOT
from PIL import Image, ImageFilter

import nst_jax
from nst_jax import losses
from nst_jax.images.colour import COLOURS, MAPS
from nst_jax.images.io import Sizing, read_picture
from nst_jax.images.masks import (
    MAX_REGIONS,
    TOLERANCE,
    check_frozen,
    frozen_pixels,
    label_regions,
    read_mask,
)
from nst_jax.launch.runner import execute
from nst_jax.losses.guides import PROPAGATIONS
from nst_jax.plan.warnings import log_request_warnings

RED, BLUE, WHITE, BLACK = (255, 0, 0), (0, 0, 255), (255,) * 3, (0,) * 3


def painted(height, width, left, right, cut):
    """A mask of two colours side by side: float32 [height, width, 3]."""
    mask = np.empty((height, width, 3), np.float32)
    mask[:, :cut], mask[:, cut:] = np.divide(left, 255), np.divide(right, 255)
    return mask


def save(path, array):
    Image.fromarray(np.round(255 * array).astype(np.uint8)).save(path)
    return str(path)


def regions(masks, shapes, names):
    return label_regions(masks, names).shares(shapes)


# Regions of arrays.


def test_regions_share_the_pixels_of_an_edge():
    """80 columns onto 8: the edge at 33 leaves three tenths of column 3 to the left."""
    mask = painted(40, 80, BLUE, RED, 33)
    (actual,) = regions([mask], [(4, 8, 3)], ["mask"])
    wanted = np.array([1, 1, 1, 0.3, 0, 0, 0, 0])
    np.testing.assert_allclose(
        actual, np.stack([[wanted] * 4, [1 - wanted] * 4]), atol=1e-6
    )


def test_regions_are_matched_by_colour():
    """Wherever they are; a colour that the content lacks is in no region."""
    content = painted(10, 20, RED, BLUE, 8)
    style = painted(20, 20, WHITE, RED, 5)
    content_regions, other = regions(
        [content, style], [(10, 20, 3), (20, 20, 3)], ["a", "b"]
    )
    red = 1  # After blue, in the order of their values.
    np.testing.assert_array_equal(content_regions[red], content[..., 0])
    np.testing.assert_array_equal(other[red][:, 5:], 1)
    assert not other[:, :, :5].any() and not other[0].any()


def test_white_is_frozen_where_it_covers_half_a_pixel():
    mask = painted(20, 40, WHITE, BLACK, 17)
    held = frozen_pixels(mask, (2, 4, 3), "masks.freeze")
    assert held.shape == (2, 4, 1) and held.dtype == bool
    assert held[0, :, 0].tolist() == [True, True, False, False]
    nearly = frozen_pixels(painted(20, 40, WHITE, BLACK, 15), (2, 4, 3), "masks.freeze")
    assert nearly[0, :, 0].tolist() == [True, True, False, False]
    less = frozen_pixels(painted(20, 40, WHITE, BLACK, 14), (2, 4, 3), "masks.freeze")
    assert less[0, :, 0].tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ([np.zeros((10, 30, 3))], "mask is 30×10 px, and its picture 20×10"),
        (
            [np.random.default_rng(0).random((10, 20, 3))],
            f"mask has 200 colours, and a mask may have {MAX_REGIONS}",
        ),
        (
            [painted(10, 20, RED, BLUE, 3), painted(10, 20, WHITE, BLACK, 3)],
            "style has none of the colours of mask",
        ),
    ],
)
def test_a_wrong_mask_is_refused(masks, message):
    shapes = [(10, 20, 3)] * len(masks)
    with pytest.raises(nst_jax.RequestError, match=message):
        regions(masks, shapes, ["mask", "style"][: len(masks)])


def test_a_mask_that_freezes_nothing_or_all_is_refused():
    """At the size of the image, where a thin line may vanish."""
    line = painted(64, 64, WHITE, BLACK, 1)
    for mask, message in (
        (
            np.zeros((4, 4, 3)),
            "masks.freeze has no white that fills half a pixel of 4×4",
        ),
        (line, "has no white that fills half a pixel of 4×4"),
        (np.ones((4, 4, 3)), "masks.freeze is white all over at 4×4 px"),
        (1 - line, "is white all over at 4×4 px"),
    ):
        held = frozen_pixels(mask, (4, 4, 3), "masks.freeze")
        with pytest.raises(nst_jax.RequestError, match=message):
            check_frozen(held, "masks.freeze")
    check_frozen(frozen_pixels(line, (64, 64, 3), "masks.freeze"), "masks.freeze")


def test_a_line_that_vanishes_at_the_picture_size_is_refused(files, tmp_path):
    """But not if it vanishes in a coarser stage only."""
    freeze = save(tmp_path / "freeze.png", painted(48, 64, WHITE, BLACK, 2))
    config = experiment(files, masks=nst_jax.Masks(freeze=freeze))
    config.ladder = nst_jax.Ladder(sizes=(8,))
    coarse, last = nst_jax.build(config).groups[0].stages
    assert not coarse.scenes[0].frozen.any()
    assert last.scenes[0].frozen.sum() == 24  # A column.
    config.ladder, config.size = nst_jax.Ladder(), 8
    with pytest.raises(nst_jax.RequestError, match="fills half a pixel of 8×6"):
        nst_jax.build(config)


def test_fully_transparent_masks_and_pictures_are_refused(files):
    def vanish(name):
        with Image.open(files[name]) as image:
            image.putalpha(0)
            image.save(files[name])

    vanish("content mask")
    masks = nst_jax.Masks(freeze=files["content mask"])
    with pytest.raises(nst_jax.RequestError, match="masks.freeze: .* is transparent"):
        nst_jax.build(experiment(files, masks=masks))
    vanish("style")
    with pytest.raises(
        nst_jax.RequestError, match=r"styles\[0\]: .*style.png' is fully transparent"
    ):
        nst_jax.build(experiment(files))


# Through a run.


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(1)
    return {
        "content": save(tmp_path / "content.png", rng.random((24, 32, 3))),
        "style": save(tmp_path / "style.png", rng.random((32, 32, 3))),
        "content mask": save(tmp_path / "cm.png", painted(24, 32, WHITE, BLACK, 12)),
        "style mask": save(tmp_path / "sm.png", painted(16, 16, BLACK, WHITE, 4)),
    }


def experiment(files, **options):
    return nst_jax.Experiment(
        content=files["content"],
        styles=(files["style"],),
        terms=(nst_jax.Gram(layers=("relu1_1",)),),
        size=32,
        steps=3,
        solver=nst_jax.SolverOptions(name="adam"),
        **options,
    )


def test_a_term_is_given_the_regions_of_the_files(files):
    """White of the content is compared with white of the style, and counts by area."""
    masks = nst_jax.Masks(files["content mask"], (files["style mask"],))
    (group,) = nst_jax.build(experiment(files, masks=masks)).groups
    (problem,) = group.problems()
    (((black, white),),) = problem.targets
    np.testing.assert_allclose([black.area, white.area], [20 / 32, 12 / 32], rtol=1e-6)
    inside = np.asarray(white.weights) > 0
    assert inside[:, :12].all() and not inside[:, 12:].any()
    features = group.network(group.styles[0], ["relu1_1"])["relu1_1"]
    rows = np.asarray(features, np.float64)[:, 8:].reshape(-1, 64)
    (actual,) = white.statistics
    np.testing.assert_allclose(actual, rows.T @ rows / len(rows), rtol=1e-4, atol=1e-2)


def test_frozen_pixels_keep_their_bits_and_the_rest_is_styled(files, tmp_path):
    config = experiment(
        files,
        masks=nst_jax.Masks(freeze=files["content mask"]),
        ladder=nst_jax.Ladder((16,)),
    )
    plan = nst_jax.build(config)
    assert execute(plan, tmp_path / "run") == "done"
    final = np.load(tmp_path / "run/members/000/final.npy")
    content = plan.groups[0].content
    np.testing.assert_array_equal(final[:, :12], content[:, :12])
    assert (final[:, 12:] != content[:, 12:]).mean() > 0.9
    roles = [
        i["role"] for i in json.loads((tmp_path / "run/run.json").read_text())["inputs"]
    ]
    assert roles == ["content", "styles[0]", "masks.freeze", "weights"]


def test_transparent_pixels_are_in_no_region(files, tmp_path):
    """The style's statistics are those of its opaque part; the result is as opaque."""
    for name, cut in (("content", 10), ("style", 20)):
        with Image.open(files[name]) as image:
            alpha = np.full(image.size[::-1], 255, np.uint8)
            alpha[:, :cut] = 0
            image.putalpha(Image.fromarray(alpha))
            image.save(files[name])
    plan = nst_jax.build(experiment(files))
    (group,) = plan.groups
    (((region,),),) = group.problems()[0].targets
    assert not np.asarray(region.weights)[:, :10].any()
    np.testing.assert_allclose(region.area, 22 / 32, rtol=1e-6)
    features = np.asarray(group.network(group.styles[0], ["relu1_1"])["relu1_1"])
    rows = features[:, 20:].reshape(-1, 64).astype(np.float64)
    (actual,) = region.statistics
    np.testing.assert_allclose(actual, rows.T @ rows / len(rows), rtol=1e-4, atol=1e-2)
    assert execute(plan, tmp_path / "run") == "done"
    with Image.open(tmp_path / "run/members/000/final.png") as image:
        assert image.mode == "RGBA"
        opaque = np.asarray(image)[..., 3]
    assert not opaque[:, :10].any() and (opaque[:, 10:] == 255).all()


@nst_jax.term
class Mean(nst_jax.StyleTerm):
    """A statistic of all positions alike."""

    def statistic(self, features):
        return features.mean((0, 1))

    def distance(self, statistic, target):
        return ((statistic - target) ** 2).sum()


def test_a_statistic_without_weights_is_refused_with_masks(files):
    paths = files["content mask"], (files["style mask"],)
    config = experiment(files)
    config.terms = (Mean(layers=("relu1_1",)),)
    nst_jax.build(config)
    config.masks = nst_jax.Masks(*paths)
    with pytest.raises(
        nst_jax.RequestError, match=r"^style: Mean.statistic takes no weights"
    ):
        nst_jax.build(config)


@pytest.mark.parametrize("name", ["coffee", "astronaut"])
def test_the_sample_masks_are_those_of_the_tool(name):
    drawn = runpy.run_path(str(ROOT / "tools" / "draw_masks.py"))[name]()
    with Image.open(ROOT / "samples" / f"{name}_mask.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask), np.asarray(drawn))
    with Image.open(ROOT / "samples" / f"{name}.png") as picture:
        assert picture.size == drawn.size


def test_an_opaque_picture_has_no_alpha(files, tmp_path):
    assert read_picture(files["content"], Sizing(), "content")[1] is None
    with Image.open(files["content"]) as image:
        image.putalpha(255)
        image.save(tmp_path / "opaque.png")
    _, alpha = read_picture(tmp_path / "opaque.png", Sizing(), "content")
    assert alpha is None


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (lambda: nst_jax.Masks("a.png"), "masks.content and masks.styles go together"),
        (
            lambda: nst_jax.Masks("a.png", ("b.png", "c.png")),
            "masks.styles has 2 entries for 1",
        ),
        (lambda: nst_jax.Masks(propagation="outside"), "did you mean 'inside'"),
        (
            lambda: nst_jax.Masks("a.png", (1,)),
            r"masks.styles\[0\] must be a string, got 1",
        ),
        (
            lambda: nst_jax.Masks(freeze="missing.png"),
            "masks.freeze: no file 'missing.png'",
        ),
    ],
)
def test_wrong_mask_options_are_refused(files, masks, message):
    config = experiment(files)
    with pytest.raises(nst_jax.RequestError, match=message):
        nst_jax.build(dataclasses.replace(config, masks=masks()))


def test_members_with_masks_share_equal_targets(files):
    """One style target for two contents and one mask; jax arrays, not copies."""
    masks = nst_jax.Masks(files["content mask"], (files["style mask"],))
    config = experiment(
        files, masks=masks, axes=(nst_jax.Vary("terms[0].weight", (1.0, 2.0)),)
    )
    (group,) = nst_jax.build(config).groups
    one, other = group.problems()
    assert all(
        a is b
        for a, b in zip(
            jax.tree.leaves(one.targets), jax.tree.leaves(other.targets), strict=True
        )
    )


# Colours that are almost those of other masks.


def soft(mask, blur):
    image = Image.fromarray(np.round(255 * mask).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(blur))
    return np.asarray(image, np.float32) / 255


def compressed(mask, tmp_path, quality):
    Image.fromarray(np.round(255 * mask).astype(np.uint8)).save(
        tmp_path / "mask.jpg", quality=quality
    )
    return read_mask(str(tmp_path / "mask.jpg"), "mask")


@pytest.mark.parametrize("kind", ["JPEG", "one level off", "soft", "soft JPEG", "thin"])
@pytest.mark.parametrize("role", ["content", "style"])
def test_a_compressed_mask_has_the_regions_of_the_clean_one(tmp_path, kind, role):
    """Pixel by pixel, since each goes to the nearest of the two colours."""
    clean = painted(48, 64, RED, BLACK, 25)
    other = soft(clean, 2) if kind.startswith("soft") else clean.copy()
    if "JPEG" in kind:
        other = compressed(other, tmp_path, 80)
        assert len(np.unique(other.reshape(-1, 3), axis=0)) > 2
    elif kind == "one level off":
        other[::3, :25, 0] -= 1 / 255
    elif kind == "thin":
        clean[10, 40:] = other[10, 40:] = painted(1, 24, RED, BLACK, 24)
    pair = [other, clean] if role == "content" else [clean, other]
    shape = clean.shape
    wanted = regions([clean, clean], [shape] * 2, ["content", "style"])
    actual = regions(pair, [shape] * 2, ["content", "style"])
    np.testing.assert_array_equal(actual, wanted)
    again = regions(pair, [shape] * 2, ["content", "style"])
    np.testing.assert_array_equal(actual, again)


def test_a_region_without_a_style_is_named():
    """Green is not mistaken for red, and a soft edge is in no region."""
    content = painted(48, 64, RED, BLACK, 32)
    content[:, 48:] = 0, 1, 0
    content = soft(content, 1)
    labels = label_regions(
        [content, painted(48, 64, RED, BLACK, 20)], ["content", "style"]
    )
    assert labels.unstyled == {"#00ff00": 0.25}
    content_regions, other = labels.shares([(48, 64)] * 2)
    green = labels.colours.tolist().index([0, 255, 0])
    assert content_regions[green].mean() == 0.25 and not other[green].any()
    np.testing.assert_array_equal(content_regions.sum(0), 1)
    np.testing.assert_array_equal(other.sum(0), 1)


def test_a_soft_edge_is_not_taken_for_a_third_region_of_the_style():
    """The style has a grey region, which is the colour of a black and white edge."""
    style = painted(48, 64, WHITE, BLACK, 20)
    style[:, 50:] = 0.5
    content = painted(48, 64, WHITE, BLACK, 31)
    content[:, 31] = 0.5
    labels = label_regions([content, style], ["content", "style"])
    assert labels.colours.tolist() == [[0, 0, 0], [255, 255, 255]]
    assert (labels.maps[1][:, 50:] == -1).all()
    content[:, 40:] = 0.5
    labels = label_regions([content, style], ["content", "style"])
    assert labels.colours.tolist() == [[0] * 3, [128] * 3, [255] * 3]


def test_colours_are_distinguished_by_the_tolerance():
    """Sixteen levels are one region, seventeen are two."""
    for apart, count in ((TOLERANCE, 1), (TOLERANCE + 1, 2)):
        mask = painted(20, 40, (100,) * 3, (100, 100 + apart, 100), 25)
        assert len(label_regions([mask], ["mask"]).colours) == count


def test_a_gradient_is_refused_as_a_mask():
    ramp = np.repeat(np.linspace(0, 1, 512, dtype=np.float32)[None, :, None], 3, 2)
    with pytest.raises(nst_jax.RequestError, match="mask has 256 colours"):
        label_regions([np.repeat(ramp, 8, 0)], ["mask"])


def test_a_freeze_mask_may_be_soft_or_compressed(tmp_path):
    clean = painted(48, 64, WHITE, BLACK, 25)
    wanted = frozen_pixels(clean, clean.shape, "masks.freeze")
    for mask in (soft(clean, 2), compressed(clean, tmp_path, 60)):
        actual = frozen_pixels(mask, clean.shape, "masks.freeze")
        np.testing.assert_array_equal(actual, wanted)


@pytest.mark.parametrize("kind", ["third region", "no masks", "masks"])
def test_masks_without_effect_are_reported_before_the_run(
    files, tmp_path, kind, caplog
):
    masks = nst_jax.Masks(
        files["content mask"], (files["style mask"],), propagation="all"
    )
    parts = []
    if kind == "third region":
        mask = painted(24, 32, WHITE, BLACK, 12)
        mask[:, 24:] = np.divide(BLUE, 255)
        masks.content = save(tmp_path / "third.png", mask)
        parts = ["the region #0000ff of", "25 % of the canvas, has no style", "16 of"]
    elif kind == "no masks":
        masks = nst_jax.Masks(propagation="all")
        parts = ["masks.propagation has no effect without masks.content"]
    plan = nst_jax.build(experiment(files, masks=masks))
    with caplog.at_level("WARNING", "absl"):
        log_request_warnings(plan)
    logged = [text for text in caplog.messages if text.startswith("masks.")]
    assert len(logged) == bool(parts)
    assert all(part in logged[0] for part in parts)


# Transparency: what is hidden has no influence.


def with_alpha(path, picture, alpha):
    """Save pixels uint8 [H, W, 3] with an alpha [H, W]."""
    Image.fromarray(np.concatenate([picture, alpha[..., None]], 2)).save(path)
    return str(path)


def cutout(path, seed, hidden, side=32):
    """A picture with a disc of it visible, soft at its edge, and hidden colours."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - side / 2
    alpha = (np.clip(0.4 * side - np.hypot(y, x), 0, 1) * 255).astype(np.uint8)
    picture = rng.integers(0, 256, (side, side, 3), np.uint8)
    other = np.random.default_rng(hidden).integers(0, 256, picture.shape, np.uint8)
    seen = np.where(alpha[..., None] > 0, picture, other)
    return with_alpha(path, seen, alpha)


ALL_TERMS = (
    nst_jax.Content(layers=("relu2_1",)),
    nst_jax.TotalVariation(),
    nst_jax.Gram(layers=("relu1_1", "relu2_1"), name="gram"),
    losses.ShiftedGram(layers=("relu1_1",), name="shifted"),
    losses.CrossLayerGram(pairs=(("relu1_1", "relu2_1"),), name="cross"),
    losses.Histogram(layers=("relu1_1",), name="histogram"),
    losses.MeanStd(layers=("relu1_1",), name="mean_std"),
    losses.Covariance(layers=("relu1_1",), name="covariance"),
    losses.SlicedWasserstein(layers=("relu1_1",), directions=4, name="sliced"),
    losses.Wasserstein(layers=("relu1_1",), name="wasserstein"),
    losses.NearestFeatures(layers=("relu1_1", "relu2_1")),
    losses.RelaxedEMD(layers=("relu1_1", "relu2_1"), samples=64, name="emd"),
    losses.SelfSimilarity(layers=("relu1_1", "relu2_1"), samples=64, name="self"),
    losses.Photorealism(),
)


def test_every_exported_term_is_covered():
    """The next tests cover all terms, so none may be missing."""
    exported = {
        kind
        for kind in vars(losses).values()
        if isinstance(kind, type) and issubclass(kind, nst_jax.Term)
    }
    abstract = {nst_jax.Term, nst_jax.LayerTerm, nst_jax.StyleTerm}
    assert {type(term) for term in ALL_TERMS} == exported - abstract


@functools.cache
def _loss(treedef):
    def loss(leaves):
        problem, canvas = jax.tree.unflatten(treedef, leaves)
        return problem.objective(problem.network, canvas, problem.targets)[1]

    return jax.jit(loss)


def everything(plan):
    """Pictures, targets and losses of a plan's member."""
    (group,) = plan.groups
    (problem,) = group.problems()
    scene = group.scenes[0]
    leaves, treedef = jax.tree.flatten((problem, scene.content[::-1]))
    pictures = scene.content, scene.styles, scene.original, scene.regions
    return pictures, problem.targets, _loss(treedef)(leaves)


@pytest.mark.parametrize("propagation", PROPAGATIONS)
def test_colour_under_transparent_pixels_changes_nothing(tmp_path, propagation):
    """For every term, colour option and propagation of regions."""
    plans = []
    for hidden in (10, 11):
        folder = tmp_path / str(hidden)
        folder.mkdir()
        config = nst_jax.Experiment(
            content=cutout(folder / "content.png", 1, hidden),
            styles=(cutout(folder / "style.png", 2, hidden + 10, side=40),),
            terms=ALL_TERMS,
            size=24,
            masks=nst_jax.Masks(propagation=propagation),
        )
        plans.append([dataclasses.replace(config, colour=c) for c in COLOURS])
    for one, other in zip(*plans, strict=True):
        jax.tree.map(
            np.testing.assert_array_equal,
            everything(nst_jax.build(one)),
            everything(nst_jax.build(other)),
        )


def test_a_cutout_of_one_colour_equals_an_opaque_picture_for_every_term(tmp_path):
    """Weights do not change a statistic of constant features."""
    flat = np.full((32, 32, 3), (200, 40, 90), np.uint8)
    y, x = np.mgrid[:32, :32] - 16
    disc = np.where(np.hypot(y, x) < 12, 255, 0).astype(np.uint8)
    hidden = np.where(disc[..., None] > 0, flat, 0).astype(np.uint8)
    cut = with_alpha(tmp_path / "cut.png", hidden, disc)
    whole = with_alpha(tmp_path / "whole.png", flat, np.maximum(disc, 128))
    content = cutout(tmp_path / "content.png", 1, 5)
    config = nst_jax.Experiment(
        content=content, styles=(cut,), terms=ALL_TERMS, size=32, padding="replicate"
    )
    _, _, ours = everything(nst_jax.build(config))
    config.styles = (whole,)
    (_, styles, *_), _, wanted = everything(nst_jax.build(config))
    np.testing.assert_array_equal(styles[0], flat / np.float32(255))
    for name, loss in ours.items():
        np.testing.assert_allclose(loss, wanted[name], rtol=1e-4, err_msg=name)


def test_the_result_of_a_cutout_is_a_cutout_without_hidden_colours(tmp_path):
    finals = []
    for hidden in (10, 11):
        content = cutout(tmp_path / "content.png", 1, hidden)
        style = cutout(tmp_path / "style.png", 2, hidden + 10)
        config = experiment({"content": content, "style": style}, colour="match_pca")
        assert execute(nst_jax.build(config), tmp_path / str(hidden)) == "done"
        finals.append(np.load(tmp_path / str(hidden) / "members/000/final.npy"))
    np.testing.assert_array_equal(*finals)
    with Image.open(content) as image:
        wanted = np.asarray(image)[..., 3]
    for name in ("members/000/final.png", "inputs/000.png"):
        with Image.open(tmp_path / "10" / name) as image:
            np.testing.assert_array_equal(np.asarray(image)[..., 3], wanted)


@pytest.mark.parametrize("colour", [*MAPS, "luminance"])
def test_colours_are_matched_to_visible_pixels(tmp_path, colour):
    """Weighted by alpha, in float64: half a pixel counts for half of one."""
    content = cutout(tmp_path / "content.png", 1, 5)
    style = cutout(tmp_path / "style.png", 2, 6)
    plan = nst_jax.build(
        experiment({"content": content, "style": style}, colour=colour)
    )
    (scene,) = plan.groups[0].scenes
    moments = []
    for path, picture in ((content, scene.content), (style, scene.styles[0])):
        with Image.open(path) as image:
            weights = np.asarray(image, np.float64)[..., 3].ravel()
        pixels = np.asarray(picture, np.float64).reshape(-1, 3)
        mean = np.average(pixels, axis=0, weights=weights)
        moments.append((mean, np.cov(pixels.T, aweights=weights, ddof=0)))
    for wanted, actual in zip(*moments, strict=True):
        np.testing.assert_allclose(actual, wanted, atol=1e-6)


def test_a_mask_and_transparency_multiply(files):
    with Image.open(files["style"]) as image:
        image.putalpha(Image.linear_gradient("L").rotate(90).resize(image.size))
        alpha = np.asarray(image)[..., 3] / np.float32(255)
        image.save(files["style"])
    paths = files["content mask"], (files["style mask"],)
    config = experiment(files, masks=nst_jax.Masks(*paths))
    regions_ = nst_jax.build(config).groups[0].scenes[0].regions
    black, white = np.repeat(painted(32, 32, BLACK, WHITE, 8)[None, ..., 0], 2, 0)
    wanted = np.stack([(1 - black) * alpha, white * alpha])
    np.testing.assert_allclose(regions_.styles[0], wanted, atol=1e-6)
    # Black of the style is hidden: nothing of it counts.
    with Image.open(files["style"]) as image:
        image.putalpha(Image.fromarray(np.uint8(255 * white)))
        image.save(files["style"])
    both = nst_jax.build(config).groups[0].scenes[0].regions
    assert not both.styles[0][0].any() and both.styles[0][1].any()
