"""One value and gradient of the loss of configs/pastiche.py, and a device's limits."""

import pathlib
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

import nst_jax

#: FLOP per pixel of one evaluation in the direct form: to relu5_1, forward and back.
FLOP = 1.45e6
#: Precision of products. "float32" uses the convolution form that suits the device. A
#: CPU has no TF32 and computes it as float32.
ARITHMETICS = {
    "float32": nst_jax.Numerics(),
    "direct": nst_jax.Numerics(convolution="direct"),
    "tf32": nst_jax.Numerics(precision="default"),
    "bfloat16": nst_jax.Numerics(precision="default", feature_dtype="bfloat16"),
}


def inner() -> int:
    """Return the evaluations per round, in one compiled loop; more for a fast GPU."""
    return 2 if jax.default_backend() == "cpu" else 20


def sample_images(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return content, style and canvas: three bundled images, [size, size, 3]."""
    names = "chelsea.png", "swirls.jpg", "coffee.png"
    images = [nst_jax.read_image(f"samples/{name}") for name in names]
    shape = size, size, 3
    content, style, canvas = (
        np.asarray(jax.image.resize(image, shape, "linear")) for image in images
    )
    return content, style, canvas


def write_resized(
    paths: Sequence[str], size: int, folder: pathlib.Path
) -> tuple[list[str], tuple[int, ...]]:
    """Write images at a size, by Pillow's bilinear filter.

    Returns:
      The new paths, and the height and width of the last image.
    """
    resized = [str(folder / f"{number}.png") for number in range(len(paths))]
    for path, output in zip(paths, resized, strict=True):
        image = nst_jax.read_image(path, size, resample="bilinear")
        nst_jax.write_image(output, image)
    return resized, image.shape[:2]


def ours(
    content: np.ndarray,
    style: np.ndarray,
    canvas: np.ndarray,
    arithmetic: str = "float32",
) -> Callable[[], float]:
    """Return a call that makes `inner()` evaluations in succession.

    Args:
      content: [H, W, 3].
      style: [H, W, 3].
      canvas: [H, W, 3], or [N, H, W, 3] for N members, whose losses are added.
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


def matmul_rate(arithmetic: str) -> float:
    """Return the FLOP/s of one large matrix product, best of five."""
    numerics = ARITHMETICS[arithmetic]
    side = 4096 if jax.default_backend() == "cpu" else 16384
    # Random data: constants would take a GPU less power, and so less time.
    x = jax.random.normal(jax.random.key(0), (side, side))
    x = x.astype(numerics.feature_dtype)
    precision = numerics.lax_precision
    return 2 * side**3 / _seconds(lambda x: jnp.matmul(x, x, precision=precision), x)


def copy_rate() -> float:
    """Return the bytes/s, read and written, of passes over a large array."""
    x, passes = jnp.ones(2**26, jnp.float32), 64

    # In one program, since the system determines the cost of a new array.
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
