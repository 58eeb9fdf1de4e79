"""What a config file returns: one typed tree that says what to run.

The top fields are those that every config has; flags reach all of them:
`--config.steps=50 --config.solver.name=adam --config.terms[1].weight=9`.
"""

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.canvas import Canvas
from nst_jax.ensemble import STRATEGIES
from nst_jax.errors import RequestError, nearest
from nst_jax.io import RESAMPLERS
from nst_jax.losses import Term
from nst_jax.numerics import Numerics
from nst_jax.solvers import SOLVERS, Solver

# The flags read the annotations below as types: they must not be strings.


class Draft:
    """A frozen record that flags may edit: setting a field replaces the record."""

    def __init__(self, record: Any):
        self.__dict__["record"] = record

    def __getattr__(self, name: str) -> Any:
        if name == "record" or name.startswith("__"):
            raise AttributeError(name)  # Copies ask before there is a record.
        return getattr(self.record, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__["record"] = dataclasses.replace(self.record, **{name: value})

    def __eq__(self, other: object) -> bool:
        return self.record == undraft(other)

    __hash__ = None  # type: ignore[assignment]  # A draft may change.

    def __repr__(self) -> str:
        return repr(self.record)


@dataclasses.dataclass
class SolverOptions:
    """Which solver, and its fields; None leaves a field at the solver's default.

    Attributes:
      name: "lbfgs" (jaxopt, with a line search), "lbfgs_fixed" (without one),
        "lbfgs_optax", "adam" or "sgd"; what the others mean, the classes in
        `nst_jax.solvers` say.
      tolerance: stop moving a canvas whose gradient norm is not above it.
    """

    name: str = "lbfgs"
    tolerance: float = 0.0
    history_size: int | None = None
    line_search: str | None = None
    max_line_search_steps: int | None = None
    max_step: float | None = None
    learning_rate: float | None = None
    b1: float | None = None
    b2: float | None = None
    eps: float | None = None
    schedule: str | None = None
    decay_rate: float | None = None
    decay_steps: int | None = None
    clip: bool | None = None

    def solver(self) -> Solver:
        """The solver that these options describe.

        Raises:
          RequestError: there is no such solver, or it has no such field.
        """
        if self.name not in SOLVERS:
            raise RequestError(
                f"solver.name must be one of {tuple(SOLVERS)}, got {self.name!r}"
                f"{nearest(self.name, SOLVERS)}"
            )
        if not 0 <= self.tolerance < float("inf"):
            raise RequestError(
                "solver.tolerance must be finite and not negative, "
                f"got {self.tolerance}"
            )
        solver = SOLVERS[self.name]
        known = {field.name for field in dataclasses.fields(solver)}
        given = {
            field.name: value
            for field in dataclasses.fields(self)
            if field.name not in ("name", "tolerance")
            and (value := getattr(self, field.name)) is not None
        }
        for field in given:
            if field not in known:
                raise RequestError(
                    f"solver.{field} is not a field of {self.name!r}, which has "
                    f"{', '.join(sorted(known))}"
                )
        return solver(**given)


@dataclasses.dataclass
class EnsembleOptions:
    """How the members of a run are computed.

    Attributes:
      strategy: "vmap", "map" or "loop"; `nst_jax.ensemble` tells them apart.
      batch_size: members held at a time; 0 for all.
    """

    strategy: str = "vmap"
    batch_size: int = 0


@dataclasses.dataclass
class OutputOptions:
    """What a run leaves on the way.

    Attributes:
      log_every: steps between two rows of metrics.
      snapshot_every: steps between two pictures in `frames/`; 0 for none.
      snapshots: further steps to keep a picture of.
    """

    log_every: int = 5
    snapshot_every: int = 0
    snapshots: tuple[int, ...] = ()

    def snapshot_steps(self, steps: int) -> tuple[int, ...]:
        """All steps up to `steps` that a picture is kept of, ascending."""
        regular = (
            range(0, steps + 1, self.snapshot_every) if self.snapshot_every else ()
        )
        return tuple(sorted({s for s in (*self.snapshots, *regular) if s <= steps}))


@dataclasses.dataclass
class Experiment:
    """One transfer, and what of it varies.

    Attributes:
      content: path of the content picture.
      styles: paths of the style pictures; none for a reconstruction.
      size: the longer side that pictures are resized to, in pixels.
      steps: steps of the solver; 0 evaluates the starting canvas and stops.
      seeds: one member each; a seed decides the noise that it starts from.
      pooling: "max" or "avg".
      solver: which, and its options.
      terms: the loss terms. They read like the records they are, and flags may
        set their fields.
      canvas: where the optimisation starts.
      style_size: the longer side of the style pictures; 0 for `size`.
      padding: "zeros", "reflect" or "replicate", at every convolution.
      input_scale: how many times as strong as it was trained on the network sees
        pictures; for tools that feed it otherwise, see docs/conventions.md.
      input_centred: whether the mean is taken off them, as it was in training.
      resample: the filter that pictures are resized by as they are read.
      weights: path of the weight file.
      numerics: precision and determinism; read and set like a term.
      ensemble: how members are batched.
      output: what is recorded.
    """

    content: str
    styles: tuple[str, ...]
    terms: tuple[Term, ...]
    size: int = 256
    steps: int = 100
    seeds: tuple[int, ...] = (0,)
    pooling: str = "max"
    solver: SolverOptions = dataclasses.field(default_factory=SolverOptions)
    canvas: Canvas = dataclasses.field(default_factory=Canvas)
    style_size: int = 0
    padding: str = "zeros"
    input_scale: float = 1.0
    input_centred: bool = True
    resample: str = "lanczos"
    weights: str = "weights/vgg19.safetensors"
    numerics: Numerics = dataclasses.field(default_factory=Numerics)
    ensemble: EnsembleOptions = dataclasses.field(default_factory=EnsembleOptions)
    output: OutputOptions = dataclasses.field(default_factory=OutputOptions)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "numerics":
            value = _draft(value)
        elif name == "terms" and isinstance(value, tuple):
            value = tuple(map(_draft, value))
        super().__setattr__(name, value)

    def check(self) -> None:
        """Raises RequestError if a field has a wrong type or value."""
        for name, value, kind in _typed_fields(self):
            number = kind not in (bool, bool | None)
            if not isinstance(value, kind) or (number and isinstance(value, bool)):
                wanted = getattr(kind, "__name__", str(kind))
                raise RequestError(f"{name} must be of type {wanted}, got {value!r}")
        for name, value, least in (
            ("size", self.size, 1),
            ("style_size", self.style_size, 0),
            ("steps", self.steps, 0),
            ("ensemble.batch_size", self.ensemble.batch_size, 0),
            ("output.log_every", self.output.log_every, 1),
            ("output.snapshot_every", self.output.snapshot_every, 0),
        ):
            if value < least:
                raise RequestError(f"{name} must be at least {least}, got {value}")
        _check_items("styles", self.styles, str, "a path as a string")
        snapshots = self.output.snapshots
        _check_items("output.snapshots", snapshots, int, "a step, an integer from 0")
        if min(snapshots, default=0) < 0:
            raise RequestError(f"output.snapshots must be from 0, got {snapshots}")
        _check_items("seeds", self.seeds, int, "an integer from 0 to 2³²−1")
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
            ("resample", self.resample, tuple(RESAMPLERS)),
            ("ensemble.strategy", self.ensemble.strategy, STRATEGIES),
        ):
            if value not in allowed:
                raise RequestError(
                    f"{name} must be one of {allowed}, got {value!r}"
                    f"{nearest(value, allowed)}"
                )
        self.canvas.check()
        if self.canvas.kind == "style" and not self.styles:
            raise RequestError("canvas.kind='style' needs a style picture, got none")
        if (
            self.numerics.feature_dtype == "float64"
            and jnp.result_type(float) == "float32"
        ):
            raise RequestError(
                "numerics.feature_dtype='float64' needs the environment variable "
                "JAX_ENABLE_X64=1"
            )
        self.solver.solver()

    def to_dict(self) -> dict[str, Any]:
        """The tree in JSON's terms; a term says of which class it is."""
        return _plain(self)


