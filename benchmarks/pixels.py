"""Whether the time of one value and gradient is linear in the number of pixels.

    python -m benchmarks.pixels

Square pictures of several sizes, in turn, for a machine that drifts drifts for all of
them alike: each round's times a pixel are compared with their mean over the sizes.
"""

import time
from collections.abc import Callable

import numpy as np
from absl import app, flags

from benchmarks.evaluation import INNER, ours, pictures

_SIZES = flags.DEFINE_list("sizes", ["128", "256", "512", "1024"], "Sides in pixels.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "How often all of them are run.")


def main(_: list[str]) -> None:
    sizes = list(map(int, _SIZES.value))
    runs = [ours(*pictures(size)) for size in sizes]
    for run in runs:
        run()  # Compiles.
    seconds = np.array([[_seconds(run) for run in runs] for _ in range(_ROUNDS.value)])
    each = seconds / INNER / np.square(sizes)
    relative = np.median(each / each.mean(1, keepdims=True), 0)
    for size, own, share in zip(sizes, np.median(each, 0), relative, strict=True):
        print(
            f"{size}×{size}: {own * size**2:.3f} s, {1e6 * own:.3f} µs a pixel, "
            f"{share:.2f} of the mean"
        )
    print(f"off proportional: {np.abs(relative - 1).max():.0%} at most")


def _seconds(run: Callable[[], float]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    app.run(main)
