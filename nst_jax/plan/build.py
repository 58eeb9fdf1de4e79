"""From an experiment to problems: no config goes further down than this."""

import dataclasses
import functools
import json
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import numpy as np

from nst_jax.config.experiment import Experiment, Member
from nst_jax.config.jsonable import to_jsonable
from nst_jax.core.errors import RequestError
from nst_jax.core.validation import check_fields
from nst_jax.images import colour
from nst_jax.images.image import FITS
from nst_jax.images.masks import check_frozen
from nst_jax.losses import Objective, Regions
from nst_jax.losses.trace_errors import trace
from nst_jax.models.layers import deepest_layer, smallest_side
from nst_jax.models.vgg import Network
from nst_jax.optim.parametrisation import parametrisation
from nst_jax.optim.solvers import check_solver
from nst_jax.plan.group import Group, Scene
from nst_jax.plan.reader import Input, NetworkFields, Reader


@dataclasses.dataclass(frozen=True, repr=False)
class Plan:
    """What will run.

    Attributes:
      experiment: what was asked for.
      members: the points of its grid.
      groups: the same members, by the program that serves them.
      inputs: the files read.
      pictures: those of them that are pictures, as they were used: input's place in
        `inputs` -> [H, W, 3].
      alphas: how opaque those of them are that are transparent in parts: input's
        place in `inputs` -> [H, W].
      unstyled: regions of a content mask that no style's mask has: the mask's path
        and the region's colour -> share of the canvas.
    """

    experiment: Experiment
    members: tuple[Member, ...]
    groups: tuple[Group, ...]
    inputs: tuple[Input, ...]
    pictures: dict[int, np.ndarray]
    alphas: dict[int, np.ndarray]
    unstyled: dict[tuple[str, str], float]

    @property
    def chained(self) -> frozenset[int]:
        """Numbers of the members that start from the result of another member."""
        return frozenset(
            number
            for group in self.groups
            for number, before in zip(group.numbers, group.previous, strict=True)
            if before is not None
        )

    def __repr__(self) -> str:
        count = f"{len(self.members)} members, {len(self.groups)} groups"
        groups = [f"  {group!r}" for group in self.groups]
        more = [f"  … {len(groups) - 8} more"] if len(groups) > 8 else []
        return "\n".join([f"Plan of {count}:", *groups[:8], *more])


