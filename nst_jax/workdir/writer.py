"""The run directory and its only writer.

    run.json          request, environment, members, timings and status
    metrics.jsonl     one row for each member and recorded step
    inputs/           the input pictures as they were used
    members/000/      final.png, final.npy (the exact result), frames/, member.json;
                      latest.png until it is finished; state.safetensors, the solver
                      state of a batch, in the folder of its first member
    running.json      the process that holds the lock

`nst_jax.report` adds report.html, sheet.png, curves.svg, study.json, and a making_of of
each member that has frames.

All files are written atomically.
"""

import contextlib
import math
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from nst_jax.core.atomic import write_atomically
from nst_jax.core.errors import RequestError
from nst_jax.ensemble.outcome import clipped_share
from nst_jax.ensemble.step_result import StepResult
from nst_jax.images.io import file_sha256, map_array, save_image
from nst_jax.plan.build import Plan
from nst_jax.workdir.change_steps import StepChange
from nst_jax.workdir.checkpoint import SolverStates
from nst_jax.workdir.lock import Lock, check_folder
from nst_jax.workdir.manifest import (
    new_manifest,
    read_previous,
    resumed_manifest,
    run_warnings,
)
from nst_jax.workdir.metrics_log import MetricsLog, Row, read_metrics
from nst_jax.workdir.schema import (
    Status,
    Timings,
    encode,
    is_intact,
)

#: run.json is written at least this many times while all members are computed.
MIN_SAVES = 100


