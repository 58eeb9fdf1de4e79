"""Solvers that are optax transformations."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from nst_jax.core.errors import RequestError
from nst_jax.core.pytree import record, static
from nst_jax.optim.solvers.base import (
    Report,
    Solver,
    ValueAndGrad,
    check_positive,
    count,
    initial_report,
    norm,
)


class OptaxState(NamedTuple):
    """What such a solver keeps; `gradient` and `report` are of its last canvas."""

    inner: Any
    scale: jax.Array
    gradient: jax.Array
    report: Report


class OptaxSolver(Solver):
    """A solver that is an optax transformation, evaluated once after each step.

    A record that derives from this class declares numbers as fields and returns the
    transformation that they describe. Its fields are then leaves of the program, so
    that `Vary` over them is one batch. A field `clip` that is True keeps the canvas in
    [0, 1].
    """

    def transformation(self) -> optax.GradientTransformation:
        """Return the transformation; it is called wherever the program needs it."""
        raise NotImplementedError(f"{type(self).__name__} has no transformation")

    def _scale(self, grad_norm: jax.Array, canvas: jax.Array) -> jax.Array:
        """Return the factor on the loss that the transformation sees."""
        return jnp.ones_like(grad_norm)

    def _project(self, canvas: jax.Array) -> jax.Array:
        return jnp.clip(canvas, 0, 1) if getattr(self, "clip", False) else canvas

    def _searched(self, inner: Any) -> tuple[jax.Array, jax.Array]:
        """(evaluations, failures) of the line search that led to state `inner`."""
        return jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)

    def init(self, fun: ValueAndGrad, canvas: jax.Array) -> tuple[OptaxState, Report]:
        inner = self.transformation().init(canvas)
        (loss, parts), gradient = fun(canvas)
        report = initial_report(loss, parts, gradient)
        scale = self._scale(report.grad_norm, canvas)
        return OptaxState(inner, scale, gradient, report), report

    def step(
        self, fun: ValueAndGrad, canvas: jax.Array, state: OptaxState
    ) -> tuple[jax.Array, OptaxState, Report]:
        last = state.report
        transformation = optax.with_extra_args_support(self.transformation())
        update, inner = transformation.update(
            state.gradient * state.scale,
            state.inner,
            canvas,
            value=(last.loss * state.scale).astype(canvas.dtype),
            grad=state.gradient * state.scale,
            value_fn=differentiable(fun, state.scale),
        )
        arrived = self._project(optax.apply_updates(canvas, update))
        (loss, parts), gradient = fun(arrived)
        evaluations, failed = self._searched(inner)
        report = Report(
            loss=loss,
            parts=parts,
            grad_norm=norm(gradient),
            step_length=norm(arrived - canvas),
            evaluations=count(last.evaluations + 1 + evaluations),
            failed=count(last.failed + failed),
        )
        return arrived, OptaxState(inner, state.scale, gradient, report), report

    def reinitialise(
        self, fun: ValueAndGrad, canvas: jax.Array, diverged_state: OptaxState
    ) -> OptaxState:
        """Return a fresh state at the same place of the learning rate's schedule."""
        state, _ = self.init(fun, canvas)
        schedule = optax.ScaleByScheduleState
        inner = replaced(state.inner, diverged_state.inner, schedule, lambda old: old)
        return state._replace(inner=inner)


@record
class Transformation(OptaxSolver):
    """Any optax transformation as a solver.

        nst_jax.optim.solvers.Transformation(optax.adan(0.02), clip=False)

    Its numbers are constants of the compiled program. A ladder's next stage begins
    with a fresh state.

    Attributes:
      rule: the transformation, such as `optax.adan(0.02)`, in [0, 1] picture units.
      learning_rate: multiplies the transformation's updates; a leaf.
      clip: project the canvas onto [0, 1] after every step.
    """

    rule: optax.GradientTransformation = static()
    learning_rate: float = 1.0
    clip: bool = static(default=True)

    def __post_init__(self) -> None:
        check_positive(self, "learning_rate")

    def transformation(self) -> optax.GradientTransformation:
        return optax.chain(self.rule, optax.scale(self.learning_rate))


def as_solver(solver: object) -> Solver:
    """Return a solver from one, or from an optax transformation.

    Raises:
      RequestError: it is neither.
    """
    if isinstance(solver, optax.GradientTransformation):
        return Transformation(solver)
    if not isinstance(solver, Solver):
        kind = getattr(solver, "__qualname__", None)
        hint = f"; {kind} has to be called" if callable(solver) and kind else ""
        raise RequestError(
            "solver must be an optax transformation, such as optax.adan(0.02), or a "
            "record that derives from nst_jax.optim.solvers.Solver, "
            f"got {solver!r}{hint}"
        )
    # By identity: the first leaf may be an array, whose == is not one truth value.
    if any(leaf is solver for leaf in jax.tree.leaves(solver)[:1]):
        raise RequestError(
            f"solver is of {type(solver).__name__}, which is no pytree: write "
            "@nst_jax.optim.solvers.record above the class"
        )
    return solver


def replaced(new: Any, old: Any, kind: type, kept: Callable[[Any], Any]) -> Any:
    """Return a new state with its parts of one kind made from those of an old one."""
    return jax.tree.map(
        lambda x, y: kept(x) if isinstance(x, kind) else y,
        old,
        new,
        is_leaf=lambda node: isinstance(node, kind),
    )


def differentiable(
    fun: ValueAndGrad, scale: jax.Array
) -> Callable[[jax.Array], jax.Array]:
    """`scale` times the loss, as a function that autodiff asks `fun` to derive.

    Optax's searches walk in 64 bits where those are enabled; `fun` is of the scale's.
    """

    @jax.custom_vjp
    def loss(canvas: jax.Array) -> jax.Array:
        return forward(canvas)[0]

    def forward(canvas: jax.Array) -> tuple[jax.Array, jax.Array]:
        (value, _), gradient = fun(canvas.astype(scale.dtype))
        return (value * scale).astype(canvas.dtype), (gradient * scale).astype(
            canvas.dtype
        )

    loss.defvjp(forward, lambda gradient, cotangent: (cotangent * gradient,))
    return loss
