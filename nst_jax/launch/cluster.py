"""One run by many processes, on the machines of a cluster, in one shared folder.

Each process computes its share of the members with the devices that are its own, into a
run directory of its own under `processes/`, and process 0 joins them. Nobody computes
with others, and all that they have to tell each other is in the folder: so none is lost
with another, and the same command goes on with what is missing.
"""

import contextlib
import errno
import hashlib
import math
import os
import pathlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
from absl import logging

from nst_jax.config.experiment import Experiment, Member
from nst_jax.config.jsonable import to_jsonable
from nst_jax.core.errors import RequestError
from nst_jax.launch.devices import check_devices
from nst_jax.launch.runner import execute
from nst_jax.launch.shards import has_other_steps, merge, share
from nst_jax.plan.build import build
from nst_jax.workdir.lock import check_writable
from nst_jax.workdir.schema import read_manifest
from nst_jax.workdir.strict_json import to_json
from nst_jax.workdir.writer import Records

_SECONDS_BETWEEN_BEATS = 1.0


class Cluster(NamedTuple):
    """Where the others are; None for what Slurm, Kubernetes, MPI or Cloud TPU tell.

    Attributes:
      coordinator: HOST:PORT of process 0.
      processes: how many there are.
      process: the number of this one, from 0.
      patience: seconds without a sign of life after which a process is lost; 3 or
        more, for there is one every second.
      gathering: seconds in which all processes must have come; 1 or more.
    """

    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None
    patience: float = 60.0
    gathering: float = 300.0


def execute_share(
    experiment: Experiment,
    workdir: str | pathlib.Path,
    cluster: Cluster,
    *,
    command: str = "",
    stop: Callable[[], bool] = lambda: False,
) -> tuple[str, list[int]]:
    """Runs this process's share of an experiment; process 0 waits, and joins them all.

    Where the others have not come within `cluster.gathering` seconds the process ends,
    with a sentence and status 1: JAX's client cannot be told to stop.

    Args:
      experiment: the same in all processes.
      workdir: a folder that all of them see.
      cluster: who they are.
      command: how the run was asked for, for the record.
      stop: as for `execute`.

    Returns:
      The status of this process's share, and at process 0 the members that nobody has
      finished. "failed", at process 0 alone: no member of the run has a usable result.

    Raises:
      RequestError: as of `build` and `execute`, or no cluster is found, or there are
        fewer members than processes.
    """
    _check(cluster)
    workdir = pathlib.Path(workdir)
    check_writable(workdir)
    members = experiment.members()
    _check_enough(members, cluster.processes or 1)
    request = hashlib.sha256(to_json(to_jsonable(experiment)).encode()).hexdigest()
    with _joined(workdir, cluster, request) as (process, processes):
        _check_enough(members, processes)
        parts = [_part(workdir, number, processes) for number in range(processes)]
        own = share(f"{process + 1}/{processes}", members)
        # If the folder holds another run, this is told at once.
        there = Records(workdir, build(experiment)).finished(own)
        plan = build(experiment, only=own)

        def execute_own() -> str:
            if there:
                return "done"
            return execute(plan, parts[process], command=command, stop=stop)

        if process:
            status = execute_own()
            # Whether the run has a usable result is for process 0 to say.
            return "done" if status == "failed" else status, []
        try:
            status = execute_own()
        finally:  # Whatever becomes of this share, the others are kept.
            for lost in wait_for(parts[1:], cluster.patience, stop):
                logging.warning(
                    "process %d was lost: no sign of life for %g s",
                    *(lost + 1, cluster.patience),
                )
            begun = sorted(workdir.glob("processes/*of*/run.json"))
            # Parts of an earlier call may be of fewer steps, or of other processes.
            folders = [
                path.parent
                for path in begun
                if not has_other_steps(path.parent, experiment)
            ]
            missing = merge(build(experiment), folders, workdir, command=command)
        whole = read_manifest(workdir)["status"]
        if "failed" in (whole, status):
            status = whole
        return status, missing


def _check(cluster: Cluster) -> None:
    """Raises RequestError for what cannot be, before anybody waits for it."""
    coordinator, processes, process, patience, gathering = cluster
    if not 1 <= gathering < 1e6:
        raise RequestError(f"gathering must be from 1 to 1e6, got {gathering}")
    if not patience >= 3:
        raise RequestError(f"patience must be at least 3, got {patience}")
    if coordinator is not None:
        host, _, port = coordinator.rpartition(":")
        if not (host and port.isdecimal() and 1 <= int(port[:9]) <= 65535):
            raise RequestError(
                "coordinator must be HOST:PORT with a port from 1 to 65535, "
                f"got {coordinator!r}"
            )
        if process == 0 and _in_use(int(port)):
            raise RequestError(
                f"coordinator: port {port} of this machine is in use already, got "
                f"{coordinator!r}"
            )
    if processes is not None and processes < 1:
        raise RequestError(f"processes must be at least 1, got {processes}")
    if process is not None and not 0 <= process < (processes or math.inf):
        raise RequestError(
            f"process must be from 0 to below the number of processes, got {process}"
        )