class RunWriter:
    """The directory of one run, new or left by an earlier call of the same request.

    Attributes:
      workdir: the directory.
      plan: the plan of the run.
      manifest: the content of run.json.
      metrics: metrics.jsonl.
      states: solver states.
      previous_status: status of the earlier call; "new" if there was none.
      output_changed: whether the earlier call had other `output` options.
    """

    def __init__(self, workdir: str | pathlib.Path, plan: Plan, command: str = ""):
        """Open a run directory without writing to it.

        Raises:
          RequestError: it holds another run or files that this run would overwrite, or
            cannot be written to.
        """
        if not isinstance(plan, Plan):
            raise RequestError(f"plan must be a nst_jax.Plan, got {plan!r}")
        self.workdir = pathlib.Path(workdir)
        self.plan = plan
        self.metrics = MetricsLog(self.workdir / "metrics.jsonl")
        self.states = SolverStates(self.workdir, plan, self.metrics)
        self._lock = Lock(self.workdir)
        self._saved_at = self._save_s = 0.0
        self._unsaved_members = 0
        self._intact: set[int] = set()  # Members whose files have been verified.
        self._alphas = {
            number: scene.alpha
            for group in plan.groups
            for number, scene in zip(group.numbers, group.scenes, strict=True)
        }
        check_folder(self.workdir)
        self.manifest = new_manifest(plan, command)
        self.previous_status: str = "new"
        self.output_changed = False
        self._change: StepChange | None = None
        self._opened_at = self._modified_at()
        if self._opened_at:
            previous = read_previous(self.workdir, self.manifest)
            self.previous_status = previous.status
            output = self.manifest.config["output"]
            self.output_changed = previous.config["output"] != output
            self._change = StepChange(
                self.workdir, plan, previous, self.manifest, self.states
            )
            self.manifest = resumed_manifest(previous, self.manifest)

    def member_folder(self, member: int) -> pathlib.Path:
        return self.workdir / "members" / f"{member:03d}"

    def is_finished(self, members: Iterable[int]) -> bool:
        """Return whether all of these members have intact results on disk."""
        for member in members:
            if member not in self._intact:
                entry, rows = self.manifest.members[member], self.metrics.counts[member]
                if not is_intact(entry, self.member_folder(member), rows):
                    return False
                self._intact.add(member)
        return True

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the directory in a context.

        Raises:
          RequestError: another process holds it, or has since this one was opened.
        """
        self._lock.acquire()
        try:
            if self._modified_at() != self._opened_at:
                raise RequestError(
                    f"workdir {str(self.workdir)!r} was written to by another run just "
                    "now; give the same command again"
                )
            yield
        finally:
            self._lock.release()

    def begin(self) -> None:
        """Mark the run as running, write its inputs and apply changed steps."""
        self.manifest.warnings = run_warnings(self.plan)
        if self._change:
            self._change.apply(self.metrics, self._write_result)
        self.save()
        self.write_inputs()

    def write_inputs(self) -> None:
        """Write the input pictures as they are used."""
        for i, picture in self.plan.pictures.items():
            path = self.workdir / f"inputs/{i:03d}.png"
            self._write_picture(path, picture, self.plan.alphas.get(i))

    def add_step(
        self, members: Sequence[int], stage: int, result: StepResult, seconds: float
    ) -> None:
        """Add rows of metrics of a batch, and its pictures if it has any.

        Steps of the result include earlier stages.
        """
        rows: list[Any] = [
            {
                "member": member,
                "seed": self.plan.members[member].seed,
                "stage": stage,
                **result.row(i),
                "seconds": round(seconds, 3),
            }
            for i, member in enumerate(members)
        ]
        self.metrics.append(rows)
        if result.canvas is None:
            return
        for member, canvas in zip(members, result.canvas, strict=True):
            experiment = self.plan.members[member].experiment
            output = experiment.output
            if result.step in output.snapshot_steps(experiment.total_steps):
                frame = self.member_folder(member) / f"frames/{result.step:06d}.png"
                self._write_picture(frame, canvas)
                if output.exact:
                    self._write_array(frame.with_suffix(".npy"), canvas)

    def finish(
        self, members: Sequence[int], stage: int, result: StepResult, seconds: float
    ) -> None:
        """Write the results of a batch that has made all its steps, and its state.

        Args:
          members: the members of the batch.
          stage: index of their last stage.
          result: their last step.
          seconds: time spent on all steps.
        """
        assert result.canvas is not None
        self.metrics.sync()  # The number of rows is part of an intact result.
        for i, member in enumerate(members):
            row, extra = result.row(i), dict[str, Any]()
            if result.overflowed is not None:
                extra["overflowed"] = result.overflowed[i].item()
            if not math.isfinite(row["grad_norm"]):
                extra["faulty_terms"] = list(result.faulty_terms)
            diverged = bool(result.diverged[i])
            self._write_result(member, result.canvas[i], diverged, row, **extra)
        self.states.save_final(members, stage, result, seconds)
        self._save_if_due(len(members))

    def _write_result(
        self,
        member: int,
        canvas: np.ndarray,
        diverged: bool,
        row: Mapping[str, Any],
        **extra: Any,
    ) -> None:
        """Write a member's canvas, and the numbers of its last row into its entry."""
        folder = self.member_folder(member)
        self._write_array(folder / "final.npy", canvas)
        self._write_picture(folder / "final.png", canvas, self._alphas[member])
        entry = msgspec.structs.replace(
            self.manifest.members[member],
            status="diverged" if diverged else "done",
            rows=self.metrics.counts[member],
            sha256=file_sha256(folder / "final.npy"),
            clipped=clipped_share(canvas),
            loss=row["loss"],
            evaluations=row["evaluations"],
            failed_line_searches=row["failed_line_searches"],
            rollbacks=row["rollbacks"],
            **extra,
        )
        self.write_json(folder / "member.json", entry)
        self.manifest.members[member] = entry
        (folder / "latest.png").unlink(missing_ok=True)

    def write_latest(
        self, member: int, canvas: np.ndarray, alpha: np.ndarray | None
    ) -> None:
        """Write the current picture [H, W, 3] of a member, at any stage's size."""
        self._write_picture(self.member_folder(member) / "latest.png", canvas, alpha)

    def read_result(self, member: int) -> np.ndarray:
        """Return the exact result [H, W, 3] of a finished member."""
        return np.array(map_array(self.member_folder(member) / "final.npy"))

    def set_batch_size(self, group: int, size: int | None) -> None:
        """Record a group's batch size, for this call and all that resume the run."""
        entry = self.manifest.groups[group]
        entry.batch_size = size
        self._save_if_due(entry.count)

    def add_costs(
        self, group: int, member_steps: int, compile_s: float, run_s: float
    ) -> None:
        """Add what a group has cost in this call."""
        entry = self.manifest.groups[group]
        entry.compile_s = round(entry.compile_s + compile_s, 4)
        entry.run_s = round(entry.run_s + run_s, 4)
        entry.member_steps += member_steps

    def end(self, status: Status, total_s: float = 0.0) -> None:
        """Record how the run ended, after `total_s` seconds of this call."""
        manifest, groups = self.manifest, self.manifest.groups
        manifest.status = status
        manifest.member_steps = sum(group.member_steps for group in groups)
        run_s = sum(group.run_s for group in groups)
        manifest.timings = Timings(
            compile_s=round(sum(group.compile_s for group in groups), 4),
            run_s=round(run_s, 4),
            step_s=round(run_s / max(manifest.member_steps, 1), 6),
            total_s=round(manifest.timings.total_s + total_s, 4),
        )
        rows = read_metrics(self.metrics.path)
        manifest.warnings = run_warnings(self.plan, manifest.members, rows)
        self.save()

    def _modified_at(self) -> int:
        """Return the modification time of run.json; 0 if there is none."""
        path = self.workdir / "run.json"
        return path.stat().st_mtime_ns if path.exists() else 0

    def trim_metrics(self) -> set[int]:
        """Drop rows of unsaved states, and return the members that have rows left."""
        positions = self.states.positions(self.is_finished)

        def is_kept(row: Row) -> bool:
            if position := positions.get(row["member"]):
                return (row["stage"], row["step"]) < position
            exists = row["member"] < len(self.manifest.members)
            return exists and self.is_finished([row["member"]])

        return {row["member"] for row in self.metrics.filter(is_kept)}

    def drop_metrics(self, members: Sequence[int]) -> None:
        """Drop the rows of members that start over."""
        if any(self.metrics.counts[member] for member in members):
            dropped = set(members)
            self.metrics.filter(lambda row: row["member"] not in dropped)

    def _write_picture(
        self, path: pathlib.Path, canvas: np.ndarray, alpha: np.ndarray | None = None
    ) -> None:
        self._write(path, lambda partial: save_image(partial, canvas, alpha))

    def _write_array(self, path: pathlib.Path, canvas: np.ndarray) -> None:
        self._write(path, lambda partial: np.save(partial, canvas))

    def write_json(self, path: pathlib.Path, content: msgspec.Struct) -> None:
        text = encode(content, indent=2) + "\n"
        self._write(path, lambda partial: partial.write_text(text))

    def _write(
        self, path: pathlib.Path, write: Callable[[pathlib.Path], object]
    ) -> None:
        self.workdir.stat()  # A deleted run directory is not created again.
        write_atomically(path, write)

    def save(self) -> None:
        """Write run.json."""
        began = time.perf_counter()
        self.write_json(self.workdir / "run.json", self.manifest)
        self._saved_at = time.perf_counter()
        self._save_s, self._unsaved_members = self._saved_at - began, 0
        self.states.drop_unneeded()

    def _save_if_due(self, members: int) -> None:
        """Write run.json after a change of some members, unless that costs too much.

        Writing all members after each of them would take quadratic time. A killed
        process computes unsaved members again.
        """
        self._unsaved_members += members
        has_many = self._unsaved_members * MIN_SAVES >= len(self.manifest.members)
        if has_many or time.perf_counter() - self._saved_at > 20 * self._save_s:
            self.save()
