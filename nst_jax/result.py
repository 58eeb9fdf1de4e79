"""Many canvases optimised, from Python, without a run directory."""

import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from nst_jax.diagnosis import (
    Outcome,
    RunWarning,
    Trace,
    clipped_share,
    diagnose,
    diagnose_requests,
)
from nst_jax.ensemble import Ensemble, Look
from nst_jax.errors import RequestError
from nst_jax.parametrisation import Pixels
from nst_jax.solvers import Report
from nst_jax.transfer import Problem


class Result(NamedTuple):
    """Where an ensemble ended.

    Attributes:
      canvas: float32 [N, H, W, 3].
      history: one report a look, from step 0 on; its leaves are [N].
      steps: the steps of the looks.
      diverged: bool [N], whether a member's canvas is not usable: its last loss or
        gradient is not finite, or it is left with its start.
      warnings: what else is wrong with results, as in Python's warnings.
    """

    canvas: np.ndarray
    history: list[Report]
    steps: list[int]
    diverged: np.ndarray
    warnings: tuple[RunWarning, ...]


def run(
    problems: Problem | Sequence[Problem],
    canvases: ArrayLike | Sequence[ArrayLike],
    *,
    steps: int,
    strategy: str = "vmap",
    batch_size: int | None = None,
    look_every: int = 10,
) -> Result:
    """Optimises N canvases, and waits.

    Warns, by Python's `warnings`, of members that diverged, and of others whose results
    are not what they seem: a loss that rose, values that overflow, clipped pixels.

    Args:
      problems: what they share, or one for each. They may differ in numbers, such
        as the weights of terms; the whole is one program all the same.
      canvases: float32 [N, H, W, 3], one start a member.
      steps: steps that each makes.
      strategy: "vmap", "map", "loop", "shard" or "rows".
      batch_size: members held at a time; None for all.
      look_every: steps between two entries of the history.
    """
    canvases = np.asarray(canvases, np.float32)
    if canvases.ndim != 4 or canvases.shape[3] != 3 or not len(canvases):
        raise RequestError(
            "canvases must be one or more pictures [N, H, W, 3], got an array of shape "
            f"{list(canvases.shape)}"
        )
    listed = [problems] if isinstance(problems, Problem) else list(problems)
    if len(listed) not in (1, len(canvases)):
        raise RequestError(
            f"problems has {len(listed)} entries for {len(canvases)} canvases"
        )
    ensemble = Ensemble.compile(
        listed,
        canvases.shape[1:],
        batch_size=batch_size or len(canvases),
        strategy=strategy,
    )
    size = ensemble.batch_size
    batches = [
        list(
            ensemble.optimise(
                canvases[i : i + size],
                steps,
                problems=listed if len(listed) == 1 else listed[i : i + size],
                look_every=look_every,
            )
        )
        for i in range(0, len(canvases), size)
    ]
    together = [
        jax.tree.map(lambda *leaves: np.concatenate(leaves), *(x.report for x in looks))
        for looks in zip(*batches, strict=True)
    ]
    finals = np.concatenate([looks[-1].canvas for looks in batches])
    listed = listed * (len(canvases) // len(listed))
    diverged = np.concatenate([looks[-1].diverged for looks in batches])
    found = diagnose_requests(
        (i, own.solver, own.objective, isinstance(own.parametrisation, Pixels))
        for i, own in enumerate(listed)
    ) + diagnose(_outcomes(listed, canvases, batches, steps))
    labels = [f"member {i}" for i in range(len(canvases))]
    for warning in found:
        warnings.warn(warning.text(labels), stacklevel=2)
    steps_seen = [look.step for look in batches[0]]
    return Result(finals, together, steps_seen, diverged, tuple(found))


def _outcomes(
    problems: Sequence[Problem],
    canvases: np.ndarray,
    batches: Sequence[Sequence[Look]],
    steps: int,
) -> Iterator[tuple[int, Outcome]]:
    """Yield how each member ended, from the looks at its batch."""
    places = [(looks, i) for looks in batches for i in range(len(looks[-1].diverged))]
    for number, (looks, i) in enumerate(places):
        problem, start, last = problems[number], looks[0].report, looks[-1]
        assert last.canvas is not None and last.overflowed is not None
        trace = Trace(
            (start.loss[i].item(), last.report.loss[i].item()),
            (start.grad_norm[i].item(), last.report.grad_norm[i].item()),
            max(look.report.step_length[i].item() for look in looks),
            steps,
        )
        yield (
            number,
            Outcome(
                solver=problem.solver,
                objective=problem.objective,
                tolerance=float(problem.tolerance),
                stages=(trace,),
                diverged=bool(last.diverged[i]),
                faulty_terms=last.faulty_terms,
                overflowed=last.overflowed[i].item(),
                clipped=clipped_share(last.canvas[i]),
                clipped_before=clipped_share(canvases[number]),
                rollbacks=last.rollbacks[i].item(),
                failed_searches=last.report.failed[i].item(),
            ),
        )
