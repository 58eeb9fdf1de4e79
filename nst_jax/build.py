"""From an experiment to a problem: no config goes further down than this."""

import dataclasses
import functools
import pathlib

import jax
import numpy as np

from nst_jax import io
from nst_jax.canvas import starting_canvas
from nst_jax.errors import RequestError
from nst_jax.experiment import Experiment, undraft
from nst_jax.losses import Objective
from nst_jax.transfer import Problem
from nst_jax.vgg import Network, deepest_layer, smallest_side
from nst_jax.weights import load_weights


@dataclasses.dataclass(frozen=True)
class Input:
    """A file that a run has read: its part in it, its path as given, its hash.

    Attributes:
      size: (height, width) of a picture as it was used; None for the weights.
    """

    role: str
    path: str
    sha256: str
    size: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Plan:
    """What will run.

    Attributes:
      experiment: what was asked for.
      network: VGG-19, on the device.
      objective: the sum of terms.
      content: float32 [H, W, 3].
      styles: pictures [h, w, 3].
      picture: what a canvas of kind "file" starts from.
      inputs: the files read.
    """

    experiment: Experiment
    network: Network
    objective: Objective
    content: np.ndarray
    styles: tuple[np.ndarray, ...]
    picture: np.ndarray | None
    inputs: tuple[Input, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.experiment.seeds

    @functools.cached_property
    def problem(self) -> Problem:
        """What all members share; its targets are computed when first asked for."""
        return Problem.of(
            self.network,
            self.objective,
            self.content,
            self.styles,
            self.experiment.solver.solver(),
            tolerance=self.experiment.solver.tolerance,
        )

    def starts(self, members: range) -> np.ndarray:
        """The starting canvases [n, H, W, 3] of some members."""
        return np.stack(
            [
                starting_canvas(
                    self.experiment.canvas,
                    self.seeds[member],
                    self.content,
                    self.styles,
                    self.picture,
                )
                for member in members
            ]
        )


def build(experiment: Experiment) -> Plan:
    """Reads what an experiment names, and compiles nothing.

    Raises:
      RequestError: something is wrong with the request. All that can be known
        before compiling is checked here.
    """
    experiment.check()
    objective = Objective(tuple(undraft(term) for term in experiment.terms))
    reader = _Reader(experiment)
    content = reader.picture("content", experiment.content, experiment.size)
    style_size = experiment.style_size or experiment.size
    styles = tuple(
        reader.picture(f"styles[{i}]", path, style_size)
        for i, path in enumerate(experiment.styles)
    )
    picture = None
    if experiment.canvas.kind == "file":
        picture = reader.canvas("canvas.path", experiment.canvas.path, experiment.size)
    if objective.layers:
        for role, image in (("content", content), *_named("styles", styles)):
            _check_reaches(role, image, objective.layers)
    weights = load_weights(reader.file("weights", experiment.weights))
    network = Network.of(
        weights.params,
        weights.preprocessing,
        pooling=experiment.pooling,
        padding=experiment.padding,
        numerics=undraft(experiment.numerics),
        input_scale=experiment.input_scale,
        input_centred=experiment.input_centred,
    )
    # A term refuses what it cannot use when it is traced.
    targets = jax.eval_shape(objective.targets, network, content, styles)
    _, parts = jax.eval_shape(objective, network, content, targets)
    for name, part in parts.items():
        if part.shape:
            raise RequestError(
                f"term {name!r} must be a scalar, is an array of shape {part.shape}"
            )
    return Plan(
        experiment,
        network,
        objective,
        content,
        styles,
        picture,
        tuple(reader.inputs),
    )


class _Reader:
    """Reads pictures, and keeps account of them."""

    def __init__(self, experiment: Experiment):
        self.resample = experiment.resample
        self.inputs: list[Input] = []

    def file(self, role: str, path: str) -> pathlib.Path:
        """Where a file is that is not a picture."""
        found = io.find_file(role, path)
        self.inputs.append(Input(role, path, io.file_sha256(found)))
        return found

    def picture(self, role: str, path: str, size: int) -> np.ndarray:
        image = io.read_image(path, size, resample=self.resample, argument=role)
        return self._noted(role, path, image)

    def canvas(self, role: str, path: str, size: int) -> np.ndarray:
        """A start: a picture file, or a run's exact result as .npy."""
        if pathlib.Path(path).suffix != ".npy":
            return self.picture(role, path, size)
        return self._noted(role, path, io.read_array(path, argument=role))

    def _noted(self, role: str, path: str, image: np.ndarray) -> np.ndarray:
        sha256 = io.file_sha256(io.find_file(role, path))
        height, width, _ = image.shape
        self.inputs.append(Input(role, path, sha256, (height, width)))
        return image


def _named(name: str, images: tuple[np.ndarray, ...]) -> list[tuple[str, np.ndarray]]:
    return [(f"{name}[{i}]", image) for i, image in enumerate(images)]


def _check_reaches(role: str, image: np.ndarray, layers: tuple[str, ...]) -> None:
    side = smallest_side(layers)
    height, width, _ = image.shape
    if min(height, width) < side:
        raise RequestError(
            f"{role} is {width}×{height} px after resizing, and layer "
            f"{deepest_layer(layers)} needs at least {side} px each way: raise size, "
            "or take a picture less narrow"
        )
