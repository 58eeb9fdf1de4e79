"""Runs an experiment: python launch.py --config=configs/NAME.py[:arg] [--workdir=DIR].

Or says what would run (--dry_run); runs a share of it (--shard=3/16) and joins shares
(--merge=DIR,DIR); is one process of a cluster (--distributed); or looks at a run that
is there (--report=DIR, --tensorboard=DIR). All of it can be imported from `nst_jax`.
Exit status: 0 done, 2 the request is wrong, 130 or 143 interrupted with a checkpoint in
place (the same command goes on), 1 otherwise, such as for no member with a usable
result.
"""

import datetime
import logging as std_logging
import math
import os
import pathlib
import shlex
import signal
import sys
import time

# The imports below take seconds; before main there is no run to stop in order. At once,
# for an exception in the middle of a compiled module's import is an abort.
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: os._exit(128 + number))

import jax
from absl import app, flags, logging
from ml_collections import config_flags

import nst_jax
from nst_jax.config.flags import parse_flags
from nst_jax.core.errors import OutOfMemory
from nst_jax.ensemble.memory import out_of_memory
from nst_jax.launch.cluster import Cluster, execute_share
from nst_jax.launch.compilation_cache import enable_compilation_cache
from nst_jax.launch.devices import check_devices
from nst_jax.launch.dry_run import forecast, format_forecast
from nst_jax.launch.shards import merge, share
from nst_jax.report import write_report, write_tensorboard
from nst_jax.workdir.schema import read_manifest
from nst_jax.workdir.writer import Records

try:
    _CONFIG = config_flags.DEFINE_config_file(
        "config", None, "The experiment to run; default is configs/transfer.py."
    )
except flags.Error as error:  # It reads --flagfile at once.
    print(f"launch.py: {error}", file=sys.stderr)
    sys.exit(2)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where results go; default is a new folder under runs/."
)
_MEMBERS = flags.DEFINE_list(
    "members", None, "Numbers of the members to compute, such as 0,5; default is all."
)
_SHARD = flags.DEFINE_string(
    "shard", None, "K/N, such as 3/16: the K-th of N shares of the members, one a job."
)
_MERGE = flags.DEFINE_list(
    "merge", None, "Run directories of shares to join into --workdir; nothing is run."
)
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "One process of many, as Slurm, Kubernetes or a TPU says."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of process 0, where --distributed cannot find it."
)
_PROCESSES = flags.DEFINE_integer(
    "processes", None, "Number of processes in the cluster."
)
_PROCESS = flags.DEFINE_integer("process", None, "Number of this process, from 0.")
_PATIENCE = flags.DEFINE_float(
    "patience", 60.0, "Seconds without a sign of life until a process is lost."
)
_GATHERING = flags.DEFINE_float(
    "gathering", 300.0, "Seconds in which all processes must have come."
)
_DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Say what will run, how long and in how much memory, and stop."
)
_REPORT = flags.DEFINE_string(
    "report", None, "A run directory to write the report of once more; nothing is run."
)
_TENSORBOARD = flags.DEFINE_string(
    "tensorboard", None, "A run directory to write for TensorBoard; nothing is run."
)
#: Seconds within which signals are one request: those who stop a group of processes
#: send theirs beside that of its first.
_ONE_REQUEST = 1.0


def _new_workdir() -> pathlib.Path:
    filename = config_flags.get_config_filename(flags.FLAGS["config"])
    config = pathlib.Path(filename.split(":")[0]).stem
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    return pathlib.Path("runs") / f"{config}-{now}"


def _check_flags() -> None:
    """Raises RequestError for flags of which one would be ignored."""
    given = {
        name
        for name in flags.FLAGS
        if flags.FLAGS[name].present and flags.FLAGS[name].value is not False
    }
    for name in ("workdir", "report", "tensorboard"):
        if flags.FLAGS[name].value == "":
            raise nst_jax.RequestError(f"{name} is empty, wanted a folder")
    shared = {"coordinator", "processes", "distributed"} & given
    lone = sorted({"process", "patience", "gathering"} & given)
    if shared or lone:
        given.add("distributed")
    for names in (
        ("report", "tensorboard", "merge", "distributed", "dry_run"),
        ("report", "tensorboard", "merge", "distributed", "members", "shard"),
    ):
        both = [f"--{name}" for name in names if name in given]
        if len(both) > 1 and both != ["--report", "--tensorboard"]:
            raise nst_jax.RequestError(f"{' and '.join(both)}: give one of them")
    if lone and not shared:
        raise nst_jax.RequestError(
            f"{lone[0]} is of processes that share a run: give --distributed, or "
            "--coordinator and --processes, too"
        )
    if "merge" in given and not (_MERGE.value and all(_MERGE.value)):
        named = repr(",".join(_MERGE.value)) if any(_MERGE.value) else "none"
        raise nst_jax.RequestError(f"merge must name run directories, got {named}")


