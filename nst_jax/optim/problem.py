"""The optimisation of one picture."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import as_picture, check_sequence
from nst_jax.core.pytree import record, static
from nst_jax.core.representation import short_repr
from nst_jax.losses import Objective, Regions
from nst_jax.models.vgg import Network
from nst_jax.optim.parametrisation import Parametrisation, Pixels
from nst_jax.optim.solvers import (
    SOLVERS,
    Parts,
    Report,
    Solver,
    as_solver,
    check_solver,
)
from nst_jax.optim.tiling import Tiling

#: (what the solver moves, steps made before) -> ((loss, parts), gradient).
Evaluate = Callable[[jax.Array, jax.Array], tuple[tuple[jax.Array, Parts], jax.Array]]


class FixedPixels(NamedTuple):
    """What of a canvas does not move.

    Attributes:
      mask: bool [H, W, 1].
      picture: [H, W, 3], what stands there.
    """

    mask: ArrayLike
    picture: ArrayLike

    def __repr__(self) -> str:
        return short_repr(self)


@record
class Problem:
    """Everything that a transfer's compiled program takes, but for the canvas.

    Attributes:
      network: VGG-19; its weights are leaves.
      objective: the sum of terms; their weights are leaves.
      targets: one a term, from `objective.targets`.
      solver: its numbers are leaves; an optax transformation becomes one.
      tolerance: a canvas whose gradient norm is not above it is left as it is.
        The default stops for nothing but a gradient that is exactly zero.
      averaging: the canvas that is shown is the mean of all so far, each step
        weighing that much more than the one after it, from 0, the last alone, to
        below 1. The solver goes on from its own; the losses are of that one.
      held: pixels that do not move, to the bit; None if all do.
      tiling: how to see the canvas tile by tile; None for the whole at once.
      parametrisation: what the solver moves.
    """

    network: Network
    objective: Objective
    targets: tuple[Any, ...]
    solver: Solver
    tolerance: float | jax.Array = 0.0
    averaging: float | jax.Array = 0.0
    held: FixedPixels | None = None
    tiling: Tiling | None = None
    parametrisation: Parametrisation = static(default=Pixels())

    def __post_init__(self) -> None:
        object.__setattr__(self, "solver", as_solver(self.solver))

    @classmethod
    def from_images(
        cls,
        network: Network,
        objective: Objective,
        content: ArrayLike,
        styles: Sequence[ArrayLike],
        solver: Solver | optax.GradientTransformation,
        *,
        regions: Regions | None = None,
        **options: Any,
    ) -> "Problem":
        """The problem whose targets come from a content and style pictures.

        Args:
          content: [H, W, 3], floats in [0, 1], uint8 or uint16.
          styles: pictures [h, w, 3], likewise, each of its own size.
          solver: a solver or an optax transformation.
          regions: of these pictures, if each is to be styled for itself.
          options: further fields of the problem.

        Raises:
          RequestError: a picture has another shape, type or range, or holds NaN; the
            objective has no term, or a term cannot use the pictures; or `solver` is no
            solver, or it keeps pixels in [0, 1] and moves no pixels.
        """
        for name, value, kind in (
            ("network", network, Network),
            ("objective", objective, Objective),
        ):
            if not isinstance(value, kind):
                raise RequestError(
                    f"{name} must be a nst_jax.{kind.__name__}, got "
                    f"{type(value).__name__}"
                )
        for name, most in (("tolerance", math.inf), ("averaging", 1.0)):
            value = options.get(name, 0.0)
            if isinstance(value, int | float) and not 0 <= value < most:
                limit = "finite" if most == math.inf else "below 1"
                raise RequestError(f"{name} must be {limit} and from 0, got {value}")
        solver = as_solver(solver)
        if type(solver) not in SOLVERS.values():
            check_solver(solver)
        moved = options.get("parametrisation", Pixels())
        if getattr(solver, "clip", False) and not isinstance(moved, Pixels):
            raise RequestError(
                "solver.clip=True keeps pixels in [0, 1], and needs parametrisation "
                f"Pixels(), got {moved}"
            )
        if not objective.terms:
            raise RequestError("objective has no terms; it needs at least one")
        check_sequence(styles, "styles")
        pictures = (
            as_picture(content, "content"),
            tuple(as_picture(s, f"styles[{i}]") for i, s in enumerate(styles)),
        )
        targets = compute_targets(network, objective, *pictures, regions)
        return cls(network, objective, targets, solver, **options)

    def canvas(self, variable: jax.Array) -> jax.Array:
        """The canvas [H, W, 3] of what the solver moves."""
        return self._holding(self.parametrisation.decode(variable))

    def _holding(self, canvas: jax.Array) -> jax.Array:
        if self.held is None:
            return canvas
        return jnp.where(self.held.mask, self.held.picture, canvas)

    def evaluate(
        self, variable: jax.Array, step: jax.Array | int = 0
    ) -> tuple[tuple[jax.Array, Parts], jax.Array]:
        """((loss, parts), gradient) at what the solver moves.

        Args:
          step: how many steps were made before, for what is drawn anew at each.
        """

        if self.tiling is not None:
            canvas, back = jax.vjp(self.canvas, variable)
            seen = self.network, self.objective, canvas, self.targets, step
            found, gradient = self.tiling.evaluate(*seen)
            return found, back(gradient)[0]

        def loss(variable: jax.Array) -> tuple[jax.Array, Parts]:
            canvas = self.canvas(variable)
            return self.objective(self.network, canvas, self.targets, step)

        return jax.value_and_grad(loss, has_aux=True)(variable)


def compute_targets(
    network: Network,
    objective: Objective,
    content: ArrayLike,
    styles: Sequence[ArrayLike],
    regions: Regions | None = None,
) -> tuple[Any, ...]:
    """Return one target a term; the pictures [H, W, 3] may leave [0, 1]."""
    compiler = tuple(network.numerics.compiler_options.items())
    return _targets(compiler)(objective, network, content, tuple(styles), regions)


@functools.cache
def _targets(options: tuple[tuple[str, bool | int], ...]) -> Callable[..., tuple]:
    """`Objective.targets`, compiled once a shape however many problems are posed."""
    return jax.jit(Objective.targets, compiler_options=dict(options))


#: Traced once, wherever a solver asks for it: a line search does in six places.
_evaluate = jax.jit(Problem.evaluate)


class Best(NamedTuple):
    """Where the loss was least: what a transfer that comes to NaN goes back to.

    Attributes:
      canvas, variable, ema, ema_residual: as of the `State` there, like the next.
      report: on it.
      gradient: of the loss.
      step: how many steps were made until then.
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
    """A transfer under way: what a checkpoint holds.

    Attributes:
      canvas: [H, W, 3], what is shown: the running mean of the solver's canvases.
      variable: what the solver moves.
      ema: [H, W, 3], the sum of the canvases so far, each by its weight.
      ema_residual: what the weights in it lack to a sum of 1.
      solver: its state.
      report: on its canvas.
      step: how many steps were made.
      best: of this stage's steps so far, that with the least loss.
      rollbacks: how many times it went back there, to go on damped by half.
    """

    canvas: jax.Array
    variable: jax.Array
    ema: jax.Array
    ema_residual: jax.Array
    solver: Any
    report: Report
    step: jax.Array
    best: Best
    rollbacks: jax.Array

    def __repr__(self) -> str:
        return short_repr(self)


