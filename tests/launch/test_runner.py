"""Interrupted, resumed and damaged runs, in one process."""

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
from nst_jax.workdir.checkpoint import SolverStates
from nst_jax.workdir.metrics_log import read_metrics


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    config = eight_members()
    config.ensemble.batch_size = 4
    assert run_experiment(config, workdir) == "done"
    return workdir


def test_a_resumed_run_keeps_its_batch_size(tmp_path, whole, monkeypatch):
    """Stopped in the second batch of four; the next call has memory for two."""
    monkeypatch.setattr("nst_jax.plan.batch_size.fitting_batch", lambda *_: 4)
    assert (
        run_experiment(eight_members(), tmp_path, stop=stop_after(7)) == "interrupted"
    )
    states = [
        m["status"] for m in json.loads((tmp_path / "run.json").read_text())["members"]
    ]
    assert states == ["done"] * 4 + ["waiting"] * 4
    assert (tmp_path / "members/004/state.safetensors").exists()
    monkeypatch.setattr("nst_jax.plan.batch_size.fitting_batch", lambda *_: 2)
    assert run_experiment(eight_members(), tmp_path) == "done"
    assert (
        json.loads((tmp_path / "run.json").read_text())["groups"][0]["batch_size"] == 4
    )
    assert metric_rows(tmp_path) == metric_rows(whole)
    np.testing.assert_array_equal(final_arrays(tmp_path), final_arrays(whole))


def test_a_lost_result_is_computed_again(tmp_path, whole):
    """With its batch, and without duplicate rows."""
    config = eight_members()
    config.ensemble.batch_size = 4
    assert run_experiment(config, tmp_path) == "done"
    (tmp_path / "members" / "005" / "final.npy").unlink()
    assert run_experiment(config, tmp_path) == "done"
    assert metric_rows(tmp_path) == metric_rows(whole)
    np.testing.assert_array_equal(final_arrays(tmp_path), final_arrays(whole))


def test_a_checkpoint_without_its_run_is_refused(tmp_path):
    """Its request is unknown."""
    config = eight_members()
    config.ensemble.batch_size = 4
    assert run_experiment(config, tmp_path, stop=stop_after(2)) == "interrupted"
    (tmp_path / "run.json").unlink()
    (tmp_path / "metrics.jsonl").unlink()
    with pytest.raises(nst_jax.RequestError, match="a run would overwrite"):
        run_experiment(config, tmp_path)


class Fault(BaseException):
    """An exception that no part of the program expects."""


@pytest.mark.parametrize(("stages", "saves"), [(1, 2), (2, 2), (2, 3)])
def test_a_failed_run_resumes_from_its_last_checkpoint(
    tmp_path, monkeypatch, stages, saves
):
    """In the middle of a stage, at the end of one, and in the middle of the next."""
    config = eight_members(size=48)
    config.ensemble.batch_size = 8
    if stages == 2:
        config.ladder = nst_jax.Ladder(sizes=(32,), steps=(4,))
    config.output.checkpoint_every = 0.0
    assert run_experiment(config, tmp_path / "whole") == "done"
    save, saved = SolverStates.save, []

    def save_and_die(self, numbers, stage, result, seconds):
        save(self, numbers, stage, result, seconds)
        saved.append(result.step)
        if len(saved) == saves:
            raise Fault

    with monkeypatch.context() as patch:
        patch.setattr(SolverStates, "save", save_and_die)
        with pytest.raises(Fault):
            run_experiment(config, tmp_path / "failed")
    assert (tmp_path / "failed/members/000/state.safetensors").exists()
    before = read_manifest(tmp_path / "failed")["member_steps"]
    assert run_experiment(config, tmp_path / "failed") == "done"
    whole = read_manifest(tmp_path / "whole")["member_steps"]
    assert read_manifest(tmp_path / "failed")["member_steps"] == whole
    assert before == 8 * saved[-1] > 0
    assert metric_rows(tmp_path / "failed") == metric_rows(tmp_path / "whole")
    for ours, theirs in zip(
        *map(final_arrays, sorted(tmp_path.iterdir())), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_a_run_succeeds_if_its_report_fails(tmp_path, whole, monkeypatch):
    def broken(_):
        raise ValueError("no font")

    monkeypatch.setattr("nst_jax.report.report.write_report", broken)
    config = eight_members()
    config.ensemble.batch_size = 4
    assert run_experiment(config, tmp_path) == "done"
    np.testing.assert_array_equal(final_arrays(tmp_path), final_arrays(whole))


@pytest.mark.parametrize("colour", ["style", "luminance"])
def test_a_run_can_start_from_the_result_of_another(tmp_path, colour):
    """With an equal loss, or a close one if original colours were restored."""
    config = small_experiment(steps=8, colour=colour)
    assert run_experiment(config, tmp_path / "first") == "done"
    path = tmp_path / "first" / "members" / "000" / "final.npy"
    config.canvas = nst_jax.Canvas("file", path=str(path))
    assert run_experiment(config, tmp_path / "second") == "done"
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


def test_a_term_that_branches_on_a_leaf_is_refused_before_the_run():
    with pytest.raises(
        nst_jax.RequestError, match="choosy.*declare it static"
    ) as caught:
        nst_jax.build(small_experiment(terms=(Choosy(),)))
    assert "\n" not in str(caught.value)


@nst_jax.term
class Blind(nst_jax.Term):
    """A term that does not name its layer."""

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
    ("term", "message"),
    [
        (Blind, r"terms: Blind \(test_runner.py, line \d+\): KeyError: 'relu1_1'"),
        (Silent, "terms: one of content, silent: TypeError: unsupported operand"),
    ],
)
def test_exceptions_of_a_term_are_reported_before_the_run(term, message):
    with pytest.raises(nst_jax.RequestError, match=message) as caught:
        nst_jax.build(small_experiment(terms=(nst_jax.Content(), term())))
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"ladder": nst_jax.Ladder(steps=(3,))}, ["ladder.steps"]),
        ({"ladder": nst_jax.Ladder(factor=3.0)}, ["ladder.factor"]),
        ({"smoothing": nst_jax.Smoothing(eps=0.1)}, ["smoothing.eps"]),
        ({"ladder": nst_jax.Ladder(start=20, factor=9.0)}, ["ladder.start=20"]),
        ({"smoothing": nst_jax.Smoothing(radius=2, eps=0.1)}, []),
        ({"ladder": nst_jax.Ladder(start=20, factor=1.2, steps=(0,))}, []),
    ],
)
def test_options_without_effect_are_named(caplog, options, named):
    with caplog.at_level("WARNING", "absl"):
        log_request_warnings(nst_jax.build(small_experiment(**options)))
    logged = [
        text for text in caplog.messages if "no effect" in text or "give no" in text
    ]
    options_named = [text.split()[0] for text in logged]
    assert options_named == named


