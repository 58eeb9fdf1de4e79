"""Kills at three moments; `python -m tests.chaos --kills=100` has a hundred at any."""

import contextlib
import json

import pytest
from chaos import Chaos


@pytest.fixture(scope="module")
def chaos(tmp_path_factory):
    return Chaos(tmp_path_factory.mktemp("chaos"), "lbfgs_fixed")


def begun(_, workdir):
    return (workdir / "run.json").exists()


def under_way(_, workdir):
    return any(workdir.glob("members/*/state.safetensors"))


def half_done(_, workdir):
    with contextlib.suppress(OSError):
        run = json.loads((workdir / "run.json").read_text())
        return any(entry["status"] == "done" for entry in run["members"])
    return False


@pytest.mark.parametrize(
    ("due", "wheres"),
    [
        (begun, ("0 of 4 done, no checkpoint",)),
        (under_way, ("0 of 4 done, a checkpoint",)),
        (half_done, ("2 of 4 done, a checkpoint",)),
    ],
)
def test_a_run_that_is_killed_comes_to_the_same_bits(chaos, due, wheres):
    assert chaos.kill(due.__name__, due) in wheres
