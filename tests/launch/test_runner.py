"""Runs that are stopped, resumed and damaged, in one process."""

import dataclasses
import json
import os
import shutil
import types

import numpy as np
import pytest
from small_runs import (
    eight_members,
    final_arrays,
    limit_batch_memory,
    metric_rows,
    read_manifest,
    run_experiment,
    small_experiment,
    stop_after,
)

import nst_jax
from nst_jax import losses
from nst_jax.core.errors import OutOfMemoryError
from nst_jax.launch import runner
from nst_jax.launch.shards import merge
from nst_jax.plan.warnings import log_request_warnings
from nst_jax.workdir.metrics_log import read_metrics
from nst_jax.workdir.writer import RunWriter


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    asked = eight_members()
    asked.ensemble.batch_size = 4
    assert run_experiment(asked, workdir) == "done"
    return workdir


def test_batches_stay_whatever_memory_a_later_call_finds(tmp_path, whole, monkeypatch):
    """Stopped in the second batch of four; the next call has room for two."""
    monkeypatch.setattr("nst_jax.plan.batch_size.fitting_batch", lambda *_: 4)
    assert (
        run_experiment(eight_members(), tmp_path, stop=stop_after(7)) == "interrupted"
    )
    states = [
        m["status"] for m in json.loads((tmp_path / "run.json").read_text())["members"]
    ]
    assert states == ["done"] * 4 + ["waiting"] * 4
    assert (tmp_path / "checkpoint.safetensors").exists()
    monkeypatch.setattr("nst_jax.plan.batch_size.fitting_batch", lambda *_: 2)
    assert run_experiment(eight_members(), tmp_path) == "done"
    assert (
        json.loads((tmp_path / "run.json").read_text())["groups"][0]["batch_size"] == 4
    )
    assert metric_rows(tmp_path) == metric_rows(whole)
    np.testing.assert_array_equal(final_arrays(tmp_path), final_arrays(whole))


def test_a_result_that_was_lost_is_computed_again(tmp_path, whole):
    """With its batch, and no row is there twice."""
    asked = eight_members()
    asked.ensemble.batch_size = 4
    assert run_experiment(asked, tmp_path) == "done"
    (tmp_path / "members" / "005" / "final.npy").unlink()
    assert run_experiment(asked, tmp_path) == "done"
    assert metric_rows(tmp_path) == metric_rows(whole)
    np.testing.assert_array_equal(final_arrays(tmp_path), final_arrays(whole))


def test_a_checkpoint_without_its_run_is_refused(tmp_path):
    """Nobody knows of which run it is."""
    asked = eight_members()
    asked.ensemble.batch_size = 4
    assert run_experiment(asked, tmp_path, stop=stop_after(2)) == "interrupted"
    (tmp_path / "run.json").unlink()
    (tmp_path / "metrics.jsonl").unlink()
    with pytest.raises(nst_jax.RequestError, match="overwrite 'checkpoint.safetensors"):
        run_experiment(asked, tmp_path)


class Fault(BaseException):
    """What no part of the program expects."""


