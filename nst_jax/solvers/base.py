"""What a solver is, what it reports, and what all of them share."""

import dataclasses
import math
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.errors import RequestError
from nst_jax.representation import short_repr

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


class Solver(Protocol):
    """Pure functions; `canvas` is what is moved, a float array such as [H, W, 3].

    A state is a named tuple with the last `report` in it.
    """

    def init(self, fun: ValueAndGrad, canvas: jax.Array) -> tuple[Any, Report]:
        """The state at a starting canvas, and the report on it."""

    def step(
        self, fun: ValueAndGrad, canvas: jax.Array, state: Any
    ) -> tuple[jax.Array, Any, Report]:
        """One step: the next canvas, its state, its report."""

    def carried(self, coarse: Any, state: Any) -> Any:
        """The state at a start, with what is of use of one at another size."""

    def gradient(self, state: Any) -> jax.Array:
        """The loss's, at the last canvas."""

    def damped(self, factor: Any) -> "Solver":
        """The same with steps shorter by a factor; where it searches, the first one."""

    def restarted(self, fun: ValueAndGrad, canvas: jax.Array, astray: Any) -> Any:
        """The state at a canvas from before the state that led astray."""


def start(loss: jax.Array, parts: Parts, gradient: jax.Array) -> Report:
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
