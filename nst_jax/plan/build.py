"""Building a plan from an experiment."""

import dataclasses
import functools
import json
from collections.abc import Hashable, Sequence

import jax
import numpy as np

from nst_jax.config.experiment import Experiment, Member
from nst_jax.config.jsonable import to_jsonable
from nst_jax.core.errors import RequestError
from nst_jax.core.validation import check_fields
from nst_jax.images.masks import check_frozen
from nst_jax.losses import Objective, StyleTerm
from nst_jax.losses.trace_errors import trace
from nst_jax.models.layers import channels, check_layers, deepest_layer, smallest_side
from nst_jax.models.vgg import Network
from nst_jax.optim.parametrisation import parametrisation
from nst_jax.optim.solvers import check_solver
from nst_jax.plan.group import Group, Scene
from nst_jax.plan.reader import Input, NetworkFields, Reader
from nst_jax.plan.scenes import read_stages, with_size


@dataclasses.dataclass(frozen=True, repr=False)
class Plan:
    """The members, images and programs of an experiment.

    Attributes:
      experiment: the experiment.
      members: the points of its grid.
      groups: the members, grouped by compiled program.
      inputs: the files that were read.
      pictures: index in `inputs` -> image [H, W, 3] as it is used.
      alphas: index in `inputs` -> opacity [H, W] of an image that is not opaque.
      unstyled: (content mask, colour of a region that no style's mask has) -> the
        region's share of the image.
    """

    experiment: Experiment
    members: tuple[Member, ...]
    groups: tuple[Group, ...]
    inputs: tuple[Input, ...]
    pictures: dict[int, np.ndarray]
    alphas: dict[int, np.ndarray]
    unstyled: dict[tuple[str, str], float]

    @property
    def dependent_members(self) -> frozenset[int]:
        """Numbers of the members that start from the result of another member."""
        return frozenset(
            number
            for group in self.groups
            for number, previous in zip(group.numbers, group.previous, strict=True)
            if previous is not None
        )

    def __repr__(self) -> str:
        count = f"{len(self.members)} members, {len(self.groups)} groups"
        groups = [f"  {group!r}" for group in self.groups]
        more = [f"  … {len(groups) - 8} more"] if len(groups) > 8 else []
        return "\n".join([f"Plan of {count}:", *groups[:8], *more])


def build(experiment: Experiment, only: Sequence[int] | None = None) -> Plan:
    """Read the files of an experiment, and group its members by compiled program.

    Nothing is compiled.

    Args:
      experiment: the experiment.
      only: numbers of the members to plan for; None for all. These are computed in the
        calling process, whatever `ensemble.process` says.

    Raises:
      RequestError: the request is wrong in a way that shows before compiling.
    """
    if not isinstance(experiment, Experiment):
        raise RequestError(
            f"experiment must be a nst_jax.Experiment, got {type(experiment).__name__}"
        )
    check_fields(experiment)
    experiment.resolved().check()
    members = experiment.members()
    previous = _previous_members(members, experiment)
    if only is not None:
        members, previous = _select_members(members, previous, only)
    reader = Reader()
    resized = [bool(member.experiment.size) for member in members]
    members = [with_size(reader, member) for member in members]
    stages = read_stages(reader, members, resized)
    depths: list[int] = []  # Number of members that must be finished before each.
    for number in previous:
        depths.append(0 if number is None else depths[number] + 1)
    numbers_by_key: dict[Hashable, list[int]] = {}
    objectives = [
        [_stage_objective(member.experiment, scene) for member, scene in member_stages]
        for member_stages in stages
    ]
    for i, member_stages in enumerate(stages):
        programs = tuple(
            _program_key(member.experiment, objective, scene)
            for (member, scene), objective in zip(
                member_stages, objectives[i], strict=True
            )
        )
        numbers_by_key.setdefault((depths[i], programs), []).append(i)
    groups = []
    for numbers in sorted(numbers_by_key.values(), key=lambda group: depths[group[0]]):
        network = reader.network(members[numbers[0]].experiment)
        for i in numbers:
            _, scene = stages[i][-1]
            if scene.frozen is not None:
                check_frozen(scene.frozen, "masks.freeze")
        group: Group | None = None
        first = numbers[0]
        remedy = "size"
        for (member, scene), objective in zip(
            reversed(stages[first]), reversed(objectives[first]), strict=True
        ):
            _check_stage(network, objective, member, scene, remedy=remedy)
            remedy = "ladder.start or ladder.sizes"
        for number, stage in enumerate(zip(*(stages[i] for i in numbers), strict=True)):
            group = Group(
                tuple(numbers),
                tuple(member for member, _ in stage),
                network,
                tuple(objectives[i][number] for i in numbers),
                tuple(scene for _, scene in stage),
                tuple(previous[i] for i in numbers),
                coarser=group,
            )
        assert group is not None
        groups.append(group)
    return Plan(
        experiment,
        tuple(members),
        tuple(groups),
        tuple(reader.inputs),
        reader.pictures,
        reader.alphas,
        reader.unstyled,
    )


def _stage_objective(experiment: Experiment, scene: Scene) -> Objective:
    """Return the objective of a stage, without layers that have too few positions."""
    minimum = experiment.ladder.min_positions
    height, width, _ = scene.content.shape
    terms = []
    for term in experiment.terms:
        is_style = isinstance(term, StyleTerm) and term.sites == term.layers
        if minimum and is_style and not term.is_matching:
            assert isinstance(term, StyleTerm)
            weights = term.layer_weights or (1.0,) * len(term.layers)
            kept = [
                height * width >= minimum * channels(x) * smallest_side((x,)) ** 2
                for x in term.layers
            ]
            weights = tuple(w if k else 0.0 for w, k in zip(weights, kept, strict=True))
            term = dataclasses.replace(term, layer_weights=weights)
        terms.append(term)
    return Objective(tuple(terms))


