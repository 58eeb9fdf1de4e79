"""Run an experiment: nst-jax [--config=configs/NAME.py[:ARG]] [--workdir=DIR]

Any field of the config is a flag, such as --config.steps=300. Without flags, the
command runs configs/transfer.py into a new folder under runs/. Equal commands are
nst-jax, python -m nst_jax and, in a clone, python launch.py.

Exit status: 0 done; 2 the request is wrong; 130 or 143 interrupted, and the same
command resumes; 1 any other failure, for example no member with a usable result.
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

import jax
from absl import app, flags, logging

from nst_jax.config.experiment import Experiment
from nst_jax.config.flags import DEFAULT_CONFIG, parse_flags, program_name
from nst_jax.core.errors import OutOfMemoryError, RequestError
from nst_jax.ensemble.memory import out_of_memory
from nst_jax.launch.cluster import Cluster, execute_share
from nst_jax.launch.compilation_cache import enable_compilation_cache
from nst_jax.launch.devices import check_devices
from nst_jax.launch.dry_run import forecast, format_forecast
from nst_jax.launch.runner import execute
from nst_jax.launch.shards import merge, shard_members
from nst_jax.plan.build import Plan, build
from nst_jax.report import write_report, write_tensorboard
from nst_jax.workdir.schema import read_manifest
from nst_jax.workdir.writer import RunWriter

FLAGS = flags.FLAGS
#: Signals within so many seconds are one request: a process group often gets one
#: signal for the group and one for its leader.
_SIGNAL_WINDOW_S = 1.0


def _exit_at_once_on_signals() -> None:
    """Exit without a traceback on Ctrl-C or SIGTERM, until a run is under way.

    An exception in the middle of a compiled module's import would abort the process.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os._exit(128 + number))


def main() -> None:
    """Run the command line of `sys.argv` and exit with its status."""
    _exit_at_once_on_signals()
    sys.modules["__main__"].__doc__ = __doc__  # What --help prints first.
    _define_flags()
    jax.config.config_with_absl()
    std_logging.getLogger("jax").setLevel(std_logging.WARNING)
    logging.set_verbosity(logging.INFO)
    app.run(_run, flags_parser=parse_flags)


def _define_flags() -> None:
    flags.DEFINE_string("config", DEFAULT_CONFIG, "Config file of the experiment.")
    flags.DEFINE_string(
        "workdir", None, "Folder for the results. Default: a new folder under runs/."
    )
    flags.DEFINE_list(
        "members", None, "Numbers of the members to run, such as 0,5. Default: all."
    )
    flags.DEFINE_string(
        "shard", None, "K/N, such as 3/16: run the K-th of N shares of the members."
    )
    flags.DEFINE_list(
        "merge",
        None,
        "Run directories of shards to join into --workdir, without a run.",
    )
    flags.DEFINE_bool(
        "distributed",
        False,
        "Join the cluster that Slurm, Kubernetes or a TPU defines.",
    )
    flags.DEFINE_string(
        "coordinator", None, "HOST:PORT of process 0, if --distributed cannot find it."
    )
    flags.DEFINE_integer("processes", None, "Number of processes in the cluster.")
    flags.DEFINE_integer("process", None, "Number of this process, from 0.")
    flags.DEFINE_float(
        "patience", 60.0, "Seconds without a heartbeat after which a process is lost."
    )
    flags.DEFINE_float(
        "gathering", 300.0, "Seconds to wait for all processes at the start."
    )
    flags.DEFINE_bool(
        "dry_run", False, "Print members, time and memory of the run, and stop."
    )
    flags.DEFINE_string(
        "report", None, "Run directory whose report is rewritten, without a run."
    )
    flags.DEFINE_string(
        "tensorboard", None, "Run directory to export to TensorBoard, without a run."
    )
    for flag in FLAGS.get_flags_for_module(__name__):  # --help lists these.
        FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def _run(experiment: Experiment) -> int:
    """Run the command and return its exit status."""
    stop = _StopRequest()
    enable_compilation_cache()
    workdir = FLAGS.workdir
    try:
        _check_flags()
        if FLAGS.report is not None or FLAGS.tensorboard is not None:
            return _write_views()
        if FLAGS.distributed or FLAGS.processes is not None or FLAGS.coordinator:
            return _run_in_cluster(experiment, stop)
        check_devices()
        plan = build(experiment, only=_selected_members(experiment))
        if FLAGS.dry_run:
            if workdir:
                RunWriter(workdir, plan)  # Raises what the run itself would raise.
            _say(format_forecast(forecast(plan)))
            return 0
        workdir = workdir or _new_workdir()
        if FLAGS.merge is not None:
            return _merge_shards(plan, workdir)
        status = execute(plan, workdir, command=_command(), stop=stop)
    except RequestError as error:
        _say_error(str(error))
        return 2
    except OutOfMemoryError as error:
        return _report_failure(str(error), workdir)
    except OSError as error:
        reason = error.strerror or str(error)
        reason = ": ".join(filter(None, (error.filename, reason)))
        return _report_failure(reason, workdir)
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return _report_failure("out of memory: lower size, or set tile", workdir)
    exit_status = _report_end(status, workdir)
    if status == "interrupted":
        _say(_how_to_resume(workdir))
        os._exit(128 + stop.signals[0])  # A normal exit would wait for compilations.
    return exit_status


