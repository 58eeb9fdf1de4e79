"""L-BFGS, three times: with jaxopt's line searches, optax's, and none.

All three see the loss in a unit in which its first gradient is a step: `first_step`.
"""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from nst_jax.core.pytree import record, static
from nst_jax.optim.solvers.base import (
    FIRST_STEP,
    Report,
    Solver,
    ValueAndGrad,
    check_choice,
    check_positive,
    count,
    first_step,
    initial_report,
    norm,
)
from nst_jax.optim.solvers.optax_adapter import OptaxSolver

with warnings.catch_warnings():
    # jaxopt is finished rather than abandoned, and says so at import.
    warnings.simplefilter("ignore", DeprecationWarning)
    import jaxopt

LINE_SEARCHES = ("zoom", "backtracking", "hager-zhang")


class _LBFGSState(NamedTuple):
    inner: Any
    scale: jax.Array
    report: Report


@record
class LBFGS(Solver):
    """L-BFGS with a line search, by jaxopt (Nocedal & Wright, algorithm 7.5).

    Under `vmap` a line search lasts as long as its slowest member's, and both
    branches of its conditionals are computed: at least two evaluations a step,
    where a picture alone usually needs one. `FixedLBFGS` has no such cost.

    Attributes:
      history_size: pairs of differences kept; each costs two canvases.
      line_search: "zoom" (strong Wolfe), "backtracking" or "hager-zhang"; the last
        reports more evaluations than are computed, for it asks for points twice.
      max_line_search_steps: trials that one search may make.
      max_step: the longest step, as a factor of the quasi-Newton direction;
        Hager and Zhang's search does not heed it.
      first_step: the root mean square of the first change that is tried, in [0, 1]
        units. A leaf.
    """

    first_step: float = FIRST_STEP

    history_size: int = static(default=10)
    line_search: str = static(default="zoom")
    max_line_search_steps: int = static(default=20)
    max_step: float = static(default=1.0)

    def __post_init__(self) -> None:
        check_positive(self, "history_size", "max_line_search_steps", "max_step")
        check_positive(self, "first_step")
        check_choice("line_search", self.line_search, LINE_SEARCHES)

    def init(self, fun: ValueAndGrad, canvas: jax.Array) -> tuple[_LBFGSState, Report]:
        (loss, parts), gradient = fun(canvas)
        report = initial_report(loss, parts, gradient)
        scale = first_step(report.grad_norm, canvas, self.first_step)
        seen = (loss * scale).astype(canvas.dtype)
        known = lambda _: ((seen, (loss, parts)), gradient * scale)  # noqa: E731
        inner = self._jaxopt(known).init_state(canvas)
        return _LBFGSState(inner, scale, report), report

    def step(
        self, fun: ValueAndGrad, canvas: jax.Array, state: _LBFGSState
    ) -> tuple[jax.Array, _LBFGSState, Report]:
        last = state.report

        def scaled(canvas: jax.Array) -> Any:
            (loss, parts), gradient = fun(canvas)
            seen = (loss * state.scale).astype(canvas.dtype)
            return (seen, (loss, parts)), gradient * state.scale

        solver = self._jaxopt(scaled)
        spent = -state.inner.num_fun_eval
        if self.line_search == "zoom":
            # Every zoom search would begin with one more evaluation, only to have
            # an aux of the right shape: the last step's is one.
            solver.linesearch_solver._fun_with_aux = lambda _: (None, state.inner.aux)
            spent = spent - 1
        arrived, inner = solver.update(canvas, state.inner)
        loss, parts = inner.aux
        report = Report(
            loss=loss,
            parts=parts,
            grad_norm=norm(inner.grad) / state.scale,
            step_length=norm(arrived - canvas),
            evaluations=count(last.evaluations + inner.num_fun_eval + spent),
            failed=count(last.failed + inner.failed_linesearch),
        )
        return arrived, _LBFGSState(inner, state.scale, report), report

    def gradient(self, state: _LBFGSState) -> jax.Array:
        return state.inner.grad / state.scale

    def scale_step(self, factor: Any) -> "LBFGS":
        return dataclasses.replace(self, first_step=self.first_step * factor)

    def _jaxopt(self, fun: Callable) -> jaxopt.LBFGS:
        return jaxopt.LBFGS(
            fun,
            value_and_grad=True,
            has_aux=True,
            linesearch=self.line_search,
            maxls=self.max_line_search_steps,
            max_stepsize=self.max_step,
            history_size=self.history_size,
            implicit_diff=False,
            unroll=False,
        )