@pytest.mark.parametrize(("stages", "saves"), [(1, 2), (2, 2), (2, 3)])
def test_a_run_that_failed_goes_on_from_its_last_checkpoint(
    tmp_path, monkeypatch, stages, saves
):
    """In the middle of a stage, at the end of one, and in the middle of the next."""
    asked = eight_members(size=48)
    asked.ensemble.batch_size = 8
    if stages == 2:
        asked.ladder = nst_jax.Ladder(sizes=(32,), steps=(4,))
    asked.output.checkpoint_every = 0.0
    assert run_experiment(asked, tmp_path / "whole") == "done"
    save, saved = RunWriter.save_checkpoint, []

    def save_and_die(self, numbers, stage, look, seconds):
        save(self, numbers, stage, look, seconds)
        saved.append(look.step)
        if len(saved) == saves:
            raise Fault

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "save_checkpoint", save_and_die)
        with pytest.raises(Fault):
            run_experiment(asked, tmp_path / "failed")
    assert (tmp_path / "failed" / "checkpoint.safetensors").exists()
    before = read_manifest(tmp_path / "failed")["member_steps"]
    assert run_experiment(asked, tmp_path / "failed") == "done"
    whole = read_manifest(tmp_path / "whole")["member_steps"]
    assert read_manifest(tmp_path / "failed")["member_steps"] == whole
    assert before == 8 * saved[-1] > 0
    assert metric_rows(tmp_path / "failed") == metric_rows(tmp_path / "whole")
    for ours, theirs in zip(
        *map(final_arrays, sorted(tmp_path.iterdir())), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_a_fault_in_the_report_is_no_fault_of_the_run(tmp_path, whole, monkeypatch):
    def broken(_):
        raise ValueError("no font")

    monkeypatch.setattr("nst_jax.report.report.write_report", broken)
    asked = eight_members()
    asked.ensemble.batch_size = 4
    assert run_experiment(asked, tmp_path) == "done"
    np.testing.assert_array_equal(final_arrays(tmp_path), final_arrays(whole))


@pytest.mark.parametrize("colour", ["style", "luminance"])
def test_a_run_goes_on_where_another_ended(tmp_path, colour):
    """With its loss to the digit; from close by where colours were put back."""
    asked = small_experiment(steps=8, colour=colour)
    assert run_experiment(asked, tmp_path / "first") == "done"
    path = tmp_path / "first" / "members" / "000" / "final.npy"
    asked.canvas = nst_jax.Canvas("file", path=str(path))
    assert run_experiment(asked, tmp_path / "second") == "done"
    first, second = (
        [row["loss"] for row in read_metrics(tmp_path / name / "metrics.jsonl")]
        for name in ("first", "second")
    )
    if colour == "style":
        assert second[0] == first[-1]
    assert second[0] == pytest.approx(first[-1], rel=0.1)
    assert first[0] > 1.5 * first[-1]


@nst_jax.term
class Choosy(nst_jax.Term):
    """A term that decides by a number which the program does not know."""

    name: str = nst_jax.static(default="choosy")

    def __call__(self, view, target):
        return view.image.sum() if self.weight > 2 else view.image.mean()


def test_a_term_that_decides_by_a_number_is_refused_before_the_run():
    with pytest.raises(
        nst_jax.RequestError, match="choosy.*declare it static"
    ) as caught:
        nst_jax.build(small_experiment(terms=(Choosy(),)))
    assert "\n" not in str(caught.value)


@nst_jax.term
class Blind(nst_jax.Term):
    """A term that does not say at which layers it looks."""

    name: str = nst_jax.static(default="blind")

    def __call__(self, view, target):
        return view.features["relu1_1"].sum()


@nst_jax.term
class Silent(nst_jax.Term):
    """A term without a value."""

    name: str = nst_jax.static(default="silent")

    def __call__(self, view, target):
        return None


@pytest.mark.parametrize(
    ("term", "says"),
    [
        (Blind, r"terms: Blind \(test_runner.py, line \d+\): KeyError: 'relu1_1'"),
        (Silent, "terms: one of content, silent: TypeError: unsupported operand"),
    ],
)
def test_what_a_term_raises_is_told_before_the_run(term, says):
    with pytest.raises(nst_jax.RequestError, match=says) as caught:
        nst_jax.build(small_experiment(terms=(nst_jax.Content(), term())))
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ladder": nst_jax.Ladder(steps=(3,))}, ["ladder.steps"]),
        ({"ladder": nst_jax.Ladder(factor=3.0)}, ["ladder.factor"]),
        ({"smoothing": nst_jax.Smoothing(eps=0.1)}, ["smoothing.eps"]),
        ({"ladder": nst_jax.Ladder(start=20, factor=9.0)}, ["ladder.start=20"]),
        ({"smoothing": nst_jax.Smoothing(radius=2, eps=0.1)}, []),
        ({"ladder": nst_jax.Ladder(start=20, factor=1.2, steps=(0,))}, []),
    ],
)
def test_options_of_what_nobody_asks_for_are_named(caplog, options, said):
    with caplog.at_level("WARNING", "absl"):
        log_request_warnings(nst_jax.build(small_experiment(**options)))
    told = [
        text for text in caplog.messages if "no effect" in text or "give no" in text
    ]
    found = [text.split()[0] for text in told]
    assert found == said


def test_lines_that_are_no_rows_are_left_out(tmp_path, whole):
    asked = eight_members()
    asked.ensemble.batch_size = 4
    assert run_experiment(asked, tmp_path, stop=stop_after(7)) == "interrupted"
    row, *_ = read_metrics(tmp_path / "metrics.jsonl")
    nobody = json.dumps(row | {"member": 99}).encode()
    lines = b"3", b"{}", nobody, b"\xff", b'{"a": '
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.writelines(line + b"\n" for line in lines)
    assert run_experiment(asked, tmp_path) == "done"
    assert metric_rows(tmp_path) == metric_rows(whole)


