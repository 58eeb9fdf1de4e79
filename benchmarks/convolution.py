"""One 3×3 convolution: directly, and in Winograd's form, on maps of several sides.

    python -m benchmarks.convolution

In turn and inside a loop, as an optimisation runs them, each at every side. An
evaluation has more to do than convolutions: what `convolution.convolve` chooses is
decided by `benchmarks.gradient`, which has both forms.
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks import script
from benchmarks.lists import numbers
from benchmarks.table import Table
from nst_jax.models import convolution, winograd

_SIDES = numbers("sides", (8, 16, 32, 64, 128), "Of square maps.")
_CHANNELS = numbers("channels", (128, 256, 512), "In and out.")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "How often both are run.", lower_bound=1)
_INNER = 4
_PRECISION = jax.lax.Precision.HIGHEST


def main() -> None:
    rows: list[tuple] = []
    for channels in map(int, _CHANNELS.value):
        for side in map(int, _SIDES.value):
            times = 1e3 * np.array(seconds(channels, side))
            ratio = np.median(times[:, 0] / times[:, 1])
            where = f"{channels} channels, {side}×{side}"
            rows.append((where, *map(float, (*np.median(times, 0), ratio))))
    Table(
        "convolution",
        "One 3×3 convolution, in two forms",
        ("map", "direct, ms", "Winograd's, ms", "times as fast"),
        rows,
    ).publish()


def seconds(channels: int, side: int) -> list[tuple[float, float]]:
    """(direct, Winograd's) of each round."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 3, channels, channels)).astype(np.float32)
    x = jnp.asarray(rng.normal(size=(1, side, side, channels)), jnp.float32)
    runs = [
        looped(directly, x, kernel),
        looped(in_winograds_form, x, winograd.transform(kernel)),
    ]
    for run in runs:
        run()  # Compiles.
    return [tuple(map(timed, runs)) for _ in range(_ROUNDS.value)]  # type: ignore


def directly(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return convolution.convolve(x, kernel, kernel, None, 1, _PRECISION)


def in_winograds_form(x: jax.Array, transformed: jax.Array) -> jax.Array:
    return winograd.correlate(x, transformed, 1, _PRECISION)


def looped(
    convolve: Callable[[jax.Array, jax.Array], jax.Array],
    x: jax.Array,
    kernel: np.ndarray,
) -> Callable[[], object]:
    """A call that convolves `_INNER` times, each time what the last one gave."""

    @jax.jit
    def run(x: jax.Array, kernel: jax.Array) -> jax.Array:
        def body(_: int, x: jax.Array) -> jax.Array:
            return convolve(x, kernel) / jnp.sqrt(9 * x.shape[-1])

        return jax.lax.fori_loop(0, _INNER, body, x)

    on_device = jnp.asarray(kernel)
    return lambda: jax.block_until_ready(run(x, on_device))


def timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) / _INNER


if __name__ == "__main__":
    script.run(main)
