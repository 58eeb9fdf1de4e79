"""What a config file returns: one typed tree that says what to run.

The top fields are those that every config has; flags reach all of them:
`--config.steps=50 --config.solver.name=adam --config.terms[1].weight=9`.
"""

import dataclasses
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.config.axes import (
    Vary,
    assigned,
    check_apart,
    complete_axes,
    grid,
    value_at,
)
from nst_jax.config.jsonable import to_jsonable
from nst_jax.config.ladder import Ladder
from nst_jax.config.options import (
    MAX_STEPS,
    EnsembleOptions,
    Masks,
    OutputOptions,
    Smoothing,
    SolverOptions,
)
from nst_jax.core.config_record import Fields, check_items, check_types, normalised
from nst_jax.core.draft import draft, undraft
from nst_jax.core.errors import RequestError, nearest
from nst_jax.core.image_array import PictureSource
from nst_jax.core.representation import short_repr
from nst_jax.images.colour import COLOURS
from nst_jax.images.decoder import MAX_PIXELS
from nst_jax.images.image import FITS
from nst_jax.images.initialise import Canvas
from nst_jax.images.io import RESAMPLERS
from nst_jax.images.video import Film
from nst_jax.losses import Term
from nst_jax.models.numerics import Numerics
from nst_jax.optim.parametrisation import check as check_parametrisation
from nst_jax.optim.solvers import Solver

# The flags read the annotations below as types: they must not be strings.


