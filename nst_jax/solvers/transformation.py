"""Solvers that are optax transformations."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from nst_jax.solvers.base import (
    Report,
    ValueAndGrad,
    count,
    norm,
    start,
)


class OptaxState(NamedTuple):
    """What such a solver keeps; `gradient` and `report` are of its last canvas."""

    inner: Any
    scale: jax.Array
    gradient: jax.Array
    report: Report


class OptaxSolver:
    """A solver that is an optax transformation, evaluated once after each step."""

    def _transformation(self) -> optax.GradientTransformationExtraArgs:
        raise NotImplementedError

    def _scale(self, grad_norm: jax.Array, canvas: jax.Array) -> jax.Array:
        """What the solver sees the loss multiplied by, from its first gradient."""
        raise NotImplementedError

    def _project(self, canvas: jax.Array) -> jax.Array:
        return canvas

    def _searched(self, inner: Any) -> tuple[jax.Array, jax.Array]:
        """(evaluations, failures) of the line search that led to state `inner`."""
        return jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)

    def init(self, fun: ValueAndGrad, canvas: jax.Array) -> tuple[OptaxState, Report]:
        inner = self._transformation().init(canvas)
        (loss, parts), gradient = fun(canvas)
        report = start(loss, parts, gradient)
        scale = self._scale(report.grad_norm, canvas)
        return OptaxState(inner, scale, gradient, report), report

    def step(
        self, fun: ValueAndGrad, canvas: jax.Array, state: OptaxState
    ) -> tuple[jax.Array, OptaxState, Report]:
        last = state.report
        update, inner = self._transformation().update(
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

    def gradient(self, state: OptaxState) -> jax.Array:
        return state.gradient

    def restarted(
        self, fun: ValueAndGrad, canvas: jax.Array, astray: OptaxState
    ) -> OptaxState:
        return self.init(fun, canvas)[0]

    def carried(self, coarse: OptaxState, state: OptaxState) -> OptaxState:
        # A quasi-Newton method begins anew: differences of a coarser canvas say
        # nothing of the curvature at finer scales.
        return state


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
