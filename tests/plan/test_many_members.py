"""Thousands of members: the work grows as their number, and no faster."""

import collections
import json
import pathlib
import re
import sys

import numpy as np
import pytest
from pictures import smooth_picture
from run_directory import write_run

import nst_jax
from nst_jax.ensemble.step_result import StepResult
from nst_jax.optim.solvers import Report
from nst_jax.report import page
from nst_jax.report.page import write_page
from nst_jax.report.run_directory import read_run
from nst_jax.report.sheet import run_sheet
from nst_jax.report.study_results import write_study
from nst_jax.workdir import writer
from nst_jax.workdir.manifest import new_manifest

PACKAGE = str(pathlib.Path(nst_jax.__file__).parent)


def count_calls(function):
    """Return how many of the package's functions are entered, and generators resumed.

    Unlike seconds, the count is the same on every machine.
    """
    entered = collections.Counter()

    def count(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            entered["calls"] += 1

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return entered["calls"]


def assert_linear(work):
    """Check that twice as many members are twice as many calls.

    Args:
      work: number of members -> the function to count the calls of.
    """
    few, twice, four_times = (count_calls(work(n)) for n in (32, 64, 128))
    assert 0 < four_times - twice <= 2.1 * (twice - few)


def experiment(**fields):
    return nst_jax.Experiment(
        **{
            "content": "samples/chelsea.png",
            "styles": ("samples/swirls.jpg",),
            "terms": (
                nst_jax.Content(layers=("relu1_1",)),
                nst_jax.Gram(layers=("relu1_1",)),
            ),
            "size": 16,
            "steps": 2,
            "solver": nst_jax.SolverOptions("adam"),
            **fields,
        }
    )


def many(kind, count):
    if kind == "Seeds":
        return experiment(axes=(nst_jax.Seeds(count),))
    if kind == "seeds":
        return experiment(seeds=tuple(range(count)))
    if kind == "weights":
        weights = tuple(1.0 + i for i in range(count // 8))
        axis = nst_jax.Vary("terms.style.weight", weights)
        return experiment(axes=(axis,), seeds=tuple(range(8)))
    if kind == "ladder":
        ladder = nst_jax.Ladder(sizes=(8,))
        return experiment(axes=(nst_jax.Seeds(count),), ladder=ladder)
    film = nst_jax.Film("shift", 1.0)
    return experiment(axes=(nst_jax.Frames(count),), film=film)


KINDS = ("Seeds", "seeds", "weights", "ladder", "frames")


@pytest.mark.parametrize("kind", KINDS)
def test_members_are_made_in_linear_time(kind):
    assert_linear(lambda count: many(kind, count).members)


@pytest.mark.parametrize("kind", ["Seeds", "weights", "ladder", "frames"])
def test_a_plan_is_built_in_linear_time(kind, tmp_path):
    picture = str(tmp_path / "small.png")
    nst_jax.write_image(picture, smooth_picture(0, 16, 16))

    def work(count):
        asked = many(kind, count)
        asked.content = picture

        def run():
            plan = nst_jax.build(asked)
            new_manifest(plan, "")
            for group in plan.groups:
                group.problems()

        return run

    work(8)()  # The network is read and traced once.
    assert_linear(work)


@pytest.fixture
def frozen_clock(monkeypatch):
    """Seconds that a run's records ask for stand still."""
    monkeypatch.setattr(writer.time, "perf_counter", lambda: 0.0)


def last_look():
    """The end of a batch of one member."""
    zero = np.zeros(1)
    report = Report(
        loss=np.ones(1),
        parts={"style": np.ones(1)},
        grad_norm=np.ones(1),
        step_length=np.ones(1),
        evaluations=zero.astype(int),
        failed=zero.astype(int),
    )
    canvas = np.full((1, 16, 16, 3), 0.5, np.float32)
    return StepResult(2, report, zero.astype(int), zero.astype(bool), canvas, None)


@pytest.mark.usefixtures("frozen_clock")
def test_run_json_is_written_so_often_whatever_the_number_of_members(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(writer, "MIN_SAVES", 5)
    plan = nst_jax.build(many("Seeds", 40))
    run = writer.RunWriter(tmp_path / "run", plan)
    written = []

    def save(content, write=run.save):
        written.append(sum(m.status == "done" for m in run.manifest.members))
        write()

    monkeypatch.setattr(run, "save", lambda: save(run))
    with run.locked():
        run.begin()
        for member in range(20):
            run.add_step([member], 0, last_look(), 0.0)
            run.finish([member], 0, last_look(), 0.0)
        assert written == [0, 8, 16]  # A fifth of 40 each time.
    # Killed here, the run goes on from what run.json says.
    again = writer.RunWriter(tmp_path / "run", plan)
    assert again.trim_metrics() == {*range(16)}
    assert [again.is_finished([member]) for member in (0, 15, 16, 19)] == [
        *(True, True),
        *(False, False),
    ]
    run.end("interrupted")
    assert writer.RunWriter(tmp_path / "run", plan).is_finished(range(16))
    saved = json.loads((tmp_path / "run" / "run.json").read_text())
    assert sum(entry["status"] == "done" for entry in saved["members"]) == 20


@pytest.mark.usefixtures("frozen_clock")
def test_a_state_without_room_stays_until_run_json_says_that_its_batch_is_done(
    tmp_path, monkeypatch
):
    plan = nst_jax.build(many("Seeds", 400))
    run = writer.RunWriter(tmp_path / "run", plan)
    with run.locked():
        run.begin()
        run.add_step([0], 0, last_look(), 0.0)
        monkeypatch.setattr(run.states, "_limit", -1.0)
        state = run.states.path([0])
        state.parent.mkdir(parents=True)
        state.write_bytes(b"of member 0")
        run.finish([0], 0, last_look(), 0.0)
        assert state.exists()
        run.save()
        assert not state.exists()


AXES = {
    "seeds": lambda n: [("seed", range(n))],
    "grid": lambda n: [("weight", range(n // 8)), ("rate", range(8))],
    "pages": lambda n: [("size", range(n // 4)), ("a", range(2)), ("b", range(2))],
}


@pytest.mark.parametrize("kind", AXES)
def test_a_report_is_written_in_linear_time(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(nst_jax.studies.axis_distances, "MAX_COMPARED", 16)
    monkeypatch.setattr(nst_jax.studies.run_data, "MAX_SEEDS", 8)

    def work(count):
        folder = tmp_path / str(count)
        write_run(folder, AXES[kind](count), size=(12, 12), steps=(0, 5))

        def run():
            report = read_run(folder)
            write_study(report)
            run_sheet(report)
            write_page(report)

        return run

    work(8)()  # What is imported late is imported.
    assert_linear(work)


@pytest.mark.parametrize(("compared", "left"), [(256, 24), (12, 12), (4, 4)])
def test_a_part_of_a_large_grid_is_compared(tmp_path, monkeypatch, compared, left):
    monkeypatch.setattr(nst_jax.studies.axis_distances, "MAX_COMPARED", compared)
    axes = [("weight", range(8)), ("rate", range(3))]
    write_run(tmp_path, axes, size=(12, 12))
    write_study(read_run(tmp_path))
    tables = json.loads((tmp_path / "study.json").read_text())["tables"]
    (table,) = (t for t in tables if t["title"].startswith("Distance of members"))
    assert (f"; {left} of 24 members" in table["title"]) == (left < 24)
    (pairs,) = (row[1] for row in table["rows"] if row[0] == "anything")
    assert pairs == left * (left - 1) // 2


def test_a_page_holds_so_many_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "_PICTURED", 5)
    write_run(tmp_path, [("seed", range(12))], size=(12, 12), waiting=(11,))
    write_page(read_run(tmp_path))
    html = (tmp_path / "report.html").read_text()
    assert "11 with a picture" in html
    assert "This page holds 4 of the 11 pictures" in html
    panels = re.findall(r'data-member="(\d+)"[^>]*>\s*<img', html)
    assert panels == ["0", "3", "6", "9"]
