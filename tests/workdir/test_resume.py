"""A batch that is stopped and resumes from a file ends with the same bits.

Each solver, strategy and parametrisation occurs. All combinations on two devices are
tested by

    XLA_FLAGS=--xla_force_host_platform_device_count=2 \
        python -m pytest tests/workdir/test_resume.py --thorough
"""

import jax
import numpy as np
import optax
import pytest
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


@pytest.mark.combinations(solver=SOLVERS, strategy=STRATEGIES, form=PARAMETRISATIONS)
def test_resuming_from_a_file_changes_no_bit(network, tmp_path, solver, strategy, form):
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
            parametrisation=parametrisation(form, SHAPE),
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
