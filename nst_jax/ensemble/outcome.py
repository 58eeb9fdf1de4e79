"""The numbers of a finished optimisation that tell whether its result is usable."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.ensemble.memory import out_of_memory
from nst_jax.losses import Objective
from nst_jax.optim.problem import Problem
from nst_jax.optim.solvers import Solver

#: Relative change of a loss that rounding explains.
ROUNDING = 1e-5
#: Euclidean length of a step that is invisible, also in an 8-bit file.
INVISIBLE = 1e-6


class Trace(NamedTuple):
    """The numbers of a member in one stage; NaN stands for all non-finite values.

    Attributes:
      losses: at the start and at the end.
      gradients: norms of the gradient at the start and at the end.
      longest_step: of the recorded steps, in [0, 1] image units.
      steps: number of requested steps.
    """

    losses: tuple[float, float]
    gradients: tuple[float, float]
    longest_step: float
    steps: int

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]]) -> "Trace":
        """Return the trace of a member's rows of metrics in one stage, in order."""
        first, last = (
            [math.nan if row[k] is None else row[k] for k in ("loss", "grad_norm")]
            for row in (rows[0], rows[-1])
        )
        return cls(
            losses=(first[0], last[0]),
            gradients=(first[1], last[1]),
            longest_step=max(0.0, *(row["step_length"] or 0.0 for row in rows)),
            steps=rows[-1]["step"] - rows[0]["step"],
        )

    @property
    def has_no_gradient(self) -> bool:
        """True if the start has no finite gradient, so that no step was made."""
        return not (math.isfinite(self.gradients[0]) or self.longest_step)

    @property
    def is_standstill(self) -> bool:
        """True if no step changed the image.

        Recorded steps do not suffice: only the last ones of a converged run may be
        recorded. The loss of such a run has changed since the start.
        """
        is_short = self.steps > 0 and self.longest_step < INVISIBLE
        return is_short and math.isclose(*self.losses, rel_tol=ROUNDING)


class Outcome(NamedTuple):
    """The end of a member's optimisation.

    Attributes:
      solver, objective, tolerance: as requested.
      stages: coarse to fine.
      diverged: whether the result is not usable.
      faulty_terms: names of the terms without a finite loss or gradient at the end.
      overflowed: share of values whose solver state is not finite.
      clipped: share of the result's values that are not strictly between 0 and 1.
      clipped_before: the largest such share among the input images.
      rollbacks: number of returns to the best iterate after NaN.
      failed_searches: number of line searches that found no step.
    """

    solver: Solver
    objective: Objective
    tolerance: float
    stages: tuple[Trace, ...]
    diverged: bool
    faulty_terms: tuple[str, ...]
    overflowed: float
    clipped: float
    clipped_before: float
    rollbacks: int
    failed_searches: int


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
