"""A batch under way, kept to the bit."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence

import msgspec
import numpy as np
import safetensors
import safetensors.numpy
from absl import logging

from nst_jax.atomic import write_whole
from nst_jax.weights import tensors_sha256

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

        write_whole(path, write)

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
        except (
            *(safetensors.SafetensorError, OSError, LookupError),
            *(ValueError, TypeError),
        ) as error:
            logging.warning("the checkpoint cannot be read (%s); starting over", error)
            return None


def _sha256(tensors: dict[str, np.ndarray], place: str) -> str:
    """Of all that it holds: a step that is another one would go unnoticed for long."""
    text = np.frombuffer(place.encode(), np.uint8)
    return tensors_sha256({**tensors, "place": text})
