"""Solvers against closed forms, independent implementations and counted calls."""

import dataclasses

import jax
import jax.numpy as jnp
import jaxopt
import numpy as np
import pytest
from quadratic_bowl import SHAPE, quadratic_bowl, solve

import nst_jax
from nst_jax.optim.solvers import LINE_SEARCHES, SOLVERS
from nst_jax.optim.solvers.base import FIRST_STEP

ALL = [
    *(nst_jax.LBFGS(line_search=search) for search in LINE_SEARCHES),
    nst_jax.FixedLBFGS(),
    nst_jax.OptaxLBFGS(),
    nst_jax.Adam(),
    nst_jax.SGD(),
]
IDS = [*LINE_SEARCHES, "fixed", "optax", "adam", "sgd"]


def walk(solver, scale=1.0, start=0.0):
    """As `solve` for 60 steps down the bowl; one program for all scales and starts."""
    canvas, path, first, rest = _walked(
        solver, jnp.float32(scale), jnp.full(SHAPE, start)
    )
    reports = [jax.tree.map(lambda leaf, i=i: leaf[i], rest) for i in range(60)]
    return canvas, path, [first, *reports]


@jax.jit
def _walked(solver, scale, canvas):
    fun, _ = quadratic_bowl(scale)
    state, first = solver.init(fun, canvas)

    def step(carry, _):
        canvas, state, report = solver.step(fun, *carry)
        return (canvas, state), (canvas, report)

    (canvas, _), (path, rest) = jax.lax.scan(step, (canvas, state), length=60)
    return canvas, path, first, rest


@pytest.mark.parametrize("solver", ALL[:5], ids=IDS[:5])
def test_quasi_newton_finds_the_minimum_of_a_quadratic(solver):
    _, centre = quadratic_bowl()
    canvas, _, reports = walk(solver)
    assert float(reports[-1].loss) < 1e-6 * float(reports[0].loss)
    np.testing.assert_allclose(canvas, centre, atol=1e-3)


@pytest.mark.parametrize("solver", ALL, ids=IDS)
def test_reports_are_of_the_canvas_arrived_at(solver):
    fun, _ = quadratic_bowl()
    start = jnp.full(SHAPE, 0.1)
    _, path, reports = walk(solver, start=0.1)
    before = start
    for canvas, report in zip([start, *path[:6]], reports[:7], strict=True):
        (loss, parts), gradient = fun(canvas)
        np.testing.assert_allclose(report.loss, loss, rtol=1e-5)
        np.testing.assert_allclose(report.parts["second"], parts["second"], rtol=1e-5)
        norm = np.linalg.norm(np.asarray(gradient, np.float64))
        np.testing.assert_allclose(report.grad_norm, norm, rtol=1e-4)
        moved = np.linalg.norm(np.asarray(canvas, np.float64) - before)
        np.testing.assert_allclose(report.step_length, moved, rtol=1e-4)
        before = canvas


@pytest.mark.parametrize("solver", ALL, ids=IDS)
def test_evaluations_are_those_that_were_made(solver):
    """Counted by a callback inside `fun`, in a loop where nothing is elided."""
    fun, _ = quadratic_bowl()
    calls = []

    def counted(canvas):
        # The gradient takes part, so that a value alone does not count.
        (loss, parts), gradient = fun(canvas)
        seen = jax.pure_callback(
            lambda x, _: calls.append(1) or np.asarray(x),
            jax.ShapeDtypeStruct((), jnp.float32),
            loss,
            gradient,
        )
        return (seen, parts), gradient

    _, _, reports = solve(solver, counted, 5)
    jax.effects_barrier()
    if solver == nst_jax.LBFGS(line_search="hager-zhang"):
        # jaxopt counts points that its search asks for twice and XLA computes once.
        assert len(calls) < int(reports[-1].evaluations) < 2 * len(calls)
    else:
        assert int(reports[-1].evaluations) == len(calls)


@pytest.mark.parametrize("solver", ALL[:5], ids=IDS[:5])
@pytest.mark.parametrize("power", [-80, 60])
def test_quasi_newton_steps_do_not_depend_on_the_unit_of_the_loss(solver, power):
    """A power of two is exact in floating point: the canvases are bitwise equal."""
    _, plain, _ = walk(solver)
    _, scaled, reports = walk(solver, 2.0**power)
    np.testing.assert_array_equal(plain[:8], scaled[:8])
    expected = quadratic_bowl(2.0**power)[0](jnp.zeros(SHAPE))[0][0]
    np.testing.assert_allclose(reports[0].loss, expected, rtol=1e-6)