def test_broken_lines_of_metrics_are_left_out(tmp_path, whole):
    config = eight_members()
    config.ensemble.batch_size = 4
    assert run_experiment(config, tmp_path, stop=stop_after(7)) == "interrupted"
    row, *_ = read_metrics(tmp_path / "metrics.jsonl")
    nobody = json.dumps(row | {"member": 99}).encode()
    lines = b"3", b"{}", nobody, b"\xff", b'{"a": '
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.writelines(line + b"\n" for line in lines)
    assert run_experiment(config, tmp_path) == "done"
    assert metric_rows(tmp_path) == metric_rows(whole)


def test_a_broken_result_is_computed_again(tmp_path, whole):
    config = eight_members()
    config.ensemble.batch_size = 4
    assert run_experiment(config, tmp_path) == "done"
    (tmp_path / "members" / "002" / "final.npy").write_bytes(b"junk")
    assert run_experiment(config, tmp_path) == "done"
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
def test_a_result_that_was_changed_does_not_count_as_finished(
    tmp_path, whole, name, harm
):
    """It is computed again, in its run and in a merged one."""
    config = eight_members()
    config.ensemble.batch_size = 4
    shutil.copytree(whole, tmp_path / "run")
    harm(tmp_path / "run" / "members" / "002" / name)
    plan = nst_jax.build(config)
    missing = merge(plan, [tmp_path / "run"], tmp_path / "merged")
    assert missing == ([2] if "metrics" not in name else list(range(8)))
    for workdir in (tmp_path / "run", tmp_path / "merged"):
        assert nst_jax.execute(plan, workdir) == "done"
        assert metric_rows(workdir) == metric_rows(whole)
        np.testing.assert_array_equal(final_arrays(workdir), final_arrays(whole))


def test_members_with_missing_rows_are_computed_again(tmp_path, whole, caplog):
    """A checkpoint stores its number of rows."""
    config = eight_members()
    config.ensemble.batch_size = 4
    assert run_experiment(config, tmp_path, stop=stop_after(4)) == "interrupted"
    (tmp_path / "metrics.jsonl").unlink()
    with caplog.at_level("WARNING", "absl"):
        assert run_experiment(config, tmp_path) == "done"
    assert "rows of metrics are missing" in caplog.text
    assert "does not fit" not in caplog.text
    assert metric_rows(tmp_path) == metric_rows(whole)


def test_an_outdated_page_is_written_again(tmp_path, whole):
    """A full disk may leave a page of the running run."""
    shutil.copytree(whole, tmp_path / "run")
    page = tmp_path / "run" / "report.html"
    page.write_text("running")
    os.utime(page, (0, 0))
    (tmp_path / "run" / "inputs" / "000.png").unlink()
    config = eight_members()
    config.ensemble.batch_size = 4
    assert run_experiment(config, tmp_path / "run") == "done"
    assert page.read_text().rstrip().endswith("</html>")
    assert (tmp_path / "run" / "inputs" / "000.png").exists()


def test_failed_line_searches_are_reported(tmp_path, caplog):
    config = small_experiment(
        solver=nst_jax.SolverOptions("lbfgs", first_step=1e30), steps=4
    )
    with caplog.at_level("WARNING", "absl"):
        assert run_experiment(config, tmp_path) == "done"
    assert "1 of 1 members found no step in most of their line searches" in caplog.text