def _select_members(
    members: Sequence[Member], previous: Sequence[int | None], only: Sequence[int]
) -> tuple[list[Member], list[int | None]]:
    """Return some members, to be computed in this process, and their predecessors."""
    numbers = sorted(set(only))
    for number in numbers:
        if not 0 <= number < len(members):
            raise RequestError(
                f"members must be from 0 to {len(members) - 1}, got {number}"
            )
        if previous[number] not in (None, *numbers):
            raise RequestError(
                f"members: {number} starts from the result of {previous[number]}, and "
                f"needs it among them; got {', '.join(map(str, numbers))}"
            )
    selected = []
    for number in numbers:
        experiment = members[number].experiment
        ensemble = dataclasses.replace(experiment.ensemble, process="inline")
        experiment = dataclasses.replace(experiment, ensemble=ensemble)
        selected.append(dataclasses.replace(members[number], experiment=experiment))
    new_numbers: dict[int | None, int | None] = {None: None}
    new_numbers |= {number: i for i, number in enumerate(numbers)}
    return selected, [new_numbers[previous[number]] for number in numbers]


def _previous_members(
    members: Sequence[Member], experiment: Experiment
) -> list[int | None]:
    """Return the member whose result each starts from: the frame before, or None.

    Raises:
      RequestError: the frames of a video are not in ascending order.
    """
    # Fields that vary together with the frame do not make another video.
    frame_axes = (axis for axis in experiment.axes if "frame" in axis.paths)
    ignored = {path for axis in frame_axes for path in axis.paths}
    videos: dict[Hashable, list[int]] = {}  # Members of the frames so far.
    previous: list[int | None] = []
    for i, member in enumerate(members):
        fixed = {
            k: to_jsonable(v) for k, v in member.varies.items() if k not in ignored
        }
        video = videos.setdefault((member.seed, json.dumps(fixed)), [])
        video.append(i)
        if member.experiment.canvas.kind != "previous" or len(video) == 1:
            previous.append(None)
            continue
        frames = tuple(members[j].experiment.frame for j in video)
        if frames[-2] >= frames[-1]:
            raise RequestError(
                f"canvas.kind='previous' needs frames in ascending order, got {frames}"
            )
        previous.append(video[-2])
    return previous


def _program_key(
    experiment: Experiment, objective: Objective, scene: Scene
) -> Hashable:
    """Return a key of a stage's compiled program, and of how the program is used.

    It holds the static parts and the shapes of the program's arguments, without their
    numbers and pixels, and the execution.
    """
    shape = scene.content.shape
    variable = parametrisation(experiment.parametrisation, shape)
    leaves, tree = jax.tree.flatten((objective, experiment.solver_record(), variable))
    arguments = tree, tuple(map(np.shape, leaves)), scene.shapes
    network = NetworkFields.from_experiment(experiment)
    execution = dataclasses.astuple(experiment.ensemble)
    blend = experiment.ladder.content_mix > 0, experiment.ladder.content_details
    return arguments, network, experiment.tile, experiment.steps, execution, blend


def _check_stage(
    network: Network, objective: Objective, member: Member, scene: Scene, *, remedy: str
) -> None:
    """Raise RequestError if a term refuses the images, or a layer cannot be reached.

    Args:
      remedy: the field that makes the stage's images larger.
    """
    tile = member.experiment.tile
    if tile and scene.regions is not None:
        raise RequestError(
            f"tile={tile} does not support partly transparent images or masks: use "
            "opaque images, or tile=0"
        )
    for name, entry in zip(objective.names, objective.terms, strict=True):
        try:
            check_layers(entry.layers, network.trunk)
        except RequestError as error:
            raise RequestError(f"terms.{name}.layers: {error}") from None
        if tile and entry.is_matching:
            raise RequestError(
                f"tile={tile} does not support the term {name!r}, which matches "
                "positions of the whole canvas: use tile=0"
            )
    if objective.layers:
        _check_sizes(objective.layers, tile, scene, remedy)
    if member.experiment.solver.custom is not None:
        check_solver(member.experiment.solver_record())
    content = scene.content
    if tile:
        content = content[:tile, :tile]
    # Terms check their arguments while they are traced.
    traced = functools.partial(trace, objective, network)
    targets = traced(Objective.targets, content, scene.styles, scene.regions)
    _, losses = traced(Objective.__call__, content, targets)
    for name, loss in losses.items():
        if loss.shape:
            raise RequestError(
                f"term {name!r} must be a scalar, is an array of shape {loss.shape}"
            )


def _check_sizes(layers: tuple[str, ...], tile: int, scene: Scene, remedy: str) -> None:
    """Raise RequestError if an image or tile is too small for the deepest layer."""
    side, layer = smallest_side(layers), deepest_layer(layers)
    if 0 < tile < side:
        raise RequestError(
            f"tile must be 0, or {side} or more to reach layer {layer}; got {tile}"
        )
    images = {"content": scene.content}
    images |= {f"styles[{i}]": style for i, style in enumerate(scene.styles)}
    for role, image in images.items():
        height, width, _ = image.shape
        if min(height, width) < side:
            raise RequestError(
                f"{role} is {width}×{height} px after resizing, and layer {layer} "
                f"needs at least {side} px each way: raise {remedy}, or use a wider or "
                "taller image"
            )
