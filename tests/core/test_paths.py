"""Where the paths of a request lead."""

import os
import pathlib

import pytest
from command_line import ROOT
from pictures import smooth_picture

import nst_jax
from nst_jax.core import paths
from nst_jax.core.paths import find_file, search_beside
from nst_jax.images import video as film


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A working directory, and the folder of a config."""
    monkeypatch.setattr(paths, "_FOLDERS", paths._FOLDERS.copy())
    here, beside = tmp_path / "here", tmp_path / "beside"
    for folder in (here, beside):
        folder.mkdir()
    monkeypatch.chdir(here)
    return here, beside


def test_the_working_directory_comes_before_the_configs_and_the_projects(folders):
    here, beside = folders
    name = "samples/chelsea.png"
    assert find_file("content", name) == ROOT / name
    (beside / "samples").mkdir()
    (beside / name).touch()
    assert find_file("content", name) == ROOT / name
    search_beside(pathlib.Path("..", "beside", "x.py"))
    assert find_file("content", name) == beside / name
    (here / "samples").mkdir()
    (here / name).touch()
    assert find_file("content", name) == pathlib.Path(name)
    assert find_file("content", ROOT / name) == ROOT / name


def test_a_missing_file_says_where_was_looked(folders):
    here, beside = folders
    search_beside(beside / "x.py")
    (beside / "photo.png").touch()
    with pytest.raises(nst_jax.RequestError) as caught:
        find_file("content", "foto.png")
    assert str(caught.value) == (
        f"content: no file 'foto.png' in {str(here)!r}, {str(beside)!r} or "
        f"{str(ROOT)!r}; did you mean 'photo.png'?"
    )
    missing = str(here / "foto.png")
    with pytest.raises(nst_jax.RequestError) as caught:
        find_file("content", missing)
    assert str(caught.value) == f"content: no file {missing!r}"


def test_every_file_of_a_request_is_looked_for_beside_its_config(folders):
    _, beside = folders
    nst_jax.write_image(beside / "own.png", smooth_picture(0, 16, 24))
    nst_jax.write_image(beside / "mask.png", 0 * smooth_picture(0, 16, 24) + [1, 1, 1])
    (beside / "frames").mkdir()
    nst_jax.write_image(beside / "frames" / "1.png", smooth_picture(0, 16, 24))
    (beside / "own.safetensors").symlink_to(ROOT / "weights" / "vgg19.safetensors")
    asked = nst_jax.Experiment(
        content="frames",
        styles=("own.png",),
        terms=(nst_jax.Gram(layers=("relu1_1",)),),
        size=16,
        steps=0,
        canvas=nst_jax.Canvas("file", path="own.png"),
        masks=nst_jax.Masks(content="mask.png", styles=("mask.png",)),
        weights="own.safetensors",
    )
    with pytest.raises(nst_jax.RequestError, match="content: no file 'frames' in"):
        nst_jax.build(asked)
    search_beside(beside / "x.py")
    plan = nst_jax.build(asked)
    read = {item.role: item.path for item in plan.inputs}
    assert read["content"] == os.path.join("frames", "1.png")
    assert {"canvas.path", "masks.content", "masks.styles[0]", "weights"} <= {*read}
    assert film.locate_frame("frames", 0)[0] == read["content"]


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null"])
def test_a_device_is_no_file(path):
    with pytest.raises(
        nst_jax.RequestError, match="is a device or a pipe, wanted a fi"
    ):
        find_file("content", path)
