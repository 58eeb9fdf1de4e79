"""Equal bits of different programs, compiled with the options that users have.

test_ensemble.py tests the same promises for more solvers, with less optimised programs.
"""

import dataclasses

import numpy as np
import pytest
from pictures import smooth_picture

import nst_jax

SIZE = (20, 24)
SOLVERS = {"fixed": nst_jax.FixedLBFGS(), "adam": nst_jax.Adam()}


@pytest.fixture(scope="module")
def starts():
    return np.stack([smooth_picture(seed, *SIZE) for seed in (2, 3)])


def make_problem(network, solver):
    terms = nst_jax.Content(layers=("relu2_1",)), nst_jax.Gram(layers=("relu1_1",))
    objective = nst_jax.Objective(terms)
    content, style = smooth_picture(0, *SIZE), smooth_picture(1, 22, 26)
    return nst_jax.Problem.from_images(network, objective, content, [style], solver)


@pytest.mark.parametrize("name", SOLVERS)
def test_map_is_loop(network, starts, name):
    problem = make_problem(network, SOLVERS[name])
    looped, mapped = (
        nst_jax.run(problem, starts, steps=4, strategy=strategy, batch_size=2).canvas
        for strategy in ("loop", "map")
    )
    np.testing.assert_array_equal(looped, mapped)


def test_a_batch_invariant_batch_is_loop(network, starts):
    problem = make_problem(network, SOLVERS["fixed"])
    looped = nst_jax.run(problem, starts, steps=4, strategy="loop").canvas
    numerics = nst_jax.Numerics(batch_invariant=True)
    network = problem.network.with_options(numerics=numerics)
    invariant = dataclasses.replace(problem, network=network)
    batch = nst_jax.run(invariant, starts, steps=4, batch_size=2).canvas
    np.testing.assert_array_equal(batch, looped)
