"""A batch that is stopped and resumes from a file ends with the same bits.

Each strategy is tested with each parametrisation, and solvers in turn. All combinations
on two devices are tested by

    XLA_FLAGS=--xla_force_host_platform_device_count=2 \
        python -m pytest tests/workdir/test_resume.py --thorough
"""

import itertools

import jax
import numpy as np
import optax
from pictures import smooth_picture

import nst_jax
from nst_jax.ensemble.ensemble import Ensemble
from nst_jax.ensemble.strategies import STRATEGIES
from nst_jax.optim.parametrisation import PARAMETRISATIONS, parametrisation
from nst_jax.workdir.checkpoint import Checkpoint

SHAPE = (20, 17, 3)
SOLVERS = {
    "lbfgs": nst_jax.LBFGS(),
    "fixed": nst_jax.FixedLBFGS(),
    "adam": nst_jax.Adam(clip=False),
    "sgd": nst_jax.SGD(),
    "backtracking": nst_jax.LBFGS(line_search="backtracking"),
    "hager-zhang": nst_jax.LBFGS(line_search="hager-zhang"),
    "optax": nst_jax.OptaxLBFGS(),
    "adan": nst_jax.optim.solvers.Transformation(optax.adan(0.02), clip=False),
}
EVERY = [*itertools.product(SOLVERS, STRATEGIES, PARAMETRISATIONS)]


def covering():
    """Return all strategies with quick solvers, and each slow solver once."""
    quick = [*SOLVERS][:4]
    square = [
        (quick[(i + j) % 4], strategy, name)
        for i, strategy in enumerate(STRATEGIES)
        for j, name in enumerate(PARAMETRISATIONS)
    ]
    slow = zip([*SOLVERS][4:], STRATEGIES, PARAMETRISATIONS, strict=False)
    return [*square, *slow]


def pytest_generate_tests(metafunc):
    if "combination" in metafunc.fixturenames:
        thorough = metafunc.config.getoption("--thorough")
        cases = EVERY if thorough else covering()
        metafunc.parametrize("combination", cases, ids="-".join)


def test_resuming_from_a_file_changes_no_bit(network, combination, tmp_path):
    solver, strategy, name = combination
    ensemble = Ensemble.compile(
        nst_jax.Problem.from_images(
            network,
            nst_jax.Objective(
                (
                    nst_jax.Content(layers=("relu1_2",)),
                    nst_jax.Gram(layers=("relu1_1", "pool1")),
                )
            ),
            smooth_picture(0, *SHAPE[:2]),
            [smooth_picture(1, 22, 26)],
            SOLVERS[solver],
            averaging=0.9,
            parametrisation=parametrisation(name, SHAPE),
        ),
        SHAPE,
        batch_size=2,
        strategy=strategy,
    )
    starts = np.stack([smooth_picture(seed, *SHAPE[:2]) for seed in (2, 3)])
    starts = starts[: ensemble.batch_size]
    whole = list(ensemble.optimise(starts, 5, log_every=1))
    stops = iter([False, False, False, True])
    *_, last = ensemble.optimise(starts, 5, log_every=1, stop=lambda: next(stops))
    assert last.step == 3
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(last.state)]
    path = tmp_path / "checkpoint.safetensors"
    Checkpoint((0, 1), 0, last.step, 1.5, 6, leaves).save(path)
    loaded = Checkpoint.load(path)
    state = jax.device_put(ensemble.restore(loaded.leaves))
    rest = list(ensemble.optimise(starts, 5, log_every=1, resume=(loaded.step, state)))
    assert [result.step for result in rest] == [3, 4, 5]
    for before, after in zip(whole[3:], rest, strict=True):
        jax.tree.map(np.testing.assert_array_equal, before.report, after.report)
        np.testing.assert_array_equal(before.rollbacks, after.rollbacks)
    ends = jax.device_get((whole[-1].state, rest[-1].state))
    jax.tree.map(np.testing.assert_array_equal, *ends)
    np.testing.assert_array_equal(whole[-1].canvas, rest[-1].canvas)
    assert np.abs(rest[-1].canvas - np.asarray(last.state.canvas)).max() > 0