@pytest.mark.parametrize("side", [3, 30])
@pytest.mark.parametrize("solver", [ALL[0], ALL[3]], ids=[IDS[0], IDS[3]])
def test_quasi_newton_first_moves_by_as_much_whatever_the_size(solver, side):
    """Down a plane, which has no curvature to say otherwise."""
    downhill = jnp.asarray(np.random.default_rng(0).normal(size=(side, side, 3)))

    def plane(canvas):
        return ((downhill * canvas).sum(), {}), downhill

    arrived, _, _ = solve(solver, plane, 1, jnp.zeros((side, side, 3)))
    moved = jnp.sqrt(jnp.mean(arrived**2))
    np.testing.assert_allclose(moved, FIRST_STEP, rtol=1e-5)


@pytest.mark.parametrize("search", LINE_SEARCHES)
def test_lbfgs_walks_as_jaxopt_itself_does(search):
    """With the first step's scale taken out, ours is jaxopt's own iteration."""
    with jax.enable_x64(True):
        fun, _ = quadratic_bowl()
        start = jnp.full(SHAPE, 0.3, jnp.float64)
        scale = FIRST_STEP * np.sqrt(start.size) / jnp.linalg.norm(fun(start)[1])
        theirs = jaxopt.LBFGS(
            lambda canvas: scale * fun(canvas)[0][0],
            linesearch=search,
            maxls=20,
            maxiter=9,
            tol=0.0,
        ).run(start)
        ours, _, _ = solve(nst_jax.LBFGS(line_search=search), fun, 9, start)
        np.testing.assert_allclose(ours, theirs.params, rtol=1e-9)


def test_fixed_lbfgs_is_the_two_loop_recursion():
    """Against Nocedal & Wright's algorithm 7.4 in float64 NumPy."""
    with jax.enable_x64(True):
        fun, _ = quadratic_bowl()
        start = jnp.full(SHAPE, 0.3, jnp.float64)
        ours, _, _ = solve(
            nst_jax.FixedLBFGS(max_step=1e9, history_size=3), fun, 8, start
        )
        x, pairs = np.asarray(start).ravel(), []
        gradient = np.asarray(fun(start)[1]).ravel()
        for _ in range(8):
            q, alphas = gradient.copy(), []
            for s, y in reversed(pairs):
                alphas.append(s @ q / (y @ s))
                q -= alphas[-1] * y
            s, y = pairs[-1] if pairs else (gradient, gradient)
            first = FIRST_STEP * np.sqrt(x.size) / np.linalg.norm(gradient)
            q *= s @ y / (y @ y) if pairs else first
            for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
                q += s * (alpha - y @ q / (y @ s))
            new = x - q
            new_gradient = np.asarray(fun(jnp.asarray(new.reshape(SHAPE)))[1]).ravel()
            pairs = [*pairs, (new - x, new_gradient - gradient)][-3:]
            x, gradient = new, new_gradient
        np.testing.assert_allclose(np.asarray(ours).ravel(), x, rtol=1e-8)


@pytest.mark.parametrize("schedule", ["constant", "exponential", "cosine"])
def test_adam_is_kingma_and_bas(schedule):
    """Algorithm 1 of the paper in float64 NumPy, with each schedule's rates."""
    rates = {
        "constant": lambda i: 0.05,
        "exponential": lambda i: 0.05 * 0.5 ** (i / 4),
        "cosine": lambda i: 0.05 * 0.5 * (1 + np.cos(np.pi * min(i / 4, 1))),
    }
    solver = nst_jax.Adam(
        0.05,
        b1=0.8,
        b2=0.95,
        eps=1e-6,
        schedule=schedule,
        decay_steps=4,
        decay_rate=0.5,
        clip=False,
    )
    with jax.enable_x64(True):
        fun, _ = quadratic_bowl()
        ours, _, _ = solve(solver, fun, 7, jnp.zeros(SHAPE, jnp.float64))
        x, m, v = np.zeros(SHAPE), 0.0, 0.0
        for i in range(7):
            gradient = np.asarray(fun(jnp.asarray(x))[1])
            m, v = 0.8 * m + 0.2 * gradient, 0.95 * v + 0.05 * gradient**2
            m_hat, v_hat = m / (1 - 0.8 ** (i + 1)), v / (1 - 0.95 ** (i + 1))
            x = x - rates[schedule](i) * m_hat / (np.sqrt(v_hat) + 1e-6)
        np.testing.assert_allclose(ours, x, rtol=1e-6, atol=1e-9)


