"""The scripts that measure: that they compute what they say, and leave a table."""

import json

import numpy as np
import pytest
from command_line import ROOT, launch

import nst_jax
from benchmarks.evaluation import ours, sample_images
from benchmarks.table import Table


def test_losses_of_a_batch_are_those_of_its_members():
    content, style, canvas = sample_images(32)
    canvases = np.stack([canvas, canvas[::-1], content + np.float32(0.1)])
    alone = [ours(content, style, one)() for one in canvases]
    assert len({f"{loss:.3g}" for loss in alone}) == 3
    together = ours(content, style, canvases)()
    assert together == pytest.approx(sum(alone), rel=1e-5)


def test_a_table_says_what_was_measured_and_by_what(tmp_path):
    flags = "--size=32", "--steps=2", "--batches=1,2", "--solvers=adam"
    out = f"--out={tmp_path}"
    status, printed, err = launch(*flags, out, module="benchmarks.batches")
    assert status == 0, err
    table = json.loads((tmp_path / "batches.json").read_text())
    assert [row[:2] for row in table["rows"]] == [["adam", 1], ["adam", 2]]
    for _, _, rate, ratio, evaluations in table["rows"]:
        assert ratio == pytest.approx(rate / table["rows"][0][2])
        assert evaluations == 1  # Adam searches for nothing.
    assert table["command"] == f"python -m benchmarks.batches {' '.join(flags)}"
    assert (tmp_path / "batches.md").read_text() == printed


def test_pictures_are_ranked_by_their_score(tmp_path):
    """A photograph under half of a painting, at another size, is before a copy."""
    content, painting = (
        nst_jax.read_image(ROOT / "samples" / name, 64)
        for name in ("coffee.png", "mosaic.jpg")
    )
    height, width, _ = content.shape
    painted = (content + painting[:height, :width]) / 2
    nst_jax.write_image(tmp_path / "painted.png", painted.repeat(2, 0).repeat(2, 1))
    nst_jax.write_image(tmp_path / "copy.png", content)
    inputs = "--content=samples/coffee.png", "--style=samples/mosaic.jpg", "--size=64"
    folders = f"--pictures={tmp_path}", f"--out={tmp_path}"
    status, _, err = launch(*inputs, *folders, module="benchmarks.rank")
    assert status == 0, err
    table = json.loads((tmp_path / "rank.json").read_text())
    assert table["columns"][:3] == ["picture", "score", "palette distance"]
    names, scores, *_ = zip(*table["rows"], strict=True)
    assert names[0] == "painted" and set(names) == {"painted", "copy", "content"}
    assert list(scores) == sorted(scores)


def test_a_cell_is_one_cell():
    rows = [("a | b", 1.0), ("c", 12345.678)]
    lines = Table("t", "Title", ("|Δ|", "s"), rows).markdown().splitlines()
    assert lines[2] == r"| \|Δ\| | s |"
    assert lines[4:6] == [r"| a \| b | 1 |", "| c | 1.235e+04 |"]


@pytest.mark.parametrize(
    ("name", "flag", "said"),
    [
        ("benchmarks.batches", "--batches=1,x", "must be whole numbers of at least 1"),
        (
            "benchmarks.__main__",
            "nothing",
            "unknown table 'nothing'; the tables are convolution",
        ),
        ("benchmarks.ladder", "more", "unexpected argument 'more'"),
        (
            "benchmarks.rank",
            "--pictures=docs",
            "--pictures must be a folder with PNG or JPEG files, got 'docs'",
        ),
        (
            "benchmarks.ladder",
            "--size=64",
            "--start=64 and --factor=2 give no stage",
        ),
    ],
)
def test_what_no_script_can_do_is_a_sentence(name, flag, said):
    status, _, err = launch(flag, module=name)
    assert status == 2
    assert said in err
    assert "Traceback" not in err
