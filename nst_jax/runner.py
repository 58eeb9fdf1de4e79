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
        return "done"
    checkpoint = records.load_checkpoint()
    records.begin(checkpoint)
    clock = _Clock()
    status = "failed"
    try:
        status = _optimise(plan, records, checkpoint, clock, stop)
    finally:
        records.end(
            status,
            compile_s=clock.compile_s,
            run_s=clock.run_s,
            total_s=time.perf_counter() - clock.began,
        )
    write_report(records.workdir)
    return status


class _Clock:
    """Seconds spent, apart for compiling and running."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.compile_s = self.run_s = 0.0


def _optimise(
    plan: Plan,
    records: Records,
    checkpoint: Checkpoint | None,
    clock: _Clock,
    stop: Callable[[], bool],
) -> str:
    experiment = plan.experiment
    count = len(plan.seeds)
    ensemble = Ensemble.compile(
        plan.problem,
        plan.content.shape,
        batch_size=min(experiment.ensemble.batch_size or count, count),
        strategy=experiment.ensemble.strategy,
    )
    clock.compile_s = ensemble.compile_s
    logging.info("compiled in %.1f s", ensemble.compile_s)
    size = ensemble.batch_size
    batches = [range(i, min(i + size, count)) for i in range(0, count, size)]
    waiting = [batch for batch in batches if not records.finished(batch)]
    with Progress(experiment.steps * sum(map(len, waiting))) as progress:
        for members in waiting:
            began = time.perf_counter()
            look = _optimise_batch(
                plan, records, ensemble, members, checkpoint, stop, progress
            )
            clock.run_s += time.perf_counter() - began
            if look.step < experiment.steps:
                records.save_checkpoint(members, look)
                return "interrupted"
            records.finish(members, look)
    return "done"


def _optimise_batch(
    plan: Plan,
    records: Records,
    ensemble: Ensemble,
    members: range,
    checkpoint: Checkpoint | None,
    stop: Callable[[], bool],
    progress: Progress,
) -> Look:
    """The last look at a batch, at its end or where it was stopped."""
    experiment = plan.experiment
    resume = _resumed(ensemble, members, checkpoint)
    step = resume[0] if resume else 0
    progress.skip(step * len(members))
    began = time.perf_counter()
    for look in ensemble.optimise(
        plan.starts(members),
        experiment.steps,
        look_every=experiment.output.log_every,
        snapshots=experiment.output.snapshot_steps(experiment.steps),
        resume=resume,
        stop=stop,
    ):
        records.add(members, look, time.perf_counter() - began)
        progress.update((look.step - step) * len(members), look.report.loss)
        step = look.step
    return look


def _resumed(
    ensemble: Ensemble, members: range, checkpoint: Checkpoint | None
) -> tuple[int, State] | None:
    """The step and state to go on from, if the checkpoint is of this batch."""
    if checkpoint is None or checkpoint.members != members:
        return None
    state = ensemble.restore(checkpoint.leaves)
    if state is None:
        logging.warning("the checkpoint does not fit this program; starting over")
        return None
    return checkpoint.step, jax.device_put(state)