def variant(experiment: Experiment, arg: str) -> Experiment:
    """The experiment as `configs/NAME.py:arg` asks for it.

    Args:
      experiment: in full.
      arg: "" for that, "smoke" for 64 px and 4 steps, which finish in seconds.

    Raises:
      RequestError: `arg` is something else.
    """
    if arg not in ("", "smoke"):
        raise RequestError(f"argument must be 'smoke' or left out, got {arg!r}")
    if arg == "smoke":
        experiment.size, experiment.steps = 64, 4
    return experiment


def _draft(record: Any) -> Any:
    record = undraft(record)
    return Draft(record) if dataclasses.is_dataclass(record) else record


def undraft(record: Any) -> Any:
    """The frozen record behind a draft."""
    return record.record if isinstance(record, Draft) else record


def _typed_fields(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted name, value, type) of the plain fields of a config tree."""
    for field in dataclasses.fields(tree):
        value, kind = getattr(tree, field.name), field.type
        if isinstance(value, Draft):
            continue  # A record checks itself.
        if dataclasses.is_dataclass(kind):
            if not isinstance(value, kind):  # type: ignore[arg-type]
                yield prefix + field.name, value, kind
            else:
                yield from _typed_fields(value, f"{prefix}{field.name}.")
        elif kind is float:
            yield prefix + field.name, value, int | float
        elif kind == float | None:
            yield prefix + field.name, value, int | float | None
        else:
            yield prefix + field.name, value, getattr(kind, "__origin__", kind)


def _check_term(name: str, term: Any) -> None:
    if not isinstance(term, Term):
        raise RequestError(f"{name} is {term!r}, which is not a loss term")
    for path, leaf in jax.tree_util.tree_leaves_with_path(term):
        if not isinstance(leaf, int | float | np.ndarray | jax.Array):
            raise RequestError(
                f"{name}{jax.tree_util.keystr(path)} must be a number, got {leaf!r}"
            )


def _check_items(name: str, items: tuple, kind: type, wanted: str) -> None:
    for item in items:
        if not isinstance(item, kind) or isinstance(item, bool):
            raise RequestError(f"{name} holds {item!r}, which is not {wanted}")


def _plain(node: Any) -> Any:
    node = undraft(node)
    if dataclasses.is_dataclass(node):
        fields = {
            f.name: _plain(getattr(node, f.name)) for f in dataclasses.fields(node)
        }
        return (
            {"type": type(node).__name__, **fields}
            if isinstance(node, Term)
            else fields
        )
    if isinstance(node, tuple | list):
        return [_plain(item) for item in node]
    if isinstance(node, np.ndarray | jax.Array):
        array = np.asarray(node)
        sha256 = hashlib.sha256(array.tobytes()).hexdigest()
        return {"shape": list(array.shape), "dtype": str(array.dtype), "sha256": sha256}
    plain = node is None or isinstance(node, bool | int | float | str)
    return node if plain else repr(node)
