"""One 3×3 convolution in direct and in Winograd's form, on maps of several sizes.

    python -m benchmarks.convolution

Both forms run in turn, inside a loop as in an optimisation. An evaluation does more
than convolve: the choice of form in `nst_jax.models.convolution` rests on
`benchmarks.gradient`, which measures both.
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import script
from benchmarks.table import Table
from nst_jax.models import convolution, winograd

_SIDES = script.numbers_flag("sides", (8, 16, 32, 64, 128), "Sides of square maps.")
_CHANNELS = script.numbers_flag("channels", (128, 256, 512), "Channels in and out.")
_ROUNDS = script.count_flag("rounds", 7, "Rounds of both forms.")
_INNER = 4
_PRECISION = jax.lax.Precision.HIGHEST


def main() -> None:
    rows: list[tuple] = []
    for channels in map(int, _CHANNELS.value):
        for side in map(int, _SIDES.value):
            times = 1e3 * np.array(measure(channels, side))
            ratio = np.median(times[:, 0] / times[:, 1])
            name = f"{channels} channels, {side}×{side}"
            rows.append((name, *map(float, (*np.median(times, 0), ratio))))
    Table(
        "convolution",
        "One 3×3 convolution in two forms",
        ("feature map", "direct, ms", "Winograd, ms", "speed-up"),
        rows,
    ).publish()


def measure(channels: int, side: int) -> list[tuple[float, float]]:
    """Return the seconds of (direct, Winograd) in each round."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 3, channels, channels)).astype(np.float32)
    x = jnp.asarray(rng.normal(size=(1, side, side, channels)), jnp.float32)
    runs = [
        repeated(convolve_directly, x, kernel),
        repeated(convolve_by_winograd, x, winograd.transform(kernel)),
    ]
    for run in runs:
        run()  # Compiles.
    return [tuple(map(time_once, runs)) for _ in range(_ROUNDS.value)]  # type: ignore


def convolve_directly(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return convolution.convolve(x, kernel, kernel, None, 1, _PRECISION)


def convolve_by_winograd(x: jax.Array, transformed: jax.Array) -> jax.Array:
    return winograd.correlate(x, transformed, 1, _PRECISION)


def repeated(
    convolve: Callable[[jax.Array, jax.Array], jax.Array],
    x: jax.Array,
    kernel: np.ndarray,
) -> Callable[[], object]:
    """Return a call that applies `convolve` `_INNER` times in succession."""

    @jax.jit
    def run(x: jax.Array, kernel: jax.Array) -> jax.Array:
        def body(_: int, x: jax.Array) -> jax.Array:
            return convolve(x, kernel) / jnp.sqrt(9 * x.shape[-1])

        return jax.lax.fori_loop(0, _INNER, body, x)

    on_device = jnp.asarray(kernel)
    return lambda: jax.block_until_ready(run(x, on_device))


def time_once(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) / _INNER


if __name__ == "__main__":
    script.run(main)
