"""One value and gradient of configs/pastiche.py's loss, as an optimisation runs it.

And what a device can do at most, to hold that against.
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import nst_jax

#: FLOP a pixel of one evaluation in the direct form: to relu5_1, there and back.
FLOP = 1.45e6
#: What products are made of: float32, by the form of convolutions that suits the device
#: or by the direct one, or less. A CPU has no TF32, and computes it as float32.
ARITHMETICS = {
    "float32": nst_jax.Numerics(),
    "direct": nst_jax.Numerics(convolution="direct"),
    "tf32": nst_jax.Numerics(precision="default"),
    "bfloat16": nst_jax.Numerics(precision="default", feature_dtype="bfloat16"),
}


def inner() -> int:
    """Evaluations a round, inside one compiled loop: a GPU's are over in no time."""
    return 2 if jax.default_backend() == "cpu" else 20


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
    content: np.ndarray,
    style: np.ndarray,
    canvas: np.ndarray,
    arithmetic: str = "float32",
) -> Callable[[], float]:
    """A call that evaluates `inner()` times, each from where the last one led.

    Args:
      content: [H, W, 3].
      style: [H, W, 3].
      canvas: [H, W, 3], or [N, H, W, 3] for so many members, whose losses it adds.
      arithmetic: a key of `ARITHMETICS`.
    """
    objective = nst_jax.Objective((nst_jax.Content(), nst_jax.Gram()))
    network = nst_jax.load_network(numerics=ARITHMETICS[arithmetic])
    problem = nst_jax.Problem.from_images(
        network, objective, content, [style], nst_jax.Adam()
    )

    @jax.jit
    def evaluate(
        problem: nst_jax.Problem, canvas: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        one = problem.evaluate if canvas.ndim == 3 else jax.vmap(problem.evaluate)

        def body(i: int, carry: tuple[jax.Array, jax.Array]) -> tuple:
            canvas, _ = carry
            (loss, _), gradient = one(canvas)
            return canvas - 1e-12 * gradient, loss.sum()

        return jax.lax.fori_loop(0, inner(), body, (canvas, jnp.zeros(())))

    on_device = jnp.asarray(canvas)
    return lambda: float(evaluate(problem, on_device)[1])


def product(arithmetic: str) -> float:
    """FLOP/s of one large matrix product: the best of five."""
    numerics = ARITHMETICS[arithmetic]
    side = 4096 if jax.default_backend() == "cpu" else 16384
    # Constant data would cost a GPU less power, and so less time.
    x = jax.random.normal(jax.random.key(0), (side, side))
    x = x.astype(numerics.feature_dtype)
    precision = numerics.lax_precision
    return 2 * side**3 / _seconds(lambda x: jnp.matmul(x, x, precision=precision), x)


def copy() -> float:
    """Bytes/s, read and written, of passes over one large array: the best of five."""
    x, passes = jnp.ones(2**26, jnp.float32), 64

    # In one program, for what a new array costs is the system's.
    def negate(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, passes, lambda _, x: -x, x)

    return 2 * passes * x.nbytes / _seconds(negate, x)


def _seconds(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> float:
    compiled = jax.jit(function).lower(x).compile()
    seconds = []
    for _ in range(6):
        began = time.perf_counter()
        jax.block_until_ready(compiled(x))
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])
