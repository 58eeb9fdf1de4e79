"""Gradient norms of parts against separate gradients and closed forms."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nst_jax
from nst_jax.losses import Objective
from nst_jax.optim.parametrisation import Pyramid
from nst_jax.optim.part_gradients import part_gradients
from nst_jax.optim.problem import Problem
from nst_jax.optim.solvers import SGD

SHAPE = (24, 20, 3)


@nst_jax.term
class Distance(nst_jax.Term):
    """Half the squared distance to a colour, which moves with the step."""

    colour: float = 0.0

    def __call__(self, view, target):
        return 0.5 * ((view.image - self.colour - view.step) ** 2).sum()


def make_problem(*terms, **options):
    return Problem(
        nst_jax.Network({}, {}, None),
        Objective(terms),
        (None,) * len(terms),
        SGD(),
        **options,
    )


CANVAS = jnp.asarray(np.random.default_rng(0).normal(size=SHAPE), jnp.float32)


def test_norms_are_those_of_weighted_distances():
    """The gradient of weight · |x − c|²/2 is weight · (x − c)."""
    terms = Distance(2.0, name="a"), Distance(3.0, name="b", colour=1.0)
    norms = part_gradients(make_problem(*terms), CANVAS, 4)
    x = np.asarray(CANVAS, np.float64) - 4
    expected = {"a": 2 * x, "b": 3 * (x - 1), "loss": 5 * x - 3}
    assert norms.keys() == expected.keys()
    for name, gradient in expected.items():
        assert norms[name] == pytest.approx(np.linalg.norm(gradient), rel=1e-5)


def test_norms_equal_separate_gradients(network):
    """Of real terms, in a pyramid's bands, where a gradient is not one of pixels."""
    terms = (
        nst_jax.Content(1e-3, layers=("relu2_1",)),
        nst_jax.Gram(layers=("relu1_1", "relu2_1"), layer_weights=(1.0, 2.0)),
        nst_jax.TotalVariation(),
    )
    pictures = np.random.default_rng(1).random((2, *SHAPE), np.float32)
    problem = Problem.from_images(
        network,
        Objective(terms),
        pictures[0],
        pictures[1:],
        SGD(),
        parametrisation=Pyramid(SHAPE),
    )
    variable = problem.parametrisation.encode(CANVAS)
    norms = jax.jit(part_gradients)(problem, variable)
    parts = jax.eval_shape(problem.evaluate, variable)[0][1]
    assert norms.keys() == {*parts, "loss"}
    for name in parts:

        def part(x, name=name):
            return problem.evaluate(x)[0][1][name]

        expected = jnp.linalg.norm(jax.grad(part)(variable))
        assert norms[name] == pytest.approx(float(expected), rel=1e-4), name
    expected = jnp.linalg.norm(problem.evaluate(variable)[1])
    assert norms["loss"] == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.usefixtures("x64")
def test_norms_match_finite_differences():
    """Along its gradient, a part grows as fast as the gradient's norm."""
    problem = make_problem(Distance(2.0, name="a"), Distance(name="b", colour=1.0))
    canvas = jnp.asarray(CANVAS, jnp.float64)
    norms = part_gradients(problem, canvas)
    for name in ("a", "b"):

        def part(x, name=name):
            return problem.evaluate(x)[0][1][name]

        gradient = jax.grad(part)(canvas)
        direction = 1e-5 * gradient / jnp.linalg.norm(gradient)
        slope = (part(canvas + direction) - part(canvas - direction)) / 2e-5
        assert norms[name] == pytest.approx(float(slope), rel=1e-8)


def test_the_norm_of_the_loss_is_at_most_the_sum():
    """Opposite gradients cancel; equal ones add up."""
    pull = Distance(name="a", colour=2.0), Distance(name="b", colour=0.0)
    norms = part_gradients(make_problem(*pull), jnp.ones(SHAPE))
    assert norms["loss"] == 0 and norms["a"] == norms["b"] > 0
    same = dataclasses.replace(pull[1], colour=2.0)
    norms = part_gradients(make_problem(pull[0], same), jnp.ones(SHAPE))
    assert norms["loss"] == pytest.approx(float(norms["a"] + norms["b"]), rel=1e-6)
