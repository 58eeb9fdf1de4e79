"""The experiment: the typed tree that a config file returns.

Flags set its fields, as in `--config.steps=50 --config.solver.name=adam
--config.terms[1].weight=9`.
"""

import dataclasses
import itertools
import math
from typing import Annotated, Any, Literal, Self

import jax.numpy as jnp

from nst_jax.config.axes import Contents, Vary, check_axes
from nst_jax.config.field_path import get_field, with_field
from nst_jax.config.jsonable import to_jsonable
from nst_jax.config.ladder import Ladder
from nst_jax.config.options import (
    MAX_STEPS,
    Count,
    EnsembleOptions,
    Masks,
    OutputOptions,
    Smoothing,
    SolverOptions,
)
from nst_jax.core.config_record import ConfigRecord
from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import PictureSource
from nst_jax.core.representation import short_repr
from nst_jax.core.validation import Range, check_fields
from nst_jax.images.initialise import Canvas
from nst_jax.images.video import Film, find_folder
from nst_jax.losses import Term
from nst_jax.losses.base import check_term
from nst_jax.models.numerics import Numerics
from nst_jax.optim.solvers import Solver

_MatchedColour = Literal["match_cholesky", "match_pca", "match_symmetric"]
Colour = Literal["style", "luminance", "luma_swap", _MatchedColour, "match_content"]