def build(experiment: Experiment, only: Sequence[int] | None = None) -> Plan:
    """Reads what an experiment names, and compiles nothing.

    Args:
      experiment: what to run.
      only: the numbers of the members to plan for; None for all. They are computed
        in the process that asks for them, whatever `ensemble.process` says.

    Raises:
      RequestError: something is wrong with the request. All that can be known
        before compiling is checked here.
    """
    if not isinstance(experiment, Experiment):
        raise RequestError(
            f"experiment must be a nst_jax.Experiment, got {type(experiment).__name__}"
        )
    check_fields(experiment)
    experiment.resolved().check()
    members = experiment.members()
    previous = _previous(members, experiment)
    if only is not None:
        members, previous = _chosen(members, previous, only)
    objectives = [Objective(member.experiment.terms) for member in members]
    reader = Reader()
    own_size = [not member.experiment.size for member in members]
    members = [_sized(reader, member) for member in members]
    stages = _stages(reader, members, own_size)
    depths = _depths(previous)
    alike: dict[Hashable, list[int]] = {}
    for i, own in enumerate(stages):
        programs = tuple(
            _program(s.experiment, objectives[i], scene) for s, scene in own
        )
        alike.setdefault((depths[i], programs), []).append(i)
    groups = []
    # A result is there before what starts from it.
    for numbers in sorted(alike.values(), key=lambda own: depths[own[0]]):
        network = reader.network(members[numbers[0]].experiment)
        group = None
        for i in numbers:
            _, scene = stages[i][-1]
            if scene.frozen is not None:
                check_frozen(scene.frozen, "masks.freeze")
        for stage in zip(*(stages[i] for i in numbers), strict=True):
            last = stage[0] is stages[numbers[0]][-1]
            remedy = "size" if last else "ladder.start or ladder.sizes"
            _check(network, objectives[numbers[0]], *stage[0], remedy=remedy)
            group = Group(
                tuple(numbers),
                tuple(member for member, _ in stage),
                network,
                tuple(objectives[i] for i in numbers),
                tuple(scene for _, scene in stage),
                tuple(previous[i] for i in numbers),
                group,
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


def _chosen(
    members: Sequence[Member], previous: Sequence[int | None], only: Sequence[int]
) -> tuple[list[Member], list[int | None]]:
    """Some of the members, to be computed in this process, and what they start from."""
    for number in only:
        if not 0 <= number < len(members):
            raise RequestError(
                f"members: there is no {number}, they are 0 to {len(members) - 1}"
            )
    chosen: list[Member] = []
    starts: list[int | None] = []
    numbers = sorted(set(only))
    places = {number: place for place, number in enumerate(numbers)}
    for number in numbers:
        before = previous[number]
        if before is not None and before not in places:
            raise RequestError(
                f"members: {number} starts from the result of {before}, which must be "
                f"among them too; got {', '.join(map(str, numbers))}"
            )
        starts.append(None if before is None else places[before])
        experiment = members[number].experiment
        here = dataclasses.replace(experiment.ensemble, process="inline")
        experiment = dataclasses.replace(experiment, ensemble=here)
        chosen.append(dataclasses.replace(members[number], experiment=experiment))
    return chosen, starts


def _previous(members: Sequence[Member], experiment: Experiment) -> list[int | None]:
    """For each member the one of the frame before, if it starts from that.

    Raises:
      RequestError: the frames of a film are not in their order.
    """
    # What varies with the frame is no other film.
    along = {p for axis in experiment.axes if "frame" in axis.paths for p in axis.paths}
    films: dict[Hashable, list[int]] = {}  # The frames so far, as members.
    previous: list[int | None] = []
    for i, member in enumerate(members):
        varies = {k: to_jsonable(v) for k, v in member.varies.items() if k not in along}
        film = films.setdefault((member.seed, json.dumps(varies)), [])
        film.append(i)
        starts = member.experiment.canvas.kind == "previous" and len(film) > 1
        last = [members[j].experiment.frame for j in film[-2:]]
        if starts and last[0] >= last[1]:
            frames = tuple(members[j].experiment.frame for j in film)
            raise RequestError(
                f"canvas.kind='previous' needs frames in ascending order, got {frames}"
            )
        previous.append(film[-2] if starts else None)
    return previous


def _depths(previous: Sequence[int | None]) -> list[int]:
    """For each member how many others have to be there first, one after the other."""
    depths: list[int] = []
    for before in previous:  # What a member starts from stands before it.
        depths.append(0 if before is None else depths[before] + 1)
    return depths


def _program(experiment: Experiment, objective: Objective, scene: Scene) -> Hashable:
    """Return what selects a stage's compiled program, and how the program is used.

    It is what `Group.problems` poses and `Stage` asks for, without the numbers and the
    pixels: the static parts and the shapes of the arguments, and the execution.
    """
    shape = scene.content.shape
    variable = parametrisation(experiment.parametrisation, shape)
    posed = objective, experiment.solver_record(), variable
    leaves, tree = jax.tree.flatten(posed)
    network = NetworkFields.from_experiment(experiment)
    execution = dataclasses.astuple(experiment.ensemble)
    arguments = tree, tuple(map(np.shape, leaves)), scene.shapes, network
    return arguments, experiment.tile, experiment.steps, execution


def _sized(reader: Reader, member: Member) -> Member:
    """The member, its size 0 replaced by the content's own size."""
    experiment = member.experiment
    if experiment.size:
        return member
    height, width, _ = reader.content(experiment).shape
    size = max(1, round(FITS[experiment.fit](height, width)))
    sized = dataclasses.replace(experiment, size=size)
    try:
        sized.check()
    except RequestError as error:
        raise RequestError(f"{error} (at {member.label})") from None
    return dataclasses.replace(member, experiment=sized)


def _stages(
    reader: Reader, members: Sequence[Member], own_size: Sequence[bool]
) -> list[list[tuple[Member, Scene]]]:
    """Each member's stages, coarse to fine, with their pictures.

    Args:
      own_size: whether the last stage's content is not resized at all; an area is
        rounded to a size, and would be a pixel off.
    """
    # What the stages before the last read is the same files at other sizes: one
    # account of them is enough.
    coarse = reader.coarser()
    scene, coarse_scene = _scenes(reader), _scenes(coarse)
    stages = []
    for member, unresized in zip(members, own_size, strict=True):
        *before, last = member.experiment.stages()
        pictures = [coarse_scene(stage) for stage in before]
        if unresized:
            style_size = last.style_size or last.size
            pictures.append(
                scene(dataclasses.replace(last, size=0, style_size=style_size))
            )
        else:
            pictures.append(scene(last))
        stages.append(
            [
                (dataclasses.replace(member, experiment=stage), read)
                for stage, read in zip((*before, last), pictures, strict=True)
            ]
        )
    return stages


def _scenes(reader: Reader) -> Callable[[Experiment], Scene]:
    """What reads a member's pictures; what two of them share is there once."""
    prepared: dict[Hashable, Any] = {}

    def once(make: Callable[..., Any], *key: Any) -> Any:
        name = (make.__name__, *key)
        if name not in prepared:
            prepared[name] = make()
        return prepared[name]

    def of_member(experiment: Experiment) -> Scene:
        original = reader.content(experiment)
        originals = tuple(
            reader.picture(f"styles[{i}]", experiment, path, style=True)
            for i, path in enumerate(experiment.styles)
        )
        pictures = (id(original), *map(id, originals))
        asked = json.dumps(to_jsonable(experiment.masks))

        def coloured() -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
            alphas = [reader.alpha(picture) for picture in (original, *originals)]
            return colour.prepare(experiment.colour, original, originals, alphas)

        def alpha() -> np.ndarray | None:
            return reader.alpha(original)

        def regions() -> Regions | None:
            return reader.regions(experiment, original, originals)

        def frozen() -> np.ndarray | None:
            return reader.frozen(experiment, original)

        content, styles = once(coloured, experiment.colour, pictures)
        canvas = reader.canvas(experiment)
        if canvas is not None:
            canvas = colour.prepare_canvas(experiment.colour, canvas)
        return Scene(
            content=content,
            styles=styles,
            original=original,
            alpha=once(alpha, id(original)),
            regions=once(regions, asked, pictures),
            frozen=once(frozen, asked, id(original)),
            canvas=canvas,
            content_input=reader.place(original),
            style_inputs=tuple(map(reader.place, originals)),
        )

    return of_member


def _check(
    network: Network, objective: Objective, member: Member, scene: Scene, *, remedy: str
) -> None:
    """Raises RequestError for what a term refuses, or layers that are out of reach.

    Args:
      remedy: what makes the stage's pictures larger.
    """
    tile = member.experiment.tile
    if tile and scene.regions is not None:
        raise RequestError(
            f"tile={tile} sees one tile at a time, and a picture that is transparent "
            "in parts is styled as a whole: make it opaque, or leave tile out"
        )
    if objective.layers:
        side = smallest_side(objective.layers)
        if 0 < tile < side:
            raise RequestError(
                f"tile must be 0, or {side} or more to reach layer "
                f"{deepest_layer(objective.layers)}; got {tile}"
            )
        _check_reaches("content", scene.content, objective.layers, remedy)
        for i, style in enumerate(scene.styles):
            _check_reaches(f"styles[{i}]", style, objective.layers, remedy)
    if member.experiment.solver.custom is not None:
        check_solver(member.experiment.solver_record())
    # A term refuses what it cannot use when it is traced.
    traced = functools.partial(trace, objective, network)
    content, regions = scene.content, scene.regions
    if tile:
        height, width = (min(tile, side) for side in content.shape[:2])
        content = content[:height, :width]
    targets = traced(Objective.targets, content, scene.styles, regions)
    _, parts = traced(Objective.__call__, content, targets)
    for name, part in parts.items():
        if part.shape:
            raise RequestError(
                f"term {name!r} must be a scalar, is an array of shape {part.shape}"
            )


def _check_reaches(
    role: str, image: np.ndarray, layers: tuple[str, ...], remedy: str
) -> None:
    side = smallest_side(layers)
    height, width, _ = image.shape
    if min(height, width) < side:
        raise RequestError(
            f"{role} is {width}×{height} px after resizing, and layer "
            f"{deepest_layer(layers)} needs at least {side} px each way: raise "
            f"{remedy}, or take a picture less narrow"
        )
