"""One value and gradient of configs/pastiche.py's loss, as an optimisation runs it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import nst_jax

INNER = 2  # evaluations a round, inside one compiled loop
#: FLOP a pixel of one evaluation in the direct form: to relu5_1, there and back.
FLOP = 1.45e6


def pictures(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Content, style and canvas: three bundled pictures, square."""
    names = "chelsea.png", "swirls.jpg", "coffee.png"
    images = [nst_jax.read_image(f"samples/{name}") for name in names]
    shape = size, size, 3
    content, style, canvas = (
        np.asarray(jax.image.resize(image, shape, "linear")) for image in images
    )
    return content, style, canvas


def ours(
    content: np.ndarray, style: np.ndarray, canvas: np.ndarray
) -> Callable[[], float]:
    """A call that evaluates `INNER` times, each from where the last one led."""
    objective = nst_jax.Objective((nst_jax.Content(), nst_jax.Gram()))
    problem = nst_jax.Problem.of(
        nst_jax.load_network(), objective, content, [style], nst_jax.Adam()
    )

    @jax.jit
    def evaluate(
        problem: nst_jax.Problem, canvas: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        def body(i: int, carry: tuple[jax.Array, jax.Array]) -> tuple:
            canvas, _ = carry
            (loss, _), gradient = problem.evaluate(canvas)
            return canvas - 1e-12 * gradient, loss

        return jax.lax.fori_loop(0, INNER, body, (canvas, jnp.zeros(())))

    on_device = jnp.asarray(canvas)
    return lambda: float(evaluate(problem, on_device)[1])
