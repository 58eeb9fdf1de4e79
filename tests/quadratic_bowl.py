"""A quadratic for solvers that need no problem around them."""

import jax
import jax.numpy as jnp
import numpy as np

SHAPE = (4, 5, 3)


def quadratic_bowl(scale=1.0):
    """Return (fun, minimiser) of a quadratic of condition 100; it lies in the gamut."""
    rng = np.random.default_rng(0)
    curvature = jnp.asarray(np.geomspace(1, 100, 60).reshape(SHAPE), jnp.float32)
    centre = jnp.asarray(rng.uniform(0.2, 0.8, SHAPE), jnp.float32)

    def loss(canvas):
        half = 0.5 * scale * (curvature * (canvas - centre) ** 2).sum()
        return 2 * half, {"first": half, "second": half}

    return jax.value_and_grad(loss, has_aux=True), centre


def solve(solver, fun, steps, canvas=None):
    """Return (canvas, canvases, reports) after some steps, compiled as one loop."""

    @jax.jit
    def run(canvas):
        state, first = solver.init(fun, canvas)

        def step(carry, _):
            canvas, state, report = solver.step(fun, *carry)
            return (canvas, state), (canvas, report)

        (canvas, _), (path, rest) = jax.lax.scan(step, (canvas, state), length=steps)
        return canvas, path, first, rest

    canvas, path, first, rest = run(jnp.zeros(SHAPE) if canvas is None else canvas)
    reports = [jax.tree.map(lambda leaf, i=i: leaf[i], rest) for i in range(steps)]
    return canvas, path, [first, *reports]
