"""A run from its plan to its report: what the launch script does."""

import pathlib
import time
from collections.abc import Callable

import jax
from absl import logging

from nst_jax.build import Plan
from nst_jax.ensemble import Ensemble, Look
from nst_jax.progress import Progress
from nst_jax.records import Checkpoint, Records
from nst_jax.report import write_report
from nst_jax.transfer import State


def execute(
    plan: Plan,
    workdir: str | pathlib.Path,
    *,
    command: str = "",
    stop: Callable[[], bool] = lambda: False,
) -> str:
    """Runs a plan into a run directory, or goes on with what an earlier call left.

    Args:
      plan: from `build`.
      workdir: a new folder, or one that holds an earlier call of the same request.
      command: how the run was asked for, for the record.
      stop: asked between chunks of steps; if true, the run ends with a checkpoint.

    Returns:
      The run's status: "done" or "interrupted".

    Raises:
      RequestError: the folder holds another run, or cannot be written to.
    """
    records = Records(workdir, plan, command)
    if records.status == "done" and records.finished(range(len(plan.seeds))):
        logging.info("%s is done already", workdir)
        if not (records.workdir / "report.html").exists():
            write_report(records.workdir)
        return "done"
    logging.info("results go to %s", workdir)
    if len(plan.seeds) > 1 and not plan.experiment.canvas.seeded:
        logging.warning(
            "a canvas of kind %r does not depend on the seed: all members start alike",
            plan.experiment.canvas.kind,
        )
    records.begin()
    run = _Run(plan, records, stop)
    status = "failed"
    try:
        status = run.all_batches()
    finally:
        records.end(
            status,
            run.member_steps,
            compile_s=run.compile_s,
            run_s=run.run_s,
            total_s=time.perf_counter() - run.began,
        )
    write_report(records.workdir)
    return status


class _Run:
    """A run under way, and what it has cost so far."""

    def __init__(self, plan: Plan, records: Records, stop: Callable[[], bool]):
        self.plan = plan
        self.records = records
        self.stop = stop
        self.began = time.perf_counter()
        self.compile_s = self.run_s = 0.0
        self.member_steps = 0

    def all_batches(self) -> str:
        """Optimises every batch that is not finished; "done" or "interrupted"."""
        options, count = self.plan.experiment.ensemble, len(self.plan.seeds)
        ensemble = Ensemble.compile(
            self.plan.problem,
            self.plan.content.shape,
            batch_size=min(options.batch_size or count, count),
            strategy=options.strategy,
        )
        self.compile_s = ensemble.compile_s
        logging.info("compiled in %.1f s", ensemble.compile_s)
        size = ensemble.batch_size
        batches = [range(i, min(i + size, count)) for i in range(0, count, size)]
        waiting = [batch for batch in batches if not self.records.finished(batch)]
        checkpoint = self.records.load_checkpoint()
        state = _restored(ensemble, waiting, checkpoint)
        self.records.trim_metrics(checkpoint if state is not None else None)
        steps = self.plan.experiment.steps
        with Progress(steps * sum(map(len, waiting))) as progress:
            for members in waiting:
                resumed = None
                if state is not None and checkpoint and checkpoint.members == members:
                    resumed, spent = (checkpoint.step, state), checkpoint.seconds
                    progress.skip(checkpoint.step * len(members))
                else:
                    spent = 0.0
                began = time.perf_counter() - spent
                look = self._batch(ensemble, members, resumed, began, progress)
                if look.step < steps:
                    seconds = time.perf_counter() - began
                    self.records.save_checkpoint(members, look, seconds)
                    return "interrupted"
                self.records.finish(members, look)
        return "done"

    def _batch(
        self,
        ensemble: Ensemble,
        members: range,
        resume: tuple[int, State] | None,
        began: float,
        progress: Progress,
    ) -> Look:
        """The last look at a batch, at its end or where it was stopped."""
        experiment = self.plan.experiment
        step = resume[0] if resume else 0
        entered = time.perf_counter()
        for look in ensemble.optimise(
            self.plan.starts(members),
            experiment.steps,
            look_every=experiment.output.log_every,
            snapshots=experiment.output.snapshot_steps(experiment.steps),
            resume=resume,
            stop=self.stop,
        ):
            self.records.add(members, look, time.perf_counter() - began)
            made = (look.step - step) * len(members)
            progress.update(made, look.report.loss)
            self.member_steps += made
            step = look.step
        self.run_s += time.perf_counter() - entered
        return look


def _restored(
    ensemble: Ensemble, waiting: list[range], checkpoint: Checkpoint | None
) -> State | None:
    """The checkpoint's state on the device, if it is of a batch of this program."""
    if checkpoint is None:
        return None
    fits = checkpoint.members in waiting
    state = ensemble.restore(checkpoint.leaves) if fits else None
    if state is None:
        logging.warning("the checkpoint does not fit this program; starting over")
        return None
    return jax.device_put(state)
