"""Resuming a run with more or fewer steps than an earlier call asked for."""

import pathlib
from collections.abc import Callable

import numpy as np
from absl import logging

from nst_jax.core.errors import RequestError
from nst_jax.images.io import map_array
from nst_jax.plan.build import Plan
from nst_jax.workdir.checkpoint import SolverStates
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
        states: SolverStates,
    ):
        """
        Args:
          workdir: the run directory.
          plan: the plan of this call.
          previous: the run.json of the earlier call.
          manifest: the run.json of this call.
          states: solver states of the run.

        Raises:
          RequestError: the run cannot change to these numbers of steps.
        """
        self._workdir, self._states = workdir, states
        self._dependent = plan.dependent_members
        self._shapes = {n: g.content.shape for g in plan.groups for n in g.numbers}
        #: Member -> steps of its stages in the earlier call and in this one.
        self._steps: dict[int, tuple[list[int], list[int]]] = {
            new.member: (old.steps, new.steps)
            for old, new in zip(previous.members, manifest.members, strict=True)
            if old.steps != new.steps
        }
        #: Member that has made too many steps -> steps of this call.
        self._shortened: dict[int, int] = {}
        most_made = 0
        positions = states.positions(lambda _: False) if self._steps else {}
        for member, (old_steps, new_steps) in self._steps.items():
            self._check_stages(old_steps, new_steps)
            _, made = positions.get(member, (0, 0))
            if previous.members[member].is_finished:
                made = sum(old_steps)
            if made > sum(new_steps):
                self._shortened[member] = sum(new_steps)
                most_made = max(most_made, made)
        self._check_frames(most_made)

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
        write_result: Callable[[int, np.ndarray, bool, Row], object],
    ) -> None:
        """Prepare the members for resuming.

        An earlier result becomes an exact frame, and is shown until there is a new one.
        Members with fewer steps are finished from the frame of that step.

        Args:
          metrics: rows of steps that the run no longer makes are dropped.
          write_result: writes a member's result, from its canvas, whether it has
            diverged, and its last row.
        """
        self._states.drop(self._steps.keys() & {*self._dependent, *self._shortened})
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
        if self._shortened:
            self._write_results(metrics, write_result)
        if extended := extended - self._shortened.keys():
            resumed = len(extended & self._states.positions(lambda _: False).keys())
            logging.info(
                "%d finished members get more steps: %d resume from a stored solver "
                "state, %d start over",
                *(len(extended), resumed, len(extended) - resumed),
            )

    def _write_results(
        self,
        metrics: MetricsLog,
        write_result: Callable[[int, np.ndarray, bool, Row], object],
    ) -> None:
        """Drop rows of later steps, and write the frames of shortened members."""
        rows: dict[int, list[Row]] = {}
        for row in metrics.filter(
            lambda row: row["step"] <= self._shortened.get(row["member"], row["step"])
        ):
            rows.setdefault(row["member"], []).append(row)
        for member, step in self._shortened.items():
            last = rows.get(member, [None])[-1]
            if last is None or last["step"] != step:
                continue
            first = next(r for r in rows[member] if r["stage"] == last["stage"])
            canvas = np.array(map_array(self._frame(member, step)))
            is_stalled = last["rollbacks"] > 0 and (
                (last["step_length"], last["loss"]) == (0, first["loss"])
            )
            is_finite = None not in (last["loss"], last["grad_norm"])
            diverged = is_stalled or not (is_finite and np.isfinite(canvas).all())
            write_result(member, canvas, diverged, last)
