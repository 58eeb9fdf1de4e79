"""The run directory: the only writer.

    run.json          what ran, on what, how long, and how it ended
    metrics.jsonl     one row a member and look
    inputs/           the pictures that it was given, as they were used
    members/000/      final.png, final.npy (the exact result), frames/, member.json;
                      latest.png until it is finished; state.safetensors, the solver's
                      after a batch, with its first member
    checkpoint.safetensors    a batch under way, while there is one
    running.json      the process that writes here, while there is one

and, made from these by `nst_jax.report`: report.html, sheet.png, curves.svg, the
numbers in study.json, and the making_of of members that have frames.

Files appear under their names only when they are whole.
"""

import contextlib
import functools
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from nst_jax.core.atomic import write_atomically
from nst_jax.core.errors import RequestError
from nst_jax.ensemble.outcome import clipped_share
from nst_jax.ensemble.step_result import StepResult
from nst_jax.images.io import file_sha256, map_array, save_image
from nst_jax.plan.build import Plan
from nst_jax.plan.warnings import request_warnings, result_warnings
from nst_jax.workdir.checkpoint import Checkpoint, KeptStates
from nst_jax.workdir.lock import Lock, check_contents, check_free, check_writable
from nst_jax.workdir.manifest import config_mismatch, continued, planned, roundtrip
from nst_jax.workdir.metrics_log import Metrics, read_metrics
from nst_jax.workdir.schema import is_whole, read_manifest
from nst_jax.workdir.step_change import StepChange
from nst_jax.workdir.strict_json import to_json

#: Times that run.json is written in any case while all members are computed.
SAVES = 100