@dataclasses.dataclass
class Experiment(ConfigRecord):
    """A style transfer and the axes along which it varies.

    Attributes:
      content: path of the content picture, or an array [H, W, 3] of floats in [0, 1],
        uint8 or uint16, as for every picture's path. A video, an animation or a folder
        is a film from which `frame` is taken. A folder without `frame` and without an
        axis over it is an axis of its pictures.
      styles: paths of the style pictures, or arrays; empty for a reconstruction.
      terms: the loss terms.
      size: size that pictures are resized to, in pixels; 0 for the content's own.
      steps: solver steps; 0 evaluates the starting canvas.
      seeds: seeds of the starting noise; each makes a member.
      pooling: "max" or "avg".
      solver: `SolverOptions`, an optax transformation, or a `Solver`.
      canvas: the starting canvas.
      parametrisation: the optimised variable; see `nst_jax.optim.parametrisation`.
      ladder: stages at smaller sizes before this one.
      masks: corresponding regions of content and styles, and frozen pixels.
      tile: side in pixels of the tiles whose gradients are computed one at a time to
        save memory; 0 for the whole picture.
      fit: meaning of `size`: the "long" side, the "short" side, or the side of a square
        of the same "area".
      style_size: `size` of the style pictures; 0 for `size`.
      style_scale: factor on `style_size`; the style's patterns grow with it.
      colour: source of the result's colours; see `nst_jax.images.colour`.
      smoothing: edge-preserving smoothing of the result.
      padding: padding of every convolution.
      pool_rounding: "ceil" pools an odd last row or column by itself. "floor" drops it,
        as most published tools do, and hardly styles up to 15 px there.
      input_scale: factor on the network's input, relative to its training; see
        docs/conventions.md.
      input_centred: subtract the mean from the input, as in training.
      resample: filter that resizes pictures as they are read.
      max_pixels: most pixels of a file or of a resized picture.
      frame: frame of a film that is the content, from 0.
      film: motion of the content from frame to frame.
      weights: path of the weight file.
      numerics: precision and determinism.
      ensemble: execution of the members.
      output: files that the run writes.
      axes: the axes that vary. The members are the grid of all axes; the seeds are the
        last one unless an axis names them.
    """

    content: PictureSource
    styles: tuple[PictureSource, ...]
    terms: tuple[Term, ...]
    size: Count = 256
    steps: Annotated[int, Range(0, MAX_STEPS)] = 100
    seeds: tuple[Annotated[int, Range(0, 2**32 - 1)], ...] = (0,)
    pooling: Literal["max", "avg"] = "max"
    solver: SolverOptions = dataclasses.field(default_factory=SolverOptions)
    canvas: Canvas = dataclasses.field(default_factory=Canvas)
    parametrisation: Literal["pixels", "pyramid", "fourier", "spectrum"] = "pixels"
    ladder: Ladder = dataclasses.field(default_factory=Ladder)
    masks: Masks = dataclasses.field(default_factory=Masks)
    tile: Count = 0
    fit: Literal["long", "short", "area"] = "long"
    style_size: Count = 0
    style_scale: Annotated[float, Range(above=0, at_most=100)] = 1.0
    colour: Colour = "style"
    smoothing: Smoothing = dataclasses.field(default_factory=Smoothing)
    padding: Literal["zeros", "reflect", "replicate"] = "zeros"
    pool_rounding: Literal["ceil", "floor"] = "ceil"
    input_scale: Annotated[float, Range(above=0, below=math.inf)] = 1.0
    input_centred: bool = True
    resample: Literal["bilinear", "bicubic", "lanczos", "nearest"] = "lanczos"
    max_pixels: Annotated[int, Range(1)] = 100_000_000
    frame: Count = 0
    film: Film = dataclasses.field(default_factory=Film)
    weights: str = "weights/vgg19.safetensors"
    numerics: Numerics = dataclasses.field(default_factory=Numerics)
    ensemble: EnsembleOptions = dataclasses.field(default_factory=EnsembleOptions)
    output: OutputOptions = dataclasses.field(default_factory=OutputOptions)
    axes: tuple[Vary, ...] = ()

    def __post_init__(self) -> None:
        pass  # `build` checks an experiment: a config file may complete it before.

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "solver" and not isinstance(value, SolverOptions):
            value = SolverOptions(custom=value)
        super().__setattr__(name, value)

    __repr__ = short_repr

    def with_field(self, path: str, value: Any) -> Self:
        """Return a copy with another value at a path, such as "terms.style.weight".

        Raises:
          RequestError: the path names no field, or a term refuses the value.
        """
        return with_field(self, path, value)

    def resolved(self) -> "Experiment":
        """Return the experiment in terms of this class's fields.

        A subclass with fields of its own overrides this to derive other fields.
        """
        return self

    @property
    def grid_axes(self) -> tuple[Vary, ...]:
        """The axes with those of a folder's pictures and of the seeds.

        A folder is a film, without an axis of its pictures, if `frame` is not 0 or an
        axis varies the content or the frame. An axis of seeds replaces `seeds`.
        """
        axes = self.axes
        varied = {path for axis in axes for path in axis.paths}
        is_film = self.frame or varied & {"content", "frame"}
        if not is_film and find_folder(self.content):
            axes = (Contents(self.content), *axes)
        if "seeds" in varied:
            return axes
        return (*axes, Vary("seeds", self.seeds, name="seed"))

    def members(self) -> list["Member"]:
        """Return one member for each point of the grid, the last axis fastest.

        Raises:
          RequestError: an axis names no field, or a field refuses an axis's value.
        """
        check_fields(self)
        check_axes(self.axes, self)
        axes = self.grid_axes
        texts = {id(axis): [f"{axis.title} {t}" for t in axis.texts] for axis in axes}
        members = []
        base = with_field(self, "axes", ())
        for index in itertools.product(*(range(len(axis.values)) for axis in axes)):
            points = list(zip(axes, index, strict=True))
            varied = [(axis, i) for axis, i in points if len(axis.values) > 1]
            settings = {k: v for axis, i in points for k, v in axis.settings(i).items()}
            label = ", ".join(texts[id(axis)][i] for axis, i in varied)
            seed = settings.pop("seeds", self.seeds[0])
            try:
                experiment = base._at({**settings, "seeds": (seed,)})
            except RequestError as error:
                suffix = f" (at {label})" if label and settings else ""
                raise RequestError(f"{error}{suffix}") from None
            position = tuple(i for _, i in varied)
            label = label or f"seed {seed}"
            members.append(Member(position, label, seed, settings, experiment))
        return members

    def _at(self, settings: dict[str, Any]) -> "Experiment":
        """Return the checked experiment at one point of the grid."""
        experiment = self
        for path, value in settings.items():
            experiment = with_field(experiment, path, value)
        check_fields(experiment)
        resolved = experiment.resolved()
        if resolved is experiment:
            resolved.check_relations()
            return resolved
        resolved.check()
        for path in settings.keys() - {"seeds"}:
            wanted = to_jsonable(get_field(experiment, path))
            if to_jsonable(get_field(resolved, path)) != wanted:
                raise RequestError(
                    f"axes: {path!r} cannot vary because this config derives it from "
                    "other fields"
                )
        return resolved

    def check_relations(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise RequestError(
                f"seeds must be at least one and must differ, got {self.seeds}"
            )
        if not self.terms:
            raise RequestError("terms is empty; an objective needs at least one term")
        for i, term in enumerate(self.terms):
            check_term(f"terms[{i}]", term)
        for value in vars(self).values():
            if isinstance(value, ConfigRecord):
                value.check()
        self.ensemble.check_platform()
        if self.masks.styles and len(self.masks.styles) != len(self.styles):
            raise RequestError(
                f"masks.styles has {len(self.masks.styles)} entries for "
                f"{len(self.styles)} style pictures"
            )
        if self.tile == 1:
            raise RequestError("tile must be 0 or at least 2, got 1")
        if self.tile and self.masks.content:
            raise RequestError(
                f"tile={self.tile} cannot be combined with masks.content, whose "
                "regions need the whole picture"
            )
        if self.size:
            for stage in self.ladder.stages(self.size, self.steps, self.style_scale):
                if stage.term_weights and len(stage.term_weights) != len(self.terms):
                    raise RequestError(
                        f"ladder.term_weights must have {len(self.terms)} factors for "
                        f"each stage, one for each term, got {stage.term_weights}"
                    )
        if (kind := self.canvas.kind) in ("style", "details") and not self.styles:
            raise RequestError(f"canvas.kind={kind!r} needs a style picture, got none")
        if self.canvas.kind == "previous" and self.ensemble.process != "inline":
            raise RequestError(
                "canvas.kind='previous' needs ensemble.process='inline': a subprocess "
                "cannot see the result of the frame before"
            )
        if (
            self.numerics.feature_dtype == "float64"
            and jnp.result_type(float) == "float32"
        ):
            raise RequestError(
                "numerics.feature_dtype='float64' needs the environment variable "
                "JAX_ENABLE_X64=1"
            )
        if self.numerics.batch_invariant and self.ensemble.strategy == "shard":
            raise RequestError(
                "numerics.batch_invariant=True cannot be kept by "
                "ensemble.strategy='shard', whose programs may round differently: use "
                "'vmap', 'map' or 'loop'"
            )
        self.solver_record()

    def solver_record(self) -> Solver:
        """Return the solver that `solver` describes, without clipping of non-pixels.

        Raises:
          RequestError: the solver is invalid, or clips a variable that is not pixels.
        """
        solver = self.solver.solver()
        if self.parametrisation != "pixels" and getattr(solver, "clip", False):
            if self.solver.clip:
                raise RequestError(
                    "solver.clip=True keeps pixels in [0, 1] and needs "
                    f"parametrisation='pixels', got {self.parametrisation!r}"
                )
            solver = dataclasses.replace(solver, clip=False)  # type: ignore[type-var]
        return solver

    def stages(self) -> tuple["Experiment", ...]:
        """Return an experiment of one size for each stage, coarse to fine.

        Raises:
          RequestError: `ladder` does not describe stages below `size`.
        """
        stages = self.ladder.stages(self.size, self.steps, self.style_scale)
        if len(stages) == 1:
            return (self,)
        return tuple(
            dataclasses.replace(
                self,
                terms=_with_weight_factors(self.terms, stage.term_weights),
                size=stage.size,
                steps=stage.steps,
                style_scale=stage.style_scale,
                style_size=round(self.style_size * stage.size / self.size),
                smoothing=dataclasses.replace(
                    self.smoothing,
                    radius=round(self.smoothing.radius * stage.size / self.size),
                ),
                film=self.film.rescaled(stage.size / self.size),
                ladder=Ladder(
                    content_mix=self.ladder.content_mix,
                    content_details=self.ladder.content_details,
                    min_positions=self.ladder.min_positions,
                ),
            )
            for stage in stages
        )

    @property
    def total_steps(self) -> int:
        """Number of steps of all stages."""
        return sum(stage.steps for stage in self.stages())

    def to_dict(self) -> dict[str, Any]:
        """Return the experiment as JSON values; terms carry their class's name."""
        return to_jsonable(self)


@dataclasses.dataclass(frozen=True)
class Member:
    """One point of an experiment's grid.

    Attributes:
      index: position along each axis of more than one value.
      label: name in panels.
      seed: seed of the starting canvas.
      varies: path -> value of each field that an axis sets, except the seed.
      experiment: the experiment at this point, without axes and with one seed.
    """

    index: tuple[int, ...]
    label: str
    seed: int
    varies: dict[str, Any]
    experiment: Experiment = dataclasses.field(repr=False)


def _with_weight_factors(
    terms: tuple[Term, ...], factors: tuple[float, ...]
) -> tuple[Term, ...]:
    """Return terms whose weights are multiplied by factors; no factors are 1."""
    if not factors:
        return terms
    return tuple(
        dataclasses.replace(term, weight=factor * term.weight)
        for term, factor in zip(terms, factors, strict=True)
    )
