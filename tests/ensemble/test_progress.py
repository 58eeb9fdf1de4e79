"""Progress of a run in a bar and in log lines, by a fake clock."""

import io
import itertools
import re
import sys
import types

import pytest
from small_runs import eight_members, run_experiment, stop_after

import nst_jax
from nst_jax.ensemble.ensemble import Ensemble
from nst_jax.ensemble.progress import Progress
from nst_jax.launch import runner
from nst_jax.plan import stages


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_remaining_time_excludes_compilation(caplog, monkeypatch):
    clock = types.SimpleNamespace(now=0.0)
    watch = types.SimpleNamespace(monotonic=lambda: clock.now)
    monkeypatch.setattr("nst_jax.ensemble.progress.time", watch)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with caplog.at_level("INFO", "absl"), Progress(30) as progress:
        clock.now = 1000.0
        progress.update(10, [5.0], 10.0)
    assert caplog.messages == ["10/30 it, loss 5", "1 it/s, 20 s left"]


def test_steps_of_earlier_calls_do_not_change_the_rate(caplog, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    progress = Progress(500, seconds_between_lines=0)
    progress.skip(300)
    with caplog.at_level("INFO", "absl"):
        progress.update(0, [7.0], 3.0)
        progress.update(50, [7.0, 9.0], 22.0)
    assert caplog.messages == [
        *("300/500 it, loss 7", "350/500 it, loss 7 … 9", "2 it/s, 75 s left"),
    ]


def test_the_bar_shows_the_rate_and_what_the_run_waits_for(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(500) as progress:
        progress.skip(300)
        with progress.waiting("compiling"):
            assert "compiling" in terminal.getvalue()
        progress.update(50, [7.0], 25.0)
        progress._bar.refresh()
        shown = terminal.getvalue().split("\r")[-1]
    assert "350/500 it, 2 it/s, 75 s left, loss 7" in shown
    assert "compiling" not in shown


def test_a_program_is_logged_before_it_is_compiled(tmp_path, monkeypatch, caplog):
    """With its number, the number of programs, its size and its batch size."""
    lines = []
    compile_ = Ensemble.compile

    def compiled(*posed, **options):
        lines.append(caplog.messages[-1])
        return compile_(*posed, **options)

    monkeypatch.setattr(Ensemble, "compile", compiled)
    config = eight_members(size=48, ladder=nst_jax.Ladder(sizes=(32,), steps=(2,)))
    config.axes = (*config.axes, nst_jax.Vary("pooling", ("max", "avg")))
    with caplog.at_level("INFO", "absl"):
        assert run_experiment(config, tmp_path) == "done"
    sizes = "32×21", "48×32", "32×21", "48×32"
    assert lines == [
        f"compiling program {i} of 4: {size} px, batch of 8"
        for i, size in enumerate(sizes, 1)
    ]


def test_groups_that_share_a_program_are_not_counted_twice(tmp_path, caplog):
    config = eight_members()
    config.axes = nst_jax.Vary("ensemble.repeat", (0, 1)), *config.axes
    with caplog.at_level("INFO", "absl"):
        assert run_experiment(config, tmp_path) == "done"
    lines = [text for text in caplog.messages if text.startswith("compiling")]
    assert len(lines) == 1
    assert lines[0].startswith("compiling program 1 of ")


def test_a_resumed_run_counts_on_and_excludes_compilation(
    tmp_path, monkeypatch, caplog
):
    """The clock ticks a second a call; compiling takes a thousand."""
    clock = itertools.count()
    late = types.SimpleNamespace(by=0)
    watch = types.SimpleNamespace(perf_counter=lambda: float(next(clock)) + late.by)
    result = stages.Stage.ensemble.fget

    def slow(stage):
        late.by += 1000
        return result(stage)

    config = eight_members()
    config.ensemble.batch_size = 4
    assert run_experiment(config, tmp_path, stop=stop_after(8)) == "interrupted"
    monkeypatch.setattr(runner, "time", watch)
    monkeypatch.setattr(runner, "SECONDS_BETWEEN_REPORTS", 1e9)
    monkeypatch.setattr(stages.Stage, "ensemble", property(slow))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setitem(Progress.__init__.__kwdefaults__, "seconds_between_lines", -1.0)
    with caplog.at_level("INFO", "absl"):
        assert run_experiment(config, tmp_path) == "done"
    counts = [int(n) for n in re.findall(r"(\d+)/48 it", caplog.text)]
    assert counts[0] > 24 and counts[-1] == 48
    lefts = [float(n) for n in re.findall(r"([\d.]+) s left", caplog.text)]
    assert lefts and max(lefts) < 900
    assert late.by >= 1000


@pytest.mark.parametrize("losses", [[float("nan")], []])
def test_a_loss_that_is_not_finite_is_reported(losses, caplog, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with caplog.at_level("INFO", "absl"), Progress(1) as progress:
        progress.update(1, losses, 1.0)
    assert "loss not finite" in caplog.text
