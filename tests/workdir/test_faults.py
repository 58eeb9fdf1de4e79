"""Faults of the machine: full disks, deleted folders, no memory, clock changes.

An error names the file, finished members are kept, and the same command then gives the
same bits.
"""

import contextlib
import errno
import os
import re
import shutil
import subprocess
import sys
import time
import types

import jax
import numpy as np
import pytest
from command_line import ROOT, launch
from small_runs import (
    eight_members,
    final_arrays,
    metric_rows,
    read_manifest,
    run_experiment,
)

import nst_jax
from nst_jax.core import atomic
from nst_jax.core.atomic import PARTIAL, write_atomically
from nst_jax.launch import runner
from nst_jax.workdir.checkpoint import Checkpoint, SolverStates
from nst_jax.workdir.metrics_log import MetricsLog
from nst_jax.workdir.schema import decode
from nst_jax.workdir.writer import RunWriter


def four():
    """Eight members in batches of four, with a checkpoint at every result."""
    config = eight_members(
        size=32, terms=(nst_jax.Gram(layers=("relu1_1",), name="style"),)
    )
    config.ensemble.batch_size = 4
    config.output.checkpoint_every = 0.0
    return config


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    assert run_experiment(four(), workdir) == "done"
    return workdir


def assert_resumes(workdir, whole):
    """Assert that the same request ends like an undisturbed run."""
    assert not list(workdir.rglob(f"{PARTIAL}*")) or (workdir / "running.json").exists()
    assert run_experiment(four(), workdir) == "done"
    assert metric_rows(workdir) == metric_rows(whole)
    np.testing.assert_array_equal(final_arrays(workdir), final_arrays(whole))
    assert not list(workdir.rglob(f"{PARTIAL}*"))


class Device:
    """A device that fails at one write, or from one write on."""

    def __init__(self, monkeypatch, code, first, *, once):
        self.left, self.once, self.code, self.failed = first, once, code, 0
        sync, add = os.fsync, MetricsLog.append

        def fsync(handle):
            self.write()
            sync(handle)

        def append(metrics, lines):
            self.write()
            add(metrics, lines)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(MetricsLog, "append", append)

    def write(self):
        self.left -= 1
        if self.left < 0 and not (self.once and self.failed):
            self.failed += 1
            raise OSError(self.code, os.strerror(self.code), "somewhere")


#: Numbers of the write that fails first.
WRITES = 0, 2, 5, 9, 14, 20, 27, 35, 44
#: Error of a write, and whether only one write fails.
FAULTS = {
    "full": (errno.ENOSPC, False),
    "broken once": (errno.EIO, True),
    "read-only": (errno.EROFS, False),
}


@pytest.mark.combinations(first=WRITES, fault=FAULTS)
def test_a_failing_device_ends_the_run_which_resumes(
    tmp_path, whole, monkeypatch, first, fault
):
    """At any write: of notes, pictures, rows, checkpoints and results."""
    code, once = FAULTS[fault]
    with monkeypatch.context() as patch:
        device = Device(patch, code, first, once=once)
        with pytest.raises(OSError, match=os.strerror(code)) as caught:
            run_experiment(four(), tmp_path)
    assert device.failed
    assert caught.value.errno == code
    assert_resumes(tmp_path, whole)


def test_a_run_succeeds_if_its_report_cannot_be_written(
    tmp_path, whole, monkeypatch, caplog
):
    """The error is logged."""
    monkeypatch.setattr(
        "nst_jax.report.report.write_report",
        lambda _: (_ for _ in ()).throw(OSError(28, "No space")),
    )
    with caplog.at_level("ERROR", "absl"):
        assert run_experiment(four(), tmp_path) == "done"
    assert "the report could not be written (OSError: [Errno 28] No space" in (
        caplog.text
    )
    np.testing.assert_array_equal(final_arrays(tmp_path), final_arrays(whole))


def test_a_page_of_an_unfinished_run_has_its_time(tmp_path):
    """The page of the finished run has none."""
    pages = []

    def read_page():
        pages.append((tmp_path / "report.html").read_text())
        return False

    assert run_experiment(four(), tmp_path, stop=read_page) == "done"
    for page in pages:
        assert re.search(r"run was unfinished at \d{4}-\d\d-\d\d \d\d:\d\d", page)
    assert "run was unfinished" not in (tmp_path / "report.html").read_text()


