"""Computing a group of members in a subprocess."""

import contextlib
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

import filelock
from absl import logging

from nst_jax.core.errors import RequestError
from nst_jax.launch.shards import add_costs, import_members
from nst_jax.workdir.manifest import difference
from nst_jax.workdir.schema import Manifest, read_manifest
from nst_jax.workdir.writer import RunWriter

_POLL_SECONDS = 0.2


def check_command(command: str) -> None:
    """Raise RequestError unless a command runs a script that exists."""
    parts = shlex.split(command)
    if parts[:2] != ["-m", "nst_jax"] and not (parts and os.path.isfile(parts[0])):
        raise RequestError(
            "ensemble.process='subprocess' runs the launch script again, but this run "
            f"was not started by it (command {command!r}): use nst-jax or launch.py, "
            "or ensemble.process='inline'"
        )


def compute_in_subprocess(
    writer: RunWriter,
    group: int,
    members: Sequence[int],
    stop: Callable[[], bool],
) -> Manifest | None:
    """Compute a group in a subprocess, and import its members.

    Returns:
      The run.json of the subprocess; None if it was stopped.

    Raises:
      ChildProcessError: it failed, or computed another request.
    """
    workdir = writer.workdir / "processes" / f"{group:03d}"
    command = writer.manifest.command
    if run_in_subprocess(command, workdir, members, stop):
        manifest = _import_results(writer, workdir)
        if not writer.is_finished(members):
            raise ChildProcessError(f"results in {workdir} are incomplete")
        add_costs(writer, manifest, {*members})
        shutil.rmtree(workdir)
        return manifest
    with contextlib.suppress(OSError, ValueError):  # Its run may not have begun.
        _import_results(writer, workdir)
    return None


def _import_results(writer: RunWriter, workdir: pathlib.Path) -> Manifest:
    manifest = read_manifest(workdir)
    if reason := difference(manifest.config, writer.manifest.config):
        raise ChildProcessError(
            f"the subprocess computed another request ({reason}): a config must give "
            "the same arrays in every process"
        )
    import_members(writer, workdir, manifest)
    return manifest


def run_in_subprocess(
    command: str,
    workdir: pathlib.Path,
    members: Sequence[int],
    stop: Callable[[], bool],
) -> bool:
    """Run a command again for some members, in a run directory of its own.

    The subprocess does not use the compilation cache. A stopped one resumes when the
    same call is made again.

    Args:
      command: a Python script and its flags.
      workdir: the run directory of the subprocess; its output goes to `log.txt` there.
      members: numbers of the members.
      stop: polled; if true, the subprocess is asked to stop.

    Returns:
      Whether it finished.

    Raises:
      ChildProcessError: it failed.
    """
    numbers = ",".join(map(str, members))
    argv = [sys.executable, *shlex.split(command)]
    argv += [f"--workdir={workdir}", f"--members={numbers}"]
    workdir.mkdir(parents=True, exist_ok=True)
    log = workdir / "log.txt"
    if not _wait_for_lock(workdir, stop):
        return False
    with log.open("ab") as file:
        process = subprocess.Popen(
            argv,
            env=os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,  # Ctrl-C on the terminal reaches this process only.
        )
        interrupted = False
        try:
            while process.poll() is None:
                if stop() and not interrupted:
                    process.send_signal(signal.SIGINT)
                    interrupted = True
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_SECONDS)
        finally:
            process.kill()
    if process.returncode == 0:
        return True
    # A scheduler may have signalled all processes of the job.
    if process.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM):
        return False
    if _all_members_finished(workdir):
        return True  # Status 1 says that all members have diverged.
    output = log.read_text(errors="replace").strip().splitlines() or ["no output"]
    reason, *_ = output[-1].partition("; finished members are kept")
    raise ChildProcessError(
        f"the subprocess for members {numbers} ended with status "
        f"{process.returncode} ({reason})"
    )


def _all_members_finished(workdir: pathlib.Path) -> bool:
    try:
        return all(entry.is_finished for entry in read_manifest(workdir).members)
    except (OSError, ValueError):
        return False


def _wait_for_lock(workdir: pathlib.Path, stop: Callable[[], bool]) -> bool:
    """Wait for a subprocess of an earlier call that was killed; False if stopped."""
    lock = filelock.FileLock(workdir / ".lock")
    logged = False
    while not stop():
        try:
            with lock.acquire(timeout=_POLL_SECONDS):
                return True
        except filelock.Timeout:
            if not logged:
                logging.info("waiting for another process, which holds %s", workdir)
            logged = True
        except NotImplementedError:  # A file system without locks.
            return True
    return False