def start(
    problem: Problem, canvas: jax.Array, *, evaluate: Evaluate | None = None
) -> State:
    """The state at a starting canvas [H, W, 3]: one evaluation, no step.

    Args:
      evaluate: how to; the problem's own `evaluate` if None.
    """
    evaluate = evaluate or functools.partial(_evaluate, problem)
    step = jnp.zeros((), jnp.int32)
    with jax.default_matmul_precision(problem.network.numerics.precision):
        canvas = problem._holding(canvas)
        variable = problem.parametrisation.encode(canvas)
        inner, report = problem.solver.init(lambda v: evaluate(v, step), variable)
    ema, ema_residual = jnp.zeros_like(canvas), jnp.ones((), canvas.dtype)
    gradient = problem.solver.gradient(inner)
    shown = canvas, variable, ema, ema_residual
    best = Best(*shown, report, gradient, step)
    none = jnp.zeros((), jnp.int32)
    return State(*shown, inner, report, step, best, none)


def carry(
    problem: Problem,
    coarse: State,
    *,
    shape: Sequence[int],
    evaluate: Evaluate | None = None,
) -> State:
    """The end of a coarser stage as the start of this one.

    What was shown there is resized and is the starting canvas. Where pixels are what
    the solver moves, it takes along what of its own state it has use for.

    Args:
      coarse: of the same transfer at another size.
      shape: of this stage's canvas, [H, W, 3].
      evaluate: as for `start`.
    """
    canvas = jax.image.resize(coarse.canvas, shape, "cubic")
    evaluate = evaluate or functools.partial(_evaluate, problem)
    shorter = dataclasses.replace(problem, solver=_solver(problem, coarse))
    state = start(shorter, canvas, evaluate=evaluate)
    inner, before = state.solver, coarse.report
    if isinstance(problem.parametrisation, Pixels):
        inner = problem.solver.warm_start(coarse.solver, inner)
    report = state.report._replace(
        evaluations=state.report.evaluations + before.evaluations,
        failed=state.report.failed + before.failed,
    )
    return state._replace(
        solver=inner._replace(report=report),
        report=report,
        best=state.best._replace(report=report),
        rollbacks=coarse.rollbacks,
    )


