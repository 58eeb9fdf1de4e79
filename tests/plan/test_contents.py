"""What a content is: a folder, a film or a still; its own size; limits of pixels."""

import math
import pathlib

import numpy as np
import pytest
from pictures import smooth_picture
from PIL import Image

import nst_jax
from nst_jax.images.image import to_bytes
from nst_jax.plan.warnings import log_request_warnings
from nst_jax.workdir.manifest import fixed_part

SHAPES = {"a2.png": (24, 32), "a10.png": (32, 24), "a1.jpg": (24, 32)}


def experiment(content: str = "", **fields) -> nst_jax.Experiment:
    """A reconstruction from a shallow layer, of which nothing is computed."""
    return nst_jax.Experiment(
        content,
        (),
        terms=(nst_jax.Content(layers=("relu1_1",)),),
        **{"size": 16, "steps": 1, **fields},
    )


@pytest.fixture
def photos(tmp_path: pathlib.Path) -> str:
    """Three pictures of two shapes, among files that are none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed, (name, shape) in enumerate(SHAPES.items()):
        picture = to_bytes(smooth_picture(seed, *shape))
        Image.fromarray(picture).save(folder / name)
    (folder / ".a0.png").write_bytes(b"hidden")
    (folder / "notes.txt").write_text("no picture")
    (folder / "more.png").mkdir()
    return str(folder)


def said(plan: nst_jax.Plan, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with caplog.at_level("INFO", "absl"):
        log_request_warnings(plan)
    return [text for text in caplog.messages if "content '" in text]


# Folders.


def test_contents_are_an_axis(photos):
    """One member each in natural order; a program for each shape."""
    asked = experiment("samples/chelsea.png", axes=(nst_jax.Contents(photos),))
    plan = nst_jax.build(asked)
    assert [m.label for m in plan.members] == [
        "content a1",
        "content a2",
        "content a10",
    ]
    names = [pathlib.Path(m.experiment.content).name for m in plan.members]
    assert names == ["a1.jpg", "a2.png", "a10.png"]
    assert [group.numbers for group in plan.groups] == [(0, 1), (2,)]
    shapes = [group.content.shape for group in plan.groups]
    assert shapes == [(12, 16, 3), (16, 12, 3)]


def test_a_folder_is_the_same_grid(photos, caplog):
    plan = nst_jax.build(experiment(photos, seeds=(0, 1)))
    by_axis = nst_jax.build(
        experiment(photos, seeds=(0, 1), axes=(nst_jax.Contents(photos),))
    )
    assert [m.label for m in plan.members] == [m.label for m in by_axis.members]
    assert [m.index for m in plan.members] == [m.index for m in by_axis.members]
    assert len(plan.members) == 6
    (sentence,) = said(plan, caplog)
    assert "is a folder: each of its pictures is a member" in sentence
    assert "Frames(n)" in sentence and "photos" in sentence
    assert not said(by_axis, caplog)


def test_a_folder_is_a_film_where_a_frame_is_asked_for(photos, caplog):
    plan = nst_jax.build(experiment(photos, axes=(nst_jax.Frames(3),)))
    assert [m.label for m in plan.members] == ["frame 0", "frame 1", "frame 2"]
    names = [pathlib.Path(item.path).name for item in plan.inputs[:-1]]
    assert names == ["a1.jpg", "a2.png", "a10.png"]
    assert not said(plan, caplog)
    one = nst_jax.build(experiment(photos, frame=2))
    assert pathlib.Path(one.inputs[0].path).name == "a10.png"
    (sentence,) = said(one, caplog)
    assert "is a film, of which only frame 2 is transferred" in sentence


def test_names_that_differ_in_their_ending_keep_it(photos):
    Image.new("RGB", (8, 8)).save(pathlib.Path(photos) / "a1.png")
    assert nst_jax.Contents(photos).texts == ("a1.jpg", "a1.png", "a2.png", "a10.png")


def test_a_folder_without_pictures_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    folder = str(tmp_path)
    for ask in (
        lambda: nst_jax.Contents(folder),
        lambda: nst_jax.build(experiment(folder)),
    ):
        with pytest.raises(
            nst_jax.RequestError, match="content: the folder .* holds no pictures"
        ):
            ask()
    for wrong in (folder + "/notes.txt", folder + "/none", 3):
        with pytest.raises(nst_jax.RequestError, match="Contents.folder. needs a"):
            nst_jax.Contents(wrong)


# Films and stills.


def test_of_a_film_without_frames_one_is_transferred(tmp_path, caplog):
    path = tmp_path / "anim.gif"
    frames = [Image.new("RGB", (32, 24), (80 * k, 0, 0)) for k in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    (sentence,) = said(nst_jax.build(experiment(str(path))), caplog)
    assert "is a film, of which only frame 0 is transferred" in sentence
    moving = nst_jax.build(experiment(str(path), axes=(nst_jax.Frames(2),)))
    assert not said(moving, caplog)


def test_a_frame_of_a_still_says_that_it_has_no_effect(caplog):
    for fields in ({"frame": 3}, {"axes": (nst_jax.Frames(3),)}):
        plan = nst_jax.build(experiment("samples/chelsea.png", **fields))
        told = said(plan, caplog)
        assert sum("has no effect: content 'samples/ch" in text for text in told) == 1
    for fields in (
        {"film": nst_jax.Film("shift", 1.0)},
        {"canvas": nst_jax.Canvas("noise", per_frame="noise")},
        {"canvas": nst_jax.Canvas("previous")},
    ):
        plan = nst_jax.build(experiment("samples/chelsea.png", frame=3, **fields))
        assert not said(plan, caplog)


# Size 0.


def picture_file(path: pathlib.Path, height: int, width: int) -> str:
    Image.fromarray(to_bytes(smooth_picture(0, height, width))).save(path)
    return str(path)


@pytest.mark.parametrize("fit", ["long", "short", "area"])
def test_size_0_is_the_contents_own_size(tmp_path, fit: str):
    """To the pixel: the side of a square of 61 × 17 px is not a whole number."""
    path = picture_file(tmp_path / "x.png", 17, 61)
    asked = experiment(path, size=0, fit=fit, axes=(nst_jax.Vary("size", (0, 16)),))
    asked.styles = ("samples/swirls.jpg",)
    asked.terms = (nst_jax.Gram(layers=("relu1_1",)),)
    own, _ = (group.scenes[0] for group in nst_jax.build(asked).groups)
    np.testing.assert_array_equal(own.content, nst_jax.read_image(path))
    side = {"long": 61, "short": 17, "area": round(math.sqrt(61 * 17))}[fit]
    style = nst_jax.read_image("samples/swirls.jpg", side, fit=fit)
    np.testing.assert_array_equal(own.styles[0], style)


def test_size_0_over_contents_of_several_sizes(photos):
    plan = nst_jax.build(experiment(photos, size=0))
    shapes = [group.content.shape[:2] for group in plan.groups]
    assert shapes == [(24, 32), (32, 24)]
    assert {member.experiment.size for member in plan.members} == {32}
    assert plan.experiment.size == 0  # The request is kept as it was asked for.


def test_a_ladder_goes_up_to_the_contents_own_size(tmp_path):
    path = picture_file(tmp_path / "x.png", 48, 64)
    options = {"ladder": nst_jax.Ladder(start=16, factor=2.0), "style_scale": 0.5}
    asked = experiment(path, size=0, **options)
    asked.smoothing.radius = 4
    plan = nst_jax.build(asked)
    (group,) = plan.groups
    shapes = [stage.content.shape[:2] for stage in group.stages]
    assert shapes == [(12, 16), (24, 32), (48, 64)]
    assert plan.members[0].experiment.total_steps == 3
    radii = [stage.experiment.smoothing.radius for stage in group.stages]
    assert radii == [1, 2, 4]
    asked.ladder = nst_jax.Ladder((64,))
    with pytest.raises(
        nst_jax.RequestError, match=r"ladder.sizes must ascend and end below size 64"
    ):
        nst_jax.build(asked)


def test_a_small_twin_of_size_0():
    sizes = nst_jax.Vary("size", (0, 96, 256))
    ladder = nst_jax.Ladder(start=300)
    asked = experiment("samples/chelsea.png", size=0, axes=(sizes,), ladder=ladder)
    twin = nst_jax.variant(asked, "smoke")
    assert twin.size == 64 and twin.ladder.start < 64
    assert twin.axes[0].values == (64, 32)
    alone = experiment("samples/chelsea.png", axes=(nst_jax.Vary("size", (0,)),))
    assert nst_jax.variant(alone, "smoke").axes[0].values == (64,)


# Limits.


def test_max_pixels_is_a_field(tmp_path):
    path = picture_file(tmp_path / "x.png", 48, 64)
    nst_jax.build(experiment(path, max_pixels=48 * 64))
    for name, asked in (
        ("content", experiment(path)),
        ("styles\\[0\\]", experiment("samples/chelsea.png", size=8)),
        ("masks.freeze", experiment("samples/chelsea.png", size=8)),
    ):
        asked.max_pixels = 300 * 451 if name != "content" else 48 * 64 - 1
        if name != "content":
            large = picture_file(tmp_path / "large.png", 301, 451)
            asked.styles = (large,) if name != "masks.freeze" else ()
            asked.masks.freeze = large if name == "masks.freeze" else ""
        with pytest.raises(
            nst_jax.RequestError, match=f"^{name}: .* more than max_pixels=.* raise it"
        ):
            nst_jax.build(asked)
    with pytest.raises(nst_jax.RequestError, match="max_pixels must be at least 1"):
        nst_jax.build(experiment(path, max_pixels=0))


def test_another_limit_of_pixels_is_the_same_run():
    """It changes no result, so a run goes on."""
    few, many = (experiment("x.png", max_pixels=limit).to_dict() for limit in (9, 10))
    assert few != many
    assert fixed_part(few) == fixed_part(many)
