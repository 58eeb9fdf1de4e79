"""From an experiment to problems: no config goes further down than this."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax import colour, io
from nst_jax.canvas import starting_canvas
from nst_jax.draft import undraft
from nst_jax.errors import RequestError
from nst_jax.experiment import Experiment, Member
from nst_jax.losses import Objective, Term
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
class Group:
    """Members that one compiled program serves: they differ in numbers alone.

    Attributes:
      numbers: which members of the plan they are.
      members: they themselves.
      network: VGG-19, on the device.
      objectives: one sum of terms a member.
      content: float32 [H, W, 3], in the colours that the optimisation sees.
      styles: pictures [h, w, 3], likewise.
      original: the content in its own colours.
      pictures: what a canvas of kind "file" starts from, one a member.
      content_input: the content's place in the plan's `inputs`.
    """

    numbers: tuple[int, ...]
    members: tuple[Member, ...]
    network: Network
    objectives: tuple[Objective, ...]
    content: np.ndarray
    styles: tuple[np.ndarray, ...]
    original: np.ndarray
    pictures: tuple[np.ndarray | None, ...]
    content_input: int

    @property
    def experiment(self) -> Experiment:
        """What the members have in common, as the first of them has it."""
        return self.members[0].experiment

    def problems(self) -> list[Problem]:
        """One a member, with its own numbers; the rest is there once for all."""
        first = self._posed(0)
        kept = [self._shared(i) for i in range(len(first.objective.terms))]
        problems = [first]
        for i in range(1, len(self.members)):
            own = first if all(kept) else self._posed(i)
            targets = tuple(
                (first if keep else own).targets[j] for j, keep in enumerate(kept)
            )
            solver = self.members[i].experiment.solver
            problems.append(
                Problem(
                    self.network,
                    self.objectives[i],
                    targets,
                    solver.solver(),
                    float(solver.tolerance),
                )
            )
        return problems

    def _posed(self, i: int) -> Problem:
        solver = self.members[i].experiment.solver
        return Problem.of(
            self.network,
            self.objectives[i],
            self.content,
            self.styles,
            solver.solver(),
            tolerance=float(solver.tolerance),
        )

    def _shared(self, i: int) -> bool:
        """Whether the members' i-th terms have one target, whatever their numbers."""
        terms = [objective.terms[i] for objective in self.objectives]
        columns = zip(*map(jax.tree.leaves, terms), strict=True)
        if all(np.array_equal(leaf, c[0]) for c in columns for leaf in c):
            return True

        content = jnp.asarray(self.content)
        styles = tuple(map(jnp.asarray, self.styles))

        def target(term: Term) -> Any:
            return Objective((term,)).targets(self.network, content, styles)

        stacked = jax.tree.map(lambda leaf: np.stack([leaf] * 2), terms[0])
        try:
            # Mapped over a term's numbers, an output that depends on them cannot
            # be given back without the mapped axis.
            jax.eval_shape(jax.vmap(target, out_axes=None), stacked)
        except ValueError:
            return False
        return True

    def starts(self, places: Sequence[int]) -> np.ndarray:
        """The starting canvases [n, H, W, 3] of some of the group's members."""
        return np.stack(
            [
                starting_canvas(
                    self.members[i].experiment.canvas,
                    self.members[i].seed,
                    self.content,
                    self.styles,
                    self.pictures[i],
                )
                for i in places
            ]
        )

    def finished(self, canvas: np.ndarray) -> np.ndarray:
        """What a canvas [..., H, W, 3] is as a result: in the colours asked for."""
        return colour.finished(self.experiment.colour, canvas, self.original)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What will run.

    Attributes:
      experiment: what was asked for.
      members: the points of its grid.
      groups: the same members, by the program that serves them.
      inputs: the files read.
      pictures: those of them that are pictures, as they were used: input's place in
        `inputs` -> [H, W, 3].
    """

    experiment: Experiment
    members: tuple[Member, ...]
    groups: tuple[Group, ...]
    inputs: tuple[Input, ...]
    pictures: dict[int, np.ndarray]


def build(experiment: Experiment) -> Plan:
    """Reads what an experiment names, and compiles nothing.

    Raises:
      RequestError: something is wrong with the request. All that can be known
        before compiling is checked here.
    """
    experiment.check_types()
    experiment.resolved().check()
    members = experiment.members()
    objectives = [
        Objective(tuple(undraft(term) for term in member.experiment.terms))
        for member in members
    ]
    alike: dict[Hashable, list[int]] = {}
    for i, member in enumerate(members):
        alike.setdefault(_program(member.experiment, objectives[i]), []).append(i)
    reader = _Reader()
    groups = [
        _group(
            reader,
            tuple(numbers),
            tuple(members[i] for i in numbers),
            tuple(objectives[i] for i in numbers),
        )
        for numbers in alike.values()
    ]
    return Plan(
        experiment,
        tuple(members),
        tuple(groups),
        tuple(reader.inputs),
        reader.pictures,
    )


def _program(experiment: Experiment, objective: Objective) -> Hashable:
    """What selects a member's program and what it is given: all but its numbers.

    Where a canvas starts is no part of it, for that is computed outside.
    """
    leaves, tree = jax.tree.flatten((objective, experiment.solver.solver()))
    plain = experiment.to_dict()
    fixed = {
        field.name: plain[field.name]
        for field in dataclasses.fields(Experiment)
        if field.name not in ("terms", "solver", "canvas", "seeds", "axes", "output")
    }
    return tree, tuple(map(np.shape, leaves)), json.dumps(fixed)


def _group(
    reader: "_Reader",
    numbers: tuple[int, ...],
    members: tuple[Member, ...],
    objectives: tuple[Objective, ...],
) -> Group:
    experiment, objective = members[0].experiment, objectives[0]
    original = reader.picture("content", experiment, experiment.content)
    originals = tuple(
        reader.picture(f"styles[{i}]", experiment, path, style=True)
        for i, path in enumerate(experiment.styles)
    )
    content, styles = colour.prepared(experiment.colour, original, originals)
    pictures = tuple(
        colour.canvas(
            experiment.colour,
            reader.canvas("canvas.path", experiment, member.experiment.canvas.path),
        )
        if member.experiment.canvas.kind == "file"
        else None
        for member in members
    )
    if objective.layers:
        for role, image in (("content", content), *_named("styles", styles)):
            _check_reaches(role, image, objective.layers)
    network = reader.network(experiment)
    # A term refuses what it cannot use when it is traced.
    traced = functools.partial(_traced, objective, network)
    targets = traced(Objective.targets, content, styles)
    _, parts = traced(Objective.__call__, content, targets)
    for name, part in parts.items():
        if part.shape:
            raise RequestError(
                f"term {name!r} must be a scalar, is an array of shape {part.shape}"
            )
    return Group(
        numbers,
        members,
        network,
        objectives,
        content,
        styles,
        original,
        pictures,
        next(i for i, picture in reader.pictures.items() if picture is original),
    )


def _traced(
    objective: Objective, network: Network, function: Callable[..., Any], *args: Any
) -> Any:
    """The shapes of a function's results, its numbers unknown as in the program."""
    try:
        return jax.eval_shape(function, objective, network, *args)
    except jax.errors.ConcretizationTypeError as error:
        reason = str(error).splitlines()[0]
        names = ", ".join(objective.names)
        raise RequestError(
            f"terms ({names}): one decides by a number that is an argument of the "
            f"compiled program ({reason}); declare it static"
        ) from None