def advance(
    problem: Problem,
    state: State,
    steps: jax.Array | int,
    *,
    evaluate: Evaluate | None = None,
) -> State:
    """`steps` steps further.

    The number is traced: one compiled program serves chunks of any length, so
    that snapshots may lie where they like and the last chunk may be short.

    A step to a loss or a gradient that is not finite, where one that runs away ends,
    is not kept: what was shown and moved where the loss was least takes its place, and
    the solver begins anew there, damped by half, as often as need be. A start whose
    gradient is not finite rests.

    Args:
      evaluate: how to; the problem's own `evaluate` if None.
    """
    evaluate = evaluate or functools.partial(_evaluate, problem)

    def going_on(made_and_state: tuple[jax.Array, State]) -> jax.Array:
        made, state = made_and_state
        # False for NaN too: where a start has that, there is no way on.
        return (made < steps) & (state.report.grad_norm > problem.tolerance)

    def step(made_and_state: tuple[jax.Array, State]) -> tuple[jax.Array, State]:
        made, state = made_and_state
        solver = _solver(problem, state)
        variable, inner, report = solver.step(
            lambda v: evaluate(v, state.step), state.variable, state.solver
        )
        share = problem.averaging
        ema = share * state.ema + (1 - share) * problem.canvas(variable)
        ema_residual = share * state.ema_residual
        canvas = problem._holding(ema / (1 - ema_residual))
        made_so_far, rollbacks = state.step + 1, state.rollbacks
        shown = canvas, variable, ema, ema_residual
        here = Best(*shown, report, solver.gradient(inner), made_so_far)
        # Where the start was not finite, whatever is.
        better = _finite(report) & ~(report.loss >= state.best.report.loss)
        best = jax.tree.map(lambda x, y: jnp.where(better, x, y), here, state.best)
        stepped = State(*shown, inner, report, made_so_far, best, rollbacks)
        # A loop of no or one turn, which for a batch turns if a member needs it: a
        # select would copy every member's history at every step.
        back = functools.partial(roll_back, problem)
        return made + 1, jax.lax.while_loop(has_diverged, back, stepped)

    # The loop, and no select in it, ends at rest: an L-BFGS history is not copied.
    # Under vmap each member has a select, and the loop ends with the last of them.
    made = jnp.zeros((), jnp.int32)
    with jax.default_matmul_precision(problem.network.numerics.precision):
        return jax.lax.while_loop(going_on, step, (made, state))[1]


def is_stalled(state: State) -> jax.Array:
    """Whether steps were made in this stage, and all that is left of them is its start.

    One that has come back there by a rollback, and has gone on, is not; nor is one
    that rests at its start, whatever was in the stage before.
    """
    back = (state.rollbacks > 0) & (state.best.step == 0)
    return back & (state.step > 0) & (state.report.step_length == 0)


def overflowed_share(state: State) -> jax.Array:
    """Return the share of values in whose solver state a number is not finite."""
    overflowed = jnp.zeros(state.variable.shape, bool)
    for leaf in jax.tree.leaves(state.solver):
        if jnp.shape(leaf) == overflowed.shape:
            overflowed |= ~jnp.isfinite(leaf)
    return overflowed.mean()


def _solver(problem: Problem, state: State) -> Solver:
    """The problem's, its steps as much shorter as rollbacks ask for."""
    one = jnp.ones((), state.variable.dtype)
    return problem.solver.scale_step(jnp.ldexp(one, -state.rollbacks))


def _finite(report: Report) -> jax.Array:
    return jnp.isfinite(report.loss) & jnp.isfinite(report.grad_norm)


def has_diverged(state: State) -> jax.Array:
    """Whether it has come to what is not finite, from where it was."""
    return ~_finite(state.report) & _finite(state.best.report)


def roll_back(problem: Problem, state: State) -> State:
    """The same at its best canvas, with a solver that knows no other."""
    state = state._replace(rollbacks=state.rollbacks + 1)
    best, report = state.best, state.best.report
    known = (report.loss, report.parts), best.gradient
    inner = _solver(problem, state).reinitialise(
        lambda _: known, best.variable, state.solver
    )
    report = report._replace(
        step_length=jnp.zeros_like(report.step_length),
        evaluations=state.report.evaluations,
        failed=state.report.failed,
    )
    return state._replace(
        canvas=best.canvas,
        variable=best.variable,
        ema=best.ema,
        ema_residual=best.ema_residual,
        solver=inner._replace(report=report),
        report=report,
    )
