"""Solvers that are optax transformations."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from nst_jax.core.errors import RequestError
from nst_jax.core.pytree import record, static
from nst_jax.optim.solvers.base import (
    PositiveFloat,
    Report,
    Solver,
    ValueAndGrad,
    as_count,
    initial_report,
    norm,
)


class OptaxState(NamedTuple):
    """The state of an `OptaxSolver`.

    Attributes:
      inner: the state of the transformation.
      scale: factor on the loss that the transformation receives.
      gradient: at the last canvas.
      report: at the last canvas.
    """

    inner: Any
    scale: jax.Array
    gradient: jax.Array
    report: Report


class OptaxSolver(Solver):
    """A solver that is an optax transformation, with one evaluation after each step.

    A subclass is a record whose fields are the numbers of its transformation. They are
    leaves of the program, so that an axis over them is one batch. A field `clip=True`
    keeps the canvas in [0, 1].
    """

    def transformation(self) -> optax.GradientTransformation:
        """Return the transformation; called several times in a program."""
        raise NotImplementedError(f"{type(self).__name__} has no transformation")

    def _scale(self, grad_norm: jax.Array, canvas: jax.Array) -> jax.Array:
        """Return the factor on the loss that the transformation receives."""
        return jnp.ones_like(grad_norm)

    def _search_counts(self, inner: Any) -> tuple[jax.Array, jax.Array]:
        """Return (evaluations, failures) of the line search of the last update."""
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
            value_fn=_differentiable(fun, state.scale),
        )
        new_canvas = optax.apply_updates(canvas, update)
        if getattr(self, "clip", False):
            new_canvas = jnp.clip(new_canvas, 0, 1)
        (loss, parts), gradient = fun(new_canvas)
        evaluations, failed = self._search_counts(inner)
        report = Report(
            loss=loss,
            parts=parts,
            grad_norm=norm(gradient),
            step_length=norm(new_canvas - canvas),
            evaluations=as_count(last.evaluations + 1 + evaluations),
            failed=as_count(last.failed + failed),
        )
        return new_canvas, OptaxState(inner, state.scale, gradient, report), report

    def reinitialise(
        self, fun: ValueAndGrad, canvas: jax.Array, diverged_state: OptaxState
    ) -> OptaxState:
        """Return a fresh state at the same step of the learning rate schedule."""
        state, _ = self.init(fun, canvas)
        schedule = optax.ScaleByScheduleState
        inner = with_substates(
            state.inner, diverged_state.inner, schedule, lambda substate: substate
        )
        return state._replace(inner=inner)

    def retarget(
        self, fun: ValueAndGrad, canvas: jax.Array, state: OptaxState
    ) -> OptaxState:
        """Return a state with the same moments and schedule, and the new gradient."""
        return self.init(fun, canvas)[0]._replace(inner=state.inner)


@record
class Transformation(OptaxSolver):
    """Any optax transformation as a solver.

        nst_jax.optim.solvers.Transformation(optax.adan(0.02), clip=False)

    The numbers inside the transformation are constants of the compiled program. Each
    stage of a ladder begins with a fresh state.

    Attributes:
      rule: the transformation, such as `optax.adan(0.02)`, in [0, 1] image units.
      learning_rate: factor on the updates of the transformation; a leaf.
      clip: whether to clip the canvas to [0, 1] after every step.
    """

    rule: optax.GradientTransformation = static()
    learning_rate: PositiveFloat = 1.0
    clip: bool = static(default=True)

    def transformation(self) -> optax.GradientTransformation:
        return optax.chain(self.rule, optax.scale(self.learning_rate))


def as_solver(solver: object) -> Solver:
    """Return a solver as it is, or an optax transformation as a solver.

    Raises:
      RequestError: it is neither.
    """
    if isinstance(solver, optax.GradientTransformation):
        return Transformation(solver)
    if not isinstance(solver, Solver):
        name = getattr(solver, "__qualname__", None)
        hint = f"; {name} has to be called" if callable(solver) and name else ""
        raise RequestError(
            "solver must be an optax transformation, such as optax.adan(0.02), or a "
            "record that derives from nst_jax.optim.solvers.Solver, "
            f"got {solver!r}{hint}"
        )
    # By identity: == on an array leaf has no single truth value.
    if any(leaf is solver for leaf in jax.tree.leaves(solver)[:1]):
        raise RequestError(
            f"solver must be a pytree, got {type(solver).__name__}: write "
            "@nst_jax.optim.solvers.record above the class"
        )
    return solver


def with_substates(
    state: Any, source: Any, kind: type, convert: Callable[[Any], Any]
) -> Any:
    """Return a state whose substates of one kind are converted from another state."""
    return jax.tree.map(
        lambda x, y: convert(x) if isinstance(x, kind) else y,
        source,
        state,
        is_leaf=lambda node: isinstance(node, kind),
    )


def _differentiable(
    fun: ValueAndGrad, scale: jax.Array
) -> Callable[[jax.Array], jax.Array]:
    """Return `scale` times the loss, as a function whose derivative comes from `fun`.

    Line searches of optax use 64 bits if those are enabled; `fun` uses the dtype of
    `scale`.
    """

    @jax.custom_vjp
    def loss(canvas: jax.Array) -> jax.Array:
        return forward(canvas)[0]

    def forward(canvas: jax.Array) -> tuple[jax.Array, jax.Array]:
        (value, _), gradient = fun(canvas.astype(scale.dtype))
        dtype = canvas.dtype
        return (value * scale).astype(dtype), (gradient * scale).astype(dtype)

    loss.defvjp(forward, lambda gradient, cotangent: (cotangent * gradient,))
    return loss
