"""The numbers and canvases of a batch after some step, copied to the host."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.core.representation import short_repr
from nst_jax.optim.solvers import Report
from nst_jax.optim.state import State, is_stalled


class StepResult(NamedTuple):
    """A batch of members after some step, on the host; arrays have a member axis first.

    Attributes:
      step: number of steps made; 0 is the start.
      report: the solver's.
      rollbacks: int [N], number of returns of each member to its best iterate.
      is_stalled: bool [N], whether a member returned to its start and cannot leave it.
      canvas: float32 [N, H, W, 3] at snapshots, where requested, and at the end; else
        None.
      state: the batch: on the host where requested, on the device at the end; else
        None, as a chunk of steps overwrites the state before it.
      overflowed: float [N] at the end, else None: share of each member's values whose
        solver state is not finite.
      faulty_terms: at the end, names of the terms without a finite loss or gradient in
        the first member that has none.
    """

    step: int
    report: Report
    rollbacks: np.ndarray
    is_stalled: np.ndarray
    canvas: np.ndarray | None
    state: State | None
    overflowed: np.ndarray | None = None
    faulty_terms: tuple[str, ...] = ()

    @property
    def diverged(self) -> np.ndarray:
        """Mask of the members that are not finite or are stalled, bool [N]."""
        report = self.report
        finite = np.isfinite(report.loss) & np.isfinite(report.grad_norm)
        if self.canvas is not None:
            finite &= np.isfinite(self.canvas).all((1, 2, 3))
        return ~finite | self.is_stalled

    def row(self, i: int) -> dict[str, Any]:
        """Return the numbers of the i-th member, as in metrics.jsonl."""
        report = jax.tree.map(lambda leaf: leaf[i].item(), self.report)
        return {
            "step": self.step,
            "loss": report.loss,
            "terms": report.parts,
            "grad_norm": report.grad_norm,
            "step_length": report.step_length,
            "evaluations": report.evaluations,
            "failed_line_searches": report.failed,
            "rollbacks": self.rollbacks[i].item(),
        }

    def __repr__(self) -> str:
        return short_repr(self)


def copy_result(
    step: int,
    state: State,
    batch_slots: np.ndarray,
    *,
    canvas: bool,
    whole_state: bool = False,
) -> Callable[[], StepResult]:
    """Return a function that fetches the result at a state.

    It holds copies, since the next chunk of steps overwrites the state.
    """
    copied_canvas = jnp.copy(state.canvas) if canvas else None
    numbers = state.report, state.rollbacks, is_stalled(state)
    copied_numbers = jax.tree.map(jnp.copy, numbers)
    # A copy on the host: the device may have no room for a second state.
    host_state = jax.tree.map(np.array, state) if whole_state else None

    def fetch() -> StepResult:
        picture = (
            None if copied_canvas is None else fetch_members(copied_canvas, batch_slots)
        )
        report, rollbacks, is_stalled = jax.tree.map(
            lambda leaf: fetch_members(leaf, batch_slots), copied_numbers
        )
        return StepResult(step, report, rollbacks, is_stalled, picture, host_state)

    return fetch


def fetch_members(leaf: jax.Array, batch_slots: np.ndarray) -> np.ndarray:
    """Return the members of a batch in some slots, on the host."""
    return np.asarray(leaf)[batch_slots]  # Indexed on the host: the device is busy.
