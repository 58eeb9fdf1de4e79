"""The optimisation of one image: its start and its steps."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from nst_jax.optim.parametrisation import Pixels
from nst_jax.optim.problem import Problem
from nst_jax.optim.solvers import Parts, Solver
from nst_jax.optim.state import (
    UNEVALUATED,
    Iterate,
    State,
    has_diverged,
    is_finite,
)

#: Arguments of `Problem.evaluate` -> ((loss, parts), gradient).
Evaluate = Callable[
    [jax.Array, jax.Array, Any], tuple[tuple[jax.Array, Parts], jax.Array]
]

#: Traced and compiled once, although a line search calls it in six places.
_evaluate, _match = jax.jit(Problem.evaluate), jax.jit(Problem.match)


def start(problem: Problem, canvas: jax.Array) -> State:
    """Return the state at a starting canvas [H, W, 3], before its first evaluation.

    `advance` evaluates it first. A program of its own for the first evaluation would
    take as long to compile as that of the steps.
    """
    with jax.default_matmul_precision(problem.network.numerics.precision):
        canvas = problem.restore_fixed_pixels(canvas)
        variable = problem.parametrisation.encode(canvas)
    matches = _zeros(problem.match, variable)
    evaluation = _zeros(problem.evaluate, variable, 0, matches)
    solver_state, report = problem.solver.init(lambda _: evaluation, variable)
    report = report._replace(
        grad_norm=jnp.full_like(report.grad_norm, jnp.inf),
        evaluations=jnp.zeros_like(report.evaluations),
    )
    ema, ema_residual = jnp.zeros_like(canvas), jnp.ones((), canvas.dtype)
    step = jnp.full((), UNEVALUATED, jnp.int32)
    point = canvas, variable, ema, ema_residual
    best = Iterate(*point, report, evaluation[1], step)
    rollbacks = jnp.zeros((), jnp.int32)
    return State(*point, solver_state, report, step, best, rollbacks, matches)


def start_from_coarse(
    problem: Problem, coarse: State, *, shape: Sequence[int]
) -> State:
    """Return the state at the start of a stage, given the end of a coarser one.

    The coarse result is resized and mixed with `problem.coarse_blend`. If the optimised
    variable is the pixels, the solver may reuse its coarse state.

    Args:
      problem: the problem of this stage.
      coarse: the last state of the coarser stage.
      shape: shape [H, W, 3] of the canvas of this stage.
    """
    canvas = jax.image.resize(coarse.canvas, shape, "cubic")
    if problem.coarse_blend is not None:
        picture, share, details = problem.coarse_blend
        canvas = (1 - share) * canvas + share * picture + details
    state = start(problem, canvas)
    solver_state = state.solver
    if isinstance(problem.parametrisation, Pixels):
        solver_state = problem.solver.resize(coarse.solver, solver_state)
    report = state.report._replace(
        evaluations=coarse.report.evaluations, failed=coarse.report.failed
    )
    return state._replace(
        solver=solver_state, report=report, rollbacks=coarse.rollbacks
    )


def _zeros(function: Callable, *args: Any) -> Any:
    """Return zeros of the form of a function's result."""
    return jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(function, *args)
    )


def _evaluate_start(problem: Problem, evaluate: Evaluate, state: State) -> State:
    """Return the state of `start` or `start_from_coarse` after its first evaluation."""
    step = jnp.zeros_like(state.step)
    matches = _match(problem, state.variable)
    solver_state, report = _damped_solver(problem, state).init(
        lambda x: evaluate(x, step, matches), state.variable
    )
    report = report._replace(
        evaluations=report.evaluations + state.report.evaluations,
        failed=report.failed + state.report.failed,
    )
    solver_state = problem.solver.warm_start(state.solver, solver_state)
    solver_state = solver_state._replace(report=report)
    point = state.canvas, state.variable, state.ema, state.ema_residual
    gradient = problem.solver.gradient(solver_state)
    best = Iterate(*point, report, gradient, step)
    return state._replace(
        solver=solver_state, report=report, step=step, best=best, matches=matches
    )


