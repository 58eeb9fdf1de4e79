"""L-BFGS in three forms: with line searches of jaxopt or optax, and without any.

All forms scale the loss so that its first gradient is a step; see `first_step_scale`.
"""

import warnings
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax

from nst_jax.core.pytree import record, static
from nst_jax.optim.solvers.base import (
    FIRST_STEP,
    PositiveFloat,
    PositiveInt,
    Report,
    Solver,
    ValueAndGrad,
    as_count,
    first_step_scale,
    initial_report,
    norm,
)
from nst_jax.optim.solvers.compact_lbfgs import History, scale_by_compact_lbfgs
from nst_jax.optim.solvers.optax_adapter import OptaxSolver

LineSearch = Literal["zoom", "backtracking", "hager-zhang"]
LINE_SEARCHES = get_args(LineSearch)


class _LBFGSState(NamedTuple):
    inner: Any
    scale: jax.Array
    report: Report


@record
class LBFGS(Solver):
    """L-BFGS with a line search, by jaxopt (Nocedal & Wright, algorithm 7.5).

    Under `vmap` a line search lasts as long as that of its slowest member, and both
    branches of its conditionals are computed. A step then takes at least two
    evaluations, where a single image usually needs one. The program of "zoom" holds six
    evaluations, and each step copies and selects its histories. `FixedLBFGS` has none
    of these costs.

    Attributes:
      history_size: number of stored pairs of differences; each takes two canvases.
      line_search: "zoom" (strong Wolfe), "backtracking" or "hager-zhang". The last
        evaluates some points twice and counts them twice in its reports.
      max_line_search_steps: largest number of trials in one search.
      max_step: largest step, as a factor on the quasi-Newton direction; "hager-zhang"
        ignores it.
      first_step: root mean square of the first trial step, in [0, 1] units. A leaf.
    """

    first_step: PositiveFloat = FIRST_STEP

    history_size: PositiveInt = static(default=10)
    line_search: LineSearch = static(default="zoom")
    max_line_search_steps: PositiveInt = static(default=20)
    max_step: PositiveFloat = static(default=1.0)
    step_fields = ("first_step",)

    def init(self, fun: ValueAndGrad, canvas: jax.Array) -> tuple[_LBFGSState, Report]:
        (loss, parts), gradient = fun(canvas)
        report = initial_report(loss, parts, gradient)
        scale = first_step_scale(report.grad_norm, canvas, self.first_step)
        value = (loss * scale).astype(canvas.dtype)
        solver = self._jaxopt(lambda _: ((value, (loss, parts)), gradient * scale))
        inner = solver.init_state(canvas)
        return _LBFGSState(inner, scale, report), report

    def step(
        self, fun: ValueAndGrad, canvas: jax.Array, state: _LBFGSState
    ) -> tuple[jax.Array, _LBFGSState, Report]:
        last = state.report

        def scaled(canvas: jax.Array) -> Any:
            (loss, parts), gradient = fun(canvas)
            value = (loss * state.scale).astype(canvas.dtype)
            return (value, (loss, parts)), gradient * state.scale

        solver = self._jaxopt(scaled)
        uncounted = -state.inner.num_fun_eval
        if self.line_search == "zoom":
            # A zoom search begins with an evaluation that only provides an aux of the
            # right shape. The aux of the last step serves as well.
            solver.linesearch_solver._fun_with_aux = lambda _: (None, state.inner.aux)
            uncounted = uncounted - 1
        new_canvas, inner = solver.update(canvas, state.inner)
        loss, parts = inner.aux
        report = Report(
            loss=loss,
            parts=parts,
            grad_norm=norm(inner.grad) / state.scale,
            step_length=norm(new_canvas - canvas),
            evaluations=as_count(last.evaluations + inner.num_fun_eval + uncounted),
            failed=as_count(last.failed + inner.failed_linesearch),
        )
        return new_canvas, _LBFGSState(inner, state.scale, report), report

    def gradient(self, state: _LBFGSState) -> jax.Array:
        return state.inner.grad / state.scale

    def _jaxopt(self, fun: Callable) -> Any:
        # Outside the trace, as the module may create arrays.
        with warnings.catch_warnings(), jax.ensure_compile_time_eval():
            # jaxopt announces the end of its development by a DeprecationWarning.
            warnings.simplefilter("ignore", DeprecationWarning)
            import jaxopt
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
    """An optax solver that scales the loss so that its first gradient is a step."""

    first_step: float
    step_fields: ClassVar[tuple[str, ...]] = ("first_step",)

    def _scale(self, grad_norm: jax.Array, canvas: jax.Array) -> jax.Array:
        return first_step_scale(grad_norm, canvas, self.first_step)

    def retarget(self, fun: ValueAndGrad, canvas: jax.Array, state: Any) -> Any:
        """Return a state without the history, whose gradients are of another loss."""
        return self.reinitialise(fun, canvas, state)


