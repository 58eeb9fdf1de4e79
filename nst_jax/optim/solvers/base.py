"""What a solver is, what it reports, and what all of them share."""

import dataclasses
import math
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.core.errors import RequestError
from nst_jax.core.representation import short_repr

Parts = dict[str, jax.Array]
ValueAndGrad = Callable[[jax.Array], tuple[tuple[jax.Array, Parts], jax.Array]]


class Report(NamedTuple):
    """What a step has to say: scalars, of the canvas that it arrived at.

    Attributes:
      loss: the objective.
      parts: its weighted summands.
      grad_norm: Euclidean norm of the gradient.
      step_length: Euclidean norm of the canvas's change, in [0, 1] picture units.
      evaluations: values-with-gradient computed for it since the start.
      failed: how many line searches found no acceptable step since the start.
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
    named tuple with at least the last `report` and the last `gradient`. A solver of
    your own is a record (`nst_jax.optim.solvers.record`) that derives from this class.
    The other methods have defaults.
    """

    def init(self, fun: ValueAndGrad, canvas: jax.Array) -> tuple[Any, Report]:
        """Return the state at a starting canvas, and the report on it."""
        raise NotImplementedError(f"{type(self).__name__} has no init")

    def step(
        self, fun: ValueAndGrad, canvas: jax.Array, state: Any
    ) -> tuple[jax.Array, Any, Report]:
        """Return the next canvas, its state and its report."""
        raise NotImplementedError(f"{type(self).__name__} has no step")

    def warm_start(self, coarse: Any, state: Any) -> Any:
        """Return the state at the start of a stage, given the last of a coarser one.

        By default nothing is carried over. Differences of a coarser canvas say nothing
        of the curvature at finer scales.
        """
        return state

    def gradient(self, state: Any) -> jax.Array:
        """Return the gradient of the loss at the last canvas; `state.gradient`."""
        return state.gradient

    def scale_step(self, factor: Any) -> "Solver":
        """Return the solver with steps shorter by a factor, for use after a rollback.

        By default `learning_rate` is multiplied by it. A solver without such a field
        is returned as it is: override this, or a rollback repeats the same steps.
        """
        if not hasattr(self, "learning_rate"):
            return self
        rate = self.learning_rate * factor
        return dataclasses.replace(self, learning_rate=rate)  # type: ignore[type-var]

    def reinitialise(
        self, fun: ValueAndGrad, canvas: jax.Array, diverged_state: Any
    ) -> Any:
        """Return the state at an earlier canvas, given the state that diverged."""
        return self.init(fun, canvas)[0]


def initial_report(loss: jax.Array, parts: Parts, gradient: jax.Array) -> Report:
    """The report on a starting canvas."""
    return Report(
        loss=loss,
        parts=parts,
        grad_norm=norm(gradient),
        step_length=jnp.zeros((), gradient.dtype),  # As that of a step.
        evaluations=jnp.asarray(1, jnp.int32),
        failed=jnp.asarray(0, jnp.int32),
    )


def count(number: jax.Array) -> jax.Array:
    """A counter, of one dtype whether or not 64 bits are enabled."""
    return number.astype(jnp.int32)


def norm(x: jax.Array) -> jax.Array:
    """The Euclidean norm, where squares would under- or overflow too."""
    largest = jnp.abs(x).max()
    unit = x / jnp.where(largest > 0, largest, 1)
    return largest * jnp.linalg.norm(unit)


#: By what a quasi-Newton method, which knows no curvature yet, changes what it moves at
#: first: the root mean square, in [0, 1] units where that is pixels. From a tenth of it
#: the losses here curve the wrong way, and searches that learn from that spend 60
#: evaluations on it.
FIRST_STEP = 0.02


def first_step(
    grad_norm: jax.Array, canvas: jax.Array, rms: float | jax.Array = FIRST_STEP
) -> jax.Array:
    """The factor that makes a first gradient a step of that root mean square.

    What a quasi-Newton method sees the loss multiplied by: it then moves as far at
    first whatever unit the loss is in, and however large the canvas is.
    """
    length = rms * math.sqrt(canvas.size)
    return jnp.where(grad_norm > 0, length / grad_norm, 1)


#: Numbers become float32, in which larger ones are infinite.
_MOST = 3e38


def check_positive(solver: Any, *names: str) -> None:
    """Raise RequestError unless fields are positive numbers, or arrays of any values.

    Fields of a fixed type, whole numbers and switches, are checked by it.
    """
    for field in dataclasses.fields(solver):
        value, wanted = getattr(solver, field.name), ""
        if field.metadata.get("static") and isinstance(field.default, bool):
            wanted = "" if isinstance(value, bool) else "True or False"
        elif field.metadata.get("static") and isinstance(field.default, int):
            whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
            wanted = "" if whole else "an integer"
        elif isinstance(field.default, float):
            number = isinstance(value, numbers.Real | np.ndarray | jax.Array)
            wanted = "" if number and not isinstance(value, bool) else "a number"
        if wanted:
            raise RequestError(f"solver.{field.name} must be {wanted}, got {value!r}")
    for name in names:
        value = getattr(solver, name)
        if isinstance(value, int | float | np.number) and not 0 < value < math.inf:
            raise RequestError(
                f"solver.{name} must be positive and finite, got {value}"
            )
        if isinstance(value, int | float | np.number) and value > _MOST:
            raise RequestError(f"solver.{name} must be at most {_MOST:g}, got {value}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise RequestError(f"solver.{name} must be one of {choices}, got {value!r}")


def check_solver(solver: Solver) -> None:
    """Trace a solver's `init` and `step` on a small canvas.

    Raises:
      RequestError: it raises, or returns something else than `Solver` says.
    """
    name = type(solver).__name__
    canvas = jax.ShapeDtypeStruct((8, 8, 3), jnp.float32)

    def bowl(x: jax.Array) -> tuple[tuple[jax.Array, Parts], jax.Array]:
        return ((x**2).sum(), {"bowl": (x**2).sum()}), 2 * x

    def path(solver: Solver, canvas: jax.Array) -> Any:
        begun = solver.init(bowl, canvas)
        if not (isinstance(begun, tuple) and len(begun) == 2):
            raise RequestError(f"solver: {name}.init must return (state, report)")
        default = type(solver).gradient is Solver.gradient
        for field in ("report", *(("gradient",) if default else ())):
            if field not in getattr(begun[0], "_fields", ()):
                raise RequestError(
                    f"solver: the state of {name} must be a named tuple with a field "
                    f"{field!r}, got {type(begun[0]).__name__}"
                )
        stepped = solver.step(bowl, canvas, begun[0])
        if not (isinstance(stepped, tuple) and len(stepped) == 3):
            raise RequestError(
                f"solver: {name}.step must return (canvas, state, report)"
            )
        return (canvas, *begun), stepped

    try:
        before, after = jax.eval_shape(path, solver, canvas)
    except RequestError:
        raise
    except Exception as error:  # A user's solver is code, and may raise anything.
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise RequestError(f"solver: {name}: {reason}") from error
    if not isinstance(before[2], Report) or not isinstance(after[2], Report):
        raise RequestError(
            f"solver: {name} must report by nst_jax.optim.solvers.Report, got "
            f"{type(before[2]).__name__} and {type(after[2]).__name__}"
        )
    for what, old, new in zip(
        ("canvas", "state", "report"), before, after, strict=True
    ):
        forms = [
            jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), tree)
            for tree in (old, new)
        ]
        if forms[0] != forms[1]:
            raise RequestError(
                f"solver: {name}.step must return a {what} of the form that it starts "
                f"from, {forms[0]}, got {forms[1]}"
            )
