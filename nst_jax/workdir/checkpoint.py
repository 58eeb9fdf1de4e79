"""Solver states on disk, of the running batch and of finished ones."""

import dataclasses
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
import safetensors
import safetensors.numpy
from absl import logging

from nst_jax.core.atomic import write_atomically
from nst_jax.ensemble.step_result import StepResult
from nst_jax.models.weights import tensors_sha256
from nst_jax.optim.transfer import State
from nst_jax.plan.build import Plan
from nst_jax.plan.stages import Stage
from nst_jax.workdir.metrics_log import MetricsLog
from nst_jax.workdir.schema import decode, encode

#: File name of a finished batch's solver state.
STATE = "state.safetensors"
#: Errors of reading a file with arbitrary content.
_UNREADABLE = (
    *(safetensors.SafetensorError, OSError, LookupError),
    *(ValueError, TypeError),
)


class _Header(NamedTuple):
    """The JSON text in a checkpoint file."""

    members: tuple[int, ...]
    stage: int
    step: int
    seconds: float
    rows: int


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The state of a batch between two steps.

    Attributes:
      members: the members of the batch.
      stage: index of their stage.
      step: number of steps made, earlier stages included.
      seconds: time spent on these steps.
      rows: number of metrics rows that the members have up to this step.
      leaves: arrays of the solver state, on the host.
    """

    members: tuple[int, ...]
    stage: int
    step: int
    seconds: float
    rows: int
    leaves: Sequence[np.ndarray] = ()

    def save(self, path: pathlib.Path) -> None:
        """Write a checkpoint atomically."""
        tensors = {f"{i:03d}": np.asarray(leaf) for i, leaf in enumerate(self.leaves)}
        header = encode([self.members, self.stage, self.step, self.seconds, self.rows])
        metadata = {"place": header, "sha256": _sha256(tensors, header)}

        def write(partial: pathlib.Path) -> None:
            try:
                safetensors.numpy.save_file(tensors, partial, metadata)
            except safetensors.SafetensorError as error:
                raise OSError(str(error)) from None  # The only cause is a failed write.

        write_atomically(path, write)

    def restore(self, stages: Sequence[Stage], rows: int) -> tuple[int, State] | None:
        """Return the step within the stage, and the state on the device.

        Args:
          stages: the stages of the members' group.
          rows: number of metrics rows that the members have.

        Returns:
          None, with a warning, if rows are missing or the program is another one.
        """
        if rows != self.rows:
            logging.warning("rows of metrics are missing: the batch starts over")
            return None
        if 0 <= self.stage < len(stages):
            stage = stages[self.stage]
            step = self.step - stage.steps_before
            state = stage.ensemble.restore(self.leaves)
            if state is not None and 0 <= step <= stage.steps:
                return step, jax.device_put(state)
        logging.warning(
            "the checkpoint does not fit this program: the batch starts over"
        )
        return None

    @classmethod
    def load_header(cls, path: pathlib.Path) -> "Checkpoint | None":
        """Return a checkpoint without its arrays; None if it is missing or broken."""
        try:
            with safetensors.safe_open(path, "numpy") as file:
                return cls(*decode(file.metadata()["place"], _Header))
        except _UNREADABLE:
            return None

    @classmethod
    def load(cls, path: pathlib.Path) -> "Checkpoint | None":
        """Return a checkpoint; None if it is missing, or broken (with a warning)."""
        if not path.exists():
            return None
        try:
            with safetensors.safe_open(path, "numpy") as file:
                metadata = file.metadata()
                names = sorted(file.keys(), key=int)  # "1000" comes after "999".
                tensors = {name: file.get_tensor(name) for name in names}
            if metadata["sha256"] != _sha256(tensors, metadata["place"]):
                raise ValueError("its SHA-256 differs")
            return cls(*decode(metadata["place"], _Header), [*tensors.values()])
        except _UNREADABLE as error:
            logging.warning(
                "the checkpoint cannot be read (%s): the batch starts over", error
            )
            return None


class SolverStates:
    """Solver states of the running batch, and of finished ones.

    The state of a finished batch is in the folder of its first member; a run with more
    steps resumes from it. Members that start from another member's result have none,
    because more steps change their starting image.
    """

    def __init__(self, workdir: pathlib.Path, plan: Plan, metrics: MetricsLog):
        """
        Args:
          workdir: the run directory.
          plan: its `output.keep_state` limits the bytes of all final states.
          metrics: the rows of the run.
        """
        self.checkpoint_path = workdir / "checkpoint.safetensors"
        self._folder = workdir / "members"
        self._metrics = metrics
        self._limit = 1e9 * plan.experiment.output.keep_state
        self._member_count = len(plan.members)
        self._dependent = plan.dependent_members
        self._final_bytes: int | None = None

    def save_checkpoint(
        self, members: Sequence[int], stage: int, result: StepResult, seconds: float
    ) -> None:
        """Write the checkpoint of the running batch, after `seconds` of computing."""
        checkpoint = self._checkpoint(members, stage, result, seconds)
        checkpoint.save(self.checkpoint_path)

    def save_final(
        self, members: Sequence[int], stage: int, result: StepResult, seconds: float
    ) -> None:
        """Write the state of a finished batch if there is room.

        A failing disk is logged only, since the run can do without the state.
        """
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(result.state))
        if not self._make_room(members, size):
            return
        path = self._final_path(members)
        state = self._checkpoint(members, stage, result, seconds)
        try:
            state.save(path)
        except OSError as error:
            logging.warning(
                "%s could not be written (%s): more steps would start over",
                *(path, error.strerror or error),
            )

    def load_final(self, members: Sequence[int]) -> Checkpoint | None:
        """Return the state of a finished batch; None if it has none."""
        state = Checkpoint.load(self._final_path(members))
        return state if state and state.members == tuple(members) else None

    def _final_path(self, members: Sequence[int]) -> pathlib.Path:
        return self._folder / f"{members[0]:03d}" / STATE

    def _checkpoint(
        self, members: Sequence[int], stage: int, result: StepResult, seconds: float
    ) -> Checkpoint:
        self._folder.parent.stat()  # A deleted run directory is not created again.
        self._metrics.sync()  # The rows must be on disk before the checkpoint.
        # A resumed batch reports the step of its checkpoint again.
        rows = sum(self._metrics.counts[member] - 1 for member in members)
        leaves = list(map(np.asarray, jax.tree.leaves(result.state)))
        return Checkpoint(tuple(members), stage, result.step, seconds, rows, leaves)

    def _make_room(self, members: Sequence[int], size: int) -> bool:
        """Drop a batch's earlier state; return whether `size` bytes may be written."""
        if self._final_bytes is None:
            states = self._folder.glob(f"*/{STATE}")
            self._final_bytes = sum(path.stat().st_size for path in states)
        path = self._final_path(members)
        if path.exists():
            self._final_bytes -= path.stat().st_size
            path.unlink()
        # Results come first: a state never takes the last of a disk.
        free = shutil.disk_usage(self._folder).free
        fits = size <= min(self._limit - self._final_bytes, free / 4)
        has_room = fits and self._dependent.isdisjoint(members)
        self._final_bytes += size if has_room else 0
        return has_room

    def positions(
        self,
        is_finished: Callable[[Sequence[int]], bool],
        checkpoint: Checkpoint | None = None,
    ) -> dict[int, tuple[int, int]]:
        """Return the (stage, step) from which unfinished members can resume.

        Args:
          is_finished: tells whether members are finished.
          checkpoint: of the running batch.
        """
        positions: dict[int, tuple[int, int]] = {}
        for path in sorted(self._folder.glob(f"*/{STATE}")):
            state = Checkpoint.load_header(path)
            if (
                state
                and all(0 <= member < self._member_count for member in state.members)
                and not is_finished(state.members)
            ):
                positions |= dict.fromkeys(state.members, (state.stage, state.step))
        if checkpoint:
            position = checkpoint.stage, checkpoint.step
            positions |= dict.fromkeys(checkpoint.members, position)
        return positions


def _sha256(tensors: dict[str, np.ndarray], header: str) -> str:
    text = np.frombuffer(header.encode(), np.uint8)
    return tensors_sha256({**tensors, "place": text})
