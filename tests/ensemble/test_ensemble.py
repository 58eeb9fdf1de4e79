"""One transfer, and many: what is promised to be equal is equal to the bit.

The network is real but cut at relu2_1, so that a program compiles in a second.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pictures import smooth_picture
from small_problems import start

import nst_jax
from nst_jax.ensemble.ensemble import Ensemble
from nst_jax.ensemble.strategies import map_over_members
from nst_jax.optim import transfer

SIZE = (24, 20)
TERMS = (
    nst_jax.Content(layers=("relu2_1",)),
    nst_jax.Gram(layers=("relu1_1", "relu2_1")),
    nst_jax.TotalVariation(weight=10.0),
)
SOLVERS = {
    "lbfgs": nst_jax.LBFGS(),
    "fixed": nst_jax.FixedLBFGS(),
    "adam": nst_jax.Adam(),
    "optax": nst_jax.OptaxLBFGS(),
    "backtracking": nst_jax.LBFGS(line_search="backtracking"),
    "hager-zhang": nst_jax.LBFGS(line_search="hager-zhang"),
}
#: Strategies on one device; test_devices.py has several devices.
STRATEGIES = ("vmap", "map", "loop")
USUAL = ("lbfgs", "fixed", "adam")  # The others take a minute to compile.


@pytest.fixture(scope="module")
def pose(network):
    def pose(solver, terms=TERMS, **kwargs):
        styles = [smooth_picture(1, 22, 26)]
        content = smooth_picture(0, *SIZE)
        objective = nst_jax.Objective(terms)
        return nst_jax.Problem.from_images(
            network, objective, content, styles, solver, **kwargs
        )

    return pose


@pytest.fixture(scope="module")
def starts():
    content = smooth_picture(0, *SIZE)
    canvas = nst_jax.Canvas(kind="noise")
    return np.stack([nst_jax.starting_canvas(canvas, s, content) for s in range(4)])


@pytest.fixture(scope="module")
def compiled(pose):
    """The ensemble of a solver, strategy and batch size, compiled once."""

    @functools.cache
    def compiled(name, strategy, batch_size):
        problem = pose(SOLVERS[name])
        return Ensemble.compile(
            problem, (*SIZE, 3), batch_size=batch_size, strategy=strategy
        )

    return compiled


def finals(ensemble, starts, steps):
    """Where batches of an ensemble end: (canvases, losses)."""
    size = ensemble.batch_size
    ends = [
        list(ensemble.optimise(starts[i : i + size], steps))[-1]
        for i in range(0, len(starts), size)
    ]
    canvases = np.concatenate([end.canvas for end in ends])
    return canvases, np.concatenate([end.report.loss for end in ends])


@pytest.mark.parametrize("solver", USUAL)
def test_chunks_of_any_length_lead_to_the_same_bits(compiled, starts, solver):
    ensemble = compiled(solver, "loop", 1)
    one = list(ensemble.optimise(starts[:1], 7, log_every=7))
    many = list(ensemble.optimise(starts[:1], 7, log_every=3, snapshots=(2,)))
    assert [look.step for look in many] == [0, 2, 5, 7]
    assert [look.canvas is None for look in many] == [True, False, True, False]
    np.testing.assert_array_equal(one[-1].canvas, many[-1].canvas)


def test_another_programs_state_is_not_restored(compiled, starts):
    ensemble = compiled("adam", "vmap", 2)
    leaves = jax.tree.leaves(list(ensemble.optimise(starts[:2], 0))[-1].state)
    assert ensemble.restore(leaves[:-1]) is None
    assert ensemble.restore([leaf[:1] for leaf in leaves]) is None


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_same_program_twice_gives_the_same_bits(compiled, starts, strategy):
    ensemble = compiled("fixed", strategy, 2)
    first, second = (finals(ensemble, starts[:2], 8)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("solver", [*USUAL, "backtracking"])
def test_map_is_loop_to_the_bit(compiled, starts, solver):
    """Computed one by one in one program, or by one program one by one."""
    looped, _ = finals(compiled(solver, "loop", 2), starts[:2], 6)
    mapped, _ = finals(compiled(solver, "map", 2), starts[:2], 6)
    np.testing.assert_array_equal(looped, mapped)


@pytest.mark.parametrize("solver", [*USUAL, "optax"])
def test_a_member_of_a_batch_is_its_own_optimisation(compiled, starts, solver):
    """vmap differs from loop by roundings, not by sharing curvature or steps."""
    alone, alone_losses = finals(compiled(solver, "loop", 2), starts[:2], 3)
    batch, batch_losses = finals(compiled(solver, "vmap", 2), starts[:2], 3)
    np.testing.assert_allclose(batch, alone, atol=2e-4)
    np.testing.assert_allclose(batch_losses, alone_losses, rtol=1e-3)
    assert np.abs(alone[0] - alone[1]).max() > 0.1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_starts_from_the_same_bits(compiled, starts, strategy):
    canvases, _ = finals(compiled("fixed", strategy, 2), starts, 0)
    np.testing.assert_array_equal(canvases, starts)


def test_place_and_company_in_a_batch_do_not_matter(compiled, starts):
    """One program, other neighbours: every member goes with its start."""
    ensemble = compiled("fixed", "vmap", 2)
    forward, _ = finals(ensemble, starts, 5)
    backward, _ = finals(ensemble, starts[[3, 1, 2, 0]], 5)
    np.testing.assert_array_equal(forward, backward[[3, 1, 2, 0]])


def test_a_short_batch_is_filled_up(compiled, pose, starts):
    """Three members in batches of two: the last is computed with a copy of itself."""
    problem = pose(nst_jax.FixedLBFGS())
    result = nst_jax.run(problem, starts[:3], steps=4, batch_size=2, log_every=2)
    pairs, _ = finals(compiled("fixed", "vmap", 2), starts[[0, 1, 2, 2]], 4)
    np.testing.assert_array_equal(result.canvas, pairs[:3])
    assert result.steps == [0, 2, 4]
    assert all(report.loss.shape == (3,) for report in result.history)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_no_network_gets_a_batch_axis(pose, solver):
    """Not even by way of the conditionals of a line search: no grouped convolution."""
    problem = pose(solver)
    shape = (*SIZE, 3)
    canvases = jnp.zeros((2, *shape))
    states = jax.eval_shape(
        map_over_members(transfer.start, shape=shape, batched=False), problem, canvases
    )
    advance = jax.jit(map_over_members(transfer.advance, shape=shape, batched=True))
    text = advance.lower(problem, states, 1).as_text()
    assert "stablehlo.convolution" in text
    assert "feature_group_count = 2" not in text


def test_two_networks_are_two_networks(pose, network, starts):
    """Mapped by hand over networks, a transfer is of each its own."""
    problem = pose(nst_jax.Adam())
    halved = jax.tree.map(lambda leaf: leaf / 2, network)
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), network, halved)
    axes = dataclasses.replace(jax.tree.map(lambda _: None, problem), network=0)

    @jax.jit
    def loss(problem, canvas):
        return start(problem, canvas).report.loss

    several = dataclasses.replace(problem, network=both)
    got = jax.vmap(loss, in_axes=(axes, None))(several, starts[0])
    alone = [
        loss(dataclasses.replace(problem, network=n), starts[0])
        for n in (network, halved)
    ]
    np.testing.assert_allclose(got, alone, rtol=1e-4)
    assert not np.isclose(got[0], got[1], rtol=0.1)


@nst_jax.term
class Sepia(nst_jax.Term):
    """A user's term that brings a constant array along."""

    name: str = nst_jax.static(default="sepia")

    def __call__(self, view, target):
        tint = jnp.asarray([0.44, 0.26, 0.08])
        return ((view.image.mean((0, 1)) - tint) ** 2).sum()


