"""Whose a run directory is."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from test_runner import eight, manifest, run

import nst_jax
from nst_jax.atomic import PARTIAL
from nst_jax.folder import Lock

HOLD = """
import pathlib, sys, time
from nst_jax.folder import Lock
lock = Lock(pathlib.Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(300)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that has the folder until it is killed."""
    command = [sys.executable, "-W", "ignore", "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_second_run_is_refused_and_told_of_the_first(tmp_path, holder):
    asked = eight()
    with pytest.raises(
        nst_jax.RequestError, match=f"in use by process {holder.pid} on .* since 20"
    ):
        run(asked, tmp_path)
    assert not (tmp_path / "run.json").exists()


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path, holder, caplog):
    """The note is left, and what the killed process had half done is cleared."""
    half = tmp_path / "members" / "000" / f"{PARTIAL}abc.npy"
    other = tmp_path / "processes" / "001of002" / f"{PARTIAL}abc.npy"
    for path in (half, other):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"half")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    lock = Lock(tmp_path)
    with caplog.at_level("INFO", "absl"):
        lock.acquire()
    assert f"left by process {holder.pid}" in caplog.text
    assert not half.exists()
    assert other.exists(), "that is another process's"
    note = json.loads((tmp_path / "running.json").read_text())
    assert note["process"] == os.getpid()
    lock.release()
    assert not (tmp_path / "running.json").exists()


@pytest.mark.parametrize("note", [b"", b"{}", b"[1]", b"\xff", None])
def test_a_note_that_says_nothing_does_no_harm(tmp_path, holder, note):
    (tmp_path / "running.json").unlink()
    if note is not None:
        (tmp_path / "running.json").write_bytes(note)
    with pytest.raises(nst_jax.RequestError, match="in use by another process"):
        Lock(tmp_path).acquire()


def test_what_was_written_since_the_folder_was_opened_is_not_overwritten(tmp_path):
    """Two that were started together: the second one comes when the first is done."""
    asked = eight(size=48)
    asked.axes, asked.seeds, asked.steps = (), (0,), 1
    plan = nst_jax.build(asked)
    late = nst_jax.records.Records(tmp_path, plan)
    assert nst_jax.execute(plan, tmp_path) == "done"
    before = (tmp_path / "run.json").read_bytes()
    time.sleep(0.01)
    refused = pytest.raises(nst_jax.RequestError, match="by another run just now")
    with refused, late.held():
        late.begin()
    assert (tmp_path / "run.json").read_bytes() == before
    assert manifest(tmp_path)["status"] == "done"
    Lock(tmp_path).acquire()


def test_a_run_leaves_its_folder_free(tmp_path):
    asked = eight(size=48)
    asked.axes, asked.seeds, asked.steps = (), (0,), 1
    assert run(asked, tmp_path) == "done"
    assert not (tmp_path / "running.json").exists()
    lock = Lock(tmp_path)
    lock.acquire()
    lock.release()