def test_an_outdated_page_is_removed(tmp_path, monkeypatch):
    """First the last report fails, then the writing of run.json."""

    def broken(*_, **__):
        assert (tmp_path / "report.html").exists()
        raise OSError(errno.ENOSPC, "No space left")

    with monkeypatch.context() as patch:
        patch.setattr("nst_jax.report.report.write_report", broken)
        assert run_experiment(four(), tmp_path) == "done"
    assert not (tmp_path / "report.html").exists()
    (tmp_path / "members" / "000" / "final.npy").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "end", broken)
        with pytest.raises(OSError, match="No space left"):
            run_experiment(four(), tmp_path)
    assert not (tmp_path / "report.html").exists()
    assert run_experiment(four(), tmp_path) == "done"
    assert "</html>" in (tmp_path / "report.html").read_text()


@contextlib.contextmanager
def disk(folder, size):
    """Mount a file system of this size in bytes."""
    folder.mkdir()
    options = "mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)
    if subprocess.run(options, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


CONFIG = """
import nst_jax
from configs import transfer

def get_config():
    config = transfer.get_config()
    config.size, config.steps, config.seeds = 48, 4, tuple(range(6))
    config.terms = (nst_jax.Gram(layers=("relu1_1",)),)
    config.canvas = nst_jax.Canvas("noise")
    config.solver = nst_jax.SolverOptions("adam")
    config.numerics = nst_jax.Numerics(convolution="direct")
    config.ensemble.batch_size = 2
    return config
"""


def test_a_full_disk_is_one_sentence_and_the_run_resumes(tmp_path):
    """The launch script ends with status 1, and resumes once there is room."""
    (tmp_path / "config.py").write_text(CONFIG)
    flags = [f"--config={tmp_path / 'config.py'}"]
    assert launch(*flags, f"--workdir={tmp_path / 'whole'}")[0] == 0
    with disk(tmp_path / "small", "128k") as small:
        workdir = small / "run"
        status, out, err = launch(*flags, f"--workdir={workdir}")
        assert status == 1, err
        assert out == ""
        assert "Traceback" not in err
        error_lines = [
            line for line in err.splitlines() if line.startswith("launch.py: ")
        ]
        assert len(error_lines) == 1
        assert (
            "No space left on device" in error_lines[0] and str(small) in error_lines[0]
        )
        if (workdir / "run.json").exists():
            assert (
                f"to resume, give the same command with --workdir={workdir}"
                in error_lines[0]
            )
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        status, _, err = launch(*flags, f"--workdir={workdir}")
        assert status == 0, err
        for number in range(6):
            name = f"members/{number:03d}/final.npy"
            np.testing.assert_array_equal(
                np.load(workdir / name), np.load(tmp_path / "whole" / name)
            )


def test_no_page_of_a_running_run_stays_if_the_report_fills_the_disk(tmp_path, caplog):
    with disk(tmp_path / "small", "1m") as small:
        assert run_experiment(four(), small / "run") == "done"
        assert "the report could not be written" in caplog.text
        assert read_manifest(small / "run")["status"] == "done"
        assert not (small / "run" / "report.html").exists()


def test_errors_of_incomplete_writes_name_the_file(tmp_path):
    """NumPy and safetensors raise no errno on a full disk."""
    canvas = np.zeros((200, 300, 3), np.float32)
    with disk(tmp_path / "small", "64k") as small:
        for write in (
            lambda path: write_atomically(path, lambda part: np.save(part, canvas)),
            Checkpoint((0,), 0, 0, 0.0, 0, [canvas]).save,
        ):
            with pytest.raises(OSError, match="file") as caught:
                write(small / "file.npy")
            assert caught.value.errno == errno.EIO
            assert not list(small.iterdir())


@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_permissions_of_the_umask(tmp_path, monkeypatch, mask, mode):
    monkeypatch.setattr(atomic, "_UMASK", mask)
    atomic.write_atomically(tmp_path / "a", lambda partial: partial.write_text("b"))
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("text", ["NaN", "[1, -Infinity]", '{"a": Infinity}'])
def test_nan_and_infinity_are_not_json(text):
    with pytest.raises(ValueError, match="is not JSON"):
        decode(text)


@pytest.mark.parametrize("polls", [1, 3, 6])
def test_a_deleted_run_directory_is_not_created_again(tmp_path, whole, polls):
    """The run ends with an error, and a new run starts from nothing."""
    workdir = tmp_path / "run"
    poll = iter(range(10**6))

    def remove():
        if next(poll) == polls:
            shutil.rmtree(workdir)
        return False

    with pytest.raises(FileNotFoundError, match=re.escape(str(workdir))):
        run_experiment(four(), workdir, stop=remove)
    assert not (workdir / "run.json").exists()
    shutil.rmtree(workdir, ignore_errors=True)
    assert_resumes(workdir, whole)


def test_a_slow_file_system_gets_fewer_checkpoints(
    tmp_path, whole, monkeypatch, caplog
):
    """They take at most a twentieth of the time, and a warning is logged."""
    save, saved = SolverStates.save, []
    clock = types.SimpleNamespace(now=0.0)

    def tick():
        clock.now += 0.001
        return clock.now

    def slowly(self, *args):
        clock.now += 1.0
        saved.append(args)
        save(self, *args)

    watch = types.SimpleNamespace(perf_counter=tick)
    monkeypatch.setattr(runner, "time", watch)
    watch = types.SimpleNamespace(perf_counter=tick, monotonic=tick)
    monkeypatch.setattr("nst_jax.ensemble.progress.time", watch)
    monkeypatch.setattr(SolverStates, "save", slowly)
    monkeypatch.setattr(SolverStates, "save_final", lambda *_: None)
    monkeypatch.setattr(runner, "SLOW_CHECKPOINT", 0.2)
    config = four()
    config.output.checkpoint_every = 1e-6
    with caplog.at_level("WARNING", "absl"):
        assert run_experiment(config, tmp_path) == "done"
    # By the test's clock a result comes every few milliseconds, and the next checkpoint
    # is due after twenty seconds.
    assert len(saved) == 1
    assert "a checkpoint took" in caplog.text
    np.testing.assert_array_equal(final_arrays(tmp_path), final_arrays(whole))


def test_lack_of_host_memory_halves_the_batch(tmp_path, monkeypatch, caplog):
    """Like lack of device memory."""
    optimise = nst_jax.Ensemble.optimise

    def limited(self, *args, **options):
        for result in optimise(self, *args, **options):
            yield result
            if self.batch_size > 2:
                raise MemoryError("Unable to allocate 3.1 GiB")

    monkeypatch.setattr(nst_jax.Ensemble, "optimise", limited)
    with caplog.at_level("WARNING", "absl"):
        assert run_experiment(four(), tmp_path) == "done"
    assert read_manifest(tmp_path)["groups"][0]["batch_size"] == 2
    assert "results may differ in the last bits" in caplog.text


LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_AS, (5 * 2**30, 5 * 2**30))
sys.argv[0] = "launch.py"
runpy.run_path("launch.py", run_name="__main__")
"""


def test_a_request_too_large_for_memory_is_one_sentence(tmp_path):
    """A real allocation fails: status 1, and no traceback."""
    done = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-c", LIMITED),
            *("--config=configs/seeds.py", "--config.size=2000"),
            *("--config.steps=1", "--config.solver.name=adam"),
            f"--workdir={tmp_path / 'run'}",
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    error_lines = [s for s in done.stderr.splitlines() if s.startswith("launch.py: ")]
    assert len(error_lines) == 1 and "memory" in error_lines[0]


@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_changes_of_the_system_clock_do_no_harm(tmp_path, whole, monkeypatch, jump):
    """Durations are measured by a monotonic clock."""
    real, call = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: real() + jump * (next(call) % 3))
    assert run_experiment(four(), tmp_path) == "done"
    assert metric_rows(tmp_path) == metric_rows(whole)
    timings = read_manifest(tmp_path)["timings"]
    assert all(0 <= seconds < 1e6 for seconds in timings.values())


def test_another_error_of_the_device_is_not_taken_for_lack_of_memory(
    tmp_path, monkeypatch
):
    def broken(self, *args, **options):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")
        yield

    monkeypatch.setattr(nst_jax.Ensemble, "optimise", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        run_experiment(four(), tmp_path)
    assert read_manifest(tmp_path)["status"] == "failed"