def test_a_users_term_with_constants_runs_in_a_batch(pose, starts):
    """Through the conditionals of a line search, which batch constants too."""
    problem = pose(nst_jax.LBFGS(), terms=(*TERMS, Sepia(weight=1e6)))
    alone = nst_jax.run(problem, starts[:1], steps=2)
    batch = nst_jax.run(problem, starts[:2], steps=2)
    assert "sepia" in batch.history[0].parts
    np.testing.assert_allclose(batch.canvas[0], alone.canvas[0], atol=2e-4)


@pytest.mark.parametrize("solver", USUAL)
def test_the_loss_falls(compiled, starts, solver):
    looks = compiled(solver, "loop", 2).optimise(starts[:1], 12, log_every=4)
    losses = [float(look.report.loss[0]) for look in looks]
    assert losses[-1] < 0.5 * losses[0]
    if solver not in ("fixed", "adam"):
        assert losses == sorted(losses, reverse=True)


def test_tolerance_leaves_a_canvas_where_it_is(compiled, pose, starts):
    """Reached by one member, it rests while the other moves; by all, the run ends."""
    free = compiled("fixed", "vmap", 2).optimise(starts[:2], 6, log_every=1)
    norms = np.stack([look.report.grad_norm for look in free])
    quick = int(norms[-1].argmin())
    tolerance = float(norms[-2, quick])
    reached = int((norms[:, quick] <= tolerance).argmax())
    ensemble = Ensemble.compile(
        pose(nst_jax.FixedLBFGS(), tolerance=tolerance), starts.shape[1:], batch_size=2
    )
    rows = list(ensemble.optimise(starts[:2], 6, log_every=1))
    assert rows[-1].report.grad_norm[quick] == norms[reached, quick]
    everyone = pose(nst_jax.FixedLBFGS(), tolerance=1e30)
    rested = nst_jax.run(everyone, starts[:2], steps=9, log_every=3)
    assert rested.steps == [0, 3, 6, 9]
    assert (rested.history[-1].evaluations == 1).all()
    np.testing.assert_array_equal(rested.canvas, starts[:2])


