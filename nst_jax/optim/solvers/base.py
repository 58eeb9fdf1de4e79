"""The interface of solvers, their reports, and helpers that solvers share."""

import dataclasses
import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from nst_jax.core.errors import RequestError
from nst_jax.core.representation import short_repr
from nst_jax.core.validation import Range, check_fields

#: Names of the summands of a loss -> their weighted values.
Parts = dict[str, jax.Array]
#: Optimised variable -> ((loss, parts), gradient).
ValueAndGrad = Callable[[jax.Array], tuple[tuple[jax.Array, Parts], jax.Array]]

#: Root mean square of the first change of a quasi-Newton method, in [0, 1] units where
#: the optimised variable is the pixels. At a tenth of it these losses have negative
#: curvature, and the following line search takes 60 evaluations.
FIRST_STEP = 0.02
#: A positive number that is finite in float32.
PositiveFloat = Annotated[float, Range(above=0, at_most=3e38)]
PositiveInt = Annotated[int, Range(at_least=1)]


class Report(NamedTuple):
    """The numbers of a step: scalars at the canvas that it arrived at.

    Attributes:
      loss: the objective.
      parts: its weighted summands.
      grad_norm: Euclidean norm of the gradient.
      step_length: Euclidean norm of the change of the canvas, in [0, 1] image units.
      evaluations: number of losses with gradient computed since the start.
      failed: number of line searches since the start that found no acceptable step.
    """

    loss: jax.Array
    parts: Parts
    grad_norm: jax.Array
    step_length: jax.Array
    evaluations: jax.Array
    failed: jax.Array

    def __repr__(self) -> str:
        return short_repr(self)


class Solver:
    """Base class of solvers: two pure functions, `init` and `step`.

    `canvas` is the optimised variable, a float array such as [H, W, 3]. A state is a
    named tuple with at least the last `report` and the last `gradient`. A custom solver
    is a record (`nst_jax.optim.solvers.record`) that derives from this class. All
    methods except `init` and `step` have defaults. Fields are checked against their
    annotations; arrays pass as numbers.
    """

    #: Fields that are proportional to the length of a step.
    step_fields: ClassVar[tuple[str, ...]] = ("learning_rate",)

    def __post_init__(self) -> None:
        check_fields(self, "solver.")

    def init(self, fun: ValueAndGrad, canvas: jax.Array) -> tuple[Any, Report]:
        """Return the state and the report at a starting canvas."""
        raise NotImplementedError(f"{type(self).__name__} has no init")

    def step(
        self, fun: ValueAndGrad, canvas: jax.Array, state: Any
    ) -> tuple[jax.Array, Any, Report]:
        """Return the next canvas, its state and its report."""
        raise NotImplementedError(f"{type(self).__name__} has no step")

    def resize(self, coarse: Any, state: Any) -> Any:
        """Return the state of a coarser stage in the form of a new stage's state.

        By default it is `state`, which has seen gradients of zero: differences of
        gradients at a coarse size say nothing about the curvature at finer scales.
        """
        return state

    def warm_start(self, resized: Any, state: Any) -> Any:
        """Return the state at the start of a stage, given the result of `resize`.

        By default it is `state`, that of `init`.
        """
        return state

    def gradient(self, state: Any) -> jax.Array:
        """Return the gradient of the loss at the last canvas; `state.gradient`."""
        return state.gradient

    def hold(self, is_stopped: jax.Array, state: Any, new_state: Any) -> Any:
        """Return the state before a step where a member has stopped, else after it.

        A batch computes the steps of stopped members too. By default every leaf is
        selected. A solver may leave a large leaf to the next step, which repeats the
        same computation.
        """
        return jax.tree.map(
            lambda old, new: jnp.where(is_stopped, old, new), state, new_state
        )

    def scale_step(self, factor: Any) -> "Solver":
        """Return the solver with steps scaled by a factor, for use after a rollback.

        By default it scales those of `step_fields` that exist. If there are none, a
        rollback repeats the same steps.
        """
        scaled = {
            name: getattr(self, name) * factor
            for name in self.step_fields
            if hasattr(self, name)
        }
        return dataclasses.replace(self, **scaled)  # type: ignore[type-var]

    def retarget(self, fun: ValueAndGrad, canvas: jax.Array, state: Any) -> Any:
        """Return the state at the same canvas after the loss has changed.

        By default it is `reinitialise`, because differences of gradients of another
        loss say nothing about the curvature.
        """
        return self.reinitialise(fun, canvas, state)

    def reinitialise(
        self, fun: ValueAndGrad, canvas: jax.Array, diverged_state: Any
    ) -> Any:
        """Return the state at an earlier canvas, given the state that diverged."""
        return self.init(fun, canvas)[0]


