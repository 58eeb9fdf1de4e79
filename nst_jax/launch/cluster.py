"""One run computed by many processes that share a folder.

Each process computes its share of the members on its own devices, in a run directory of
its own under `processes/`; process 0 merges them. Processes communicate through files
only, so a lost process does not end the others, and the same command resumes the run.
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

from nst_jax.config.experiment import Experiment
from nst_jax.config.jsonable import to_jsonable
from nst_jax.core.errors import RequestError
from nst_jax.launch.devices import check_devices
from nst_jax.launch.runner import execute
from nst_jax.launch.shards import has_other_steps, merge, shard_members
from nst_jax.plan.build import build
from nst_jax.workdir.lock import check_writable
from nst_jax.workdir.schema import encode, read_manifest
from nst_jax.workdir.writer import RunWriter

_HEARTBEAT_SECONDS = 1.0


class Cluster(NamedTuple):
    """The processes of a cluster; None where Slurm, Kubernetes, MPI or Cloud TPU know.

    Attributes:
      coordinator: HOST:PORT of process 0.
      processes: number of processes.
      process: index of this process.
      patience: seconds without a heartbeat after which a process is lost; 3 or more.
      gathering: seconds within which all processes must start; 1 or more.
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
    """Run this process's share of an experiment; process 0 waits for all and merges.

    If the other processes do not start in time, this process exits with status 1,
    because JAX's client cannot be stopped otherwise.

    Args:
      experiment: the same in all processes.
      workdir: a folder that all processes share.
      cluster: the processes.
      command: the command of the run, for run.json.
      stop: as in `execute`.

    Returns:
      The status of this process's share, and in process 0 the unfinished members. Only
      process 0 returns "failed": no member of the run has a usable result.

    Raises:
      RequestError: as `build` and `execute`; or there is no cluster, or it has more
        processes than members.
    """
    _check_cluster(cluster)
    workdir = pathlib.Path(workdir)
    check_writable(workdir)
    members = experiment.members()
    _check_count(cluster.processes or 1, len(members))
    request = hashlib.sha256(encode(to_jsonable(experiment)).encode()).hexdigest()
    with _join(workdir, cluster, request) as (process, processes):
        _check_count(processes, len(members))
        parts = [_part(workdir, number, processes) for number in range(processes)]
        numbers = shard_members(f"{process + 1}/{processes}", members)
        # This also checks that the folder does not hold another run.
        is_finished = RunWriter(workdir, build(experiment)).is_finished(numbers)
        plan = build(experiment, only=numbers)

        def execute_part() -> str:
            if is_finished:
                return "done"
            return execute(plan, parts[process], command=command, stop=stop)

        if process:
            status = execute_part()
            # Process 0 decides whether the run has failed.
            return "done" if status == "failed" else status, []
        try:
            status = execute_part()
        finally:  # The shares of other processes are merged whatever happens here.
            for lost in wait_for(parts[1:], cluster.patience, stop):
                logging.warning(
                    "process %d was lost: no sign of life for %g s",
                    *(lost + 1, cluster.patience),
                )
            # Parts of an earlier call may have other steps or other processes.
            begun = sorted(workdir.glob("processes/*of*/run.json"))
            folders = [
                path.parent
                for path in begun
                if not has_other_steps(path.parent, experiment)
            ]
            missing = merge(build(experiment), folders, workdir, command=command)
        merged_status = read_manifest(workdir).status
        return merged_status if "failed" in (merged_status, status) else status, missing


def _check_cluster(cluster: Cluster) -> None:
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
        if process == 0 and _is_in_use(int(port)):
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


def _check_count(processes: int, members: int) -> None:
    if processes > members:
        raise RequestError(
            f"there are {processes} processes for {members} members: take {members} at "
            "most"
        )


def _is_in_use(port: int) -> bool:
    """Return whether a server uses a port; JAX's server would share it."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


@contextlib.contextmanager
def _default_signal_handlers() -> Iterator[None]:
    """Let signals end the process: JAX's client blocks Python's handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in handlers:
            signal.signal(number, signal.SIG_DFL)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _exit_after(seconds: float) -> Iterator[None]:
    """Exit with a message after a time, before JAX's client aborts."""

    def give_up() -> None:
        logging.error(
            "distributed: not all processes of the cluster came within %g s", seconds
        )
        os._exit(1)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def _join(
    workdir: pathlib.Path, cluster: Cluster, request: str
) -> Iterator[tuple[int, int]]:
    """Join the cluster; yield this process's index and the number of processes.

    Every process writes a heartbeat while the context lasts. JAX must not have computed
    anything before. Its coordination service would end all processes when one is lost,
    so it is shut down. The shutdown waits for all, so each has written a heartbeat.

    Raises:
      RequestError: there is no cluster, or `request` differs between processes.
    """
    # The service would take SIGTERM for itself.
    jax.config.update("jax_enable_preemption_service", False)
    logging.info("waiting for all processes of the cluster")
    try:
        with _default_signal_handlers(), _exit_after(cluster.gathering):
            jax.distributed.initialize(
                *cluster[:3], initialization_timeout=int(cluster.gathering) + 60
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
    with heartbeat(parts[process]):
        # The file stays for processes that are slow to read it.
        (parts[process] / "request").write_text(request)
        jax.distributed.shutdown()
        for number, part in enumerate(parts):
            # If a slow file system does not show the file yet, `merge` checks.
            with contextlib.suppress(FileNotFoundError):
                if (part / "request").read_text() != request:
                    raise RequestError(
                        f"process {number} was given another request than process "
                        f"{process}: give all of them the same command"
                    )
        yield process, processes


def _part(workdir: pathlib.Path, process: int, processes: int) -> pathlib.Path:
    """Return the run directory of one process."""
    return workdir / "processes" / f"{process:03d}of{processes:03d}"


@contextlib.contextmanager
def heartbeat(folder: pathlib.Path) -> Iterator[None]:
    """Increment a count in the folder's file `alive` while the context lasts."""
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    alive, ended = folder / "alive", threading.Event()
    alive.write_text("0")

    def beat() -> None:
        count = 0
        while not ended.wait(_HEARTBEAT_SECONDS):
            count += 1
            # A process that cannot write counts as lost.
            with contextlib.suppress(OSError):
                alive.write_text(str(count))

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        alive.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # A folder that is not empty stays.
            for path in created or [folder]:
                path.rmdir()
            folder.parent.rmdir()  # Another process may have created it.


def wait_for(
    folders: Sequence[pathlib.Path],
    patience: float,
    stop: Callable[[], bool] = lambda: False,
) -> list[int]:
    """Wait until no folder has a heartbeat; return the indices of lost processes.

    Time is measured here, so clocks of machines may differ.

    Args:
      folders: folders with a `heartbeat`.
      patience: seconds without a new count after which a process is lost.
      stop: polled; if true, the wait ends.
    """
    heard = {i: ("", time.monotonic()) for i in range(len(folders))}
    lost = []
    while heard and not stop():
        for i, (last, since) in list(heard.items()):
            count = _read_count(folders[i], last)
            if count is None:
                del heard[i]
            elif count != last:
                heard[i] = count, time.monotonic()
            elif time.monotonic() - since > patience:
                del heard[i]
                lost.append(i)
        time.sleep(0.1)
    return sorted(lost)


def _read_count(folder: pathlib.Path, last: str) -> str | None:
    """Return the count of a heartbeat, `last` if unreadable, None if it has ended."""
    try:
        return (folder / "alive").read_text()
    except FileNotFoundError:
        return None
    except OSError:
        return last