def test_nan_in_one_member_stays_there(compiled, starts):
    poisoned = starts[:2].copy()
    poisoned[1] = np.nan
    ensemble = compiled("lbfgs", "vmap", 2)
    healthy, _ = finals(ensemble, starts[:2], 4)
    sick, _ = finals(ensemble, poisoned, 4)
    assert np.isnan(sick[1]).all()
    np.testing.assert_array_equal(sick[0], healthy[0])


def test_weights_of_terms_are_arguments_of_the_program(pose, starts):
    """Another style weight is another number, not another compilation."""
    light, heavy = (
        pose(nst_jax.Adam(), terms=(TERMS[0], nst_jax.Gram(w, TERMS[1].layers)))
        for w in (1.0, 100.0)
    )
    assert jax.tree.structure(light) == jax.tree.structure(heavy)
    step = jax.jit(lambda p, c: transfer.advance(p, transfer.start(p, c), 2).canvas)
    canvases = [step(problem, starts[0]) for problem in (light, heavy)]
    assert step._cache_size() == 1
    assert np.abs(np.asarray(canvases[0] - canvases[1])).max() > 1e-4


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"strategy": "pmap"}, "strategy must be one of"),
        ({"batch_size": 0}, "batch_size must be an integer from 1, got 0"),
    ],
)
def test_a_wrong_batching_is_refused(pose, options, says):
    with pytest.raises(nst_jax.RequestError, match=says):
        Ensemble.compile(
            pose(nst_jax.Adam()), (*SIZE, 3), **{"batch_size": 2, **options}
        )


def test_a_batch_larger_than_compiled_is_refused(compiled, starts):
    ensemble = compiled("adam", "vmap", 2)
    with pytest.raises(nst_jax.RequestError, match="must have 1 to 2 entries, got 4"):
        next(ensemble.optimise(starts, 1))


@pytest.mark.parametrize(
    ("shape", "says"),
    [((8, 8, 3), r"shape \[8, 8, 3\]"), ((0, 8, 8, 3), "one or more pictures")],
)
def test_canvases_of_another_shape_are_refused(pose, shape, says):
    with pytest.raises(nst_jax.RequestError, match=says):
        nst_jax.run(pose(nst_jax.Adam()), np.zeros(shape), steps=1)


def test_a_picture_in_place_of_a_list_of_styles_is_refused(network):
    picture = smooth_picture(0, *SIZE)
    objective = nst_jax.Objective(TERMS)
    with pytest.raises(
        nst_jax.RequestError, match="styles must be a sequence of pictures"
    ):
        nst_jax.Problem.from_images(
            network, objective, picture, picture, nst_jax.Adam()
        )


def sweep(pose, solver=None):
    """Three members that differ in a term's weight and in the solver's step."""
    return [
        pose(
            dataclasses.replace(solver or nst_jax.Adam(), learning_rate=rate),
            terms=(TERMS[0], dataclasses.replace(TERMS[1], weight=weight)),
        )
        for weight, rate in ((0.0, 0.02), (1.0, 0.02), (100.0, 0.05))
    ]


