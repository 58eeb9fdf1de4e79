"""Measurements of a finished optimisation: faulty terms and clipped values."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.ensemble.memory import out_of_memory
from nst_jax.losses import Objective
from nst_jax.optim.problem import Problem


def faulty_terms(
    problem: Problem, variable: jax.typing.ArrayLike, step: jax.typing.ArrayLike
) -> tuple[str, ...]:
    """Return the names of the terms that alone have no finite loss or gradient.

    Compiles a program for each term.

    Args:
      problem: the problem of one member.
      variable: its optimised variable.
      step: number of steps made before.

    Returns:
      The names; empty if a program does not fit in memory.
    """
    names = []
    for i, (name, term) in enumerate(
        zip(problem.objective.names, problem.objective.terms, strict=True)
    ):
        tiling = problem.tiling and dataclasses.replace(
            problem.tiling,
            content_dependent=problem.tiling.content_dependent[i : i + 1],
        )
        single = dataclasses.replace(
            problem,
            objective=Objective((term,)),
            targets=problem.targets[i : i + 1],
            tiling=tiling,
        )
        try:
            (loss, _), gradient = jax.jit(Problem.evaluate)(single, variable, step)
        except (jax.errors.JaxRuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            return ()  # One device may not hold an image of the strategy "rows".
        if not (jnp.isfinite(loss) & jnp.isfinite(gradient).all()):
            names.append(name)
    return tuple(names)


def clipped_share(picture: np.ndarray) -> float:
    """Return the share of values that are not strictly between 0 and 1."""
    return float(1 - ((picture > 0) & (picture < 1)).mean())
