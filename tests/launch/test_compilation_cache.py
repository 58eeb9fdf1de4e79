"""Compiled programs are cached for the next command, unless a flag disables it."""

import os
import re
import subprocess
import sys

import numpy as np
from command_line import ROOT

from nst_jax.launch import compilation_cache as programs


def names(files):
    return {path.name.split("-")[0] for path in files}


def evaluated(tmp_path, name):
    """Run a command that compiles; return its result and its use of the cache.

    Returns:
      The starting canvas, the cache's files after the command, and the names of the
      programs that it took from the cache.
    """
    kept = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    home = tmp_path / "home"
    done = subprocess.run(
        [
            *(sys.executable, "launch.py", "--config=configs/transfer.py:smoke"),
            *("--config.steps=0", f"--workdir={tmp_path / name}"),
        ],
        cwd=ROOT,
        env=kept
        | {"XDG_CACHE_HOME": str(home), "HOME": str(home), "JAX_LOG_COMPILES": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    canvas = np.load(tmp_path / name / "members/000/final.npy")
    files = {p for p in home.rglob("*-cache") if "nst_jax" in p.parts}
    return canvas, files, set(re.findall(r"cache hit for '(\w+)'", done.stderr))


def test_a_second_command_does_not_compile_again(tmp_path):
    cold, compiled, _ = evaluated(tmp_path, "cold")
    assert {"jit_targets", "jit_over_members"} <= names(compiled)
    warm, after, read = evaluated(tmp_path, "warm")
    assert {"jit_targets", "jit_over_members"} <= read
    # What takes about as long as is worth keeping may be kept the second time.
    assert not {"jit_targets", "jit_over_members"} & names(after - compiled)
    np.testing.assert_array_equal(warm, cold)


def test_processors_that_share_a_home_do_not_share_programs(monkeypatch):
    here = programs._folder()
    monkeypatch.setattr(programs, "_processor", lambda: "another")
    assert programs._folder().parent == here.parent
    assert programs._folder() != here
