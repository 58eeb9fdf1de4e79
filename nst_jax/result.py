"""Many canvases optimised, from Python, without a run directory."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from nst_jax.ensemble import Ensemble
from nst_jax.errors import RequestError
from nst_jax.solvers import Report
from nst_jax.transfer import Problem


class Result(NamedTuple):
    """Where an ensemble ended.

    Attributes:
      canvas: float32 [N, H, W, 3].
      history: one report a look, from step 0 on; its leaves are [N].
      steps: the steps of the looks.
    """

    canvas: np.ndarray
    history: list[Report]
    steps: list[int]


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
    return Result(finals, together, [look.step for look in batches[0]])