class _StopRequest:
    """Signal handler that asks a run to stop; true once a signal has come.

    A second signal, outside the window of the first, exits at once without a
    checkpoint.
    """

    def __init__(self) -> None:
        self.signals: list[int] = []
        self._first_s = math.inf
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def __call__(self) -> bool:
        return bool(self.signals)

    def _receive(self, number: int, _: object) -> None:
        now = time.monotonic()
        if now - self._first_s > _SIGNAL_WINDOW_S:
            os._exit(1)
        if not self.signals:
            self._first_s = now
            logging.warning("finishing this chunk of steps, then stopping")
        self.signals.append(number)


def _check_flags() -> None:
    """Raise RequestError for flags that exclude each other."""
    present = {
        name for name in FLAGS if FLAGS[name].present and FLAGS[name].value is not False
    }
    for name in ("workdir", "report", "tensorboard"):
        if FLAGS[name].value == "":
            raise RequestError(f"{name} is empty, wanted a folder")
    cluster = {"coordinator", "processes", "distributed"} & present
    details = sorted({"process", "patience", "gathering"} & present)
    if cluster or details:
        present.add("distributed")
    for exclusive in (
        ("report", "tensorboard", "merge", "distributed", "dry_run"),
        ("report", "tensorboard", "merge", "distributed", "members", "shard"),
    ):
        chosen = [f"--{name}" for name in exclusive if name in present]
        if len(chosen) > 1 and chosen != ["--report", "--tensorboard"]:
            raise RequestError(f"{' and '.join(chosen)}: give one of them")
    if details and not cluster:
        raise RequestError(
            f"{details[0]} is for a cluster of processes: also give --distributed, or "
            "--coordinator and --processes"
        )
    if "merge" in present and not (FLAGS.merge and all(FLAGS.merge)):
        value = repr(",".join(FLAGS.merge)) if any(FLAGS.merge) else "none"
        raise RequestError(f"merge must name run directories, got {value}")


def _selected_members(experiment: Experiment) -> list[int] | None:
    """Return the member numbers of --members or --shard; None for all."""
    if FLAGS.shard is not None:
        return shard_members(FLAGS.shard, experiment.members())
    members = FLAGS.members
    if members is None:
        return None
    if not members or not all(m.isdecimal() and len(m) < 10 for m in members):
        raise RequestError(
            f"members must be numbers such as 0,5, got {','.join(members)!r}"
        )
    return list(map(int, members))


def _write_views() -> int:
    """Write the report and the TensorBoard export of existing run directories."""
    for workdir, write, name in (
        (FLAGS.report, write_report, "report.html"),
        (FLAGS.tensorboard, write_tensorboard, "tensorboard"),
    ):
        if workdir is not None:
            write(workdir)
            _say(f"done: {pathlib.Path(workdir) / name}")
    return 0


def _merge_shards(plan: Plan, workdir: str | pathlib.Path) -> int:
    missing = merge(plan, FLAGS.merge, workdir, command=_command())
    if not missing:
        return _report_end(read_manifest(pathlib.Path(workdir)).status, workdir)
    _say(f"members that no shard has: {', '.join(map(str, missing))}")
    _say(f"to compute them, leave out --merge and give --workdir={workdir}")
    return 1


def _run_in_cluster(experiment: Experiment, stop: _StopRequest) -> int:
    """Run this process's share of a run and return the exit status."""
    if not FLAGS.workdir:
        raise RequestError(
            "workdir must be given for a cluster: its processes share it"
        )
    cluster = Cluster(
        *(FLAGS.coordinator, FLAGS.processes, FLAGS.process),
        *(FLAGS.patience, FLAGS.gathering),
    )
    status, missing = execute_share(
        experiment, FLAGS.workdir, cluster, command=_command(), stop=stop
    )
    _say(f"{status}: this process's share of {FLAGS.workdir}")
    if missing:
        _say(f"members not finished: {', '.join(map(str, missing))}")
        _say("to resume, give the same command to as many processes")
    if stop() and (missing or status == "interrupted"):
        return 128 + stop.signals[0]
    return 1 if missing or status == "failed" else 0


def _report_end(status: str, workdir: str | pathlib.Path) -> int:
    """Print the status of a run and its number of diverged members.

    Returns:
      The exit status.
    """
    members = read_manifest(pathlib.Path(workdir)).members
    diverged = sum(entry.status == "diverged" for entry in members)
    remark = f" ({diverged} of {len(members)} members diverged)" if diverged else ""
    _say(f"{status}: {workdir}{remark}")
    if status != "failed":
        return 0
    _say_error(f"no member of {workdir} has a usable result; see its run.json")
    return 1


def _report_failure(reason: str, workdir: str | pathlib.Path | None) -> int:
    """Print why a run failed and how to resume it; return the exit status."""
    if workdir is not None and (pathlib.Path(workdir) / "run.json").exists():
        reason += f"; finished members are kept, and {_how_to_resume(workdir)}"
    _say_error(reason)
    return 1


def _how_to_resume(workdir: str | pathlib.Path) -> str:
    return f"to resume, give the same command with --workdir={workdir}"


def _new_workdir() -> pathlib.Path:
    config = pathlib.Path(FLAGS.config.split(":")[0]).stem
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    return pathlib.Path("runs") / f"{config}-{now}"


def _command() -> str:
    """Return the arguments with which Python runs this command again."""
    if pathlib.Path(sys.argv[0]).name == "__main__.py":
        return shlex.join(["-m", "nst_jax", *sys.argv[1:]])
    return shlex.join(sys.argv)


def _say(text: str) -> None:
    """Print a line. A closed pipe does not end the run."""
    try:
        print(text, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say_error(message: str) -> None:
    print(f"{program_name(sys.argv)}: {message}", file=sys.stderr)