class _Reader:
    """Reads each file once, and keeps account of all."""

    def __init__(self) -> None:
        self.inputs: list[Input] = []
        self.pictures: dict[int, np.ndarray] = {}
        self._read: dict[Hashable, Any] = {}

    def _once(self, key: Hashable, read: Callable[[], Any]) -> Any:
        if key not in self._read:
            self._read[key] = read()
        return self._read[key]

    def network(self, experiment: Experiment) -> Network:
        """The network that an experiment describes."""
        path, numerics = experiment.weights, undraft(experiment.numerics)
        options: dict[str, Any] = {
            "pooling": experiment.pooling,
            "padding": experiment.padding,
            "input_scale": experiment.input_scale,
            "input_centred": experiment.input_centred,
        }

        def read() -> Any:
            found = io.find_file("weights", path)
            self.inputs.append(Input("weights", path, io.file_sha256(found)))
            return load_weights(found)

        weights = self._once(("weights", path), read)
        # On the device once, whatever is done with them.
        base = self._once(
            ("network", path),
            lambda: Network.of(weights.params, weights.preprocessing),
        )
        return base.used(numerics=numerics, **options)

    def picture(
        self, role: str, experiment: Experiment, path: str, *, style: bool = False
    ) -> np.ndarray:
        """A picture at the size that the experiment wants it in this role."""
        size: float = experiment.size
        if style:
            size = (experiment.style_size or size) * experiment.style_scale
        side = max(1, round(size))
        fit, resample = experiment.fit, experiment.resample

        def read() -> np.ndarray:
            image = io.read_image(path, side, fit=fit, resample=resample, argument=role)
            return self._noted(role, path, image)

        return self._once((role, path, side, fit, resample), read)

    def canvas(self, role: str, experiment: Experiment, path: str) -> np.ndarray:
        """A start: a picture file, or a run's exact result as .npy."""
        if pathlib.Path(path).suffix != ".npy":
            return self.picture(role, experiment, path)
        return self._once(
            (role, path),
            lambda: self._noted(role, path, io.read_array(path, argument=role)),
        )

    def _noted(self, role: str, path: str, image: np.ndarray) -> np.ndarray:
        sha256 = io.file_sha256(io.find_file(role, path))
        height, width, _ = image.shape
        self.pictures[len(self.inputs)] = image
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