def test_a_broken_result_is_computed_again(tmp_path, whole):
    asked = eight_members()
    asked.ensemble.batch_size = 4
    assert run_experiment(asked, tmp_path) == "done"
    (tmp_path / "members" / "002" / "final.npy").write_bytes(b"junk")
    assert run_experiment(asked, tmp_path) == "done"
    np.testing.assert_array_equal(final_arrays(tmp_path), final_arrays(whole))


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("final.npy", lambda path: np.save(path, np.load(path) * np.nan)),
        ("final.npy", lambda path: np.save(path, np.load(path)[:3])),
        ("final.png", lambda path: path.unlink()),
        ("../../metrics.jsonl", lambda path: path.write_text("")),
    ],
    ids=["NaN", "another shape", "no picture", "no rows"],
)
def test_what_was_changed_afterwards_is_not_taken_for_done(tmp_path, whole, name, harm):
    """It is computed again, where it was and where it is merged into."""
    asked = eight_members()
    asked.ensemble.batch_size = 4
    shutil.copytree(whole, tmp_path / "run")
    harm(tmp_path / "run" / "members" / "002" / name)
    plan = nst_jax.build(asked)
    missing = merge(plan, [tmp_path / "run"], tmp_path / "merged")
    assert missing == ([2] if "metrics" not in name else list(range(8)))
    for workdir in (tmp_path / "run", tmp_path / "merged"):
        assert nst_jax.execute(plan, workdir) == "done"
        assert metric_rows(workdir) == metric_rows(whole)
        np.testing.assert_array_equal(final_arrays(workdir), final_arrays(whole))


def test_rows_that_went_are_computed_again(tmp_path, whole, caplog):
    """A checkpoint knows how many belong to it."""
    asked = eight_members()
    asked.ensemble.batch_size = 4
    assert run_experiment(asked, tmp_path, stop=stop_after(4)) == "interrupted"
    (tmp_path / "metrics.jsonl").unlink()
    with caplog.at_level("WARNING", "absl"):
        assert run_experiment(asked, tmp_path) == "done"
    assert "rows of metrics are missing" in caplog.text
    assert "does not fit" not in caplog.text
    assert metric_rows(tmp_path) == metric_rows(whole)


def test_a_page_that_is_older_than_its_run_is_written_again(tmp_path, whole):
    """One that a full disk kept from being brought up to date says "running"."""
    shutil.copytree(whole, tmp_path / "run")
    page = tmp_path / "run" / "report.html"
    page.write_text("running")
    os.utime(page, (0, 0))
    (tmp_path / "run" / "inputs" / "000.png").unlink()
    asked = eight_members()
    asked.ensemble.batch_size = 4
    assert run_experiment(asked, tmp_path / "run") == "done"
    assert page.read_text().rstrip().endswith("</html>")
    assert (tmp_path / "run" / "inputs" / "000.png").exists()


def test_searches_that_find_nothing_are_told_of(tmp_path, caplog):
    asked = small_experiment(
        solver=nst_jax.SolverOptions("lbfgs", first_step=1e30), steps=4
    )
    with caplog.at_level("WARNING", "absl"):
        assert run_experiment(asked, tmp_path) == "done"
    assert "1 of 1 members found no step in most of their line searches" in caplog.text


def test_members_that_diverge_are_told_of(tmp_path):
    asked = small_experiment(
        solver=nst_jax.SolverOptions("sgd", clip=False),
        axes=(nst_jax.Vary("solver.learning_rate", (1e-9, 1e30)),),
        steps=4,
    )
    assert run_experiment(asked, tmp_path) == "done"
    states = [member["status"] for member in read_manifest(tmp_path)["members"]]
    assert states == ["done", "diverged"]
    assert "1 diverged" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("broken", ["members/000/final.png", "inputs/000.png"])
def test_a_report_leaves_out_what_is_broken(tmp_path, broken):
    assert run_experiment(small_experiment(), tmp_path) == "done"
    (tmp_path / broken).write_bytes(b"")
    complete = (tmp_path / "report.html").read_text()
    nst_jax.report.write_report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.rstrip().endswith("</html>")
    assert page.count("data:image/jpeg") < complete.count("data:image/jpeg")


