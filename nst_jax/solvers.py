"""Solvers: each a pair of pure functions over one canvas.

    state, report = solver.init(fun, canvas)
    canvas, state, report = solver.step(fun, canvas, state)

`fun` maps a canvas to `((loss, parts), gradient)`. A solver is a pytree: its
numbers are leaves, so that one compiled program can run many settings; what
shapes the program (history size, line search, schedule) is static. Leaving a
solver library is a change to one class.
"""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

from nst_jax.errors import RequestError
from nst_jax.pytree import record, static

with warnings.catch_warnings():
    # jaxopt is finished rather than abandoned, and says so at import.
    warnings.simplefilter("ignore", DeprecationWarning)
    import jaxopt

Parts = dict[str, jax.Array]
ValueAndGrad = Callable[[jax.Array], tuple[tuple[jax.Array, Parts], jax.Array]]

LINE_SEARCHES = ("zoom", "backtracking", "hager-zhang")
SCHEDULES = ("constant", "exponential", "cosine")


class Report(NamedTuple):
    """What a step has to say: scalars, of the canvas that it arrived at.

    Attributes:
      loss: the objective.
      parts: its weighted summands.
      grad_norm: Euclidean norm of the gradient.
      step_length: Euclidean norm of the canvas's change, in [0, 1] picture units.
      evaluations: values-with-gradient computed for it since the start.
      failed: how many line searches found no acceptable step since the start.
    """

    loss: jax.Array
    parts: Parts
    grad_norm: jax.Array
    step_length: jax.Array
    evaluations: jax.Array
    failed: jax.Array


class Solver(Protocol):
    """A pair of pure functions; `canvas` is float [H, W, 3]."""

    def init(self, fun: ValueAndGrad, canvas: jax.Array) -> tuple[Any, Report]:
        """The state at a starting canvas, and the report on it."""

    def step(
        self, fun: ValueAndGrad, canvas: jax.Array, state: Any
    ) -> tuple[jax.Array, Any, Report]:
        """One step: the next canvas, its state, its report."""


class _LBFGSState(NamedTuple):
    inner: Any
    scale: jax.Array
    report: Report


