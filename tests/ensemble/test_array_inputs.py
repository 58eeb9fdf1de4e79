"""Experiments on arrays equal those on files with the same pixels."""

import dataclasses
import json

import numpy as np
import pytest
from pictures import smooth_picture
from PIL import Image
from small_runs import small_experiment

import nst_jax


def eight_bits(seed, height, width):
    return np.round(smooth_picture(seed, height, width) * 255).astype(np.uint8)


CONTENT, STYLE = eight_bits(0, 60, 80), eight_bits(1, 50, 70)
HALF = np.zeros((60, 80), bool)
HALF[:, :40] = True
HALF_OF_STYLE = np.zeros((50, 70), bool)
HALF_OF_STYLE[:25] = True


def colours(mask):
    return np.repeat(mask[..., None], 3, -1).astype(np.uint8) * 255


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same pictures as files: name -> path."""
    folder = tmp_path_factory.mktemp("files")
    pictures = {"content": CONTENT, "style": STYLE}
    pictures |= {"half": colours(HALF), "style_half": colours(HALF_OF_STYLE)}
    for name, picture in pictures.items():
        Image.fromarray(picture).save(folder / f"{name}.png")
    return {name: str(folder / f"{name}.png") for name in pictures}


def config(**fields):
    usual = {"content": CONTENT, "styles": (STYLE,), "size": 32, "steps": 2}
    return dataclasses.replace(small_experiment(axes=()), **(usual | fields))


def scene(**fields):
    return nst_jax.build(config(**fields)).groups[0].scenes[0]


@pytest.mark.parametrize("fit", ["long", "short", "area"])
@pytest.mark.parametrize("size", [24, 80, 96])
def test_uint8_is_resized_like_a_file(files, size, fit):
    arrays = scene(size=size, fit=fit)
    paths = scene(
        content=files["content"], styles=(files["style"],), size=size, fit=fit
    )
    np.testing.assert_array_equal(arrays.content, paths.content)
    np.testing.assert_array_equal(arrays.styles[0], paths.styles[0])


def test_floats_keep_their_precision():
    """Unchanged at their own size; resized, within one level of uint8."""
    fine = smooth_picture(0, 24, 32)
    np.testing.assert_array_equal(scene(content=fine).content, fine)
    floats = scene(content=CONTENT.astype(np.float64) / 255).content
    np.testing.assert_allclose(floats, scene().content, atol=1.01 / 255)
    assert floats.dtype == np.float32
    words = scene(content=CONTENT.astype(np.uint16) * 257).content
    np.testing.assert_allclose(words, floats, atol=1e-6)
    edge = np.zeros((64, 64, 3), np.float32)
    edge[:, 32:] = 1
    actual = scene(content=edge).content  # Lanczos overshoots; what is read does not.
    assert (actual.min(), actual.max()) == (0, 1)


def test_masks_may_be_arrays(files):
    arrays = scene(
        masks=nst_jax.Masks(
            content=HALF, styles=[colours(HALF_OF_STYLE)], freeze=colours(HALF)
        )
    )
    paths = scene(
        content=files["content"],
        styles=(files["style"],),
        masks=nst_jax.Masks(
            content=files["half"], styles=(files["style_half"],), freeze=files["half"]
        ),
    )
    np.testing.assert_array_equal(arrays.frozen, paths.frozen)
    np.testing.assert_array_equal(arrays.regions.content, paths.regions.content)
    np.testing.assert_array_equal(arrays.regions.styles[0], paths.regions.styles[0])


def test_a_starting_canvas_may_be_an_array_outside_the_gamut():
    start = np.random.default_rng(0).normal(0.5, 1, (24, 32, 3)).astype(np.float32)
    plan = nst_jax.build(config(canvas=nst_jax.Canvas("file", path=start)))
    np.testing.assert_array_equal(plan.groups[0].starting_images([0])[0], start)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"content": CONTENT.astype(np.float32)}, r"content must be in \[0, 1\]"),
        ({"content": CONTENT[..., 0]}, "content must be a picture .* repeat a grey"),
        ({"content": CONTENT.astype(int)}, "content must be floats .* int64"),
        ({"styles": (STYLE, STYLE[None])}, r"styles\[1\] must be a picture"),
        ({"styles": STYLE}, "styles must be a tuple"),
        ({"size": CONTENT}, "size must be an integer"),
        ({"weights": CONTENT}, "weights: no file"),
        (
            {"masks": nst_jax.Masks(CONTENT[..., 0], (STYLE,))},
            "masks.content must be a picture",
        ),
        (
            {"canvas": nst_jax.Canvas("file", path=CONTENT / 1.0)},
            "canvas.path must be on a scale where white is 1",
        ),
    ],
)
def test_a_wrong_array_is_refused_with_its_field(fields, message):
    with pytest.raises(nst_jax.RequestError, match=message) as refused:
        nst_jax.build(config(**fields))
    assert len(str(refused.value)) < 400


def test_a_run_on_arrays_equals_a_run_on_files(tmp_path, files):
    """A grid over contents, with a report; run.json names arrays by their hashes."""
    other = eight_bits(2, 60, 80)
    Image.fromarray(other).save(tmp_path / "other.png")
    grid = config(axes=[nst_jax.Vary("content", [CONTENT, other])], seeds=[0, 1])
    plan = nst_jax.build(grid)
    assert len(plan.groups) == 1
    assert [member.label for member in plan.members] == [
        f"content array {i}, seed {seed}" for i in (1, 2) for seed in (0, 1)
    ]
    assert nst_jax.execute(plan, tmp_path / "arrays", progress=False) == "done"
    contents = (files["content"], str(tmp_path / "other.png"))
    paths = config(
        content=files["content"],
        styles=(files["style"],),
        axes=(nst_jax.Vary("content", contents),),
        seeds=(0, 1),
    )
    nst_jax.execute(nst_jax.build(paths), tmp_path / "files", progress=False)
    for member in range(4):
        name = f"members/{member:03d}/final.npy"
        np.testing.assert_array_equal(
            np.load(tmp_path / "arrays" / name), np.load(tmp_path / "files" / name)
        )
    text = (tmp_path / "arrays" / "run.json").read_text()
    assert len(text) < 40_000
    run = json.loads(text)
    assert (tmp_path / "arrays" / "report.html").exists()
    pictures = [entry for entry in run["inputs"] if entry["picture"]]
    for entry, array in zip(pictures, (CONTENT, STYLE, other), strict=True):
        assert f"{array.dtype} {list(array.shape)}" in entry["path"]
        assert entry["sha256"] in entry["path"]
    assert run["config"]["content"] == pictures[0]["path"]
    assert run["config"]["styles"] == [pictures[1]["path"]]
    assert len(json.dumps(grid.to_dict())) < 10_000
    assert len(repr(grid)) < 4000


def test_a_run_resumes_with_equal_arrays_only(tmp_path):
    def stop():
        return next(turns) > 1

    turns = iter(range(99))
    start = config(canvas=nst_jax.Canvas("noise"), steps=6)
    start.output.log_every = 1
    first = nst_jax.execute(nst_jax.build(start), tmp_path, stop=stop)
    assert first == "interrupted"
    twin = dataclasses.replace(start, content=CONTENT.copy(), styles=[STYLE.copy()])
    changed = CONTENT.copy()
    changed[0, 0, 0] ^= 1
    for other in (changed, CONTENT.astype(np.uint16) * 257):
        plan = nst_jax.build(dataclasses.replace(start, content=other))
        with pytest.raises(nst_jax.RequestError, match="another run: content is"):
            nst_jax.execute(plan, tmp_path)
    assert nst_jax.execute(nst_jax.build(twin), tmp_path) == "done"


def test_arrays_from_python_are_refused_for_subprocesses(tmp_path):
    apart = config()
    apart.ensemble.process = "subprocess"
    with pytest.raises(nst_jax.RequestError, match="ensemble.process='subprocess'"):
        nst_jax.execute(nst_jax.build(apart), tmp_path / "run")


@pytest.mark.parametrize("same", [True, False])
def test_a_config_in_a_subprocess_must_give_the_same_arrays(
    tmp_path, monkeypatch, same
):
    """As a config does that another process reads again; here both are this one."""
    apart = config()
    apart.ensemble.process = "subprocess"
    again = apart if same else dataclasses.replace(apart, content=CONTENT[::-1])

    def elsewhere(command, workdir, members, stop):
        return nst_jax.execute(nst_jax.build(again, only=members), workdir) == "done"

    monkeypatch.setattr("nst_jax.launch.runner.check_command", lambda command: None)
    monkeypatch.setattr("nst_jax.launch.subprocess.run_in_subprocess", elsewhere)
    plan = nst_jax.build(apart)
    if same:
        assert nst_jax.execute(plan, tmp_path) == "done"
    else:
        with pytest.raises(ChildProcessError, match="content is .* the same arrays"):
            nst_jax.execute(plan, tmp_path)


def test_a_published_tool_takes_arrays():
    gatys = nst_jax.preset(
        "gatys", content=CONTENT, styles=[STYLE], size=32, fit="long"
    )
    plan = nst_jax.build(gatys)
    assert plan.groups[0].content.shape == (24, 32, 3)
