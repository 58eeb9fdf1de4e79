"""A run from its plan to its report: what the launch script does."""

import contextlib
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from absl import logging

from nst_jax.core.errors import OutOfMemory, RequestError
from nst_jax.ensemble.memory import out_of_memory
from nst_jax.ensemble.observer import Callback, Observer
from nst_jax.ensemble.progress import Cadence, Progress
from nst_jax.ensemble.step_result import StepResult
from nst_jax.launch.subprocess import (
    check_command,
    check_same_request,
    run_in_subprocess,
)
from nst_jax.optim.problem import Problem
from nst_jax.optim.transfer import State
from nst_jax.plan.build import Plan
from nst_jax.plan.group import Group
from nst_jax.plan.stages import Compiler, Stage, batch_size
from nst_jax.plan.warnings import log_warnings, warn_before
from nst_jax.report import (
    is_outdated,
    read_run,
    remove_page,
    write_page,
    write_report,
)
from nst_jax.workdir.adoption import adopt
from nst_jax.workdir.schema import read_manifest
from nst_jax.workdir.writer import Records

SECONDS_BETWEEN_REPORTS = 60.0
#: Seconds from which on a checkpoint is worth a word.
SLOW_CHECKPOINT = 10.0


def execute(
    plan: Plan,
    workdir: str | pathlib.Path,
    *,
    command: str = "",
    stop: Callable[[], bool] = lambda: False,
    progress: bool = True,
    callback: Callback | None = None,
) -> str:
    """Runs a plan into a run directory, or goes on with what an earlier call left.

    Args:
      plan: from `build`.
      workdir: a new folder, or one that holds an earlier call of the same request.
      command: how the run was asked for.
      stop: asked between chunks of steps; if true, or after Ctrl-C, the run ends with a
        checkpoint. A second Ctrl-C raises KeyboardInterrupt at once.
      progress: whether to show a bar, on a terminal or in a notebook, or log lines.
      callback: called at every row of metrics of this process, see `Observer`; the
        canvas is there where a picture is kept or shown, and at the end of a stage.

    Returns:
      The run's status: "done"; "failed" if all members have diverged, so that there is
      no usable result; or "interrupted".

    Raises:
      RequestError: the folder holds another run, or cannot be written to.
      OSError: it cannot be written to any more. What is finished is kept.
      OutOfMemory: there is not enough for the least there is to compute. Likewise.
    """
    records = Records(workdir, plan, command)
    finished = records.finished(range(len(plan.members)))
    if finished and records.status == records.outcome():
        logging.info("%s is done already", workdir)
        if records.output_changed or is_outdated(records.workdir):
            with records.held():
                records.keep_inputs()
                records.end(records.status, 0)
                write_safely(records.workdir)
        return records.status
    if any(group.experiment.ensemble.process == "subprocess" for group in plan.groups):
        check_command(command)
    logging.info("results go to %s", workdir)
    warn_before(plan)
    with records.held():
        records.begin()
        foretold = records.manifest["warnings"]
        log_warnings(foretold)
        # So that there is a page, whatever comes.
        write_safely(workdir, lambda path: write_page(read_run(path)))
        run = _Run(plan, records, Observer(callback, stop))
        status = "failed"
        try:
            with run.observer:
                status = run.all_groups(progress)
        finally:
            try:
                records.end(
                    status,
                    run.member_steps,
                    compile_s=run.compile_s,
                    run_s=run.run_s,
                    total_s=time.perf_counter() - run.began,
                )
            except BaseException:
                remove_page(records.workdir)
                raise
            write_safely(workdir)
    log_warnings(records.manifest["warnings"][len(foretold) :])
    return status


