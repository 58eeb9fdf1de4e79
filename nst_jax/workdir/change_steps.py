"""Resuming a run with more or fewer steps than an earlier call asked for."""

import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from absl import logging

from nst_jax.core.errors import RequestError
from nst_jax.ensemble.step_result import StepResult
from nst_jax.images.io import map_array
from nst_jax.optim.solvers import Report
from nst_jax.plan.build import Plan
from nst_jax.workdir.checkpoint import STATE, Checkpoint, SolverStates
from nst_jax.workdir.manifest import previous_steps
from nst_jax.workdir.metrics_log import MetricsLog
from nst_jax.workdir.schema import Manifest, Row


class StepChange:
    """Members whose number of steps differs from an earlier call.

    More steps resume from a stored solver state, or start over. Fewer steps need an
    exact frame of that step, which becomes the result.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        plan: Plan,
        previous: Manifest,
        manifest: Manifest,
        checkpoint: Checkpoint | None,
    ):
        """
        Args:
          workdir: the run directory.
          plan: the plan of this call.
          previous: the run.json of the earlier call.
          manifest: the run.json of this call.
          checkpoint: header of the checkpoint, if there is one.

        Raises:
          RequestError: the run cannot change to these numbers of steps.
        """
        self._workdir = workdir
        self._dependent = plan.dependent_members
        self._shapes = {n: g.content.shape for g in plan.groups for n in g.numbers}
        #: Member -> steps of its stages in the earlier call and in this one.
        self._steps: dict[int, tuple[list[int], list[int]]] = {
            new.member: (previous_steps(old, new), new.steps)
            for old, new in zip(previous.members, manifest.members, strict=True)
            if previous_steps(old, new) != new.steps
        }
        #: Member that has made too many steps -> steps of this call.
        self._shortened: dict[int, int] = {}
        most_made = 0
        for member, (old_steps, new_steps) in self._steps.items():
            self._check_stages(old_steps, new_steps)
            made = 0
            if previous.members[member].is_finished:
                made = sum(old_steps)
            elif checkpoint and member in checkpoint.members:
                made = checkpoint.step
            if made > sum(new_steps):
                self._shortened[member] = sum(new_steps)
                most_made = max(most_made, made)
        self._check_frames(most_made)
        restarted = self._steps.keys() & {*self._dependent, *self._shortened}
        #: Whether this call cannot use the checkpoint.
        self.outdates_checkpoint = bool(
            checkpoint and restarted.intersection(checkpoint.members)
        )

    def _check_stages(self, old: list[int], new: list[int]) -> None:
        if old[:-1] != new[:-1] or len(old) != len(new):
            raise RequestError(
                f"workdir {str(self._workdir)!r} holds a run whose coarser stages make "
                f"{old[:-1]} steps, and {new[:-1]} here: give "
                f"ladder.steps={tuple(old[:-1])}, or a new --workdir"
            )

    def _check_frames(self, most_made: int) -> None:
        if all(self._has_frame(m, step) for m, step in self._shortened.items()):
            return
        first = min(self._shortened)
        new = self._steps[first][1]
        coarse = sum(new[:-1])
        frames = sorted(self._frame(first, 0).parent.glob("*.npy"))
        steps = [int(frame.stem) for frame in frames if frame.stem.isdecimal()]
        possible = [
            str(step - coarse)
            for step in steps
            if coarse <= step < most_made
            and all(self._has_frame(m, step) for m in self._shortened)
        ]
        remedy = f"give {', '.join(possible)}, or" if possible else "none exists; give"
        raise RequestError(
            f"steps is {new[-1]}, and the run has made {most_made - coarse} already: "
            f"fewer need an exact frame of that step (output.exact=True); {remedy} "
            f"{most_made - coarse} or more, or a new --workdir"
        )

    def _folder(self, member: int) -> pathlib.Path:
        return self._workdir / "members" / f"{member:03d}"

    def _frame(self, member: int, step: int) -> pathlib.Path:
        return self._folder(member) / "frames" / f"{step:06d}.npy"

    def _has_frame(self, member: int, step: int) -> bool:
        """Return whether a usable exact frame of the last stage exists."""
        if member in self._dependent:
            return False  # It started from a result with more steps.
        try:
            canvas = map_array(self._frame(member, step))
        except (OSError, ValueError):
            return False
        return canvas.shape == self._shapes[member] and canvas.dtype == np.float32

    def apply(
        self,
        metrics: MetricsLog,
        states: SolverStates,
        finish: Callable[[Sequence[int], StepResult], None],
    ) -> None:
        """Prepare the members for resuming.

        An earlier result becomes an exact frame, and is shown until there is a new one.
        Members with fewer steps are finished from the frame of that step.

        Args:
          metrics: rows of steps that the run no longer makes are dropped.
          states: solver states of the run.
          finish: records a member's result.
        """
        extended = set()
        for member, (old_steps, _) in self._steps.items():
            folder = self._folder(member)
            if (folder / "final.npy").exists():
                frame = self._frame(member, sum(old_steps))
                frame.parent.mkdir(exist_ok=True)
                (folder / "final.npy").replace(frame)
                extended.add(member)
            if (folder / "final.png").exists():
                (folder / "final.png").replace(folder / "latest.png")
            if member in self._shortened:
                (folder / STATE).unlink(missing_ok=True)
        if self._shortened:
            for member, result in self._results_from_frames(metrics):
                finish([member], result)
        if extended := extended - self._shortened.keys():
            resumed = len(extended & states.positions(lambda _: False).keys())
            logging.info(
                "%d finished members get more steps: %d resume from a stored solver "
                "state, %d start over",
                *(len(extended), resumed, len(extended) - resumed),
            )

    def _results_from_frames(
        self, metrics: MetricsLog
    ) -> Iterator[tuple[int, StepResult]]:
        """Drop rows of later steps; yield shortened members and their results."""
        rows: dict[int, list[Row]] = {}
        for row in metrics.filter(
            lambda row: row["step"] <= self._shortened.get(row["member"], row["step"])
        ):
            rows.setdefault(row["member"], []).append(row)
        for member, step in self._shortened.items():
            member_rows = rows.get(member, [])
            if member_rows and member_rows[-1]["step"] == step:
                last = member_rows[-1]
                first = next(r for r in member_rows if r["stage"] == last["stage"])
                canvas = np.array(map_array(self._frame(member, step)))
                yield member, _step_result(first, last, canvas)


def _step_result(first: Row, last: Row, canvas: np.ndarray) -> StepResult:
    """Return a batch of one member, from the first and last row of its stage."""

    def batch(value: float | None) -> Any:
        return np.array([np.nan if value is None else value])

    rollbacks = batch(last.get("rollbacks", 0))
    report = Report(
        loss=batch(last["loss"]),
        parts={name: batch(value) for name, value in last["terms"].items()},
        grad_norm=batch(last["grad_norm"]),
        step_length=batch(last["step_length"]),
        evaluations=batch(last["evaluations"]),
        failed=batch(last["failed_line_searches"]),
    )
    is_stalled = (
        (rollbacks > 0) & (last["step_length"] == 0) & (last["loss"] == first["loss"])
    )
    return StepResult(last["step"], report, rollbacks, is_stalled, canvas[None], None)
