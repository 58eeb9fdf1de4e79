"""Running a plan into a run directory."""

import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from absl import logging

from nst_jax.ensemble.memory import out_of_memory
from nst_jax.ensemble.observer import Callback, Observer
from nst_jax.ensemble.progress import Cadence, Progress
from nst_jax.ensemble.step_result import StepResult
from nst_jax.launch.gradients import record_gradients
from nst_jax.launch.subprocess import check_command, compute_in_subprocess
from nst_jax.optim.problem import Problem
from nst_jax.optim.state import State
from nst_jax.plan.batch_size import choose_batch_size, smaller_batch_size
from nst_jax.plan.build import Plan
from nst_jax.plan.group import Group
from nst_jax.plan.stages import Compiler, Stage
from nst_jax.plan.warnings import log_request_warnings
from nst_jax.report import is_outdated, remove_page, write_safely
from nst_jax.workdir.schema import Status
from nst_jax.workdir.writer import RunWriter

SECONDS_BETWEEN_REPORTS = 60.0
#: Checkpoints that take more seconds are logged.
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
    """Execute a plan in a run directory, or resume an earlier call.

    Args:
      plan: the result of `build`.
      workdir: a new folder, or one with an earlier call of the same request.
      command: the command of the run, for run.json.
      stop: polled between chunks of steps; if true, or after Ctrl-C, the run ends
        with a checkpoint. A second Ctrl-C raises KeyboardInterrupt at once.
      progress: whether to show a bar (terminal, notebook) or log lines.
      callback: called at every row of metrics of this process, see `Observer`. It gets
        the canvas where a picture is kept or shown, and at the end of a stage.

    Returns:
      "done"; "failed" if all members have diverged, so that no result is usable; or
      "interrupted".

    Raises:
      RequestError: the folder holds another run, or cannot be written to.
      OSError: writing failed. Finished members are kept.
      OutOfMemory: the smallest batch does not fit. Finished members are kept.
    """
    writer = RunWriter(workdir, plan, command)
    status = writer.manifest.final_status
    finished = writer.is_finished(range(len(plan.members)))
    if finished and writer.previous_status == status:
        logging.info("%s is done already", workdir)
        if writer.output_changed or is_outdated(writer.workdir):
            with writer.locked():
                writer.write_inputs()
                record_gradients(writer)
                writer.end(status)
                write_safely(writer.workdir)
        return status
    if any(group.experiment.ensemble.process == "subprocess" for group in plan.groups):
        check_command(command)
    logging.info("results go to %s", workdir)
    log_request_warnings(plan)
    with writer.locked():
        writer.begin()
        known_warnings = writer.manifest.warnings
        for warning in known_warnings:
            logging.warning("%s", warning.text)
        write_safely(workdir, page_only=True)  # It is there even if the run is killed.
        run = _Run(plan, writer, Observer(callback, stop))
        status = "failed"
        try:
            with run.observer:
                status = run.compute_all(progress)
        finally:
            try:
                writer.end(status, time.perf_counter() - run.began)
            except BaseException:
                remove_page(writer.workdir)
                raise
            write_safely(workdir)
    for warning in writer.manifest.warnings[len(known_warnings) :]:
        logging.warning("%s", warning.text)
    return status