def sharing_targets(problems):
    first = problems[0]
    return [
        dataclasses.replace(p, targets=first.targets, network=first.network)
        for p in problems
    ]


@pytest.mark.combinations(
    strategy=STRATEGIES, solver=[nst_jax.Adam(), nst_jax.FixedLBFGS()]
)
def test_a_sweep_is_each_of_its_members(pose, starts, strategy, solver):
    """Weights and step lengths on a member axis do what they do as plain numbers."""
    problems = sharing_targets(sweep(pose, solver))
    swept = nst_jax.run(problems, starts[:3], steps=3, strategy=strategy, batch_size=2)
    for i, problem in enumerate(problems):
        alone = nst_jax.run(problem, starts[i : i + 1], steps=3)
        np.testing.assert_allclose(swept.canvas[i], alone.canvas[0], atol=2e-4)
        losses = [report.loss[i] for report in swept.history]
        np.testing.assert_allclose(
            losses, [report.loss[0] for report in alone.history], rtol=1e-3
        )
    assert np.abs(swept.canvas[1] - swept.canvas[2]).max() > 0.01


def test_a_sweep_mapped_is_the_sweep_looped_to_the_bit(pose, starts):
    problems = sharing_targets(sweep(pose))
    looped, mapped_ = (
        nst_jax.run(problems, starts[:3], steps=4, strategy=strategy).canvas
        for strategy in ("loop", "map")
    )
    np.testing.assert_array_equal(looped, mapped_)


def test_what_a_sweep_shares_has_no_member_axis(pose):
    """The network and the targets are there once, whatever else differs."""
    problems = sharing_targets(sweep(pose))
    ensemble = Ensemble.compile(problems, (*SIZE, 3), batch_size=3)
    batch = ensemble._batched_problem(problems, 3, np.arange(3))
    kernels = [p.network.params["conv1_1"]["kernel"] for p in (batch, problems[0])]
    assert kernels[0] is kernels[1]
    assert batch.targets[0][0] is problems[0].targets[0][0]
    np.testing.assert_array_equal(batch.objective.terms[1].weight, [0, 1, 100])
    assert batch.objective.terms[0].weight == 1.0
    assert batch.solver.learning_rate.dtype == np.float32


def test_one_program_serves_whatever_has_its_signature(pose):
    """Other numbers and other pictures of one size; not other layers or solvers."""

    def signature(problems, batch_size=2):
        options = {"batch_size": batch_size, "strategy": "vmap"}
        return Ensemble.signature(problems, (*SIZE, 3), **options)

    problems = sharing_targets(sweep(pose))
    assert signature(problems[:2]) != signature(problems)  # The step varies too.
    assert signature(problems[0]) == signature(problems[1])
    assert signature(problems[0]) == signature(pose(nst_jax.Adam(), TERMS[:2]))
    assert signature(problems[0]) != signature(pose(nst_jax.Adam(), TERMS))
    assert signature(problems[0]) != signature(pose(nst_jax.FixedLBFGS(), TERMS[:2]))
    assert signature(problems[0]) != signature(problems[0], batch_size=3)


def test_numbers_that_were_in_common_stay_so(pose, starts):
    """A weight without a member axis in the program cannot differ in a batch."""
    problems = sharing_targets(sweep(pose))
    ensemble = Ensemble.compile(problems[:1], (*SIZE, 3), batch_size=2)
    with pytest.raises(nst_jax.RequestError, match="have in common"):
        next(ensemble.optimise(starts[:2], 1, problems=problems[:2]))


def test_problems_that_no_program_has_are_refused(pose, starts):
    other = pose(nst_jax.Adam(), terms=(TERMS[0], nst_jax.Gram(layers=("relu1_1",))))
    with pytest.raises(nst_jax.RequestError, match="differ only in numbers"):
        nst_jax.run([sweep(pose)[0], other], starts[:2], steps=1)
    halved = jax.tree.map(lambda leaf: leaf / 2, sweep(pose)[0].network)
    two = [sweep(pose)[0], dataclasses.replace(sweep(pose)[0], network=halved)]
    with pytest.raises(nst_jax.RequestError, match="must share one network"):
        nst_jax.run(two, starts[:2], steps=1)
    with pytest.raises(nst_jax.RequestError, match="2 entries for 3 canvases"):
        nst_jax.run(sweep(pose)[:2], starts[:3], steps=1)
