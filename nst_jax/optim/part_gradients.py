"""Gradients of the parts of a loss, one by one."""

import jax
import jax.numpy as jnp

from nst_jax.optim.problem import Problem
from nst_jax.optim.solvers import Parts, norm


def part_gradients(
    problem: Problem, variable: jax.Array, step: jax.Array | int = 0
) -> dict[str, jax.Array]:
    """Return the gradient norm of each weighted part, and of the loss under "loss".

    The norms of the parts are at least that of the loss in sum, and equal to it if all
    gradients point the same way. Terms with matches are matched at this variable.

    Args:
      problem: the optimisation problem. Its tiling is ignored.
      variable: the optimised variable.
      step: number of steps made before; it seeds stochastic terms.
    """

    def parts(variable: jax.Array) -> Parts:
        canvas = problem.canvas(variable)
        return problem.objective(problem.network, canvas, problem.targets, step)[1]

    values, pull_back = jax.vjp(parts, variable)
    # One row selects each part and the last their sum. `map` holds one gradient.
    rows = jnp.vstack([jnp.eye(len(values)), jnp.ones((1, len(values)))])

    def gradient_norm(row: jax.Array) -> jax.Array:
        selection = zip(values.items(), row, strict=True)
        cotangents = {name: x.astype(value.dtype) for (name, value), x in selection}
        return norm(pull_back(cotangents)[0])

    norms = jax.lax.map(gradient_norm, rows)
    return dict(zip([*values, "loss"], norms, strict=True))