def write_safely(
    workdir: str | pathlib.Path,
    write: Callable[[str | pathlib.Path], None] | None = None,
) -> None:
    """Writes the report; a fault in it is no fault of the run.

    A page from before, which could not be brought up to date, is removed.
    """
    try:
        (write or write_report)(workdir)
    except RequestError as error:
        logging.log_first_n(logging.WARNING, "no report: %s", 1, error)
    except Exception as error:
        remove_page(workdir)
        logging.error(
            "the report could not be written (%s: %s); --report=%s tries once more",
            *(type(error).__name__, error, workdir),
        )


class _Run:
    """A run under way, and what it has cost so far."""

    def __init__(self, plan: Plan, records: Records, observer: Observer):
        self.plan = plan
        self.records = records
        self.observer, self.stop = observer, observer.stop
        self.began = time.perf_counter()
        self.reports, self.checkpoints = Cadence(), Cadence()
        self.run_s = self.elsewhere_s = 0.0
        self.member_steps = 0
        #: `run_s` and `member_steps` without the batch under way.
        self.settled = 0.0, 0
        here = [g for g in plan.groups if g.experiment.ensemble.process == "inline"]
        ahead = [group for group in here if not records.finished(group.numbers)]
        self.compiler = Compiler(sum(len(group.stages) for group in ahead))
        self.logged: set[int] = set()
        self.checkpoint = records.load_checkpoint()

    @property
    def compile_s(self) -> float:
        """Seconds spent compiling, here and in processes of their own."""
        return self.compiler.compile_s + self.elsewhere_s

    def all_groups(self, shown: bool) -> str:
        """Optimises every member that is not finished; returns the run's status."""
        self.logged = self.records.trim_metrics(self.checkpoint)
        steps = [member.experiment.total_steps for member in self.plan.members]
        ended = [n for i, n in enumerate(steps) if self.records.finished([i])]
        with self.compiler, Progress(sum(steps), shown=shown) as progress:
            progress.skip(sum(ended))
            for number, group in enumerate(self.plan.groups):
                if self.records.finished(group.numbers):
                    continue
                if self.stop():
                    return "interrupted"
                before = self.compile_s, self.run_s, self.member_steps
                try:
                    with group.placed():
                        whole = self._computed(number, group, progress)
                finally:
                    self.records.add_group(
                        number,
                        compile_s=self.compile_s - before[0],
                        run_s=self.run_s - before[1],
                        member_steps=self.member_steps - before[2],
                    )
                if not whole:
                    return "interrupted"
        return self.records.outcome()

    def _computed(self, number: int, group: Group, progress: Progress) -> bool:
        """Computes what is not finished of a group; False if stopped before its end."""
        if group.experiment.ensemble.process == "subprocess":
            return self._elsewhere(number, group, progress)
        problems = group.problems()
        size = self._batch_size(number, group, problems[0])
        while True:
            stages = self.compiler.stages(group, problems, size)
            try:
                return self._group(group, stages, size, progress)
            except (jax.errors.JaxRuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                # A batch that is thrown away costs neither seconds nor steps, or the
                # seconds of a step would be those of two programs.
                run_s, member_steps = self.settled
                progress.skip(member_steps - self.member_steps)  # To be made again.
                self.run_s, self.member_steps = run_s, member_steps
                self.compiler.drop(stages)
                size = self._halved(number, group, problems[0], size)

    def _elsewhere(self, number: int, group: Group, progress: Progress) -> bool:
        """As `_computed`, by a process of its own."""
        workdir = self.records.workdir / "processes" / f"{number:03d}"
        command = self.records.manifest["command"]
        count = len(self.plan.groups)
        logging.info("compiling group %d of %d in another process", number + 1, count)
        with progress.waiting("in a process of its own"):
            whole = run_in_subprocess(command, workdir, group.numbers, self.stop)
        if not whole:
            with contextlib.suppress(OSError, ValueError):  # It had not begun.
                other = read_manifest(workdir)
                check_same_request(other, self.records.manifest)
                adopt(self.records, group.numbers, workdir, other)
            return False
        other = read_manifest(workdir)
        check_same_request(other, self.records.manifest)
        adopt(self.records, group.numbers, workdir, other)
        if not self.records.finished(group.numbers):
            raise ChildProcessError(f"{workdir} is done, and not whole")
        self.records.set_batch_size(number, other["groups"][0]["batch_size"])
        shutil.rmtree(workdir)
        self.elsewhere_s += other["timings"]["compile_s"]
        self.run_s += other["timings"]["run_s"]
        self.member_steps += other["member_steps"]
        losses = [entry["loss"] for entry in other["members"] if entry["loss"]]
        seconds = other["timings"]["run_s"]
        progress.update(other["member_steps"], np.asarray(losses), seconds)
        return True

    def _batch_size(self, number: int, group: Group, problem: Problem) -> int:
        """Members held at a time: as asked for, or as many as memory has room for.

        Once chosen it stays, whatever memory a later call finds: another partition
        would be other programs, and batches that are neither done nor to be done.
        """
        size = self.records.batch_size(number)
        if size is None:
            size = batch_size(group, problem)
            self.records.set_batch_size(number, size)
        return size

    def _halved(self, number: int, group: Group, problem: Problem, size: int) -> int:
        """Half as many members held at a time, or fewer, after so many did not fit.

        A divisor of it: what is done is of whole batches then too.

        Raises:
          OutOfMemory: there are no fewer.
        """
        least = group.experiment.ensemble.position + 1
        divisors = (n for n in range(size // 2, least - 1, -1) if size % n == 0)
        possible = (n for n in divisors if batch_size(group, problem, n) == n)
        smaller = next(possible, None)
        if smaller is None:
            height, width, _ = group.content.shape
            raise OutOfMemory(
                f"a batch of {size} at {width}×{height} px does not fit into memory, "
                "and a smaller one is not to be had: lower size, or set tile"
            )
        logging.warning(
            "%d members at a time do not fit into memory; going on with %d, whose last "
            "bits are another program's: they are no longer promised to be the same",
            *(size, smaller),
        )
        self.records.set_batch_size(number, smaller)
        return smaller

    def _group(
        self, group: Group, stages: list[Stage], size: int, progress: Progress
    ) -> bool:
        """Optimises a group's batches; False if stopped before the last one's end."""
        for first in range(0, len(group.members), size):
            self.settled = self.run_s, self.member_steps
            places = range(first, min(first + size, len(group.members)))
            numbers = tuple(group.numbers[i] for i in places)
            if self.records.finished(numbers):
                continue
            if self.stop():
                return False
            if not self._staged(stages, places, numbers, progress):
                return False
            self._report_now_and_then()
        return True

    def _staged(
        self,
        stages: list[Stage],
        places: range,
        numbers: tuple[int, ...],
        progress: Progress,
    ) -> bool:
        """Optimises a batch through all stages; False if stopped before its end."""
        with progress.waiting("compiling"):
            at, resume, spent = self._resumed(stages, numbers)
            _ = stages[at].ensemble  # Before the clock of its rows begins.
        if resume:
            progress.skip((stages[at].before + resume[0]) * len(numbers))
        elif not self.logged.isdisjoint(numbers):
            self.records.drop_metrics(numbers)
        self.logged.update(numbers)
        began = time.perf_counter() - spent
        look = None
        for stage in stages[at:]:
            coarse = look.state if look else None
            with progress.waiting("compiling"):
                _ = stage.ensemble  # Compiled before the seconds of running begin.
            with self._running():
                look = self._batch(stage, places, coarse, resume, began, progress)
            if look.step < stage.before + stage.steps:
                self._add_latest(stage, places, look)
                return False
            resume = None
        assert look is not None
        self.records.finish(numbers, look)
        seconds = time.perf_counter() - began
        self.records.keep_state(numbers, stages[-1].number, look, seconds)
        return True

    def _resumed(
        self, stages: list[Stage], numbers: tuple[int, ...]
    ) -> tuple[int, tuple[int, State] | None, float]:
        """The stage that the members go on in, from what, and its seconds so far."""
        checkpoint = self.checkpoint
        if checkpoint is None or checkpoint.members != numbers:
            checkpoint = self.records.states.load(numbers)
        rows = sum(self.records.metrics.counts[member] for member in numbers)
        resume = checkpoint and checkpoint.restore(stages, rows)
        if not checkpoint or not resume:
            return 0, None, 0.0
        return checkpoint.stage, resume, checkpoint.seconds

    def _batch(
        self,
        stage: Stage,
        places: range,
        coarse: State | None,
        resume: tuple[int, State] | None,
        began: float,
        progress: Progress,
    ) -> StepResult:
        """The last look at a batch in a stage, at its end or where it was stopped.

        Its step counts those of the stages before.
        """
        group, experiment = stage.group, stage.group.experiment
        numbers = tuple(group.numbers[i] for i in places)
        step = stage.before + (resume[0] if resume else 0)
        snapshots = experiment.output.snapshot_steps(stage.before + stage.steps)
        updated = time.perf_counter()
        for look in stage.ensemble.optimise(
            group.starts(places, self.records.result),
            stage.steps,
            problems=[stage.problems[i] for i in places],
            position=experiment.ensemble.position,
            look_every=experiment.output.log_every,
            # Where two stages meet, the picture is the end of the first of them.
            snapshots=[s - stage.before for s in snapshots if stage.shows(s)],
            coarse=coarse,
            resume=resume,
            stop=self.stop,
            fetch_state=lambda: self.checkpoints.is_due(
                experiment.output.checkpoint_every
            ),
            fetch_canvas=lambda: self.reports.is_due(SECONDS_BETWEEN_REPORTS),
        ):
            look = look._replace(step=stage.before + look.step)
            if look.canvas is not None:
                look = look._replace(canvas=group.finished(places, look.canvas))
            shown = look if stage.shows(look.step) else look._replace(canvas=None)
            self.records.add(numbers, stage.number, shown, time.perf_counter() - began)
            self.observer.notify(numbers, look.step, look.report, look.canvas)
            made = (look.step - step) * len(numbers)
            now = time.perf_counter()
            progress.update(made, look.report.loss, now - updated)
            updated = now
            self.member_steps += made
            step = look.step
            if look.state is not None and step < stage.total:
                self._keep(stage, numbers, look, began)
            if look.canvas is not None and step < stage.total:
                self._report_now_and_then(stage, places, look)
        return look

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """Count the seconds of a context as `run_s`, also where it raises."""
        entered = time.perf_counter()
        try:
            yield
        finally:
            self.run_s += time.perf_counter() - entered

    def _add_latest(self, stage: Stage, places: range, look: StepResult) -> None:
        """Writes the current pictures of a batch's members."""
        assert look.canvas is not None
        for i, canvas in zip(places, look.canvas, strict=True):
            number, alpha = stage.group.numbers[i], stage.group.scenes[i].alpha
            self.records.add_latest(number, canvas, alpha)

    def _keep(
        self, stage: Stage, numbers: tuple[int, ...], look: StepResult, began: float
    ) -> None:
        """A checkpoint of a batch, to go on from whatever comes."""
        seconds = time.perf_counter() - began
        with self.checkpoints.timed():
            self.records.save_checkpoint(numbers, stage.number, look, seconds)
        if self.checkpoints.cost > SLOW_CHECKPOINT:
            logging.warning(
                "a checkpoint took %.0f s to write to %s: there will be fewer",
                *(self.checkpoints.cost, self.records.workdir),
            )

    def _report_now_and_then(self, *latest: Any) -> None:
        """Writes a page during a run, and before the pictures of `_add_latest`."""
        if self.reports.is_due(SECONDS_BETWEEN_REPORTS):
            with self.reports.timed():
                if latest:
                    self._add_latest(*latest)
                self.records.save()
                write_safely(self.records.workdir)
