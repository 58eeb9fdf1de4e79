"""The state of the optimisation of one image."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nst_jax.core.representation import short_repr
from nst_jax.optim.solvers import Report

#: `State.step` before the first evaluation.
UNEVALUATED = -1


class Iterate(NamedTuple):
    """A point of the optimisation that it can return to.

    Attributes:
      canvas, variable, ema, ema_residual: as in `State`.
      report: the solver's report on the point.
      gradient: of the loss.
      step: number of steps made.
    """

    canvas: jax.Array
    variable: jax.Array
    ema: jax.Array
    ema_residual: jax.Array
    report: Report
    gradient: jax.Array
    step: jax.Array

    def __repr__(self) -> str:
        return short_repr(self)


class State(NamedTuple):
    """The state of an optimisation, as a checkpoint holds it.

    Attributes:
      canvas: [H, W, 3], the result so far: the exponential mean of all canvases.
      variable: the optimised variable.
      ema: [H, W, 3], weighted sum of all canvases.
      ema_residual: 1 − Σ weights; debiases the exponential mean, as in Adam.
      solver: the solver's state.
      report: the solver's report on `variable`.
      step: number of steps made in this stage, or `UNEVALUATED`.
      best: the iterate of least loss in this stage.
      rollbacks: number of returns to the best iterate; each halves the step size.
      matches: part of each term's target that depends on the canvas; see `Term.match`.
    """

    canvas: jax.Array
    variable: jax.Array
    ema: jax.Array
    ema_residual: jax.Array
    solver: Any
    report: Report
    step: jax.Array
    best: Iterate
    rollbacks: jax.Array
    matches: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        return short_repr(self)


def is_finite(report: Report) -> jax.Array:
    """Return whether the loss and the norm of the gradient are finite."""
    return jnp.isfinite(report.loss) & jnp.isfinite(report.grad_norm)


def is_stalled(state: State) -> jax.Array:
    """Return whether a rollback led to the start of the stage and no step left it."""
    is_at_start = (state.rollbacks > 0) & (state.best.step == 0)
    return is_at_start & (state.step > 0) & (state.report.step_length == 0)


def overflowed_share(state: State) -> jax.Array:
    """Return the share of values whose solver state is not finite."""
    overflowed = jnp.zeros(state.variable.shape, bool)
    for leaf in jax.tree.leaves(state.solver):
        if jnp.shape(leaf) == overflowed.shape:
            overflowed |= ~jnp.isfinite(leaf)
    return overflowed.mean()


def has_diverged(state: State) -> jax.Array:
    """Return whether the loss or gradient is not finite, unlike at the best iterate."""
    return ~is_finite(state.report) & is_finite(state.best.report)
