"""L-BFGS without a line search: its direction, its guards and its batches."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pictures import smooth_picture
from quadratic_bowl import solve
from small_problems import SHAPE, advance, random_picture, small_problem, start

import nst_jax
from nst_jax.ensemble.strategies import map_over_members
from nst_jax.optim import transfer
from nst_jax.optim.solvers.base import FIRST_STEP
from nst_jax.optim.solvers.compact_lbfgs import scale_by_compact_lbfgs


def test_direction_is_the_two_loop_recursion_on_the_real_objective(network, x64):
    """optax's recursion, over 50 steps in float64: the ring is filled five times."""
    terms = nst_jax.Content(layers=("relu2_1",)), nst_jax.Gram(layers=("relu1_1",))
    problem = nst_jax.Problem.from_images(
        dataclasses.replace(
            network, numerics=nst_jax.Numerics(feature_dtype="float64")
        ),
        nst_jax.Objective(terms),
        smooth_picture(0, 16, 20),
        [smooth_picture(1, 18, 16)],
        nst_jax.FixedLBFGS(),
    )
    solver = problem.solver
    recursion, compact = optax.scale_by_lbfgs(10), scale_by_compact_lbfgs(10)

    @jax.jit
    def relative_errors(canvas):
        def step(loop, _):
            canvas, state, theirs, ours = loop
            gradient = state.gradient * state.scale
            expected, theirs = recursion.update(gradient, theirs, canvas)
            direction, ours = compact.update(gradient, ours, canvas)
            error = jnp.linalg.norm(direction - expected) / jnp.linalg.norm(expected)
            canvas, state, _ = solver.step(problem.evaluate, canvas, state)
            return (canvas, state, theirs, ours), error

        state, _ = solver.init(problem.evaluate, canvas)
        loop = canvas, state, recursion.init(canvas), compact.init(canvas)
        return jax.lax.scan(step, loop, length=50)[1]

    canvas = jnp.asarray(random_picture(0, (16, 20, 3)), jnp.float64)
    errors = relative_errors(canvas)
    assert errors.dtype == np.float64
    # The first update has no pair, and the solver replaces its direction.
    assert errors[1:].max() < 1e-8


def test_a_direction_that_does_not_descend_is_a_first_step():
    """On a hill every pair has negative curvature: H g points uphill."""
    hill = jax.value_and_grad(lambda x: (-((x - 0.2) ** 2).sum(), {}), has_aux=True)
    _, path, reports = solve(nst_jax.FixedLBFGS(), hill, 6)
    moved = np.diff(np.asarray([0 * path[0], *path], np.float64), axis=0)
    lengths = np.sqrt((moved**2).mean((1, 2, 3)))
    np.testing.assert_allclose(lengths, FIRST_STEP, rtol=1e-4)
    losses = [float(report.loss) for report in reports]
    assert losses == sorted(losses, reverse=True)


def test_a_direction_that_does_not_descend_empties_the_history():
    """Afterwards the solver moves like one that starts there."""
    transformation = nst_jax.FixedLBFGS().transformation()
    canvases = [jnp.asarray(random_picture(seed)) for seed in range(4)]
    gradients = [0.1 * canvases[3]]
    for curvature, (old, new) in zip(
        (-1, 2), itertools.pairwise(canvases[:3]), strict=True
    ):
        gradients.append(gradients[-1] + curvature * (new - old))
    points = list(zip(gradients, canvases[:3], strict=True))

    def last_step(points):
        state = transformation.init(canvases[0])
        for gradient, canvas in points:
            step, state = transformation.update(gradient, state, canvas)
        return step

    np.testing.assert_allclose(last_step(points), last_step(points[1:]), atol=1e-6)
    assert np.abs(last_step(points) - last_step(points[2:])).max() > 1e-3


@pytest.mark.parametrize("curvature", [1e-3, 0.0])
def test_no_step_is_longer_than_the_cap(curvature):
    """On a slope that is nearly a plane, the quasi-Newton step is hundreds of units."""
    downhill = jnp.asarray(np.random.default_rng(0).normal(size=SHAPE), jnp.float32)

    def slope(x):
        return (downhill * x + 0.5 * curvature * x**2).sum(), {}

    solver = nst_jax.FixedLBFGS(max_step=0.03)
    fun = jax.value_and_grad(slope, has_aux=True)
    _, path, _ = solve(solver, fun, 5, jnp.zeros(SHAPE))
    moved = np.diff(np.asarray(path, np.float64), axis=0)
    lengths = np.sqrt((moved**2).mean((1, 2, 3)))
    if curvature:
        np.testing.assert_allclose(lengths, 0.03, rtol=1e-4)
    else:
        np.testing.assert_array_less(lengths, 0.03 * 1.0001)


def batch_programs(problem):
    """Return `start` and `advance` over the members of a batch, and their axes."""
    axes = dataclasses.replace(jax.tree.map(lambda _: None, problem), tolerance=0)
    return (
        map_over_members(function, axes, shape=SHAPE, batched=batched)
        for function, batched in ((transfer.start, False), (transfer.advance, True))
    )


def test_a_stopped_member_continues_as_if_alone():
    """With a lower tolerance later on, after steps in which it had no part."""
    problem = small_problem(nst_jax.FixedLBFGS(history_size=3))
    start_all, advance_all = map(jax.jit, batch_programs(problem))
    tolerances = jnp.asarray([0.0, 0.012]), jnp.zeros(2)
    early, late = (dataclasses.replace(problem, tolerance=t) for t in tolerances)
    canvases = jnp.stack([random_picture(seed) for seed in (1, 2)])
    states = advance_all(early, start_all(early, canvases), 9)
    stopped = int(states.step[1])
    assert 3 < stopped < 9 == int(states.step[0])
    states = advance_all(late, states, 5)
    steps = 14, stopped + 5
    assert states.step.tolist() == [*steps]
    for seed, count, canvas in zip((1, 2), steps, states.canvas, strict=True):
        alone = advance(problem, start(problem, random_picture(seed)), count)
        np.testing.assert_allclose(canvas, alone.canvas, atol=1e-5)


@pytest.mark.parametrize("is_batch", [False, True])
def test_a_step_needs_no_room_for_another_history(is_batch):
    """The compiler writes a slot in place, and neither copies nor selects the rest."""
    problem = small_problem(nst_jax.FixedLBFGS(history_size=40))
    canvas = jax.ShapeDtypeStruct(SHAPE, jnp.float32)
    begin, proceed = transfer.start, transfer.advance
    if is_batch:
        begin, proceed = batch_programs(problem)
        problem = dataclasses.replace(problem, tolerance=jnp.zeros(4))
        canvas = jax.ShapeDtypeStruct((4, *SHAPE), jnp.float32)
    state = jax.eval_shape(begin, problem, canvas)
    program = jax.jit(proceed, donate_argnums=1).lower(problem, state, 3)
    temporary = program.compile().memory_analysis().temp_size_in_bytes
    assert temporary < 0.5 * state.solver.inner.pairs.size * 4