def test_out_of_memory_halves_the_batch_and_goes_on(tmp_path, monkeypatch, caplog):
    """Eight, four, two: and nothing of what was begun is left in the metrics."""
    asked = eight_members()
    asked.ensemble.batch_size = 2
    assert run_experiment(asked, tmp_path / "asked") == "done"
    limit_batch_memory(monkeypatch, 2)
    with caplog.at_level("WARNING", "absl"):
        assert run_experiment(eight_members(), tmp_path / "halved") == "done"
    assert read_manifest(tmp_path / "halved")["groups"][0]["batch_size"] == 2
    assert metric_rows(tmp_path / "halved") == metric_rows(tmp_path / "asked")
    for ours, theirs in zip(*map(final_arrays, tmp_path.iterdir()), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    told = [text for text in caplog.messages if "does not fit" in text]
    assert all("results may differ in the last bits" in text for text in told)
    assert [text.split("batches of ")[1][0] for text in told] == ["4", "2"]


def test_a_batch_that_is_thrown_away_costs_neither_steps_nor_seconds(
    tmp_path, monkeypatch
):
    """By a clock that shows a second a look in batches of two, and ten in larger ones.

    The first batch of four is whole before memory ends in the second, after looks at
    steps 0, 2 and 4.
    """
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(
        runner, "time", types.SimpleNamespace(perf_counter=lambda: clock.now)
    )
    optimise, batches = nst_jax.Ensemble.optimise, []

    def limited(self, *args, **options):
        batches.append(self.batch_size)
        for look in optimise(self, *args, **options):
            clock.now += 10 if self.batch_size == 4 else 1
            yield look
            if len(batches) == 2 and look.step == 4:
                raise MemoryError("Unable to allocate 3.1 GiB")

    monkeypatch.setattr(nst_jax.Ensemble, "optimise", limited)
    asked = eight_members()
    asked.ensemble.batch_size = 4
    assert run_experiment(asked, tmp_path) == "done"
    assert batches == [4, 4, 2, 2]
    ran = read_manifest(tmp_path)
    (group,) = ran["groups"]
    # Looks are at steps 0, 2, 4 and 6.
    assert ran["member_steps"] == group["member_steps"] == 8 * 6
    assert ran["timings"]["run_s"] == group["run_s"] == 4 * 10 + 2 * 4 * 1
    assert ran["timings"]["total_s"] == 4 * 10 + 3 * 10 + 2 * 4 * 1


def test_a_run_that_fails_counts_the_seconds_of_the_steps_it_made(
    tmp_path, monkeypatch
):
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(
        runner, "time", types.SimpleNamespace(perf_counter=lambda: clock.now)
    )
    optimise = nst_jax.Ensemble.optimise

    def broken(self, *args, **options):
        for look in optimise(self, *args, **options):
            clock.now += 1
            yield look
            if look.step == 4:
                raise OSError("no space left on device")

    monkeypatch.setattr(nst_jax.Ensemble, "optimise", broken)
    with pytest.raises(OSError, match="no space left"):
        run_experiment(eight_members(), tmp_path)
    ran = read_manifest(tmp_path)
    assert (ran["member_steps"], ran["timings"]["run_s"]) == (8 * 4, 3)


def test_memory_for_none_is_one_sentence(tmp_path, monkeypatch):
    limit_batch_memory(monkeypatch, 0)
    with pytest.raises(OutOfMemoryError, match=r"^a batch of 1 at .* does not fit"):
        run_experiment(eight_members(), tmp_path)
    assert read_manifest(tmp_path)["status"] == "failed"


def test_a_loss_that_is_drawn_anew_is_not_for_l_bfgs(tmp_path, caplog):
    """The run is done as asked, and told of."""
    asked = eight_members()
    asked.axes, asked.seeds, asked.steps = (), (0,), 0
    style = losses.SlicedWasserstein(layers=("relu1_1",))
    told = []
    for anew, tile, solver in (
        *((False, 0, "lbfgs_fixed"), (True, 0, "adam"), (True, 0, "lbfgs_fixed")),
        (False, 16, "lbfgs_fixed"),
    ):
        asked.terms = (dataclasses.replace(style, anew=anew),)
        asked.tile, asked.solver = tile, nst_jax.SolverOptions(name=solver)
        caplog.clear()
        with caplog.at_level("WARNING", "absl"):
            run_experiment(asked, tmp_path / str(len(told)))
        told.append([text.split(":")[0] for text in caplog.messages if "misl" in text])
    assert told == [[], [], ["style"], ["tile"]]
