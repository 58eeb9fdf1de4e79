"""Execution options: strategies, batch positions and numerics, compared bit by bit."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pictures import smooth_picture
from small_runs import small_experiment

import nst_jax
from nst_jax.ensemble import strategies
from nst_jax.ensemble.ensemble import Ensemble
from nst_jax.ensemble.observer import Observer
from nst_jax.images.initialise import add_ulps
from nst_jax.launch import runner
from nst_jax.metrics.divergence import divergence
from nst_jax.workdir.writer import RunWriter

SHAPE = (20, 24, 3)


@pytest.fixture(scope="module")
def problem(network):
    terms = nst_jax.Content(layers=("relu2_1",)), nst_jax.Gram(layers=("relu1_1",))
    return nst_jax.Problem.from_images(
        network,
        nst_jax.Objective(terms),
        smooth_picture(0, *SHAPE[:2]),
        [smooth_picture(1, 22, 26)],
        nst_jax.FixedLBFGS(),
    )


@pytest.fixture(scope="module")
def starts():
    return np.stack([smooth_picture(seed, *SHAPE[:2]) for seed in range(2, 6)])


def last_result(ensemble, starts, steps, **options):
    (*_, last) = ensemble.optimise(starts, steps, **options)
    return last


def test_members_return_in_order_from_any_batch_position(problem, starts):
    """Members fill the batch from a position on, and wrap around its end."""
    ensemble = Ensemble.compile(problem, SHAPE, batch_size=5)
    for position in range(5):
        step_result = last_result(ensemble, starts[:3], 0, position=position)
        np.testing.assert_array_equal(step_result.canvas, starts[:3])
        batch = np.asarray(step_result.state.canvas)
        for i in range(3):
            np.testing.assert_array_equal(batch[(position + i) % 5], starts[i])
    shifted, reference = (
        last_result(ensemble, starts[:3], 3, position=p) for p in (4, 0)
    )
    np.testing.assert_array_equal(shifted.report.loss, reference.report.loss)
    np.testing.assert_array_equal(shifted.canvas, reference.canvas)


def test_problems_follow_their_members_to_any_batch_position(problem, starts):
    light = dataclasses.replace(problem.objective.terms[0], weight=0.5)
    objective = nst_jax.Objective((light, problem.objective.terms[1]))
    two = [problem, dataclasses.replace(problem, objective=objective)]
    ensemble = Ensemble.compile(two, SHAPE, batch_size=3)
    losses = [
        last_result(ensemble, starts[:2], 0, problems=two, position=p).report.loss
        for p in range(3)
    ]
    np.testing.assert_array_equal(losses[0], losses[1])
    np.testing.assert_array_equal(losses[0], losses[2])
    assert losses[0][0] != losses[0][1]


def test_batch_invariant_equals_the_member_alone_bitwise(problem, starts):
    numerics = nst_jax.Numerics(batch_invariant=True)
    network = problem.network.with_options(numerics=numerics)
    invariant = dataclasses.replace(problem, network=network)
    alone = nst_jax.run(problem, starts, steps=4, strategy="loop").canvas
    for size in (2, 4):
        result = nst_jax.run(invariant, starts, steps=4, batch_size=size).canvas
        np.testing.assert_array_equal(result, alone)


def test_deterministic_numerics_set_the_compiler_options(problem, monkeypatch):
    """Both programs of an ensemble get the options, and only with `deterministic`."""
    options = nst_jax.Numerics(deterministic=True).compiler_options
    assert options and not nst_jax.Numerics().compiler_options
    program = jax.jit(lambda x: x + 1, compiler_options=options)
    assert program(1.0) == 2  # An option that XLA does not know would raise.
    jit, options_of_calls = jax.jit, []

    def recording_jit(function, **kwargs):
        options_of_calls.append(kwargs.pop("compiler_options"))
        return jit(function, **kwargs)

    for numerics in (nst_jax.Numerics(deterministic=True), nst_jax.Numerics()):
        network = problem.network.with_options(numerics=numerics)
        changed = dataclasses.replace(problem, network=network)
        with monkeypatch.context() as patch:
            patch.setattr(jax, "jit", recording_jit)
            Ensemble.compile(changed, SHAPE, batch_size=1)
        assert options_of_calls == [numerics.compiler_options] * 2
        options_of_calls.clear()


def test_deterministic_targets_may_be_part_of_another_program(problem, starts):
    """With traced images or a traced network, and with neither inside a trace."""
    numerics = nst_jax.Numerics(deterministic=True)
    network = problem.network.with_options(numerics=numerics)

    def targets(network, content, style):
        return nst_jax.Problem.from_images(
            network, problem.objective, content, [style], problem.solver
        ).targets

    expected = targets(network, *starts[:2])
    shapes = jax.eval_shape(targets, network, *starts[:2])
    assert jax.tree.map(jnp.shape, expected) == jax.tree.map(jnp.shape, shapes)
    traced = jax.jit(targets)(network, *starts[:2])
    inside = jax.jit(lambda: targets(network, *starts[:2]))()
    for actual in (traced, inside):
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-3),
            actual,
            expected,
        )


def test_divergence_starts_at_a_planted_difference(problem, starts):
    ensemble = Ensemble.compile(problem, SHAPE, batch_size=1, strategy="loop")
    steps = range(7)
    reference = [
        step_result.canvas[0] for step_result in snapshots(ensemble, starts[:1], steps)
    ]
    step_result = last_result(ensemble, starts[:1], 3)
    perturbed = jnp.asarray(add_ulps(step_result.canvas[0], 1))[None]
    state = step_result.state._replace(canvas=perturbed, variable=jnp.copy(perturbed))
    rest = snapshots(ensemble, starts[:1], steps, resume=(3, state))
    other = [*reference[:3], *(step_result.canvas[0] for step_result in rest)]
    result = divergence(steps, reference, other)
    assert (result.equal, result.first_difference) == (False, 3)
    assert 0 < result.distances[3] < result.distances[-1]
    assert divergence(steps, reference, reference).equal


def snapshots(ensemble, starts, steps, **options):
    results = ensemble.optimise(
        starts, max(steps), log_every=1, snapshots=steps, **options
    )
    return [step_result for step_result in results if step_result.canvas is not None]


def test_a_sharded_batch_is_a_multiple_of_the_devices():
    sizes = [strategies.batch_size("shard", size, 4) for size in (1, 4, 5, 9)]
    assert sizes == [4, 4, 8, 12]
    assert [strategies.batch_size(s, 5, 4) for s in ("vmap", "map", "loop")] == [
        5,
        5,
        1,
    ]


@pytest.mark.parametrize(
    ("strategy", "requested", "seeds", "size"),
    [
        *(("shard", 0, 9, 6), ("shard", 0, 4, 6), ("shard", 4, 9, 6)),
        *(("vmap", 0, 9, 2), ("vmap", 4, 9, 4), ("loop", 4, 9, 1)),
    ],
)
def test_the_batch_size_in_use_is_recorded(
    tmp_path, monkeypatch, strategy, requested, seeds, size
):
    """Three devices with room for two members each."""
    devices = 3 * jax.local_devices()
    monkeypatch.setattr(nst_jax.Group, "devices", devices)
    monkeypatch.setattr(
        "nst_jax.plan.batch_size.fitting_batch", lambda problem, shape, device: 2
    )
    experiment = small_experiment(seeds=tuple(range(seeds)))
    experiment.ensemble = nst_jax.EnsembleOptions(
        strategy=strategy, batch_size=requested
    )
    plan = nst_jax.build(experiment)
    records = RunWriter(tmp_path / "run", plan)
    (tmp_path / "run").mkdir()
    call = runner._Run(plan, records, Observer())
    assert call._batch_size(0, plan.groups[0], None) == size
    assert records.manifest.groups[0].batch_size == size


def test_the_signature_depends_on_the_devices(problem):
    options = {"batch_size": 2, "strategy": "vmap"}
    signature = Ensemble.signature(problem, SHAPE, **options)
    assert signature == Ensemble.signature(
        problem, SHAPE, **options, devices=jax.local_devices()
    )
    other = Ensemble.signature(problem, SHAPE, **options, devices=["another"])
    assert signature != other


def test_build_selects_members():
    experiment = small_experiment(seeds=(3, 4, 5))
    plan = nst_jax.build(experiment, only=[2, 0])
    assert [member.seed for member in plan.members] == [3, 5]
    with pytest.raises(
        nst_jax.RequestError, match=r"members must be from 0 to 2, got 3"
    ):
        nst_jax.build(experiment, only=[3])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"process": "subproces"}, "ensemble.process must be one of .* did you mean"),
        ({"strategy": "vmp"}, "ensemble.strategy must be one of .* did you mean"),
        (
            {"position": 2, "batch_size": 2},
            "position must be below ensemble.batch_size, got 2 and 2",
        ),
        ({"repeat": -1}, "ensemble.repeat must be at least 0, got -1"),
        (
            {"platform": "abacus"},
            r"platform must be one of \(.*'cpu'.*\), got 'abacus'",
        ),
    ],
)
def test_invalid_execution_options_are_refused(options, reason):
    with pytest.raises(nst_jax.RequestError, match=reason):
        nst_jax.build(small_experiment(ensemble=nst_jax.EnsembleOptions(**options)))


def test_batch_invariance_is_refused_for_shards():
    """A batch sharded over devices may round differently from one image."""
    experiment = small_experiment(numerics=nst_jax.Numerics(batch_invariant=True))
    nst_jax.build(experiment)
    experiment.ensemble.strategy = "shard"
    with pytest.raises(
        nst_jax.RequestError, match=r"cannot be kept by .*strategy='shard'"
    ):
        nst_jax.build(experiment)