class Records:
    """One run's directory.

    Opening it creates it, or finds what an earlier call of the same request left.

    Attributes:
      manifest: what run.json holds.
      status: the earlier call's status, "new" if there was none.
      output_changed: whether the earlier call had other `output` options.
    """

    def __init__(self, workdir: str | pathlib.Path, plan: Plan, command: str = ""):
        """Opens a run directory; nothing is written yet.

        Raises:
          RequestError: it holds another run, or files that are of no run and that this
            one would overwrite, or cannot be written to.
        """
        if not isinstance(plan, Plan):
            raise RequestError(f"plan must be a nst_jax.Plan, got {plan!r}")
        self.workdir = pathlib.Path(workdir)
        self.plan = plan
        self.metrics = Metrics(self.workdir / "metrics.jsonl")
        self._saved = self._save_s = 0.0
        self._unsaved = 0  # Changes of members since.
        self._checkpoint_is_old = False  # Once run.json says that its batch is done.
        self._proven: set[int] = set()  # Members whose results were found to be so.
        self._alpha = {
            number: scene.alpha
            for group in plan.groups
            for number, scene in zip(group.numbers, group.scenes, strict=True)
        }
        self.states = KeptStates(self.workdir / "members", plan)
        self._change: StepChange | None = None
        check_writable(self.workdir)
        check_contents(self.workdir)
        check_free(self.workdir)
        self._lock = Lock(self.workdir)
        earlier = self._earlier()
        self.status: str = earlier["status"] if earlier else "new"
        self.manifest = planned(plan, command)
        self.output_changed = False
        if earlier:
            if reason := config_mismatch(earlier, self.manifest):
                raise RequestError(
                    f"workdir {str(workdir)!r} holds {reason}; give this one a new "
                    "--workdir"
                )
            if len(earlier["groups"]) != len(plan.groups):
                raise self._unreadable("its groups are not those of its config")
            now = self.manifest["config"]["output"]
            self.output_changed = earlier["config"]["output"] != roundtrip(now)
            under_way = Checkpoint.position(self.checkpoint_path)
            ours = self.manifest
            self._change = StepChange(self.workdir, plan, earlier, ours, under_way)
            self.manifest = continued(earlier, self.manifest)

    def member_dir(self, member: int) -> pathlib.Path:
        return self.workdir / "members" / f"{member:03d}"

    def finished(self, members: Iterable[int]) -> bool:
        """Whether all of these members have their results on disk, as they were."""
        return all(map(self._finished, members))

    def _finished(self, member: int) -> bool:
        entry = self.manifest["members"][member]
        if member not in self._proven and is_whole(
            entry, self.member_dir(member), self.metrics.counts[member]
        ):
            self._proven.add(member)
        return member in self._proven

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The folder is this process's, from here to the end of the context.

        Raises:
          RequestError: another process has it, or had it since it was opened.
        """
        self._lock.acquire()
        try:
            if self._written() != self._opened:
                raise RequestError(
                    f"workdir {str(self.workdir)!r} was written to by another run just "
                    "now; give the same command again"
                )
            yield
        finally:
            self._lock.release()

    def begin(self) -> None:
        """Marks the run as running, and keeps the pictures that it was given.

        Members whose number of steps changed are made ready to go on.
        """
        self.manifest["warnings"] = request_warnings(self.plan)
        if self._change:
            if self._change.outdates_checkpoint:
                self.checkpoint_path.unlink()
            finish = functools.partial(self.finish, under_way=False)
            self._change.apply(self.metrics, self.states, finish)
        self.save()
        self.keep_inputs()

    def keep_inputs(self) -> None:
        """Keeps the pictures that the run was given, as they are used."""
        for i, picture in self.plan.pictures.items():
            path = self.workdir / f"inputs/{i:03d}.png"
            self._picture(path, picture, self.plan.alphas.get(i))

    def add(
        self, members: Sequence[int], stage: int, look: StepResult, seconds: float
    ) -> None:
        """Records a look at a batch: rows of metrics, and pictures if it has any.

        Its step counts those of the stages before.
        """
        reports = [
            jax.tree.map(lambda leaf, i=i: leaf[i].item(), look.report)
            for i in range(len(members))
        ]
        self.metrics.add(
            {
                "member": member,
                "seed": self.plan.members[member].seed,
                "stage": stage,
                "step": look.step,
                "loss": report.loss,
                "terms": report.parts,
                "grad_norm": report.grad_norm,
                "step_length": report.step_length,
                "evaluations": report.evaluations,
                "failed_line_searches": report.failed,
                "rollbacks": rollbacks,
                "seconds": round(seconds, 3),
            }
            for member, report, rollbacks in zip(
                members, reports, look.rollbacks.tolist(), strict=True
            )
        )
        if look.canvas is not None:
            for member, canvas in zip(members, look.canvas, strict=True):
                experiment = self.plan.members[member].experiment
                output = experiment.output
                if look.step in output.snapshot_steps(experiment.total_steps):
                    frame = self.member_dir(member) / "frames" / f"{look.step:06d}.png"
                    self._picture(frame, canvas)
                    if output.exact:
                        self._array(frame.with_suffix(".npy"), canvas)

    def finish(
        self, members: Sequence[int], look: StepResult, *, under_way: bool = True
    ) -> None:
        """Writes the results of a batch that has made all its steps.

        They count as finished together, once all are written.

        Args:
          under_way: whether the checkpoint, if there is one, is this batch's.
        """
        assert look.canvas is not None
        self.metrics.sync()  # Their number is what proves the results whole.
        entries = {}
        for i, (member, canvas) in enumerate(zip(members, look.canvas, strict=True)):
            folder = self.member_dir(member)
            self._array(folder / "final.npy", canvas)
            self._picture(folder / "final.png", canvas, self._alpha[member])
            entries[member] = self.manifest["members"][member] | {
                "status": "diverged" if look.diverged[i] else "done",
                "loss": look.report.loss[i].item(),
                "evaluations": int(look.report.evaluations[i]),
                "failed_line_searches": int(look.report.failed[i]),
                "rollbacks": int(look.rollbacks[i]),
                "rows": self.metrics.counts[member],
                "sha256": file_sha256(folder / "final.npy"),
                "clipped": clipped_share(canvas),
            }
            if look.overflowed is not None:
                entries[member]["overflowed"] = look.overflowed[i].item()
            if not np.isfinite(look.report.grad_norm[i]):
                entries[member]["faulty_terms"] = list(look.faulty_terms)
            self.write_json(folder / "member.json", entries[member])
        for member, entry in entries.items():
            self.manifest["members"][member] = entry
        for member in members:
            (self.member_dir(member) / "latest.png").unlink(missing_ok=True)
        self._checkpoint_is_old |= under_way
        self._save_now_and_then(len(members))

    def add_latest(
        self, member: int, canvas: np.ndarray, alpha: np.ndarray | None
    ) -> None:
        """Writes the current picture [H, W, 3] of a member, of any stage's size."""
        self._picture(self.member_dir(member) / "latest.png", canvas, alpha)

    def outcome(self) -> str:
        """Return "done", or "failed" if all members' results are not usable."""
        entries = self.manifest["members"]
        diverged = all(entry["status"] == "diverged" for entry in entries)
        return "failed" if diverged else "done"

    def result(self, member: int) -> np.ndarray:
        """The exact result [H, W, 3] of a member that is finished."""
        return np.array(map_array(self.member_dir(member) / "final.npy"))

    def batch_size(self, group: int) -> int | None:
        """How many members of a group are held at a time; None if not chosen yet."""
        return self.manifest["groups"][group]["batch_size"]

    def set_batch_size(self, group: int, size: int) -> None:
        """Chooses it, for this call and all that go on with the run."""
        entry = self.manifest["groups"][group]
        entry["batch_size"] = size
        self._save_now_and_then(entry["count"])

    def add_group(
        self,
        number: int,
        *,
        compile_s: float,
        run_s: float,
        member_steps: int,
    ) -> None:
        """Records what a group's program was, and what it has cost in this call."""
        entry = self.manifest["groups"][number]
        entry["compile_s"] = round(entry["compile_s"] + compile_s, 4)
        entry["run_s"] = round(entry["run_s"] + run_s, 4)
        entry["member_steps"] += member_steps

    def end(self, status: str, member_steps: int, **timings: float) -> None:
        """Closes the run as "done", "interrupted" or "failed".

        Args:
          status: how it ended.
          member_steps: steps made in this call, each member's counted.
          timings: seconds of this call; those of all calls are added up, and
            `step_s` is what a member's step took of `run_s`.
        """
        total = self.manifest["timings"]
        for name, seconds in timings.items():
            total[name] = round(total[name] + seconds, 4)
        self.manifest["member_steps"] += member_steps
        total["step_s"] = round(
            total["run_s"] / max(self.manifest["member_steps"], 1), 6
        )
        self.manifest["status"] = status
        rows = read_metrics(self.metrics.path)
        self.manifest["warnings"] = [
            *request_warnings(self.plan),
            *result_warnings(self.plan, self.manifest["members"], rows),
        ]
        self.save()

    @property
    def checkpoint_path(self) -> pathlib.Path:
        return self.workdir / "checkpoint.safetensors"

    def save_checkpoint(
        self, members: Sequence[int], stage: int, look: StepResult, seconds: float
    ) -> None:
        """Keeps a batch under way, after so many seconds, to the bit."""
        if self._unsaved:  # The batch before has no other proof from here on.
            self.save()
        checkpoint = self._checkpoint(members, stage, look, seconds)
        checkpoint.save(self.checkpoint_path)

    def keep_state(
        self, members: Sequence[int], stage: int, look: StepResult, seconds: float
    ) -> None:
        """Keeps the solver state of a finished batch."""
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(look.state))
        if self.states.make_room(members, size):
            self.states.save(self._checkpoint(members, stage, look, seconds))

    def _checkpoint(
        self, members: Sequence[int], stage: int, look: StepResult, seconds: float
    ) -> Checkpoint:
        # Those of this look come once more, for what goes on begins with it.
        rows = sum(self.metrics.counts[member] - 1 for member in members)
        self.workdir.stat()
        self.metrics.sync()  # A checkpoint presumes the rows before it.
        leaves = list(map(np.asarray, jax.tree.leaves(look.state)))
        return Checkpoint(tuple(members), stage, look.step, seconds, rows, leaves)

    def load_checkpoint(self) -> Checkpoint | None:
        """The batch that an earlier call left under way, if there is one."""
        # One that lies in a folder without a run is of another run.
        known = self.status != "new"
        return Checkpoint.load(self.checkpoint_path) if known else None

    def _written(self) -> int:
        """When run.json was; 0 if there is none."""
        path = self.workdir / "run.json"
        return path.stat().st_mtime_ns if path.exists() else 0

    def _earlier(self) -> dict[str, Any] | None:
        self._opened = self._written()
        if not self._opened:
            return None
        try:
            return read_manifest(self.workdir)
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from None

    def _unreadable(self, reason: object) -> RequestError:
        return RequestError(
            f"workdir {str(self.workdir)!r} holds a run.json that cannot be read "
            f"({reason}); give this run a new --workdir"
        )

    def trim_metrics(self, checkpoint: Checkpoint | None) -> set[int]:
        """Drops the rows of what is neither finished nor in a checkpoint.

        Returns:
          the members that have rows left.
        """

        positions = self.states.positions(self.finished, checkpoint)

        def kept(row: dict[str, Any]) -> bool:
            if position := positions.get(row["member"]):
                return (row["stage"], row["step"]) < position
            known = row["member"] < len(self.manifest["members"])
            return known and self.finished([row["member"]])

        return {row["member"] for row in self.metrics.keep(kept)}

    def drop_metrics(self, members: Sequence[int]) -> None:
        """Drops the rows of members that will be computed once more."""
        dropped = set(members)
        if any(self.metrics.counts[member] for member in dropped):
            self.metrics.keep(lambda row: row["member"] not in dropped)

    def _picture(
        self, path: pathlib.Path, canvas: np.ndarray, alpha: np.ndarray | None = None
    ) -> None:
        self._whole(path, lambda partial: save_image(partial, canvas, alpha))

    def _array(self, path: pathlib.Path, canvas: np.ndarray) -> None:
        self._whole(path, lambda partial: np.save(partial, canvas))

    def write_json(self, path: pathlib.Path, content: object) -> None:
        text = to_json(content, indent=2) + "\n"
        self._whole(path, lambda partial: partial.write_text(text))

    def _whole(
        self, path: pathlib.Path, write: Callable[[pathlib.Path], object]
    ) -> None:
        # Half of a folder that someone has removed would be taken for a run.
        self.workdir.stat()
        write_atomically(path, write)

    def save(self) -> None:
        """Write run.json as of now."""
        began = time.perf_counter()
        self.write_json(self.workdir / "run.json", self.manifest)
        self._saved = time.perf_counter()
        self._save_s, self._unsaved = self._saved - began, 0
        if self._checkpoint_is_old:
            self.checkpoint_path.unlink(missing_ok=True)
            self._checkpoint_is_old = False

    def _save_now_and_then(self, members: int) -> None:
        """Write run.json after a change of some members, unless it was a moment ago.

        It lists all members, so writing it for each of them would take the square of
        their number. It is written for every hundredth part of them, and besides when
        that takes less than a twentieth of the time. A process that is killed in
        between loses what run.json does not say, and computes that again.
        """
        self._unsaved += members
        many = self._unsaved * SAVES >= len(self.manifest["members"])
        if many or time.perf_counter() - self._saved > 20 * self._save_s:
            self.save()