def _say(text: str) -> None:
    """Prints; where nobody listens any more, a run is done none the less."""
    try:
        print(text, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _to_go_on(workdir: str | pathlib.Path) -> str:
    return f"to go on, give the same command with --workdir={workdir}"


def _failed(reason: str, workdir: str | pathlib.Path | None) -> int:
    """Says why, and what to do where a run was under way; the exit status."""
    if workdir is not None and (pathlib.Path(workdir) / "run.json").exists():
        reason += f"; what is finished is kept, and {_to_go_on(workdir)}"
    print(f"launch.py: {reason}", file=sys.stderr)
    return 1


def _ended(status: str, workdir: str | pathlib.Path) -> int:
    """Prints how a run ended and how many members diverged; returns the status."""
    members = read_manifest(pathlib.Path(workdir))["members"]
    diverged = sum(member["status"] == "diverged" for member in members)
    remark = f" ({diverged} of {len(members)} members diverged)" if diverged else ""
    _say(f"{status}: {workdir}{remark}")
    if status != "failed":
        return 0
    reason = f"no member of {workdir} has a usable result; its run.json says why"
    print(f"launch.py: {reason}", file=sys.stderr)
    return 1


def _only() -> list[int] | None:
    """The members that are asked for; None for all."""
    members, shard = _MEMBERS.value, _SHARD.value
    if shard is not None:
        return share(shard, _CONFIG.value.members())
    numbers = (member.isdecimal() and len(member) < 10 for member in members or ())
    if members is not None and not (members and all(numbers)):
        raise nst_jax.RequestError(
            f"members must be numbers such as 0,5, got {','.join(members)!r}"
        )
    return members if members is None else list(map(int, members))


def _merged(plan: nst_jax.Plan, workdir: str | pathlib.Path) -> int:
    missing = merge(plan, _MERGE.value, workdir, command=shlex.join(sys.argv))
    if not missing:
        return _ended(read_manifest(pathlib.Path(workdir))["status"], workdir)
    _say(f"members that are in none of them: {', '.join(map(str, missing))}")
    _say(f"to compute these, leave out --merge and give --workdir={workdir}")
    return 1


def _shared(received: list[int]) -> int:
    """This process's part of a run by many."""
    if not _WORKDIR.value:
        raise nst_jax.RequestError("workdir must be given to processes that share it")
    cluster = Cluster(
        *(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value),
        *(_PATIENCE.value, _GATHERING.value),
    )
    status, missing = execute_share(
        _CONFIG.value,
        _WORKDIR.value,
        cluster,
        command=shlex.join(sys.argv),
        stop=lambda: bool(received),
    )
    _say(f"{status}: this process's share of {_WORKDIR.value}")
    if missing:
        _say(f"members not finished: {', '.join(map(str, missing))}")
        _say("the same command, of as many processes, goes on with them")
    if received and (missing or status == "interrupted"):
        return 128 + received[0]
    return 1 if missing or status == "failed" else 0


def main(_: list[str]) -> int:
    received: list[int] = []
    first = math.inf

    def interrupt(number: int, _: object) -> None:
        nonlocal first
        now = time.monotonic()
        if now - first > _ONE_REQUEST:
            os._exit(1)  # Asked twice: at once, without a checkpoint.
        if not received:
            first = now
            logging.warning("finishing this chunk of steps, then stopping")
        received.append(number)

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    enable_compilation_cache()
    running = None
    try:
        _check_flags()
        looks = [
            (_REPORT.value, write_report, "report.html"),
            (_TENSORBOARD.value, write_tensorboard, "tensorboard"),
        ]
        wanted = [look for look in looks if look[0] is not None]
        for ran, write, name in wanted:
            write(ran)
            _say(f"done: {pathlib.Path(ran) / name}")
        if wanted:
            return 0
        if _DISTRIBUTED.value or _PROCESSES.value is not None or _COORDINATOR.value:
            return _shared(received)
        check_devices()
        plan = nst_jax.build(_CONFIG.value, only=_only())
        if _DRY_RUN.value:
            if _WORKDIR.value:
                Records(_WORKDIR.value, plan)  # Or the run itself would be refused.
            _say(format_forecast(forecast(plan)))
            return 0
        workdir = _WORKDIR.value or _new_workdir()
        if _MERGE.value is not None:
            return _merged(plan, workdir)
        running = workdir
        status = nst_jax.execute(
            plan, workdir, command=shlex.join(sys.argv), stop=lambda: bool(received)
        )
    except nst_jax.RequestError as error:
        print(f"launch.py: {error}", file=sys.stderr)
        return 2
    except OutOfMemory as error:
        return _failed(str(error), running)
    except OSError as error:
        reason = error.strerror or str(error)
        return _failed(": ".join(filter(None, (error.filename, reason))), running)
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return _failed("it does not fit into memory: lower size, or set tile", running)
    ended = _ended(status, workdir)
    if status == "interrupted":
        _say(_to_go_on(workdir))
        os._exit(128 + received[0])  # An interpreter would wait for what is compiled.
    return ended


if __name__ == "__main__":
    jax.config.config_with_absl()
    std_logging.getLogger("jax").setLevel(std_logging.WARNING)
    logging.set_verbosity(logging.INFO)
    app.run(main, flags_parser=parse_flags)
