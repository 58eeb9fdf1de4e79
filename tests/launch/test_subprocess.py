"""Members in subprocesses: equal bits, waiting, interrupts and failures."""

import itertools
import json
import textwrap

import filelock
import numpy as np
import pytest
from command_line import launch
from small_runs import small_experiment

import nst_jax
from nst_jax.launch.subprocess import run_in_subprocess
from nst_jax.workdir.metrics_log import read_metrics


def test_a_subprocess_computes_the_same_bits(tmp_path):
    config = tmp_path / "config.py"
    config.write_text(
        textwrap.dedent("""
        import nst_jax

        def get_config(arg=""):
            return nst_jax.Experiment(
                content="samples/chelsea.png",
                styles=(),
                terms=(nst_jax.Content(layers=("relu2_1",)),),
                size=24, steps=3, seeds=(0, 1),
                canvas=nst_jax.Canvas("noise"),
                solver=nst_jax.SolverOptions(name="adam"),
                ensemble=nst_jax.EnsembleOptions(strategy="loop"),
                output=nst_jax.OutputOptions(
                    log_every=1, snapshots=(0, 1, 2, 3), exact=True),
                axes=(nst_jax.Vary("ensemble.process", ("inline", "subprocess")),),
            )
        """)
    )
    workdir = tmp_path / "run"
    status, _, err = launch(f"--config={config}", f"--workdir={workdir}")
    assert status == 0, err
    run = json.loads((workdir / "run.json").read_text())
    assert [m["status"] for m in run["members"]] == ["done"] * 4
    assert [g["member_steps"] for g in run["groups"]] == [6, 6]
    assert run["groups"][1]["compile_s"] > 0
    assert not list((workdir / "processes").iterdir())
    rows = {
        (r["member"], r["step"]): r["loss"]
        for r in read_metrics(workdir / "metrics.jsonl")
    }
    assert len(rows) == 16
    for seed in (0, 1):
        for step in range(4):
            assert rows[seed, step] == rows[2 + seed, step]
            inline, separate = (
                np.load(workdir / f"members/{m:03d}/frames/{step:06d}.npy")
                for m in (seed, 2 + seed)
            )
            np.testing.assert_array_equal(inline, separate)
    sentence = json.loads((workdir / "study.json").read_text())["summary"][0]
    assert sentence.startswith(
        "Bit-identical to “inline” on this cpu, compared at all 4 steps:"
    )


def test_a_subprocess_needs_a_launch_script(tmp_path):
    experiment = small_experiment()
    experiment.ensemble.process = "subprocess"
    with pytest.raises(nst_jax.RequestError, match="runs the launch script again"):
        nst_jax.execute(nst_jax.build(experiment), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_orphaned_process_is_waited_for(tmp_path):
    """Its lock on the run directory is waited for, then the script runs."""
    script, ran = tmp_path / "ran.py", tmp_path / "ran"
    script.write_text(f"open({str(ran)!r}, 'w')")
    orphan = filelock.FileLock(tmp_path / ".lock")
    calls = itertools.count()

    def stop():
        if next(calls) == 2:
            assert not ran.exists()
            orphan.release()
        return False

    with orphan:
        done = run_in_subprocess(str(script), tmp_path, [0], stop)
    assert done
    assert ran.exists()
    assert next(calls) > 2
    with orphan:
        assert not run_in_subprocess(str(script), tmp_path, [0], lambda: True)


@pytest.mark.parametrize("status", [130, 143])
def test_an_interrupted_process_is_not_a_failure(tmp_path, status):
    script = tmp_path / "stopped.py"
    script.write_text(f"raise SystemExit({status})")
    assert not run_in_subprocess(str(script), tmp_path, [0], lambda: False)


def test_a_failed_process_raises_with_its_message(tmp_path):
    script = tmp_path / "failed.py"
    script.write_text(
        "raise SystemExit('no room; finished members are kept, and so on')"
    )
    with pytest.raises(ChildProcessError, match=r"status 1 \(no room\)$"):
        run_in_subprocess(str(script), tmp_path, [0], lambda: False)