@dataclasses.dataclass
class Experiment(Fields):
    """One transfer, and what of it varies.

    Attributes:
      content: path of the content picture; or of a film, a video, an animation or a
        folder of pictures, of which `frame` is taken. A folder of which neither `frame`
        nor an axis asks for a frame is a grid: each of its pictures is a member. Or an
        array [H, W, 3], floats in [0, 1], uint8 or uint16, as every field for the path
        of a picture takes.
      styles: paths of the style pictures, or arrays; none for a reconstruction.
      size: what pictures are resized to, in pixels; 0 for the content's own size.
      steps: steps of the solver; 0 evaluates the starting canvas and stops.
      seeds: one member each; a seed decides the noise that it starts from.
      pooling: "max" or "avg".
      pool_rounding: an odd last row or column is pooled by itself ("ceil"), or dropped
        as most published tools do, which leaves up to 15 px hardly styled ("floor").
      solver: which, and its options; or an optax transformation, or your own `Solver`.
      terms: the loss terms. They read like the records they are, and flags may
        set their fields.
      canvas: where the optimisation starts.
      parametrisation: what the solver moves: one of `PARAMETRISATIONS`.
      ladder: smaller sizes that come first.
      masks: which part of the canvas is like which part of the styles.
      tile: the side of tiles in pixels that gradients are taken of one after the
        other, where the whole does not fit into memory; 0 for the whole.
      fit: what `size` is: the "long" side, the "short" side, or the side of a
        square of the same "area".
      style_size: the same for the style pictures; 0 for `size`.
      style_scale: times `style_size`; a style's patterns grow with it.
      colour: whose colours the result has: one of `nst_jax.images.colour.COLOURS`.
      smoothing: of the result, but for the edges of the content.
      padding: "zeros", "reflect" or "replicate", at every convolution.
      input_scale: how many times as strong as it was trained on the network sees
        pictures; for tools that feed it otherwise, see docs/conventions.md.
      input_centred: whether the mean is taken off them, as it was in training.
      resample: the filter that pictures are resized by as they are read.
      max_pixels: most pixels that a file or a resized picture may have.
      frame: which frame of a film the content is, from 0.
      film: what moves in the content from frame to frame.
      weights: path of the weight file.
      numerics: precision and determinism; read and set like a term.
      ensemble: how members are batched.
      output: what is recorded.
      axes: what varies; the members are the grid of all axes. The seeds are the
        last one, unless an axis names them.
    """

    content: PictureSource
    styles: tuple[PictureSource, ...]
    terms: tuple[Term, ...]
    size: int = 256
    steps: int = 100
    seeds: tuple[int, ...] = (0,)
    pooling: str = "max"
    solver: SolverOptions = dataclasses.field(default_factory=SolverOptions)
    canvas: Canvas = dataclasses.field(default_factory=Canvas)
    parametrisation: str = "pixels"
    ladder: Ladder = dataclasses.field(default_factory=Ladder)
    masks: Masks = dataclasses.field(default_factory=Masks)
    tile: int = 0
    fit: str = "long"
    style_size: int = 0
    style_scale: float = 1.0
    colour: str = "style"
    smoothing: Smoothing = dataclasses.field(default_factory=Smoothing)
    padding: str = "zeros"
    pool_rounding: str = "ceil"
    input_scale: float = 1.0
    input_centred: bool = True
    resample: str = "lanczos"
    max_pixels: int = MAX_PIXELS
    frame: int = 0
    film: Film = dataclasses.field(default_factory=Film)
    weights: str = "weights/vgg19.safetensors"
    numerics: Numerics = dataclasses.field(default_factory=Numerics)
    ensemble: EnsembleOptions = dataclasses.field(default_factory=EnsembleOptions)
    output: OutputOptions = dataclasses.field(default_factory=OutputOptions)
    axes: tuple[Vary, ...] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        value = normalised(value)
        if name == "numerics":
            value = draft(value)
        elif name == "terms" and isinstance(value, tuple):
            value = tuple(map(draft, value))
        elif name == "solver" and not isinstance(value, SolverOptions):
            value = SolverOptions(custom=value)
        object.__setattr__(self, name, value)

    __repr__ = short_repr

    def resolved(self) -> "Experiment":
        """The experiment with all its fields at what they stand for.

        A subclass that asks in other words, with fields of its own, says here what
        they mean in terms of these.
        """
        return self

    @property
    def grid_axes(self) -> tuple[Vary, ...]:
        """The axes of the grid: a folder's pictures, those given, and the seeds."""
        return complete_axes(self.axes, self.content, self.frame, self.seeds)

    def members(self) -> list["Member"]:
        """One member for each point of the grid, the last axis fastest.

        Raises:
          RequestError: an axis names no field, or a value that its field refuses.
        """
        self._check_axes()
        axes = self.grid_axes
        shown = [axis for axis in axes if len(axis.values) > 1]
        texts = {id(axis): [f"{axis.title} {t}" for t in axis.texts] for axis in shown}
        members = []
        for index in grid(axes):
            places = list(zip(axes, index, strict=True))
            settings = {k: v for axis, i in places for k, v in axis.settings(i).items()}
            label = ", ".join(texts[id(a)][i] for a, i in places if id(a) in texts)
            seed = settings.pop("seeds", self.seeds[0])
            one = dataclasses.replace(self, axes=(), seeds=(seed,))
            try:
                for path, value in settings.items():
                    one = assigned(one, path, value)
                one.check_types()
                wanted = {path: to_jsonable(value_at(one, path)) for path in settings}
                one = one.resolved()
                one.check()
                for path, value in wanted.items():
                    if to_jsonable(value_at(one, path)) != value:
                        raise RequestError(
                            f"axes: {path!r} cannot be varied here, for this config "
                            "derives it from other fields"
                        )
            except RequestError as error:
                raise RequestError(
                    f"{error} (at {label})" if label and settings else str(error)
                ) from None
            at = tuple(i for axis, i in places if id(axis) in texts)
            members.append(Member(at, label or f"seed {seed}", seed, settings, one))
        return members

    def _check_axes(self) -> None:
        for i, axis in enumerate(self.axes):
            if not isinstance(axis, Vary):
                raise RequestError(f"axes[{i}] is {axis!r}, which is not a Vary")
            axis.check(f"axes[{i}]")
        check_apart(self.axes, self)
        for axis in self.axes:
            for path in axis.paths:
                if re.split(r"[.\[]", path)[0] in ("axes", "output"):
                    raise RequestError(f"axes: {path!r} cannot be varied")
            if "seeds" in axis.paths:
                if len(self.seeds) > 1:
                    raise RequestError(
                        f"seeds is {self.seeds}, and an axis varies the seed too: "
                        "give one"
                    )
                if axis.paths == ("seeds",) and len(set(axis.values)) < len(
                    axis.values
                ):
                    raise RequestError(f"seeds must differ, got {axis.values}")

    def check_types(self) -> None:
        """Raises RequestError if a field has a wrong type."""
        check_types(self)

    def check(self) -> None:
        """Raises RequestError if a field has a wrong type or value."""
        self.check_types()
        for name, number, least, most in (
            ("size", self.size, 0, math.inf),
            ("style_size", self.style_size, 0, math.inf),
            ("steps", self.steps, 0, MAX_STEPS),
            ("max_pixels", self.max_pixels, 1, math.inf),
            ("frame", self.frame, 0, math.inf),
            ("tile", self.tile, 0, math.inf),
        ):
            if not number >= least:
                raise RequestError(f"{name} must be at least {least}, got {number}")
            if number > most:
                raise RequestError(f"{name} must be at most {most}, got {number}")
        if max(self.ladder.steps, default=0) > MAX_STEPS:
            raise RequestError(
                f"ladder.steps must be at most {MAX_STEPS}, got {self.ladder.steps}"
            )
        if not 0 < self.style_scale <= 100:
            raise RequestError(
                f"style_scale must be above 0 and at most 100, got {self.style_scale}"
            )
        check_items("styles", self.styles, str, "a path as a string, or an array")
        check_items("seeds", self.seeds, int, "an integer from 0 to 2³²−1")
        if not self.seeds or not all(0 <= seed < 2**32 for seed in self.seeds):
            raise RequestError(
                f"seeds must be integers from 0 to 2³²−1, at least one; "
                f"got {self.seeds}"
            )
        if len(set(self.seeds)) < len(self.seeds):
            raise RequestError(f"seeds must differ, got {self.seeds}")
        if not self.terms:
            raise RequestError("terms is empty; an objective needs at least one term")
        for i, term in enumerate(self.terms):
            _check_term(f"terms[{i}]", undraft(term))
        if not 0 < self.input_scale < float("inf"):
            raise RequestError(
                f"input_scale must be positive and finite, got {self.input_scale}"
            )
        for name, value, allowed in (
            ("fit", self.fit, tuple(FITS)),
            ("colour", self.colour, COLOURS),
            ("resample", self.resample, tuple(RESAMPLERS)),
        ):
            if value not in allowed:
                raise RequestError(
                    f"{name} must be one of {allowed}, got {value!r}"
                    f"{nearest(value, allowed)}"
                )
        parts = self.canvas, self.film, self.ensemble, self.ladder, self.smoothing
        for part in (*parts, self.output):
            part.check()
        self.masks.check(len(self.styles))
        check_parametrisation(self.parametrisation)
        if self.tile == 1:
            raise RequestError("tile must be 0, or 2 or more, got 1")
        if self.tile and self.masks.content:
            raise RequestError(
                f"tile={self.tile} sees one tile at a time, and masks.content is of "
                "the whole: give one of them"
            )
        if self.size:
            self.stages()
        if self.canvas.kind == "style" and not self.styles:
            raise RequestError("canvas.kind='style' needs a style picture, got none")
        if self.canvas.kind == "previous" and self.ensemble.process != "inline":
            raise RequestError(
                "canvas.kind='previous' needs ensemble.process='inline': a process of "
                "its own has no results of frames before"
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
                "numerics.batch_invariant=True is a promise that is not kept by "
                "ensemble.strategy='shard', whose programs may round otherwise; use "
                "'vmap', 'map' or 'loop'"
            )
        self.solver_record()

    def solver_record(self) -> Solver:
        """The solver of `solver`, as it goes with the parametrisation.

        Raises:
          RequestError: there is no such solver, or it clips what are no pixels.
        """
        solver = self.solver.solver()
        if self.parametrisation != "pixels" and getattr(solver, "clip", False):
            if self.solver.clip:
                raise RequestError(
                    "solver.clip=True keeps pixels in [0, 1], and needs "
                    f"parametrisation='pixels', got {self.parametrisation!r}"
                )
            solver = dataclasses.replace(solver, clip=False)  # type: ignore[type-var]
        return solver

    def stages(self) -> tuple["Experiment", ...]:
        """The transfers that are made one after the other, each of one size.

        Raises:
          RequestError: `ladder` does not describe any.
        """
        own = self.ladder.stages(self.size, self.steps, self.style_scale)
        return tuple(
            dataclasses.replace(
                self,
                size=size,
                steps=steps,
                style_scale=scale,
                style_size=round(self.style_size * size / self.size),
                smoothing=dataclasses.replace(
                    self.smoothing,
                    radius=round(self.smoothing.radius * size / self.size),
                ),
                film=self.film.rescaled(size / self.size),
                ladder=Ladder(),
            )
            for size, steps, scale in own
        )

    @property
    def total_steps(self) -> int:
        """Those of all stages."""
        return sum(stage.steps for stage in self.stages())

    def to_dict(self) -> dict[str, Any]:
        """The tree in JSON's terms; a term says of which class it is."""
        return to_jsonable(self)


