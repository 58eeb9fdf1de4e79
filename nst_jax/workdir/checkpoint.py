"""Solver states on disk, of running batches and of finished ones."""

import functools
import pathlib
import shutil
from collections.abc import Callable, Sequence, Set
from typing import NamedTuple

import jax
import numpy as np
import safetensors
import safetensors.numpy
from absl import logging

from nst_jax.core.atomic import write_atomically
from nst_jax.ensemble.step_result import StepResult
from nst_jax.models.weights import tensors_sha256
from nst_jax.optim.state import State
from nst_jax.plan.build import Plan
from nst_jax.plan.stages import Stage
from nst_jax.workdir.metrics_log import MetricsLog
from nst_jax.workdir.schema import decode, encode

#: File name of a batch's solver state, in the folder of its first member.
STATE = "state.safetensors"
#: Errors of reading a file with arbitrary content.
_UNREADABLE = (
    *(safetensors.SafetensorError, OSError, LookupError),
    *(ValueError, TypeError),
)


#: Types of a checkpoint's fields but the last, which are JSON text in its file.
_Header = tuple[tuple[int, ...], int, int, float, int]


class Checkpoint(NamedTuple):
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
        header = encode(self[:-1])
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
    def load(cls, path: pathlib.Path, *, arrays: bool = True) -> "Checkpoint | None":
        """Return a checkpoint; None if it is missing or broken.

        Args:
          path: its file.
          arrays: whether to read the arrays. Without them, a broken file is not logged.
        """
        if not path.exists():
            return None
        try:
            with safetensors.safe_open(path, "numpy") as file:
                metadata = file.metadata()
                # "1000" comes after "999".
                names = sorted(file.keys(), key=int) if arrays else []
                tensors = {name: file.get_tensor(name) for name in names}
            if arrays and metadata["sha256"] != _sha256(tensors, metadata["place"]):
                raise ValueError("its SHA-256 differs")
            header = decode(metadata["place"], _Header)
            return cls(*header)._replace(leaves=[*tensors.values()])
        except _UNREADABLE as error:
            if arrays:
                logging.warning(
                    "the checkpoint cannot be read (%s): the batch starts over", error
                )
            return None


class SolverStates:
    """Solver states of batches, each in the folder of its first member.

    An interrupted batch resumes from its state, and a finished one with more steps.
    Finished members that start from another member's result have no state, because more
    steps change their starting image.
    """

    def __init__(self, workdir: pathlib.Path, plan: Plan, metrics: MetricsLog):
        """
        Args:
          workdir: the run directory.
          plan: its `output.keep_state` limits the bytes of all final states.
          metrics: the rows of the run.
        """
        self._folder = workdir / "members"
        self._metrics = metrics
        self._limit = 1e9 * plan.experiment.output.keep_state
        self._member_count = len(plan.members)
        self._dependent = plan.dependent_members
        self._unneeded: list[pathlib.Path] = []

    @functools.cached_property
    def _final_bytes(self) -> dict[pathlib.Path, int]:
        """Sizes of the states that finished batches keep."""
        return {path: path.stat().st_size for path in self._paths()}

    def _paths(self) -> list[pathlib.Path]:
        return sorted(self._folder.glob(f"*/{STATE}"))

    def path(self, members: Sequence[int]) -> pathlib.Path:
        """Return the path of a batch's state."""
        return self._folder / f"{members[0]:03d}" / STATE

    def load(self, members: Sequence[int]) -> Checkpoint | None:
        """Return the state of a batch; None if it has none."""
        checkpoint = Checkpoint.load(self.path(members))
        return checkpoint if checkpoint and checkpoint.members == members else None

    def save(
        self, members: Sequence[int], stage: int, result: StepResult, seconds: float
    ) -> None:
        """Write the state of a batch, after `seconds` of computing."""
        self._folder.parent.stat()  # A deleted run directory is not created again.
        self._metrics.sync()  # The rows must be on disk before the state.
        # A resumed batch reports the step of its checkpoint again.
        rows = sum(self._metrics.counts[member] - 1 for member in members)
        leaves = list(map(np.asarray, jax.tree.leaves(result.state)))
        checkpoint = Checkpoint(
            *(tuple(members), stage, result.step, seconds, rows, leaves)
        )
        checkpoint.save(self.path(members))

    def save_final(
        self, members: Sequence[int], stage: int, result: StepResult, seconds: float
    ) -> None:
        """Write the state of a finished batch if there is room.

        A failing disk is logged only, since the run can do without the state.
        """
        path = self.path(members)
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(result.state))
        others = sum(n for other, n in self._final_bytes.items() if other != path)
        # Results come first: a state never takes the last of a disk.
        free = shutil.disk_usage(self._folder).free
        fits = size <= min(self._limit - others, free / 4)
        if fits and self._dependent.isdisjoint(members):
            try:
                self.save(members, stage, result, seconds)
                self._final_bytes[path] = size
                return
            except OSError as error:
                logging.warning(
                    "%s could not be written (%s): more steps would start over",
                    *(path, error.strerror or error),
                )
        self._final_bytes.pop(path, None)
        self._unneeded.append(path)

    def drop_unneeded(self) -> None:
        """Remove the states of finished batches that had no room for their last one.

        To be called when run.json says that these batches are finished.
        """
        while self._unneeded:
            self._unneeded.pop().unlink(missing_ok=True)

    def drop(self, members: Set[int]) -> None:
        """Remove the states of all batches with any of these members."""
        for path in self._paths():
            state = Checkpoint.load(path, arrays=False)
            if state and not members.isdisjoint(state.members):
                path.unlink()

    def positions(
        self, is_finished: Callable[[Sequence[int]], bool]
    ) -> dict[int, tuple[int, int]]:
        """Return the (stage, step) from which unfinished members can resume.

        Args:
          is_finished: tells whether members are finished.
        """
        positions: dict[int, tuple[int, int]] = {}
        for path in self._paths():
            state = Checkpoint.load(path, arrays=False)
            if (
                state
                and all(0 <= member < self._member_count for member in state.members)
                and not is_finished(state.members)
            ):
                positions |= dict.fromkeys(state.members, (state.stage, state.step))
        return positions


def _sha256(tensors: dict[str, np.ndarray], header: str) -> str:
    text = np.frombuffer(header.encode(), np.uint8)
    return tensors_sha256({**tensors, "place": text})
