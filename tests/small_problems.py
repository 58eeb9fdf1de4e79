"""Problems without a network: their programs compile fast."""

import jax
import jax.numpy as jnp
import numpy as np

import nst_jax
from nst_jax.losses import Objective, TotalVariation
from nst_jax.optim import transfer
from nst_jax.optim.parametrisation import parametrisation
from nst_jax.optim.problem import Problem

SHAPE = (12, 16, 3)


@nst_jax.term
class SquaredDistance(nst_jax.Term):
    """Mean squared distance to the content image plus noise drawn at each step."""

    name: str = nst_jax.static(default="towards")
    noise: float = 0.0

    def target(self, content, styles):
        return content.image

    def __call__(self, view, target):
        key = jax.random.fold_in(jax.random.key(0), view.step)
        noise = self.noise * jax.random.normal(key, target.shape)
        return ((view.image - target - noise) ** 2).mean()


@nst_jax.term
class Pitfall(nst_jax.Term):
    """NaN at step `at`, and outside a ball of `radius` (RMS) around mid-grey."""

    name: str = nst_jax.static(default="pitfall")
    at: float = 1e6
    radius: float = 1e9

    def __call__(self, view, target):
        distance = ((view.image - 0.5) ** 2).mean()
        inside = (view.step != self.at) & (distance <= self.radius**2)
        return jnp.where(inside, 0.0, jnp.nan) * distance


def random_picture(seed, shape=SHAPE):
    """Return uniform noise, float32 [H, W, 3] in [0, 1)."""
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def _problem(terms, solver, name, shape, **options):
    return Problem(
        nst_jax.Network({}, {}, None),
        Objective(terms),
        (jnp.asarray(random_picture(0, shape)), None),
        solver,
        parametrisation=parametrisation(name, shape),
        **options,
    )


def small_problem(solver, *, noise=0.0, shape=SHAPE, name="pixels", **options):
    """Return a problem of squared distance and total variation.

    Args:
      noise: standard deviation of the noise added to the content image at each step.
      name: parametrisation.
    """
    terms = SquaredDistance(noise=noise), TotalVariation(0.02, kind="squared")
    return _problem(terms, solver, name, shape, **options)


def pitfall_problem(solver, pitfall, *, name="pixels", **options):
    """Return a problem of squared distance and a `Pitfall`."""
    return _problem((SquaredDistance(), pitfall), solver, name, SHAPE, **options)


advance = jax.jit(transfer.advance)


@jax.jit
def start(problem, canvas):
    """Return the state after the evaluation of its start."""
    return transfer.advance(problem, transfer.start(problem, canvas), 0)


def start_from_coarse(problem, coarse, *, shape):
    """Return the state at the start of a finer stage after its evaluation."""
    state = transfer.start_from_coarse(problem, coarse, shape=shape)
    return advance(problem, state, 0)


def trajectory(problem, canvas, steps):
    """Return the initial state and the state after each step."""
    states = [start(problem, canvas)]
    for _ in range(steps):
        states.append(advance(problem, states[-1], 1))
    return states