@record
class LBFGS:
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
    """

    history_size: int = static(default=10)
    line_search: str = static(default="zoom")
    max_line_search_steps: int = static(default=20)
    max_step: float = static(default=1.0)

    def __post_init__(self) -> None:
        _check_positive(self, "history_size", "max_line_search_steps", "max_step")
        _check_choice("line_search", self.line_search, LINE_SEARCHES)

    def init(self, fun: ValueAndGrad, canvas: jax.Array) -> tuple[_LBFGSState, Report]:
        (loss, parts), gradient = fun(canvas)
        report = _start(loss, parts, gradient)
        scale = _unit(report.grad_norm)
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
            grad_norm=_norm(inner.grad) / state.scale,
            step_length=_norm(arrived - canvas),
            evaluations=_count(last.evaluations + inner.num_fun_eval + spent),
            failed=_count(last.failed + inner.failed_linesearch),
        )
        return arrived, _LBFGSState(inner, state.scale, report), report

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


class _OptaxState(NamedTuple):
    inner: Any
    scale: jax.Array
    gradient: jax.Array
    report: Report


class _OptaxSolver:
    """A solver that is an optax transformation, evaluated once after each step."""

    def _transformation(self) -> optax.GradientTransformationExtraArgs:
        raise NotImplementedError

    def _scale(self, grad_norm: jax.Array) -> jax.Array:
        """What the solver sees the loss multiplied by, from its first gradient."""
        return _unit(grad_norm)

    def _project(self, canvas: jax.Array) -> jax.Array:
        return canvas

    def _searched(self, inner: Any) -> tuple[jax.Array, jax.Array]:
        """(evaluations, failures) of the line search that led to state `inner`."""
        return jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)

    def init(self, fun: ValueAndGrad, canvas: jax.Array) -> tuple[_OptaxState, Report]:
        inner = self._transformation().init(canvas)
        (loss, parts), gradient = fun(canvas)
        report = _start(loss, parts, gradient)
        scale = self._scale(report.grad_norm)
        return _OptaxState(inner, scale, gradient, report), report

    def step(
        self, fun: ValueAndGrad, canvas: jax.Array, state: _OptaxState
    ) -> tuple[jax.Array, _OptaxState, Report]:
        last = state.report
        update, inner = self._transformation().update(
            state.gradient * state.scale,
            state.inner,
            canvas,
            value=(last.loss * state.scale).astype(canvas.dtype),
            grad=state.gradient * state.scale,
            value_fn=_differentiable(fun, state.scale),
        )
        arrived = self._project(optax.apply_updates(canvas, update))
        (loss, parts), gradient = fun(arrived)
        evaluations, failed = self._searched(inner)
        report = Report(
            loss=loss,
            parts=parts,
            grad_norm=_norm(gradient),
            step_length=_norm(arrived - canvas),
            evaluations=_count(last.evaluations + 1 + evaluations),
            failed=_count(last.failed + failed),
        )
        return arrived, _OptaxState(inner, state.scale, gradient, report), report


@record
class Adam(_OptaxSolver):
    """Adam (Kingma & Ba 2015), by optax.

    Attributes:
      learning_rate: in [0, 1] picture units; a tool that works in 0–255 has one
        255 times as large. A leaf, as are the next four.
      b1, b2, eps: the decay of both moments, and what keeps their quotient finite.
      decay_rate: see `schedule`.
      decay_steps: see `schedule`.
      schedule: of the learning rate: "constant"; "exponential", times
        `decay_rate` every `decay_steps`; "cosine", down to 0 at `decay_steps`.
      clip: project the canvas onto [0, 1] after every step.
    """

    learning_rate: float = 0.02
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    decay_rate: float = 0.96
    decay_steps: int = static(default=100)
    schedule: str = static(default="constant")
    clip: bool = static(default=True)

    def __post_init__(self) -> None:
        _check_positive(self, "learning_rate", "eps", "decay_rate", "decay_steps")
        for name in ("b1", "b2"):
            value = getattr(self, name)
            if isinstance(value, int | float) and not 0 <= value < 1:
                raise RequestError(
                    f"solver.{name} must be at least 0 and below 1, got {value}"
                )
        _check_choice("schedule", self.schedule, SCHEDULES)

    def _learning_rate(self) -> optax.Schedule:
        if self.schedule == "exponential":
            return optax.exponential_decay(
                self.learning_rate, self.decay_steps, self.decay_rate
            )
        if self.schedule == "cosine":
            return optax.cosine_decay_schedule(self.learning_rate, self.decay_steps)
        return optax.constant_schedule(self.learning_rate)

    def _transformation(self) -> optax.GradientTransformationExtraArgs:
        return optax.with_extra_args_support(
            optax.adam(self._learning_rate(), self.b1, self.b2, self.eps)
        )

    def _scale(self, grad_norm: jax.Array) -> jax.Array:
        return jnp.ones_like(grad_norm)  # Adam scales by itself, but for `eps`.

    def _project(self, canvas: jax.Array) -> jax.Array:
        return jnp.clip(canvas, 0, 1) if self.clip else canvas


@record
class FixedLBFGS(_OptaxSolver):
    """L-BFGS without a line search, by optax: one evaluation a step.

    This is how Torch's L-BFGS is run by most of the field, and the natural choice
    under `vmap`, where every member then costs the same. The first step is the
    normalised gradient. Two guards stand in for the line search: a direction that
    does not descend, which a pair of negative curvature can lead to, is replaced by
    the normalised gradient and an empty history; and no step is longer than
    `max_step`.

    Attributes:
      learning_rate: the factor on every direction; 1 is the quasi-Newton step.
      max_step: the longest step, as the root mean square of the canvas's change in
        [0, 1] units.
      history_size: pairs of differences kept; each costs two canvases.
    """

    learning_rate: float = 1.0
    max_step: float = 0.05
    history_size: int = static(default=10)

    def __post_init__(self) -> None:
        _check_positive(self, "learning_rate", "max_step", "history_size")

    def _transformation(self) -> optax.GradientTransformationExtraArgs:
        lbfgs = optax.scale_by_lbfgs(self.history_size)

        def update(gradient: jax.Array, state: Any, canvas: jax.Array) -> Any:
            ahead = lbfgs.update(gradient, state, canvas)
            anew = lbfgs.update(gradient, lbfgs.init(canvas), canvas)
            descends = jnp.vdot(ahead[0], gradient) > 0
            direction, state = jax.tree.map(
                lambda x, y: jnp.where(descends, x, y),
                ahead,
                (gradient / _norm(gradient), anew[1]),
            )
            step = self.learning_rate * direction
            length = jnp.sqrt(jnp.mean(step**2))
            return -step * jnp.minimum(1, self.max_step / length), state

        return optax.with_extra_args_support(
            optax.GradientTransformation(lbfgs.init, update)
        )


@record
class OptaxLBFGS(_OptaxSolver):
    """L-BFGS with optax's zoom line search: another algorithm than jaxopt's.

    It costs an evaluation a step more than it needs to: the search keeps the
    value and gradient of the point it accepts, but not what the loss is made of.

    Attributes:
      history_size: pairs of differences kept; each costs two canvases.
      max_line_search_steps: evaluations that one search may spend.
    """

    history_size: int = static(default=10)
    max_line_search_steps: int = static(default=20)

    def __post_init__(self) -> None:
        _check_positive(self, "history_size", "max_line_search_steps")

    def _transformation(self) -> optax.GradientTransformationExtraArgs:
        search = optax.scale_by_zoom_linesearch(
            self.max_line_search_steps, initial_guess_strategy="one"
        )
        return optax.lbfgs(memory_size=self.history_size, linesearch=search)

    def _searched(self, inner: Any) -> tuple[jax.Array, jax.Array]:
        info = inner[-1].info
        failed = (info.decrease_error > 0) | ~jnp.isfinite(info.decrease_error)
        return info.num_linesearch_steps, failed.astype(jnp.int32)


#: What a config may call its solver.
SOLVERS = {
    "lbfgs": LBFGS,
    "lbfgs_fixed": FixedLBFGS,
    "lbfgs_optax": OptaxLBFGS,
    "adam": Adam,
}


def _start(loss: jax.Array, parts: Parts, gradient: jax.Array) -> Report:
    """The report on a starting canvas."""
    return Report(
        loss=loss,
        parts=parts,
        grad_norm=_norm(gradient),
        step_length=jnp.zeros_like(loss),
        evaluations=jnp.asarray(1, jnp.int32),
        failed=jnp.asarray(0, jnp.int32),
    )


def _count(number: jax.Array) -> jax.Array:
    """A counter, of one dtype whether or not 64 bits are enabled."""
    return number.astype(jnp.int32)


def _norm(x: jax.Array) -> jax.Array:
    """The Euclidean norm, where squares would under- or overflow too."""
    largest = jnp.abs(x).max()
    unit = x / jnp.where(largest > 0, largest, 1)
    return largest * jnp.linalg.norm(unit)


def _unit(grad_norm: jax.Array) -> jax.Array:
    """The factor that makes a first gradient a unit vector.

    A quasi-Newton method that sees the loss multiplied by it moves the canvas by a
    length of about 1 at first, whatever unit the loss is in; from the raw gradient
    jaxopt's first search took some twenty trials, and optax's never grows a step.
    """
    return 1 / jnp.maximum(grad_norm, jnp.finfo(grad_norm.dtype).tiny)


def _differentiable(
    fun: ValueAndGrad, scale: jax.Array
) -> Callable[[jax.Array], jax.Array]:
    """`scale` times the loss, as a function that autodiff asks `fun` to derive."""

    @jax.custom_vjp
    def loss(canvas: jax.Array) -> jax.Array:
        return (fun(canvas)[0][0] * scale).astype(canvas.dtype)

    def forward(canvas: jax.Array) -> tuple[jax.Array, jax.Array]:
        (value, _), gradient = fun(canvas)
        return (value * scale).astype(canvas.dtype), gradient * scale

    loss.defvjp(forward, lambda gradient, cotangent: (cotangent * gradient,))
    return loss


def _check_positive(solver: Any, *names: str) -> None:
    for name in names:
        value = getattr(solver, name)
        if isinstance(value, int | float) and not 0 < value < float("inf"):
            raise RequestError(f"solver.{name} must be positive, got {value}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise RequestError(f"solver.{name} must be one of {choices}, got {value!r}")
