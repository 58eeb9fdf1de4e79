"""A part of a run in a process of its own."""

import os
import pathlib
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import filelock
from absl import logging

from nst_jax.core.errors import RequestError
from nst_jax.workdir.manifest import difference, roundtrip
from nst_jax.workdir.schema import FINISHED, read_manifest

_SECONDS_BETWEEN_LOOKS = 0.2


def run_in_subprocess(
    command: str,
    workdir: pathlib.Path,
    members: Sequence[int],
    stop: Callable[[], bool],
) -> bool:
    """Runs the same command again for some of its members, as if nothing had been run.

    No compiled program is taken from a cache. The other process leaves a run directory
    of its own, from which the same call goes on if it was stopped.

    Args:
      command: how this run was asked for, a Python script and its flags.
      workdir: for the other process.
      members: their numbers.
      stop: asked all the while; if true, the other process is asked to stop.

    Returns:
      Whether it came to its end.

    Raises:
      ChildProcessError: it failed; what it said on the way is in `log.txt` beside its
        results.
    """
    numbers = ",".join(map(str, members))
    argv = [sys.executable, *shlex.split(command)]
    argv += [f"--workdir={workdir}", f"--members={numbers}"]
    workdir.mkdir(parents=True, exist_ok=True)
    log = workdir / "log.txt"
    if not _left(workdir, stop):
        return False
    with log.open("ab") as file:
        # A session of its own: Ctrl-C on the terminal comes through us alone.
        process = subprocess.Popen(
            argv,
            env=os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        asked = False
        try:
            while process.poll() is None:
                if stop() and not asked:
                    process.send_signal(signal.SIGINT)
                    asked = True
                try:
                    process.wait(_SECONDS_BETWEEN_LOOKS)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            process.kill()
    # Who stops all of a job's processes stops that one too.
    stopped = 128 + signal.SIGINT, 128 + signal.SIGTERM
    if process.returncode in (0, *stopped):
        return process.returncode == 0
    if _is_finished(workdir):
        return True  # All of its members have diverged, which is status 1.
    said = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
    reason, *_ = said[-1].partition("; finished members are kept")  # It is not there.
    raise ChildProcessError(
        f"the process of its own for members {numbers} ended with status "
        f"{process.returncode} ({reason})"
    )


def _is_finished(workdir: pathlib.Path) -> bool:
    """Whether all members of a run directory have ended."""
    try:
        members = read_manifest(workdir)["members"]
    except (OSError, ValueError):
        return False
    return all(entry["status"] in FINISHED for entry in members)


def _left(workdir: pathlib.Path, stop: Callable[[], bool]) -> bool:
    """Waits for one that outlived a call that was killed; False if stopped before."""
    lock = filelock.FileLock(workdir / ".lock")
    said = False
    while not stop():
        try:
            with lock.acquire(timeout=_SECONDS_BETWEEN_LOOKS):
                return True
        except filelock.Timeout:
            if not said:
                logging.info("waiting for another process, which has %s", workdir)
            said = True
        except NotImplementedError:  # A file system without locks.
            return True
    return False


def check_command(command: str) -> None:
    """Raises RequestError unless a command is there that another process can run."""
    parts = shlex.split(command)
    if parts[:2] != ["-m", "nst_jax"] and not (parts and os.path.isfile(parts[0])):
        raise RequestError(
            "ensemble.process='subprocess' runs the launch script again, but this run "
            f"was not started by it (command {command!r}): use nst-jax or launch.py, or "
            "ensemble.process='inline'"
        )


def check_same_request(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """Raise ChildProcessError if run.json of another process is of another request."""
    if reason := difference(theirs["config"], roundtrip(ours["config"])):
        raise ChildProcessError(
            f"the process of its own computed another request ({reason}): a config "
            "must give the same arrays in every process"
        )