class _Run:
    """One call of `execute`, and its costs so far."""

    def __init__(self, plan: Plan, writer: RunWriter, observer: Observer):
        self.plan = plan
        self.writer = writer
        self.observer, self.stop = observer, observer.stop
        self.progress = Progress(0, shown=False)
        self.began = time.perf_counter()
        self.reports, self.checkpoints = Cadence(), Cadence()
        self.run_s, self.member_steps = 0.0, 0
        self.costs_before_batch = 0.0, 0  # `run_s` and `member_steps`.
        unfinished = [
            group
            for group in plan.groups
            if group.experiment.ensemble.process == "inline"
            and not writer.is_finished(group.numbers)
        ]
        self.compiler = Compiler(sum(len(group.stages) for group in unfinished))
        self.members_with_rows: set[int] = set()

    def compute_all(self, shown: bool) -> Status:
        """Optimise every unfinished member, and return the run's status."""
        self.members_with_rows = self.writer.trim_metrics()
        totals = [member.experiment.total_steps for member in self.plan.members]
        done = (n for i, n in enumerate(totals) if self.writer.is_finished([i]))
        with self.compiler, Progress(sum(totals), shown=shown) as self.progress:
            self.progress.skip(sum(done))
            for number, group in enumerate(self.plan.groups):
                if self.writer.is_finished(group.numbers):
                    continue
                if self.stop():
                    return "interrupted"
                run_s, steps = self.run_s, self.member_steps
                compile_s = self.compiler.compile_s
                try:
                    with group.default_device():
                        ended = self._compute_group(number, group)
                finally:
                    self.writer.add_costs(
                        number,
                        self.member_steps - steps,
                        compile_s=self.compiler.compile_s - compile_s,
                        run_s=self.run_s - run_s,
                    )
                if not ended:
                    return "interrupted"
        record_gradients(self.writer)
        return self.writer.manifest.final_status

    def _compute_group(self, number: int, group: Group) -> bool:
        """Compute a group's unfinished members; return False if stopped."""
        if group.experiment.ensemble.process == "subprocess":
            return self._compute_in_subprocess(number, group)
        problems = group.problems()
        size = self._batch_size(number, group, problems[0])
        while True:
            stages = self.compiler.stages(group, problems, size)
            try:
                return self._compute_batches(group, stages, size)
            except (jax.errors.JaxRuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                # The discarded batch counts for neither seconds nor steps.
                run_s, member_steps = self.costs_before_batch
                self.progress.skip(member_steps - self.member_steps)
                self.run_s, self.member_steps = run_s, member_steps
                self.compiler.discard(stages)
                size = smaller_batch_size(group, problems[0], size)
                self.writer.set_batch_size(number, size)

    def _compute_in_subprocess(self, number: int, group: Group) -> bool:
        count = len(self.plan.groups)
        logging.info("computing group %d of %d in a subprocess", number + 1, count)
        with self.progress.waiting("in a subprocess"):
            manifest = compute_in_subprocess(
                self.writer, number, group.numbers, self.stop
            )
        if manifest is None:
            return False
        losses = [entry.loss for entry in manifest.members if entry.loss]
        self.progress.update(
            manifest.member_steps, np.asarray(losses), manifest.timings.run_s
        )
        return True

    def _batch_size(self, number: int, group: Group, problem: Problem) -> int:
        """Return the batch size of an earlier call, or choose and record one."""
        size = self.writer.manifest.groups[number].batch_size
        if size is None:  # Other batches would be other programs, and partly finished.
            size = choose_batch_size(group, problem)
            self.writer.set_batch_size(number, size)
        return size

    def _compute_batches(self, group: Group, stages: list[Stage], size: int) -> bool:
        """Optimise a group's unfinished batches; return False if stopped."""
        for first in range(0, len(group.members), size):
            self.costs_before_batch = self.run_s, self.member_steps
            indices = range(first, min(first + size, len(group.members)))
            if self.writer.is_finished(group.numbers[i] for i in indices):
                continue
            if self.stop() or not self._compute_batch(stages, indices):
                return False
            self._report_if_due()
        return True

    def _compute_batch(self, stages: list[Stage], indices: range) -> bool:
        """Optimise a batch through all stages; return False if stopped."""
        members = tuple(stages[0].group.numbers[i] for i in indices)
        with self.progress.waiting("compiling"):
            first, resume, spent = self._resume_point(stages, members)
            _ = stages[first].ensemble  # Compile before the clock starts.
        if resume:
            made = stages[first].steps_before + resume[0]
            self.progress.skip(made * len(members))
        elif not self.members_with_rows.isdisjoint(members):
            self.writer.drop_metrics(members)
        self.members_with_rows.update(members)
        began = time.perf_counter() - spent
        result: StepResult | None = None
        for stage in stages[first:]:
            with self.progress.waiting("compiling"):
                _ = stage.ensemble
            coarse = result.state if result else None
            entered = time.perf_counter()
            try:
                result = self._compute_stage(stage, indices, coarse, resume, began)
            finally:
                self.run_s += time.perf_counter() - entered
            if result.step < stage.steps_before + stage.steps:
                self._write_latest(stage, indices, result)
                return False
            resume = None
        assert result is not None
        seconds = time.perf_counter() - began
        self.writer.finish(members, stages[-1].number, result, seconds)
        return True

    def _resume_point(
        self, stages: list[Stage], members: tuple[int, ...]
    ) -> tuple[int, tuple[int, State] | None, float]:
        """Return the stage to begin with, its (step, state), and seconds spent."""
        checkpoint = self.writer.states.load(members)
        rows = sum(self.writer.metrics.counts[member] for member in members)
        resume = checkpoint and checkpoint.restore(stages, rows)
        if not checkpoint or not resume:
            return 0, None, 0.0
        return checkpoint.stage, resume, checkpoint.seconds

    def _compute_stage(
        self,
        stage: Stage,
        indices: range,
        coarse: State | None,
        resume: tuple[int, State] | None,
        began: float,
    ) -> StepResult:
        """Optimise a batch in one stage, and return its last step.

        Steps of the result include earlier stages.
        """
        group, experiment = stage.group, stage.group.experiment
        members = tuple(group.numbers[i] for i in indices)
        step = stage.steps_before + (resume[0] if resume else 0)
        snapshots = experiment.output.snapshot_steps(stage.steps_before + stage.steps)
        updated = time.perf_counter()
        for result in stage.ensemble.optimise(
            group.starting_images(indices, self.writer.read_result),
            stage.steps,
            problems=[stage.problems[i] for i in indices],
            position=experiment.ensemble.position,
            log_every=experiment.output.log_every,
            snapshots=[s - stage.steps_before for s in snapshots if stage.has_step(s)],
            coarse=coarse,
            resume=resume,
            stop=self.stop,
            fetch_state=lambda: self.checkpoints.is_due(
                experiment.output.checkpoint_every
            ),
            fetch_canvas=lambda: self.reports.is_due(SECONDS_BETWEEN_REPORTS),
        ):
            canvas = result.canvas
            if canvas is not None:
                canvas = group.finish_images(indices, canvas)
            result = result._replace(
                step=stage.steps_before + result.step, canvas=canvas
            )
            # The first step of a later stage has the picture of the stage before.
            is_new = stage.has_step(result.step)
            shown = result if is_new else result._replace(canvas=None)
            now = time.perf_counter()
            self.writer.add_step(members, stage.number, shown, now - began)
            self.observer.notify(members, result.step, result.report, result.canvas)
            made = (result.step - step) * len(members)
            now = time.perf_counter()
            self.progress.update(made, result.report.loss, now - updated)
            updated = now
            self.member_steps += made
            step = result.step
            if step < stage.total_steps:
                if result.state is not None:
                    self._save_checkpoint(stage, members, result, began)
                if result.canvas is not None:
                    self._report_if_due(stage, indices, result)
        return result

    def _write_latest(self, stage: Stage, indices: range, result: StepResult) -> None:
        """Write the current pictures of a batch."""
        assert result.canvas is not None
        for i, canvas in zip(indices, result.canvas, strict=True):
            number, alpha = stage.group.numbers[i], stage.group.scenes[i].alpha
            self.writer.write_latest(number, canvas, alpha)

    def _save_checkpoint(
        self, stage: Stage, members: tuple[int, ...], result: StepResult, began: float
    ) -> None:
        seconds = time.perf_counter() - began
        with self.checkpoints.timed():
            self.writer.states.save(members, stage.number, result, seconds)
        if self.checkpoints.cost > SLOW_CHECKPOINT:
            logging.warning(
                "a checkpoint took %.0f s to write to %s: checkpoints will be rarer",
                *(self.checkpoints.cost, self.writer.workdir),
            )

    def _report_if_due(self, *latest: Any) -> None:
        """Write the report now and then, after the pictures of `_write_latest`."""
        if self.reports.is_due(SECONDS_BETWEEN_REPORTS):
            with self.reports.timed():
                if latest:
                    self._write_latest(*latest)
                self.writer.save()
                write_safely(self.writer.workdir)