def test_descent_is_keras_in_its_own_units():
    """The example's loop in 0–255 units, in float64 NumPy: rate 100, ×0.96 a hundred.

    Each step of the exponential decay is 0.96^(i/100): smooth, not a staircase.
    """
    with jax.enable_x64(True):
        fun, _ = quadratic_bowl(scale=0.5)
        ours, _, _ = solve(nst_jax.SGD(), fun, 150, jnp.zeros(SHAPE, jnp.float64))
        picture = np.zeros(SHAPE)
        for i in range(150):
            gradient = np.asarray(fun(jnp.asarray(picture / 255))[1]) / 255
            picture = picture - 100 * 0.96 ** (i / 100) * gradient
        np.testing.assert_allclose(ours, picture / 255, rtol=1e-6)


@pytest.mark.parametrize("solver", [nst_jax.Adam, nst_jax.SGD])
def test_clipping_keeps_the_gamut_and_is_a_choice(solver):
    outside = jax.value_and_grad(lambda x: (((x - 2) ** 2).sum(), {}), has_aux=True)
    clipped, _, _ = solve(solver(0.5, clip=True), outside, 10)
    free, _, _ = solve(solver(0.5, clip=False), outside, 10)
    assert float(clipped.max()) == 1.0
    assert float(free.max()) > 1.5


def test_a_failed_line_search_is_counted():
    """A loss that rises whichever way one goes has no acceptable step."""
    rising = lambda canvas: ((jnp.abs(canvas).sum(), {}), -jnp.ones(SHAPE))  # noqa: E731
    solver = nst_jax.LBFGS(max_line_search_steps=4)
    _, _, reports = solve(solver, rising, 3)
    assert [int(report.failed) for report in reports] == [0, 1, 2, 3]


def test_learning_rate_is_a_leaf():
    """Three rates in one batch move as each alone does."""
    fun, _ = quadratic_bowl()
    rates = jnp.asarray([0.01, 0.05, 0.2])
    together = jax.vmap(lambda rate: _after(nst_jax.Adam(rate), fun))(rates)
    for rate, canvas in zip(rates, together, strict=True):
        np.testing.assert_allclose(_after(nst_jax.Adam(rate), fun), canvas, rtol=1e-5)


def _after(solver, fun, steps=4):
    canvas = jnp.zeros(SHAPE)
    state, _ = solver.init(fun, canvas)
    for _ in range(steps):
        canvas, state, _ = solver.step(fun, canvas, state)
    return canvas


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: nst_jax.LBFGS(line_search="zom"), "solver.line_search must be one of"),
        (lambda: nst_jax.LBFGS(history_size=0), "solver.history_size must be at least"),
        (lambda: nst_jax.Adam(learning_rate=-1.0), "solver.learning_rate must be abo"),
        (lambda: nst_jax.Adam(b1=1.0), "solver.b1 must be at least 0 and below 1"),
        (lambda: nst_jax.Adam(schedule="linear"), "solver.schedule must be one of"),
        (
            lambda: nst_jax.OptaxLBFGS(max_line_search_steps=0),
            "must be at least 1, got 0",
        ),
    ],
)
def test_a_wrong_field_is_refused(make, says):
    with pytest.raises(nst_jax.RequestError, match=says):
        make()


def test_a_config_reaches_every_field_of_every_solver():
    reached = {field.name for field in dataclasses.fields(nst_jax.SolverOptions)}
    for solver in SOLVERS.values():
        assert {field.name for field in dataclasses.fields(solver)} <= reached


def test_every_named_solver_is_tested_here():
    assert {type(solver) for solver in ALL} == set(SOLVERS.values())


@pytest.mark.parametrize("schedule", ["constant", "exponential", "cosine"])
@pytest.mark.parametrize("kind", [nst_jax.Adam, nst_jax.SGD])
def test_numbers_may_be_arguments_of_the_program(kind, schedule):
    """Not asked for their value, which a compiled program does not know."""
    solver = kind(learning_rate=0.1, decay_rate=0.5, decay_steps=2, schedule=schedule)
    fun, _ = quadratic_bowl()
    canvas = jnp.full(SHAPE, 0.5)

    @jax.jit
    def two_steps(solver, canvas):
        state, _ = solver.init(fun, canvas)
        for _ in range(2):
            canvas, state, _ = solver.step(fun, canvas, state)
        return canvas

    expected, *_ = solve(solver, fun, 2, canvas)
    np.testing.assert_allclose(two_steps(solver, canvas), expected, atol=1e-5)