class _QuasiNewton(OptaxSolver):
    """A solver of optax's that sees the loss in the unit of its first step."""

    first_step: float

    def _scale(self, grad_norm: jax.Array, canvas: jax.Array) -> jax.Array:
        return first_step(grad_norm, canvas, self.first_step)


@record
class FixedLBFGS(_QuasiNewton):
    """L-BFGS without a line search, by optax: one evaluation a step.

    This is how Torch's L-BFGS is run by most of the field, and the natural choice
    under `vmap`, where every member then costs the same. The first step is along the
    gradient, `first_step` long. Two guards stand in for the line search: a direction
    that does not descend, which a pair of negative curvature can lead to, is replaced
    by such a first step and an empty history; and no step is longer than `max_step`.

    Attributes:
      learning_rate: the factor on every direction; 1 is the quasi-Newton step.
      max_step: the longest step, as the root mean square of the canvas's change in
        [0, 1] units.
      first_step: the root mean square of the first change, likewise.
      history_size: pairs of differences kept; each costs two canvases.
    """

    learning_rate: float = 1.0
    max_step: float = 0.05
    first_step: float = FIRST_STEP
    history_size: int = static(default=10)

    def __post_init__(self) -> None:
        check_positive(self, "learning_rate", "max_step", "first_step", "history_size")

    def scale_step(self, factor: Any) -> "FixedLBFGS":
        return dataclasses.replace(
            self,
            learning_rate=self.learning_rate * factor,
            max_step=self.max_step * factor,
        )

    def transformation(self) -> optax.GradientTransformationExtraArgs:
        lbfgs = optax.scale_by_lbfgs(self.history_size)

        def update(gradient: jax.Array, state: Any, canvas: jax.Array) -> Any:
            ahead, after = lbfgs.update(gradient, state, canvas)
            known = (state.count > 0) & (jnp.vdot(ahead, gradient) > 0)
            first = gradient * first_step(norm(gradient), canvas, self.first_step)
            direction = jnp.where(known, ahead, first)
            # A pair without weight is none: the history need not be copied to go.
            weights = jnp.where(known, after.weights_memory, 0)
            state = after._replace(weights_memory=weights)
            step = self.learning_rate * direction
            length = jnp.sqrt(jnp.mean(step**2))
            return -step * jnp.minimum(1, self.max_step / length), state

        return optax.with_extra_args_support(
            optax.GradientTransformation(lbfgs.init, update)
        )


@record
class OptaxLBFGS(_QuasiNewton):
    """L-BFGS with optax's zoom line search: another algorithm than jaxopt's.

    It costs an evaluation a step more than it needs to: the search keeps the
    value and gradient of the point it accepts, but not what the loss is made of.

    Attributes:
      history_size: pairs of differences kept; each costs two canvases.
      max_line_search_steps: evaluations that one search may spend.
      first_step: the root mean square of the first change that is tried, in [0, 1]
        units. A leaf.
    """

    first_step: float = FIRST_STEP

    history_size: int = static(default=10)
    max_line_search_steps: int = static(default=20)

    def __post_init__(self) -> None:
        check_positive(self, "history_size", "max_line_search_steps", "first_step")

    def scale_step(self, factor: Any) -> "OptaxLBFGS":
        return dataclasses.replace(self, first_step=self.first_step * factor)

    def transformation(self) -> optax.GradientTransformationExtraArgs:
        search = optax.scale_by_zoom_linesearch(
            self.max_line_search_steps, initial_guess_strategy="one"
        )
        return optax.lbfgs(memory_size=self.history_size, linesearch=search)

    def _searched(self, inner: Any) -> tuple[jax.Array, jax.Array]:
        info = inner[-1].info
        failed = (info.decrease_error > 0) | ~jnp.isfinite(info.decrease_error)
        return info.num_linesearch_steps, failed.astype(jnp.int32)
