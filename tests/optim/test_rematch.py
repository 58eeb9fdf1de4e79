"""Terms whose target depends on the canvas: when and how they are matched anew."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pictures import smooth_picture
from small_problems import (
    SHAPE,
    Pitfall,
    advance,
    random_picture,
    start,
    start_from_coarse,
    trajectory,
)

import nst_jax
from nst_jax.ensemble.ensemble import Ensemble
from nst_jax.losses import NearestFeatures, Objective
from nst_jax.optim.problem import CoarseBlend, Problem
from nst_jax.optim.transfer import rematch

INTERVAL = 4
SOLVERS = {
    "lbfgs": nst_jax.LBFGS(),
    "fixed": nst_jax.FixedLBFGS(),
    "optax": nst_jax.OptaxLBFGS(),
    "adam": nst_jax.Adam(clip=False),
    "sgd": nst_jax.SGD(learning_rate=20.0),
}


@nst_jax.term
class NearestOfTwo(nst_jax.Term):
    """Mean of d² + d⁴, d the distance to the nearer of two values when matched."""

    name: str = nst_jax.static(default="nearest_of_two")
    interval: int = nst_jax.static(default=INTERVAL)
    pull: float = 1.0

    @property
    def matching_interval(self):
        return self.interval

    def target(self, content, styles):
        return jnp.asarray([0.1, 0.8])

    def match(self, view, target):
        return (view.image > target.mean()).astype(jnp.int32)

    def __call__(self, view, target):
        distance = view.image - self.pull * target[view.match]
        return (distance**2 + distance**4).mean()


@nst_jax.term
class TowardsMean(nst_jax.Term):
    """Squared distance of the mean to 0.9, which drives values over the threshold."""

    name: str = nst_jax.static(default="towards_mean")

    def __call__(self, view, target):
        return (view.image.mean() - 0.9) ** 2


def matching_problem(solver, *terms, **options):
    terms = terms or (NearestOfTwo(0.2), TowardsMean())
    targets = tuple(
        jnp.asarray([0.1, 0.8]) if isinstance(t, NearestOfTwo) else None for t in terms
    )
    network = nst_jax.Network({}, {}, None)
    return Problem(network, Objective(terms), targets, solver, **options)


CANVAS = random_picture(1)


@pytest.mark.parametrize("name", SOLVERS)
def test_matches_change_at_the_interval_alone(name):
    """They are those of the canvas at the start of the interval, as is the loss."""
    problem = matching_problem(SOLVERS[name])
    states = trajectory(problem, CANVAS, 2 * INTERVAL + 2)
    changes = 0
    for step, (before, state) in enumerate(itertools.pairwise(states)):
        first = states[step - step % INTERVAL]
        expected = np.asarray(first.canvas) > np.float32(0.45)
        np.testing.assert_array_equal(state.matches[0], expected)
        assert state.matches[1] is None
        changes += (state.matches[0] != before.matches[0]).any()
        loss, _ = problem.objective(
            problem.network, state.canvas, problem.targets, 0, state.matches
        )
        np.testing.assert_allclose(state.report.loss, loss, rtol=1e-5)
    assert changes > 0


@pytest.mark.parametrize("name", SOLVERS)
def test_a_matching_costs_one_evaluation(name):
    problem = matching_problem(SOLVERS[name])
    states = trajectory(problem, CANVAS, INTERVAL)
    for state, cost in ((states[-1], 1), (states[-2], 0)):
        after = rematch(problem, state, functools.partial(Problem.evaluate, problem))
        assert int(after.report.evaluations) == int(state.report.evaluations) + cost
        np.testing.assert_array_equal(after.variable, state.variable)


def test_a_member_that_has_stopped_is_not_matched_again():
    """It keeps the step of its last matching, which would be due forever."""
    problem = matching_problem(nst_jax.Adam(clip=False))
    state = trajectory(problem, CANVAS, INTERVAL)[-1]
    stopped = dataclasses.replace(problem, tolerance=1e9)
    after = rematch(stopped, state, functools.partial(Problem.evaluate, stopped))
    assert int(after.report.evaluations) == int(state.report.evaluations)


def test_matches_without_a_finite_loss_are_not_used():
    @nst_jax.term
    class Fragile(NearestOfTwo):
        """NaN where a value is matched anew."""

        def __call__(self, view, target):
            is_first = (view.match == (np.float32(0.45) < CANVAS)).all()
            return jnp.where(is_first, super().__call__(view, target), jnp.nan)

    problem = matching_problem(
        nst_jax.Adam(learning_rate=0.2, clip=False), Fragile(0.2), TowardsMean()
    )
    state = advance(problem, start(problem, CANVAS), 2 * INTERVAL)
    np.testing.assert_array_equal(state.matches[0], np.float32(0.45) < CANVAS)
    assert np.isfinite(state.report.loss)
    assert int(state.step) == 2 * INTERVAL


def test_the_quasi_newton_history_is_dropped_and_adams_moments_are_kept():
    def step_after_matching(solver):
        problem = matching_problem(solver)
        states = trajectory(problem, CANVAS, INTERVAL + 1)
        step = states[-1].canvas - states[-2].canvas
        _, gradient = problem.evaluate(states[-2].variable, 0, states[-1].matches)
        return np.asarray(step), np.asarray(gradient), states[-2].solver

    solver = nst_jax.FixedLBFGS(first_step=0.01)
    step, gradient, _ = step_after_matching(solver)
    along = -gradient * 0.01 / np.sqrt(np.mean(gradient**2))
    np.testing.assert_allclose(step, along, rtol=1e-3, atol=1e-5)
    solver = nst_jax.Adam(learning_rate=0.01, clip=False)
    step, gradient, state = step_after_matching(solver)
    adam = state.inner[0]
    mu = 0.9 * adam.mu + 0.1 * gradient
    nu = 0.999 * adam.nu + 0.001 * gradient**2
    count = int(adam.count) + 1
    expected = -0.01 * (mu / (1 - 0.9**count)) / np.sqrt(nu / (1 - 0.999**count))
    np.testing.assert_allclose(step, expected, rtol=1e-3, atol=1e-6)


def test_terms_are_matched_at_their_own_intervals():
    terms = (
        NearestOfTwo(0.2, name="often", interval=2),
        NearestOfTwo(0.2, name="seldom", interval=6),
        NearestOfTwo(0.2, name="once", interval=0),
        TowardsMean(),
    )
    problem = matching_problem(nst_jax.Adam(clip=False), *terms)
    states = trajectory(problem, CANVAS, 7)
    for step in range(1, 8):
        for j, interval in enumerate((2, 6, 100)):
            last = (step - 1) - (step - 1) % interval
            expected = np.asarray(states[last].canvas) > np.float32(0.45)
            np.testing.assert_array_equal(states[step].matches[j], expected)


def test_a_rollback_after_matching_returns_to_the_matched_point():
    """The loss before the matching is less, but of another objective."""

    @nst_jax.term
    class Growing(NearestOfTwo):
        """A constant that each matching raises, as a distance to new targets may."""

        def match(self, view, target):
            return 10 * jnp.abs(view.image - CANVAS).mean()

        def __call__(self, view, target):
            return ((view.image - 0.5) ** 2).mean() + view.match

    terms = Growing(), Pitfall(at=INTERVAL + 1)
    problem = matching_problem(nst_jax.Adam(clip=False), *terms)
    states = trajectory(problem, CANVAS, INTERVAL + 2)
    assert int(states[-1].rollbacks) == 1
    assert states[-1].report.loss > states[INTERVAL].report.loss
    assert int(states[-1].best.step) == INTERVAL + 1
    np.testing.assert_array_equal(states[-1].canvas, states[INTERVAL + 1].canvas)


@pytest.mark.combinations(name=SOLVERS, strategy=["vmap", "map", "loop"])
def test_batches_chunks_and_resuming_change_no_bit(name, strategy):
    """Stopped between and at matchings; "map" is "loop" and each member is itself."""
    canvases = np.stack([random_picture(seed) for seed in (1, 2, 3)])
    problems = [
        matching_problem(SOLVERS[name], NearestOfTwo(0.2, pull=pull), TowardsMean())
        for pull in (1.0, 0.9, 1.1)
    ]
    ensemble = Ensemble.compile(problems, SHAPE, batch_size=3, strategy=strategy)
    size = ensemble.batch_size
    canvases, problems = canvases[:size], problems[:size]
    steps = 2 * INTERVAL + 1

    def result(log_every, **options):
        *_, last = ensemble.optimise(
            canvases, steps, problems=problems, log_every=log_every, **options
        )
        return last

    whole = result(steps)
    for stop in (INTERVAL - 1, INTERVAL, INTERVAL + 1):
        *_, half = ensemble.optimise(canvases, stop, problems=problems, log_every=3)
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(half.state)]
        resumed = result(2, resume=(stop, ensemble.restore(leaves)))
        np.testing.assert_array_equal(resumed.canvas, whole.canvas)
    for canvas, problem, member in zip(canvases, problems, whole.canvas, strict=True):
        alone = advance(problem, start(problem, canvas), steps).canvas
        np.testing.assert_allclose(member, alone, rtol=2e-3)


def test_a_stage_starts_from_a_blend_and_matches_anew():
    picture = jnp.asarray(random_picture(5))
    problem = matching_problem(nst_jax.FixedLBFGS())
    coarse = advance(problem, start(problem, CANVAS[::2, ::2]), 3)
    details = 0.1 * jnp.asarray(random_picture(6))
    blended = matching_problem(
        nst_jax.FixedLBFGS(), coarse_blend=CoarseBlend(picture, 0.25, details)
    )
    plain, mixed = (
        start_from_coarse(p, coarse, shape=SHAPE) for p in (problem, blended)
    )
    expected = 0.75 * plain.canvas + 0.25 * picture + details
    np.testing.assert_allclose(mixed.canvas, expected, rtol=1e-6)
    np.testing.assert_array_equal(mixed.matches[0], expected > np.float32(0.45))


def test_nearest_features_give_the_same_bits_mapped_looped_and_resumed(network):
    """With a share of content of each member, stopped between and at matchings."""
    size, steps = (16, 20), 5
    content, style = (smooth_picture(seed, *size) for seed in (0, 1))
    canvases = np.stack([smooth_picture(seed, *size) for seed in (2, 3)])
    terms = [
        NearestFeatures(
            layers=("relu1_1", "relu2_1"), rematch_every=2, content_share=share
        )
        for share in (0.0, 0.8)
    ]
    problems = [
        Problem.from_images(
            network, Objective((term,)), content, [style], nst_jax.FixedLBFGS()
        )
        for term in terms
    ]
    ends = {}
    for strategy in ("vmap", "map", "loop"):
        ensemble = Ensemble.compile(
            problems, content.shape, batch_size=2, strategy=strategy
        )
        count, ends[strategy] = ensemble.batch_size, []
        for first in range(0, 2, count):
            members = slice(first, first + count)

            def optimise(steps, members=members, ensemble=ensemble, **options):
                options |= {"problems": problems[members], "log_every": 2}
                *_, last = ensemble.optimise(canvases[members], steps, **options)
                return last

            whole = optimise(steps).canvas
            ends[strategy] += [*whole]
            for stop in (1, 2, 4):
                leaves = map(np.asarray, jax.tree.leaves(optimise(stop).state))
                state = ensemble.restore([*leaves])
                resumed = optimise(steps, resume=(stop, state)).canvas
                np.testing.assert_array_equal(resumed, whole)
    np.testing.assert_array_equal(ends["map"], ends["loop"])
    np.testing.assert_allclose(ends["vmap"], ends["loop"], atol=2e-3)
    assert np.abs(ends["loop"] - canvases).max() > 0.01