def test_diverged_members_are_reported(tmp_path):
    config = small_experiment(
        solver=nst_jax.SolverOptions("sgd", clip=False),
        axes=(nst_jax.Vary("solver.learning_rate", (1e-9, 1e30)),),
        steps=4,
    )
    assert run_experiment(config, tmp_path) == "done"
    states = [member["status"] for member in read_manifest(tmp_path)["members"]]
    assert states == ["done", "diverged"]
    assert "1 diverged" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("broken", ["members/000/final.png", "inputs/000.png"])
def test_a_report_leaves_out_broken_pictures(tmp_path, broken):
    assert run_experiment(small_experiment(), tmp_path) == "done"
    (tmp_path / broken).write_bytes(b"")
    complete = (tmp_path / "report.html").read_text()
    nst_jax.report.write_report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.rstrip().endswith("</html>")
    assert page.count("data:image/jpeg") < complete.count("data:image/jpeg")


def test_lack_of_memory_halves_the_batch(tmp_path, monkeypatch, caplog):
    """From eight to two, without rows of the discarded batches."""
    config = eight_members()
    config.ensemble.batch_size = 2
    assert run_experiment(config, tmp_path / "asked") == "done"
    limit_batch_memory(monkeypatch, 2)
    with caplog.at_level("WARNING", "absl"):
        assert run_experiment(eight_members(), tmp_path / "halved") == "done"
    assert read_manifest(tmp_path / "halved")["groups"][0]["batch_size"] == 2
    assert metric_rows(tmp_path / "halved") == metric_rows(tmp_path / "asked")
    for ours, theirs in zip(*map(final_arrays, tmp_path.iterdir()), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    logged = [text for text in caplog.messages if "does not fit" in text]
    assert all("results may differ in the last bits" in text for text in logged)
    assert [text.split("batches of ")[1][0] for text in logged] == ["4", "2"]


def test_a_discarded_batch_costs_neither_steps_nor_seconds(tmp_path, monkeypatch):
    """By a clock with a second a result in batches of two, and ten in larger ones.

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
        for result in optimise(self, *args, **options):
            clock.now += 10 if self.batch_size == 4 else 1
            yield result
            if len(batches) == 2 and result.step == 4:
                raise MemoryError("Unable to allocate 3.1 GiB")

    monkeypatch.setattr(nst_jax.Ensemble, "optimise", limited)
    config = eight_members()
    config.ensemble.batch_size = 4
    assert run_experiment(config, tmp_path) == "done"
    assert batches == [4, 4, 2, 2]
    ran = read_manifest(tmp_path)
    (group,) = ran["groups"]
    # Looks are at steps 0, 2, 4 and 6.
    assert ran["member_steps"] == group["member_steps"] == 8 * 6
    assert ran["timings"]["run_s"] == group["run_s"] == 4 * 10 + 2 * 4 * 1
    assert ran["timings"]["total_s"] == 4 * 10 + 3 * 10 + 2 * 4 * 1


def test_a_failed_run_counts_the_seconds_of_its_steps(tmp_path, monkeypatch):
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(
        runner, "time", types.SimpleNamespace(perf_counter=lambda: clock.now)
    )
    optimise = nst_jax.Ensemble.optimise

    def broken(self, *args, **options):
        for result in optimise(self, *args, **options):
            clock.now += 1
            yield result
            if result.step == 4:
                raise OSError("no space left on device")

    monkeypatch.setattr(nst_jax.Ensemble, "optimise", broken)
    with pytest.raises(OSError, match="no space left"):
        run_experiment(eight_members(), tmp_path)
    ran = read_manifest(tmp_path)
    assert (ran["member_steps"], ran["timings"]["run_s"]) == (8 * 4, 3)


def test_a_batch_of_one_that_does_not_fit_is_one_sentence(tmp_path, monkeypatch):
    limit_batch_memory(monkeypatch, 0)
    with pytest.raises(OutOfMemoryError, match=r"^a batch of 1 at .* does not fit"):
        run_experiment(eight_members(), tmp_path)
    assert read_manifest(tmp_path)["status"] == "failed"


def test_a_stochastic_loss_with_l_bfgs_is_reported(tmp_path, caplog):
    """The run is done nevertheless."""
    config = eight_members()
    config.axes, config.seeds, config.steps = (), (0,), 0
    style = losses.SlicedWasserstein(layers=("relu1_1",))
    logged = []
    for anew, tile, solver in (
        *((False, 0, "lbfgs_fixed"), (True, 0, "adam"), (True, 0, "lbfgs_fixed")),
        (False, 16, "lbfgs_fixed"),
    ):
        config.terms = (dataclasses.replace(style, anew=anew),)
        config.tile, config.solver = tile, nst_jax.SolverOptions(name=solver)
        caplog.clear()
        with caplog.at_level("WARNING", "absl"):
            run_experiment(config, tmp_path / str(len(logged)))
        logged.append(
            [text.split(":")[0] for text in caplog.messages if "misl" in text]
        )
    assert logged == [[], [], ["style"], ["tile"]]
