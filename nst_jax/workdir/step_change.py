"""A run that is given more or fewer steps than an earlier call made."""

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
from nst_jax.workdir.checkpoint import STATE, KeptStates
from nst_jax.workdir.manifest import earlier_steps
from nst_jax.workdir.metrics_log import Metrics
from nst_jax.workdir.schema import FINISHED


class StepChange:
    """Members whose number of steps is another one than in an earlier call.

    More steps go on from a kept solver state, or begin anew. Fewer steps need an exact
    frame of that step, which becomes the result.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        plan: Plan,
        earlier: dict[str, Any],
        ours: dict[str, Any],
        under_way: tuple[tuple[int, ...], int, int] | None,
    ):
        """
        Args:
          workdir: the run directory.
          plan: of this call.
          earlier: the run.json of the earlier call.
          ours: that of this call.
          under_way: members, stage and step of the checkpoint, if there is one.

        Raises:
          RequestError: there is no way from the earlier numbers of steps to these.
        """
        self._workdir = workdir
        self._chained = plan.chained
        self._shapes = {n: g.content.shape for g in plan.groups for n in g.numbers}
        pairs = zip(earlier["members"], ours["members"], strict=True)
        #: Member -> steps of its stages in the earlier call and in this one.
        self._steps: dict[int, tuple[list[int], list[int]]] = {
            new["member"]: (earlier_steps(old, new), new["steps"])
            for old, new in pairs
            if earlier_steps(old, new) != new["steps"]
        }
        #: Member that has made more steps than are asked for -> how many are.
        self._fewer: dict[int, int] = {}
        most_made = 0
        for member, (old_steps, new_steps) in self._steps.items():
            self._check_stages(old_steps, new_steps)
            made = 0
            if earlier["members"][member]["status"] in FINISHED:
                made = sum(old_steps)
            elif under_way and member in under_way[0]:
                made = under_way[2]
            if made > sum(new_steps):
                self._fewer[member] = sum(new_steps)
                most_made = max(most_made, made)
        self._check_frames(most_made)
        stale = self._steps.keys() & {*self._chained, *self._fewer}
        #: Whether the checkpoint is of steps that this run does not make.
        self.outdates_checkpoint = bool(under_way and stale & {*under_way[0]})

    def _check_stages(self, old: list[int], new: list[int]) -> None:
        if old[:-1] != new[:-1] or len(old) != len(new):
            raise RequestError(
                f"workdir {str(self._workdir)!r} holds a run whose coarser stages make "
                f"{old[:-1]} steps, and {new[:-1]} here: give "
                f"ladder.steps={tuple(old[:-1])}, or a new --workdir"
            )

    def _check_frames(self, most_made: int) -> None:
        if all(self._has_frame(member, step) for member, step in self._fewer.items()):
            return
        first = min(self._fewer)
        old, new = self._steps[first]
        coarse = sum(new[:-1])
        frames = sorted(self._frame(first, 0).parent.glob("*.npy"))
        steps = [int(frame.stem) for frame in frames if frame.stem.isdecimal()]
        kept = [
            str(step - coarse)
            for step in steps
            if coarse <= step < most_made
            and all(self._has_frame(m, step) for m in self._fewer)
        ]
        found = f"give {', '.join(kept)}, or " if kept else "none was kept; give "
        raise RequestError(
            f"steps is {old[-1]} there and {new[-1]} here: fewer than were made need a "
            f"picture of that step that was kept exactly (output.exact); {found}"
            f"{most_made - coarse} or more, or a new --workdir"
        )

    def _folder(self, member: int) -> pathlib.Path:
        return self._workdir / "members" / f"{member:03d}"

    def _frame(self, member: int, step: int) -> pathlib.Path:
        return self._folder(member) / "frames" / f"{step:06d}.npy"

    def _has_frame(self, member: int, step: int) -> bool:
        """Whether the canvas of a step was kept exactly, at the last stage's size."""
        if member in self._chained:
            return False  # The result it started from had made more steps, too.
        try:
            canvas = map_array(self._frame(member, step))
        except (OSError, ValueError):
            return False
        return canvas.shape == self._shapes[member] and canvas.dtype == np.float32

    def apply(
        self,
        metrics: Metrics,
        states: KeptStates,
        finish: Callable[[Sequence[int], StepResult], None],
    ) -> None:
        """Makes the members ready to go on.

        An earlier result is kept as an exact frame, and shown until there is a new one.
        Where fewer steps are asked for, the frame of that step is the new result.

        Args:
          metrics: of the run; rows of steps that it no longer makes are dropped.
          states: solver states of finished batches.
          finish: records a member's result.
        """
        extended = set()
        for member, (old, _) in self._steps.items():
            folder = self._folder(member)
            if (folder / "final.npy").exists():
                frame = self._frame(member, sum(old))
                frame.parent.mkdir(exist_ok=True)
                (folder / "final.npy").replace(frame)
                extended.add(member)
            if (folder / "final.png").exists():
                (folder / "final.png").replace(folder / "latest.png")
            if member in self._fewer:
                (folder / STATE).unlink(missing_ok=True)
        if self._fewer:
            for member, look in self._results(metrics):
                finish([member], look)
        if extended := extended - self._fewer.keys():
            known = extended & states.positions(lambda _: False).keys()
            logging.info(
                "of %d finished members that are given more steps, %d go on from a "
                "solver state that was kept, and %d begin anew",
                *(len(extended), len(known), len(extended) - len(known)),
            )

    def _results(self, metrics: Metrics) -> Iterator[tuple[int, StepResult]]:
        """Members with fewer steps, and the looks that their results come from."""

        def kept(row: dict[str, Any]) -> bool:
            return row["step"] <= self._fewer.get(row["member"], row["step"])

        rows: dict[int, list[dict[str, Any]]] = {}
        for row in metrics.keep(kept):
            rows.setdefault(row["member"], []).append(row)
        for member, step in self._fewer.items():
            own = rows.get(member, [])
            stage = [row for row in own if row["stage"] == own[-1]["stage"]]
            if own and own[-1]["step"] == step:
                canvas = np.array(map_array(self._frame(member, step)))
                yield member, _look(stage[0], own[-1], canvas)


def _look(first: dict[str, Any], row: dict[str, Any], canvas: np.ndarray) -> StepResult:
    """The look at one member that a row of metrics is of.

    Args:
      first: the member's row at the start of the same stage.
    """

    def number(value: float | None) -> Any:
        return np.array([np.nan if value is None else value])

    rollbacks = np.array([row.get("rollbacks", 0)])
    report = Report(
        loss=number(row["loss"]),
        parts={name: number(value) for name, value in row["terms"].items()},
        grad_norm=number(row["grad_norm"]),
        step_length=number(row["step_length"]),
        evaluations=number(row["evaluations"]),
        failed=number(row["failed_line_searches"]),
    )
    is_stalled = (
        (rollbacks > 0) & (row["step_length"] == 0) & (row["loss"] == first["loss"])
    )
    return StepResult(row["step"], report, rollbacks, is_stalled, canvas[None], None)
