"""Forecasts of a dry run, compared with the run."""

import types

import numpy as np
import pytest
from command_line import launch
from small_runs import eight_members, limit_batch_memory, read_manifest, run_experiment

import nst_jax
from nst_jax.core.errors import OutOfMemoryError
from nst_jax.ensemble.ensemble import Ensemble
from nst_jax.launch.dry_run import Forecast, forecast, format_forecast


def test_groups_batches_and_programs_are_those_of_the_run(tmp_path):
    """Two poolings are two groups; a ladder has a program a stage."""
    config = eight_members(size=48, ladder=nst_jax.Ladder(sizes=(32,), steps=(2,)))
    config.axes = (*config.axes, nst_jax.Vary("pooling", ("max", "avg")))
    config.ensemble.batch_size = 3
    forecasts = forecast(nst_jax.build(config))
    assert run_experiment(config, tmp_path) == "done"
    ran = read_manifest(tmp_path)
    for ours, theirs in zip(forecasts, ran["groups"], strict=True):
        assert ours.members == theirs["count"] == 8
        assert ours.batch_size == theirs["batch_size"] == 3
        assert list(ours.sizes[-1]) == theirs["size"]
        assert ours.programs == len(ours.sizes) == len(ours.step_s) == 2
        assert ours.batches == 3


def test_memory_is_that_of_the_program():
    """Each further member of a batch takes as much as the one before."""
    needed = []
    for seeds in (2, 3, 8):
        config = eight_members(size=64)
        config.axes, config.seeds = (), tuple(range(seeds))
        group = nst_jax.build(config).groups[0]
        problem = group.problems()[:1]
        shape = group.content.shape
        program = nst_jax.Ensemble.compile(problem, shape, batch_size=seeds)
        needed.append(program.needed_bytes)
    assert needed[0] > 20 * group.content.nbytes
    np.testing.assert_allclose(
        (needed[2] - needed[1]) / 5, needed[1] - needed[0], rtol=0.05
    )


def test_seconds_cover_all_steps_of_all_batches(monkeypatch):
    """By a clock with 10 s a call, 1 s a step at 32 px, and 4 s a step at 48 px."""
    clock = types.SimpleNamespace(now=0.0)
    optimise = Ensemble.optimise

    def timed(self, starts, steps, **kwargs):
        clock.now += 10 + steps * {32: 1, 48: 4}[max(starts.shape[1:3])]
        return optimise(self, starts, steps, **kwargs)

    monkeypatch.setattr(Ensemble, "optimise", timed)
    monkeypatch.setattr(Ensemble, "needed_bytes", 7)
    monkeypatch.setattr("nst_jax.launch.dry_run.used_bytes", lambda device: 1000)
    watch = types.SimpleNamespace(perf_counter=lambda: clock.now)
    monkeypatch.setattr("nst_jax.launch.dry_run.time", watch)
    config = eight_members(size=48, ladder=nst_jax.Ladder(sizes=(32,), steps=(2,)))
    config.ensemble.batch_size = 3
    (group_forecast,) = forecast(nst_jax.build(config))
    assert group_forecast.step_s == (1, 4)
    assert group_forecast.run_s == 3 * ((10 + 2 * 1) + (10 + config.steps * 4))
    assert group_forecast.peak_bytes == 1007


def test_short_steps_are_timed_in_longer_runs(monkeypatch):
    """A step takes 1 ms, and the clock ticks every 10 ms."""
    clock = types.SimpleNamespace(now=0.0)
    optimise = Ensemble.optimise

    def timed(self, starts, steps, **kwargs):
        clock.now += 0.001 * steps
        return optimise(self, starts, 1, **kwargs | {"log_every": 1})

    monkeypatch.setattr(Ensemble, "optimise", timed)
    watch = types.SimpleNamespace(perf_counter=lambda: round(clock.now, 2))
    monkeypatch.setattr("nst_jax.launch.dry_run.time", watch)
    config = eight_members(size=32)
    config.steps = 500
    (group_forecast,) = forecast(nst_jax.build(config))
    assert group_forecast.step_s == (pytest.approx(0.001, rel=0.1),)


def test_a_batch_that_does_not_fit_is_one_sentence(monkeypatch):
    limit_batch_memory(monkeypatch, 4)
    with pytest.raises(OutOfMemoryError, match="^a batch of group 0 does not fit"):
        forecast(nst_jax.build(eight_members()))


def test_a_dry_run_prints_its_forecast_and_writes_nothing(tmp_path):
    status, out, err = launch(
        *("--config=configs/seeds.py:smoke", f"--workdir={tmp_path / 'run'}"),
        *("--dry_run", "--config.size=48"),
    )
    assert status == 0, err
    assert not list(tmp_path.iterdir())
    first, group, last = out.strip().splitlines()
    assert first.startswith("8 members in 1 group, 1 program, compiled in ")
    assert " 8 members of 48×32 px in 1 batch of 8, " in group
    assert last.startswith("optimising ") and last.endswith(" GiB of memory")


def test_the_text_covers_all_groups():
    one = Forecast(7, 3, ((32, 48), (64, 96)), 2, 4.0, (0.1, 0.25), 30.0, 2**30)
    other = one._replace(members=1, programs=0, peak_bytes=3 * 2**29, run_s=9.0)
    assert format_forecast([one, other]).splitlines() == [
        "8 members in 2 groups, 2 programs, compiled in 8 s",
        "  group 0: 7 members of 48×32 → 96×64 px in 3 batches of 3, 0.1 → 0.25 s "
        "for a batch's step, 30 s",
        "  group 1: 1 member of 48×32 → 96×64 px in 1 batch of 3, 0.1 → 0.25 s "
        "for a batch's step, 9 s",
        "optimising 39 s, at most 1.50 GiB of memory",
    ]