@record
class FixedLBFGS(_QuasiNewton):
    """L-BFGS without a line search: one evaluation a step.

    Most published tools run Torch's L-BFGS like this. It is the choice for batches:
    under `vmap` all members have the same cost, and no step copies a whole history. The
    first step follows the gradient and has length `first_step`. Two guards replace the
    line search. A direction that does not descend, due to negative curvature, is
    replaced by a first step with an empty history. No step is longer than `max_step`.

    Attributes:
      learning_rate: factor on every direction; 1 is the quasi-Newton step.
      max_step: root mean square of the longest step, in [0, 1] units.
      first_step: root mean square of the first step, in [0, 1] units.
      history_size: number of stored pairs of differences; each takes two canvases.
    """

    learning_rate: PositiveFloat = 1.0
    max_step: PositiveFloat = 0.05
    first_step: PositiveFloat = FIRST_STEP
    history_size: PositiveInt = static(default=10)
    step_fields = ("learning_rate", "max_step")

    def transformation(self) -> optax.GradientTransformationExtraArgs:
        lbfgs = scale_by_compact_lbfgs(self.history_size)

        def update(gradient: jax.Array, state: History, canvas: jax.Array) -> Any:
            preconditioned, new_state = lbfgs.update(gradient, state, canvas)
            descends = (state.updates > 0) & (jnp.vdot(preconditioned, gradient) > 0)
            scale = first_step_scale(norm(gradient), canvas, self.first_step)
            direction = jnp.where(descends, preconditioned, gradient * scale)
            step = self.learning_rate * direction
            length = jnp.sqrt(jnp.mean(step**2))
            step = -step * jnp.minimum(1, self.max_step / length)
            return step, new_state.without_pairs(~descends)

        return optax.with_extra_args_support(
            optax.GradientTransformation(lbfgs.init, update)
        )

    def hold(self, is_stopped: jax.Array, state: Any, new_state: Any) -> Any:
        """Hold everything except the pairs, which a repeated update writes again."""
        held = super().hold(is_stopped, state, new_state)
        return held._replace(inner=held.inner._replace(pairs=new_state.inner.pairs))


@record
class OptaxLBFGS(_QuasiNewton):
    """L-BFGS with optax's zoom line search, another algorithm than jaxopt's.

    A step takes one evaluation more than necessary: the search returns the value and
    gradient of the accepted point, but not the parts of the loss.

    Attributes:
      history_size: number of stored pairs of differences; each takes two canvases.
      max_line_search_steps: largest number of evaluations in one search.
      first_step: root mean square of the first trial step, in [0, 1] units. A leaf.
    """

    first_step: PositiveFloat = FIRST_STEP

    history_size: PositiveInt = static(default=10)
    max_line_search_steps: PositiveInt = static(default=20)

    def transformation(self) -> optax.GradientTransformationExtraArgs:
        search = optax.scale_by_zoom_linesearch(
            self.max_line_search_steps, initial_guess_strategy="one"
        )
        return optax.lbfgs(memory_size=self.history_size, linesearch=search)

    def _search_counts(self, inner: Any) -> tuple[jax.Array, jax.Array]:
        info = inner[-1].info
        failed = (info.decrease_error > 0) | ~jnp.isfinite(info.decrease_error)
        return info.num_linesearch_steps, failed.astype(jnp.int32)
