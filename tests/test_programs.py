"""Compiled programs are kept for the next command, unless a flag says no."""

import json
import os
import subprocess
import sys

import numpy as np
from conftest import ROOT

from nst_jax import programs


def names(files):
    return {path.name.split("-")[0] for path in files}


def evaluated(tmp_path, name):
    """(the starting canvas, the cache's files, seconds of compiling) of a command."""
    kept = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    home = tmp_path / "home"
    done = subprocess.run(
        [
            *(sys.executable, "launch.py", "--config=configs/transfer.py:smoke"),
            *("--config.steps=0", f"--workdir={tmp_path / name}"),
        ],
        cwd=ROOT,
        env=kept | {"XDG_CACHE_HOME": str(home), "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    canvas = np.load(tmp_path / name / "members/000/final.npy")
    files = {p for p in home.rglob("*-cache") if "nst_jax" in p.parts}
    run = json.loads((tmp_path / name / "run.json").read_text())
    return canvas, files, run["timings"]["compile_s"]


def test_what_one_command_has_compiled_the_next_has_not_to(tmp_path):
    cold, compiled, cold_s = evaluated(tmp_path, "cold")
    assert {"jit_targets", "jit_over_members"} <= names(compiled)
    warm, after, warm_s = evaluated(tmp_path, "warm")
    assert warm_s < cold_s
    # What takes about as long as is worth keeping may be kept the second time.
    assert not {"jit_targets", "jit_over_members"} & names(after - compiled)
    np.testing.assert_array_equal(warm, cold)


def test_processors_that_share_a_home_do_not_share_programs(monkeypatch):
    here = programs._folder()
    monkeypatch.setattr(programs, "_processor", lambda: "another")
    assert programs._folder().parent == here.parent
    assert programs._folder() != here