def initial_report(loss: jax.Array, parts: Parts, gradient: jax.Array) -> Report:
    """Return the report at a starting canvas, after one evaluation."""
    return Report(
        loss=loss,
        parts=parts,
        grad_norm=norm(gradient),
        step_length=jnp.zeros((), gradient.dtype),
        evaluations=jnp.asarray(1, jnp.int32),
        failed=jnp.asarray(0, jnp.int32),
    )


def as_count(number: jax.Array) -> jax.Array:
    """Return a counter as int32, also where 64 bits are enabled."""
    return number.astype(jnp.int32)


def norm(x: jax.Array) -> jax.Array:
    """Return the Euclidean norm, without under- or overflow of the squares."""
    largest = jnp.abs(x).max()
    unit = x / jnp.where(largest > 0, largest, 1)
    return largest * jnp.linalg.norm(unit)


def first_step_scale(
    grad_norm: jax.Array, canvas: jax.Array, rms: float | jax.Array = FIRST_STEP
) -> jax.Array:
    """Return the factor on a gradient that gives a step of root mean square `rms`.

    Quasi-Newton methods multiply the loss by this factor. Their first step then depends
    neither on the unit of the loss nor on the size of the canvas.
    """
    length = rms * math.sqrt(canvas.size)
    return jnp.where(grad_norm > 0, length / grad_norm, 1)


def check_solver(solver: Solver) -> None:
    """Trace `init` and `step` of a custom solver on a small canvas.

    Raises:
      RequestError: a method raises, or its result has another form than `Solver` says.
    """
    name = type(solver).__name__
    canvas = jax.ShapeDtypeStruct((8, 8, 3), jnp.float32)

    def quadratic(x: jax.Array) -> tuple[tuple[jax.Array, Parts], jax.Array]:
        return ((x**2).sum(), {"quadratic": (x**2).sum()}), 2 * x

    def trace(method: str, returned: str, *args: Any) -> tuple:
        try:
            result = jax.eval_shape(
                lambda solver, *args: getattr(solver, method)(quadratic, *args),
                *(solver, *args),
            )
        except Exception as error:  # Custom code may raise anything.
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise RequestError(f"solver: {name}.{method}: {reason}") from error
        if not (isinstance(result, tuple) and len(result) == returned.count(",") + 1):
            raise RequestError(f"solver: {name}.{method} must return ({returned})")
        if not isinstance(result[-1], Report):
            raise RequestError(
                f"solver: {name}.{method} must return a nst_jax.optim.solvers.Report, "
                f"got {type(result[-1]).__name__}"
            )
        return result

    state, report = trace("init", "state, report", canvas)
    default = type(solver).gradient is Solver.gradient
    for field in ("report", *(("gradient",) if default else ())):
        if field not in getattr(state, "_fields", ()):
            raise RequestError(
                f"solver: the state of {name} must be a named tuple with a field "
                f"{field!r}, got {type(state).__name__}"
            )
    stepped = trace("step", "canvas, state, report", canvas, state)
    for label, before, after in zip(
        ("canvas", "state", "report"), (canvas, state, report), stepped, strict=True
    ):
        forms = [
            jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), tree)
            for tree in (before, after)
        ]
        if forms[0] != forms[1]:
            raise RequestError(
                f"solver: {name}.step must return a {label} of the form of its "
                f"argument, {forms[0]}, got {forms[1]}"
            )