def advance(
    problem: Problem,
    state: State,
    steps: jax.Array | int,
    *,
    evaluate: Evaluate | None = None,
) -> State:
    """Return the state after further steps, and after its first evaluation.

    A step to a loss or gradient that is not finite is undone: the optimisation
    continues from its best iterate with half the step size. It stops early where the
    gradient norm is at most `problem.tolerance` under the current matches, or is NaN at
    the start. Terms with a `matching_interval` are matched anew whenever the number of
    steps made is a positive multiple of it.

    Args:
      problem: the optimisation problem.
      state: the current state.
      steps: number of steps; it is traced, so one program serves every number.
      evaluate: the loss and gradient; None for `problem.evaluate`.
    """
    evaluate = evaluate or functools.partial(_evaluate, problem)

    def is_unfinished(loop: tuple[jax.Array, State]) -> jax.Array:
        count, state = loop
        return (count < steps) & _of_any_member(is_moving(state))

    def is_moving(state: State) -> jax.Array:
        # NaN compares as False: a start without a gradient makes no step.
        return state.report.grad_norm > problem.tolerance

    def step(loop: tuple[jax.Array, State]) -> tuple[jax.Array, State]:
        count, state = loop
        before, is_stopped = state, _in_batch(~is_moving(state))
        if any(problem.objective.matching_intervals):
            state = rematch(problem, state, evaluate)
        solver = _damped_solver(problem, state)
        variable, solver_state, report = solver.step(
            lambda x: evaluate(x, state.step, state.matches),
            state.variable,
            state.solver,
        )
        decay = problem.averaging
        ema = decay * state.ema + (1 - decay) * problem.canvas(variable)
        ema_residual = decay * state.ema_residual
        canvas = problem.restore_fixed_pixels(ema / (1 - ema_residual))
        steps_made, rollbacks = state.step + 1, state.rollbacks
        point = canvas, variable, ema, ema_residual
        iterate = Iterate(*point, report, solver.gradient(solver_state), steps_made)
        # Written so that any finite loss is better than a start of NaN.
        is_better = is_finite(report) & ~(report.loss >= state.best.report.loss)
        best = jax.tree.map(
            lambda new, old: jnp.where(is_better, new, old), iterate, state.best
        )
        stepped = State(
            *(*point, solver_state, report, steps_made, best, rollbacks), state.matches
        )
        held = jax.tree.map(
            lambda old, new: jnp.where(is_stopped, old, new),
            *(before._replace(solver=()), stepped._replace(solver=())),
        )
        solver_state = problem.solver.hold(is_stopped, before.solver, solver_state)
        # A loop of at most one iteration. Under vmap it runs only if some member
        # needs it, where a select would copy every solver history at every step.
        undo = functools.partial(roll_back, problem)
        held = held._replace(solver=solver_state)
        return count + 1, jax.lax.while_loop(has_diverged, undo, held)

    # A loop that ends with the last member, rather than at a predicate for each member,
    # has no select of its own, which would copy the L-BFGS history at every step.
    count = jnp.zeros((), jnp.int32)
    with jax.default_matmul_precision(problem.network.numerics.precision):
        state = jax.lax.while_loop(
            lambda state: _of_any_member(state.step == UNEVALUATED),
            functools.partial(_evaluate_start, problem, evaluate),
            state,
        )
        return jax.lax.while_loop(is_unfinished, step, (count, state))[1]


@jax.custom_batching.custom_vmap
def _of_any_member(predicate: jax.Array) -> jax.Array:
    """Return whether a predicate holds, under `vmap` for any member of the batch."""
    return predicate


@_of_any_member.def_vmap
def _reduce_members(size: int, batched: list, x: jax.Array) -> tuple[jax.Array, bool]:
    return _of_any_member(x.any(0) if batched[0] else x), False


@jax.custom_batching.custom_vmap
def _in_batch(predicate: jax.Array) -> jax.Array:
    """Return a predicate under `vmap`, and False without it."""
    return jnp.zeros_like(predicate)


@_in_batch.def_vmap
def _each_member(size: int, batched: list, x: jax.Array) -> tuple[jax.Array, bool]:
    return x, batched[0]


def rematch(problem: Problem, state: State, evaluate: Evaluate) -> State:
    """Return the state with new matches of the terms that are due at its step.

    The solver then starts from the same variable under the new loss, which also becomes
    the best iterate: losses before and after are not comparable. Matches without a
    finite loss and gradient are not used.
    """
    intervals = problem.objective.matching_intervals
    due = [
        (state.step > 0) & (state.step % interval == 0)
        if interval
        else jnp.zeros((), bool)
        for interval in intervals
    ]

    def with_new_matches(loop: tuple[jax.Array, State]) -> tuple[jax.Array, State]:
        _, state = loop
        matches = tuple(
            jax.tree.map(functools.partial(jnp.where, is_due), *pair)
            for is_due, *pair in zip(
                due, _match(problem, state.variable), state.matches, strict=True
            )
        )
        solver_state = _damped_solver(problem, state).retarget(
            lambda x: evaluate(x, state.step, matches), state.variable, state.solver
        )
        report = solver_state.report
        report = report._replace(
            evaluations=state.report.evaluations + report.evaluations,
            failed=state.report.failed,
        )
        point = state.canvas, state.variable, state.ema, state.ema_residual
        gradient = problem.solver.gradient(solver_state)
        rematched = state._replace(
            solver=solver_state._replace(report=report),
            report=report,
            best=Iterate(*point, report, gradient, state.step),
            matches=matches,
        )
        usable = functools.partial(jnp.where, is_finite(report))
        return jnp.zeros((), bool), jax.tree.map(usable, rematched, state)

    # A loop of at most one iteration, as for `roll_back`. A member of a batch that has
    # stopped stays at its step and must not start it again.
    is_moving = state.report.grad_norm > problem.tolerance
    loop = jnp.stack(due).any() & is_moving, state
    return jax.lax.while_loop(lambda loop: loop[0], with_new_matches, loop)[1]


def roll_back(problem: Problem, state: State) -> State:
    """Re-initialise at the best iterate, with half the step size."""
    state = state._replace(rollbacks=state.rollbacks + 1)
    best, report = state.best, state.best.report
    evaluation = (report.loss, report.parts), best.gradient
    solver_state = _damped_solver(problem, state).reinitialise(
        lambda _: evaluation, best.variable, state.solver
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
        solver=solver_state._replace(report=report),
        report=report,
    )


def _damped_solver(problem: Problem, state: State) -> Solver:
    """Return the solver with its step halved for each rollback."""
    one = jnp.ones((), state.variable.dtype)
    return problem.solver.scale_step(jnp.ldexp(one, -state.rollbacks))
