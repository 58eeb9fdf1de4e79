"""The lock of a run directory, and folders that cannot become one."""

import contextlib
import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from command_line import ROOT
from small_runs import eight_members, read_manifest, run_experiment

import nst_jax
from nst_jax.core.atomic import PARTIAL
from nst_jax.report import write_report, write_tensorboard
from nst_jax.workdir.lock import Lock
from nst_jax.workdir.writer import RunWriter

HOLD = """
import pathlib, sys, time
from nst_jax.workdir.lock import Lock
lock = Lock(pathlib.Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(300)
"""


@contextlib.contextmanager
def holding(folder):
    """A process that holds the lock of a folder until it is killed."""
    command = [sys.executable, "-W", "ignore", "-c", HOLD, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


@pytest.fixture
def holder(tmp_path):
    with holding(tmp_path) as process:
        yield process


@pytest.fixture(scope="module")
def held_folder(tmp_path_factory):
    """A folder that another process holds during all tests of this module."""
    folder = tmp_path_factory.mktemp("held")
    with holding(folder):
        yield folder


def test_a_second_run_is_refused_with_the_process_of_the_first(tmp_path, holder):
    config = eight_members()
    with pytest.raises(
        nst_jax.RequestError, match=f"in use by process {holder.pid} on .* since 20"
    ):
        run_experiment(config, tmp_path)
    assert not (tmp_path / "run.json").exists()


def test_a_lock_ends_with_its_killed_process(tmp_path, holder, caplog):
    """Its note is logged, and its partial files are removed."""
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
    assert other.exists(), "it belongs to another process"
    note = json.loads((tmp_path / "running.json").read_text())
    assert note["process"] == os.getpid()
    lock.release()
    assert not (tmp_path / "running.json").exists()


@pytest.mark.parametrize("note", [b"", b"{}", b"[1]", b"\xff", None])
def test_a_broken_note_does_no_harm(held_folder, note):
    (held_folder / "running.json").unlink(missing_ok=True)
    if note is not None:
        (held_folder / "running.json").write_bytes(note)
    with pytest.raises(nst_jax.RequestError, match="in use by another process"):
        Lock(held_folder).acquire()


def test_a_run_finished_by_another_process_meanwhile_is_not_overwritten(tmp_path):
    """Two runs are started together; the second gets the lock after the first."""
    config = eight_members(size=48)
    config.axes, config.seeds, config.steps = (), (0,), 1
    plan = nst_jax.build(config)
    late = nst_jax.workdir.writer.RunWriter(tmp_path, plan)
    assert nst_jax.execute(plan, tmp_path) == "done"
    before = (tmp_path / "run.json").read_bytes()
    time.sleep(0.01)
    refused = pytest.raises(nst_jax.RequestError, match="by another run just now")
    with refused, late.locked():
        late.begin()
    assert (tmp_path / "run.json").read_bytes() == before
    assert read_manifest(tmp_path)["status"] == "done"
    Lock(tmp_path).acquire()


def test_a_finished_run_releases_its_lock(tmp_path):
    config = eight_members(size=48)
    config.axes, config.seeds, config.steps = (), (0,), 1
    assert run_experiment(config, tmp_path) == "done"
    assert not (tmp_path / "running.json").exists()
    lock = Lock(tmp_path)
    lock.acquire()
    lock.release()


@functools.cache
def small_plan():
    config = eight_members(size=24)
    config.axes, config.seeds, config.steps = (), (0,), 0
    return nst_jax.build(config)


@pytest.mark.parametrize(
    "name",
    [
        *("report.html", "sheet.png", "curves.svg", "metrics.jsonl", "study.json"),
        *("running.json", "inputs/photo.png"),
        *("members/notes.txt", "study/1.png", "tensorboard/x", "processes/list.txt"),
    ],
)
def test_foreign_files_are_not_overwritten(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("precious")
    top_name = name if name.startswith("processes") else name.split("/")[0]
    with pytest.raises(
        nst_jax.RequestError,
        match=f"is no run directory .*overwrite '{top_name}' in it",
    ):
        RunWriter(tmp_path, small_plan())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [tmp_path / name]
    assert files[0].read_text() == "precious"


def test_the_first_of_several_foreign_files_is_named(tmp_path):
    for name in ("sheet.png", "report.html"):
        (tmp_path / name).write_text("")
    with pytest.raises(nst_jax.RequestError, match=r"overwrite 'report\.html'"):
        RunWriter(tmp_path, small_plan())


def test_foreign_files_with_other_names_may_stay(tmp_path):
    """A log, a link, and files of a process that was killed before its run."""
    (tmp_path / "slurm-1.out").write_text("log")
    (tmp_path / "photo.png").symlink_to(tmp_path / "slurm-1.out")
    (tmp_path / ".lock").write_text("")
    (tmp_path / "running.json").write_text("{}")
    (tmp_path / "processes" / "000of002").mkdir(parents=True)
    assert nst_jax.execute(small_plan(), tmp_path) == "done"
    assert (tmp_path / "slurm-1.out").read_text() == "log"


@pytest.mark.parametrize("name", [".lock", "running.json", "processes"])
def test_a_link_in_place_of_a_file_is_refused(tmp_path, name):
    workdir, precious = tmp_path / "run", tmp_path / "precious"
    workdir.mkdir()
    precious.write_text("precious")
    (workdir / name).symlink_to(precious)
    with pytest.raises(nst_jax.RequestError, match="a link where none belongs"):
        RunWriter(workdir, small_plan())
    assert precious.read_text() == "precious"


def test_the_current_folder_and_its_parents_are_refused(tmp_path, monkeypatch):
    """Their links are not searched."""
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "link").symlink_to(tmp_path)
    monkeypatch.chdir(inner)
    for workdir, message in (
        ("/", "'/' is no run directory .* contains the current folder"),
        ("..", r"'\.\.' is no run directory .* contains the current folder"),
        (".", r"'\.' is no run directory .* is the current folder"),
    ):
        with pytest.raises(nst_jax.RequestError, match=message):
            RunWriter(workdir, small_plan())
    assert [path.name for path in inner.iterdir()] == ["link"]
    (inner / "link").unlink()
    RunWriter(".", small_plan())  # An empty folder is as good as a new one.


@pytest.mark.parametrize("write", [write_report, write_tensorboard])
def test_a_report_on_a_folder_without_a_run_is_refused(tmp_path, write):
    (tmp_path / "link").symlink_to("/")
    for folder in (tmp_path, pathlib.Path("/"), pathlib.Path(".")):
        with pytest.raises(
            nst_jax.RequestError,
            match=r"is no run directory: it holds no run\.json",
        ):
            write(folder)
