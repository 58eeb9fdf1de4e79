"""States of batches, under way and finished, kept to the bit."""

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Callable, Sequence

import jax
import msgspec
import numpy as np
import safetensors
import safetensors.numpy
from absl import logging

from nst_jax.core.atomic import write_atomically
from nst_jax.models.weights import tensors_sha256
from nst_jax.optim.transfer import State
from nst_jax.plan.build import Plan
from nst_jax.plan.stages import Stage

#: Name of a solver state's file.
STATE = "state.safetensors"
#: Errors of reading a file that anybody may have written.
_UNREADABLE = (
    *(safetensors.SafetensorError, OSError, LookupError),
    *(ValueError, TypeError),
)
_Place = tuple[tuple[int, ...], int, int, float, int]


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A batch under way.

    Attributes:
      members: whose it is.
      stage: which of the stages they are in, from 0.
      step: how many steps they have made, those of the stages before included.
      seconds: spent on them.
      rows: how many rows of metrics they have from the looks before this one.
      leaves: of their state, on the host.
    """

    members: tuple[int, ...]
    stage: int
    step: int
    seconds: float
    rows: int
    leaves: Sequence[np.ndarray]

    def save(self, path: pathlib.Path) -> None:
        """Writes it, whole or not at all."""
        tensors = {f"{i:03d}": np.asarray(leaf) for i, leaf in enumerate(self.leaves)}
        place = json.dumps(
            [self.members, self.stage, self.step, self.seconds, self.rows]
        )
        metadata = {"place": place, "sha256": _sha256(tensors, place)}

        def write(partial: pathlib.Path) -> None:
            try:
                safetensors.numpy.save_file(tensors, partial, metadata)
            except safetensors.SafetensorError as error:
                raise OSError(str(error)) from None  # Which is what it is of.

        write_atomically(path, write)

    def restore(self, stages: Sequence[Stage], rows: int) -> tuple[int, State] | None:
        """The step within its stage, and the state on the device.

        Args:
          stages: those of the members' group.
          rows: number of rows of metrics that the members have.

        Returns:
          None, with a warning, where rows are missing or the program is another one.
        """
        if rows != self.rows:
            logging.warning("rows of metrics are missing; its batch begins anew")
            return None
        state, step = None, 0
        if 0 <= self.stage < len(stages):
            stage = stages[self.stage]
            step = self.step - stage.before
            if 0 <= step <= stage.steps:
                state = stage.ensemble.restore(self.leaves)
        if state is None:
            logging.warning("the checkpoint does not fit this program; starting over")
            return None
        return step, jax.device_put(state)

    @staticmethod
    def position(path: pathlib.Path) -> "tuple[tuple[int, ...], int, int] | None":
        """Members, stage and step of a checkpoint; None if it cannot be read.

        The arrays are not read.
        """
        try:
            with safetensors.safe_open(path, "numpy") as file:
                place = file.metadata()["place"]
            members, stage, step, *_ = msgspec.json.decode(place, type=_Place)
        except _UNREADABLE:
            return None
        return members, stage, step

    @classmethod
    def load(cls, path: pathlib.Path) -> "Checkpoint | None":
        """The checkpoint that was saved; None if there is none that can be read."""
        if not path.exists():
            return None
        try:
            with safetensors.safe_open(path, "numpy") as file:
                meta = file.metadata()
                names = sorted(file.keys(), key=int)  # "1000" comes after "999".
                tensors = {name: file.get_tensor(name) for name in names}
            if meta["sha256"] != _sha256(tensors, meta["place"]):
                raise ValueError("it is damaged")
            place = msgspec.json.decode(meta["place"], type=_Place)
            members, stage, step, seconds, rows = place
            return cls(members, stage, step, seconds, rows, [*tensors.values()])
        except _UNREADABLE as error:
            logging.warning("the checkpoint cannot be read (%s); starting over", error)
            return None


class KeptStates:
    """Solver states of finished batches, in the folders of their first members.

    More steps go on from them. Members that start from another's result have none, for
    more steps change their start.
    """

    def __init__(self, folder: pathlib.Path, plan: Plan):
        """
        Args:
          folder: that of all members.
          plan: its `output.keep_state` limits the bytes of all states.
        """
        self._folder = folder
        self._limit = 1e9 * plan.experiment.output.keep_state
        self._count = len(plan.members)
        self._chained = plan.chained
        self._bytes: int | None = None

    def _path(self, member: int) -> pathlib.Path:
        return self._folder / f"{member:03d}" / STATE

    def make_room(self, members: Sequence[int], size: int) -> bool:
        """Drop a batch's earlier state; return whether one of `size` bytes is kept."""
        if self._bytes is None:
            states = self._folder.glob(f"*/{STATE}")
            self._bytes = sum(path.stat().st_size for path in states)
        path = self._path(members[0])
        if path.exists():
            self._bytes -= path.stat().st_size
            path.unlink()
        # Results come first: a state never takes the last of a disk.
        free = shutil.disk_usage(self._folder).free
        fits = size <= min(self._limit - self._bytes, free / 4)
        room = fits and self._chained.isdisjoint(members)
        self._bytes += size if room else 0
        return room

    def save(self, state: Checkpoint) -> None:
        """Keep a state that there is room for; a disk that fails is only said."""
        path = self._path(state.members[0])
        try:
            state.save(path)
        except OSError as error:  # Results are there without it.
            logging.warning(
                "%s could not be written (%s): more steps would begin anew",
                *(path, error.strerror or error),
            )

    def load(self, members: Sequence[int]) -> Checkpoint | None:
        """The state that a finished batch left; None if it left none."""
        state = Checkpoint.load(self._path(members[0]))
        return state if state and state.members == tuple(members) else None

    def positions(
        self,
        finished: Callable[[Sequence[int]], bool],
        checkpoint: Checkpoint | None = None,
    ) -> dict[int, tuple[int, int]]:
        """Member -> stage and step that its batch goes on from, if from any.

        Args:
          finished: whether members are; finished batches do not go on.
          checkpoint: of the batch under way.
        """
        positions: dict[int, tuple[int, int]] = {}
        for path in sorted(self._folder.glob(f"*/{STATE}")):
            if place := Checkpoint.position(path):
                members, stage, step = place
                known = all(0 <= member < self._count for member in members)
                if known and not finished(members):
                    positions |= dict.fromkeys(members, (stage, step))
        if checkpoint:
            at = checkpoint.stage, checkpoint.step
            positions |= dict.fromkeys(checkpoint.members, at)
        return positions


def _sha256(tensors: dict[str, np.ndarray], place: str) -> str:
    """Of all that it holds: a step that is another one would go unnoticed for long."""
    text = np.frombuffer(place.encode(), np.uint8)
    return tensors_sha256({**tensors, "place": text})