def _check_enough(members: Sequence[Member], processes: int) -> None:
    """Raises RequestError where a process would have no member."""
    if processes > len(members):
        raise RequestError(
            f"there are {processes} processes for {len(members)} members: take "
            f"{len(members)} at most"
        )


def _in_use(port: int) -> bool:
    """Whether somebody listens there; JAX's server would share it with them."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Signals end the process: who waits in JAX's client runs no handler of Python."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Ends the process with a sentence, before JAX's client does with a page of C++."""

    def give_up() -> None:
        logging.error(
            "distributed: not all processes of the cluster came within %g s", seconds
        )
        os._exit(1)

    patience = threading.Timer(seconds, give_up)
    patience.daemon = True
    patience.start()
    try:
        yield
    finally:
        patience.cancel()


@contextlib.contextmanager
def _joined(
    workdir: pathlib.Path, cluster: Cluster, request: str
) -> Iterator[tuple[int, int]]:
    """(number of this process, how many there are), and a sign of life while it lasts.

    `request` is what all of them are to have in common: where one has another, none of
    them begins.

    JAX must not have computed anything before. It is left with its own devices and
    those numbers: its coordination service, which would end every process when one is
    lost, is shut down. That waits for all, so from then on each of them has given its
    first sign of life.
    """
    # It would take SIGTERM for itself, and give it back to nobody.
    jax.config.update("jax_enable_preemption_service", False)
    where = cluster.coordinator, cluster.processes, cluster.process
    logging.info("waiting for all processes of the cluster")
    try:
        with _ended_by_signals(), _within(cluster.gathering):
            jax.distributed.initialize(
                *where, initialization_timeout=int(cluster.gathering) + 60
            )
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise RequestError(
            f"distributed: no cluster is found ({reason}); give coordinator, processes "
            "and process where neither Slurm, Kubernetes, MPI nor Cloud TPU tells them"
        ) from None
    check_devices()
    process, processes = jax.process_index(), jax.process_count()
    parts = [_part(workdir, number, processes) for number in range(processes)]
    with beating(parts[process]):
        # It stays: whoever is slow to read the others' may do so.
        (parts[process] / "request").write_text(request)
        jax.distributed.shutdown()
        for number, part in enumerate(parts):
            # On a file system that is slow to show it, merging will tell.
            with contextlib.suppress(FileNotFoundError):
                if (part / "request").read_text() != request:
                    raise RequestError(
                        f"process {number} was given another request than process "
                        f"{process}: give all of them the same command"
                    )
        yield process, processes


def _part(workdir: pathlib.Path, process: int, processes: int) -> pathlib.Path:
    """The run directory of one process."""
    return workdir / "processes" / f"{process:03d}of{processes:03d}"


@contextlib.contextmanager
def beating(folder: pathlib.Path) -> Iterator[None]:
    """While it lasts, a count goes on in the folder's file `alive`."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    alive, ended = folder / "alive", threading.Event()
    alive.write_text("0")

    def beat() -> None:
        count = 0
        while not ended.wait(_SECONDS_BETWEEN_BEATS):
            count += 1
            # Where it cannot be written, the process is not heard, and counts as lost.
            with contextlib.suppress(OSError):
                alive.write_text(str(count))

    heart = threading.Thread(target=beat, daemon=True)
    heart.start()
    try:
        yield
    finally:
        ended.set()
        heart.join()
        alive.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # The first that holds something stays.
            for path in made or [folder]:
                path.rmdir()
            folder.parent.rmdir()  # Another process may have made it.


def wait_for(
    folders: Sequence[pathlib.Path],
    patience: float,
    stop: Callable[[], bool] = lambda: False,
) -> list[int]:
    """Waits until nobody beats in any of the folders; the places of those lost.

    Seconds are counted here, so that clocks of machines need not agree.

    Args:
      folders: of processes that have begun to.
      patience: seconds without a beat after which one is lost.
      stop: asked all the while; if true, it is waited no longer.
    """
    heard = {i: ("", time.monotonic()) for i in range(len(folders))}
    lost = []
    while heard and not stop():
        for i, (last, since) in list(heard.items()):
            beat = _beat(folders[i], last)
            if beat is None:
                del heard[i]
            elif beat != last:
                heard[i] = beat, time.monotonic()
            elif time.monotonic() - since > patience:
                del heard[i]
                lost.append(i)
        time.sleep(0.1)
    return sorted(lost)


def _beat(folder: pathlib.Path, last: str) -> str | None:
    """The newest; the last one if it cannot be read, None if there is none any more."""
    try:
        return (folder / "alive").read_text()
    except FileNotFoundError:
        return None
    except OSError:
        return last