@dataclasses.dataclass(frozen=True)
class Member:
    """One point of an experiment's grid.

    Attributes:
      index: its position along each axis of more than one value.
      label: what it is called in panels.
      seed: of its starting canvas.
      varies: path -> value of what the axes set, but for the seed.
      experiment: the experiment as it is at this point: without axes, with one seed.
    """

    index: tuple[int, ...]
    label: str
    seed: int
    varies: dict[str, Any]
    experiment: Experiment = dataclasses.field(repr=False)


def _check_term(name: str, term: Any) -> None:
    if not isinstance(term, Term):
        raise RequestError(f"{name} is {term!r}, which is not a loss term")
    if jax.tree.leaves(term)[:1] and jax.tree.leaves(term)[0] is term:
        raise RequestError(
            f"{name} is of {type(term).__name__}, which is no pytree: write "
            "@nst_jax.term above the class"
        )
    for field in dataclasses.fields(term):
        value = getattr(term, field.name)
        for kind, wanted in ((bool, "True or False"), (str, "a string")):
            if isinstance(field.default, kind) and not isinstance(value, kind):
                raise RequestError(
                    f"{name}.{field.name} must be {wanted}, got {value!r}"
                )
        number = not field.metadata.get("static") and not isinstance(value, tuple)
        if number and not jax.tree.leaves(value):
            raise RequestError(f"{name}.{field.name} must be a number, got {value!r}")
    for path, leaf in jax.tree_util.tree_leaves_with_path(term):
        if not isinstance(leaf, int | float | np.ndarray | jax.Array):
            raise RequestError(
                f"{name}{jax.tree_util.keystr(path)} must be a number, got {leaf!r}"
            )
