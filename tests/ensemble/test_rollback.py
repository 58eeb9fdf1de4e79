"""Members that come to NaN, without a network, so that they compile quickly."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_problems import (
    SHAPE,
    Pitfall,
    advance,
    pitfall_problem,
    random_picture,
    start,
    start_from_coarse,
    trajectory,
)
from small_runs import eight_members, read_manifest, run_experiment

import nst_jax
from nst_jax.optim import transfer
from nst_jax.optim.parametrisation import PARAMETRISATIONS
from nst_jax.optim.state import is_stalled
from nst_jax.workdir.metrics_log import read_metrics

SOLVERS = {
    "adam": nst_jax.Adam(0.05, clip=False),
    "sgd": nst_jax.SGD(20.0),
    "fixed": nst_jax.FixedLBFGS(),
    "lbfgs": nst_jax.LBFGS(),
    "optax": nst_jax.OptaxLBFGS(),
    "adan": nst_jax.optim.solvers.Transformation(optax.adan(0.05), clip=False),
}


@pytest.mark.combinations(name=SOLVERS, form=PARAMETRISATIONS)
def test_a_member_continues_from_its_best_iterate_with_shorter_steps(name, form):
    """Like a solver with half the learning rate that starts there."""
    solver = SOLVERS[name]
    states = trajectory(
        pitfall_problem(solver, Pitfall(at=1.0), name=form), random_picture(1), 5
    )
    sound = trajectory(
        pitfall_problem(solver, Pitfall(), name=form), random_picture(1), 1
    )
    assert [int(state.rollbacks) for state in states] == [0] * 2 + [1] * 4
    losses = [float(state.report.loss) for state in sound]
    best = sound[int(np.argmin(losses))]
    np.testing.assert_array_equal(states[2].variable, best.variable)
    assert states[2].report.loss == best.report.loss
    assert states[2].report.evaluations > sound[1].report.evaluations

    afterwards = pitfall_problem(
        solver.scale_step(jnp.float32(0.5)), Pitfall(), name=form
    )
    variable = best.variable
    inner, _ = afterwards.solver.init(afterwards.evaluate, variable)
    variable, _, report = afterwards.solver.step(afterwards.evaluate, variable, inner)
    np.testing.assert_allclose(states[3].variable, variable, atol=5e-4)
    np.testing.assert_allclose(states[3].report.loss, report.loss, rtol=1e-2)
    assert states[-1].report.loss < states[2].report.loss


@pytest.mark.parametrize("name", SOLVERS)
def test_other_members_of_the_batch_are_unchanged(name):
    """Bit for bit, while a member rolls back."""

    def ends(at):
        def end(at, canvas):
            problem = pitfall_problem(SOLVERS[name], Pitfall(at=at))
            return transfer.advance(problem, transfer.start(problem, canvas), 6)

        canvases = jnp.stack([random_picture(seed) for seed in (1, 2, 3)])
        return jax.jit(jax.vmap(end))(jnp.asarray(at), canvases)

    sound, sick = ends([9.0, 9.0, 9.0]), ends([9.0, 2.0, 9.0])
    assert sick.rollbacks.tolist() == [0, 1, 0]
    for one, other in zip(jax.tree.leaves(sound), jax.tree.leaves(sick), strict=True):
        np.testing.assert_array_equal(one[jnp.array([0, 2])], other[jnp.array([0, 2])])
    assert np.isfinite(sick.canvas).all()


def test_a_step_is_halved_until_it_is_short_enough():
    """Descent of rate η goes η/N·2·d: out of the ball until η is small enough."""
    problem = pitfall_problem(
        nst_jax.SGD(4000.0, schedule="constant"), Pitfall(radius=0.4)
    )
    states = trajectory(problem, random_picture(1), 30)
    lost = int(states[-1].rollbacks)
    assert 2 <= lost <= 6
    rate = 4000.0 / 2**lost
    fits = rate * 2 / np.prod(SHAPE)
    assert fits < 2, "above that, descent on a parabola runs away"
    assert states[-1].report.loss < 1e-3 * states[0].report.loss
    assert all(np.isfinite(state.report.loss) for state in states)


def test_an_average_continues_after_a_rollback():
    """It includes the iterates up to the best one and after it, without NaN."""
    sick = pitfall_problem(nst_jax.Adam(0.05), Pitfall(at=2.0), averaging=0.5)
    states = trajectory(sick, random_picture(1), 5)
    assert int(states[3].best.step) == 2
    np.testing.assert_array_equal(states[3].canvas, states[2].canvas)
    kept = [np.float64(states[i].variable) for i in (1, 2, 4, 5)]
    wanted = np.tensordot(np.array([1, 2, 4, 8]) / 15, np.stack(kept), 1)
    np.testing.assert_allclose(states[5].canvas, wanted, atol=1e-6)


def test_a_schedule_does_not_restart():
    """The decayed rate is halved, not the initial one."""
    solver = nst_jax.SGD(8.0, decay_rate=0.5, decay_steps=1, schedule="exponential")
    states = trajectory(pitfall_problem(solver, Pitfall(at=3.0)), random_picture(1), 5)
    sound = trajectory(pitfall_problem(solver, Pitfall()), random_picture(1), 4)
    assert int(states[4].rollbacks) == 1
    np.testing.assert_array_equal(states[4].variable, states[3].variable)
    # The fourth step was lost; the fifth has the fifth rate, halved: a quarter of
    # the fourth's, along the same gradient.
    lost = np.float64(sound[4].variable) - sound[3].variable
    made = np.float64(states[5].variable) - states[4].variable
    np.testing.assert_allclose(made, lost / 4, atol=1e-6)


def test_a_member_that_has_moved_is_not_stalled():
    """Steps after a NaN count, also if none is better than the start."""
    near = random_picture(0) + 1e-4
    states = trajectory(pitfall_problem(nst_jax.Adam(0.05), Pitfall(at=2.0)), near, 6)
    assert int(states[-1].rollbacks) == 1
    assert int(states[-1].best.step) == 0
    assert [bool(is_stalled(state)) for state in states] == [False] * 3 + [
        *(True, False, False, False)
    ]


def test_a_member_that_rests_in_a_finer_stage_is_not_stalled():
    """It has rolled back in the coarser stage."""
    sick = trajectory(
        pitfall_problem(nst_jax.Adam(0.05), Pitfall(at=1.0)), random_picture(1), 3
    )[-1]
    resting = pitfall_problem(nst_jax.Adam(0.05), Pitfall(), tolerance=1e9)
    fine = start_from_coarse(resting, sick, shape=SHAPE)
    fine = transfer.advance(resting, fine, 3)
    assert (int(fine.rollbacks), int(fine.best.step)) == (1, 0)
    assert not is_stalled(fine)


@pytest.mark.parametrize("name", ["sgd", "fixed", "lbfgs", "optax"])
def test_a_finer_stage_keeps_the_shortened_steps(name):
    """Its first step is half as long."""
    solver, fine = SOLVERS[name], pitfall_problem(SOLVERS[name], Pitfall())
    sick = trajectory(pitfall_problem(solver, Pitfall(at=1.0)), random_picture(1), 2)[
        -1
    ]
    begun = [
        start_from_coarse(fine, sick._replace(rollbacks=jnp.int32(n)), shape=SHAPE)
        for n in (0, 1)
    ]
    assert [int(state.rollbacks) for state in begun] == [0, 1]
    if name in ("lbfgs", "optax"):  # A search makes of it what it likes.
        whole, half = (float(state.solver.scale) for state in begun)
    else:
        ends = [np.float64(advance(fine, state, 1).variable) for state in begun]
        whole, half = (np.linalg.norm(end - begun[0].variable) for end in ends)
    np.testing.assert_allclose(half, whole / 2, rtol=1e-5)


@nst_jax.term
class Opaque(nst_jax.Term):
    """NaN at two steps, whose gradient is that of the others all the same."""

    name: str = nst_jax.static(default="opaque")

    def __call__(self, view, target):
        lost = (view.step == 0) | (view.step == 3)
        return jax.lax.stop_gradient(jnp.where(lost, jnp.nan, 0.0) * view.image.sum())


def test_a_start_with_a_finite_gradient_but_no_finite_loss_continues():
    """It may roll back to the first iterate with a finite loss."""
    states = trajectory(
        pitfall_problem(nst_jax.Adam(0.05), Opaque()), random_picture(1), 6
    )
    finite = [bool(np.isfinite(state.report.loss)) for state in states]
    assert finite == [False] * 2 + [True] * 5
    assert [int(state.rollbacks) for state in states] == [0] * 4 + [1] * 3


def test_a_start_without_finite_values_rests():
    problem = pitfall_problem(nst_jax.Adam(), Pitfall(radius=0.0))
    state = advance(problem, start(problem, random_picture(1)), 5)
    assert (int(state.step), int(state.rollbacks)) == (0, 0)
    np.testing.assert_array_equal(state.canvas, random_picture(1))


def test_a_run_names_members_that_came_to_nan(tmp_path, caplog):
    """Of four members, one always diverges, one recovers, and two have no NaN."""
    config = eight_members(size=48)
    config.seeds, config.steps = (0,), 4
    config.terms = (nst_jax.Gram(layers=("relu1_1",)), Pitfall())
    config.solver = nst_jax.SolverOptions("adam")
    at = nst_jax.Vary("terms.pitfall.at", (9.0, 2.0))
    rate = nst_jax.Vary("solver.learning_rate", (0.02, 1e30))
    config.axes = (at, rate)
    config.solver.clip = False
    with caplog.at_level("WARNING", "absl"):
        assert run_experiment(config, tmp_path) == "done"
    entries = read_manifest(tmp_path)["members"]
    assert [entry["status"] for entry in entries] == ["done", "diverged"] * 2
    assert [entry["rollbacks"] for entry in entries] == [0, 4, 1, 4]
    last = {row["member"]: row for row in read_metrics(tmp_path / "metrics.jsonl")}
    assert [last[i]["rollbacks"] for i in range(4)] == [0, 4, 1, 4]
    assert "2 of 4 members diverged" in caplog.text
    assert "1 of 4 members came to NaN" in caplog.text
    assert "rollbacks after NaN" in (tmp_path / "report.html").read_text()
    for i in range(4):
        canvas = np.load(tmp_path / f"members/{i:03d}/final.npy")
        assert np.isfinite(canvas).all()


@nst_jax.term
class Nowhere(nst_jax.Term):
    """NaN wherever one goes from the start."""

    name: str = nst_jax.static(default="nowhere")

    def __call__(self, view, target):
        moved = jnp.abs(view.image - random_picture(1)).max() > 0
        return jnp.where(moved, jnp.nan, 0.0) * view.image.sum()


def test_a_member_that_never_moves_is_at_its_start():
    """Also after so many halvings that a step is nothing, which is no progress."""
    last = trajectory(
        pitfall_problem(nst_jax.SGD(20.0), Nowhere()), random_picture(1), 40
    )[-1]
    assert 20 < int(last.rollbacks) < 40
    assert (int(last.best.step), int(last.step)) == (0, 40)
    np.testing.assert_array_equal(last.canvas, random_picture(1))
