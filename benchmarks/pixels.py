"""Time of one value and gradient against the number of pixels.

    python -m benchmarks.pixels

Square images of several sizes run in turn, so that drift of the machine affects all
alike. Each round's times per pixel are compared with their mean over the sizes. A line
(a constant and a time per pixel) is fitted to all sizes by relative least squares.
"""

import time
from collections.abc import Callable

import numpy as np

from benchmarks import script
from benchmarks.evaluation import inner, ours, sample_images
from benchmarks.table import Table

_SIZES = script.numbers_flag(
    "sizes", (128, 256, 512, 1024), "Sides in pixels.", least=16
)
_ROUNDS = script.count_flag("rounds", 5, "Rounds of all sizes.")


def main() -> None:
    sizes = list(map(int, _SIZES.value))
    runs = [ours(*sample_images(size)) for size in sizes]
    for run in runs:
        run()  # Compiles.
    seconds = np.array([[_seconds(run) for run in runs] for _ in range(_ROUNDS.value)])
    pixels = np.square(sizes)
    rates = seconds / inner() / pixels  # Seconds per pixel, [rounds, sizes].
    relative = np.median(rates / rates.mean(1, keepdims=True), 0)
    rate = np.median(rates, 0)
    terms = np.stack([1 / (rate * pixels), 1 / rate], 1)
    constant, slope = np.linalg.lstsq(terms, np.ones(len(sizes)), rcond=None)[0]
    line = rate * pixels / (constant + slope * pixels)
    cells = np.stack([rate * pixels, 1e6 * rate, relative, line], 1).tolist()
    rows = [(f"{size}×{size}", *row) for size, row in zip(sizes, cells, strict=True)]
    spread = (rate.max() - rate.min()) / (rate.max() + rate.min())
    Table(
        "pixels",
        "Time of one value and gradient against pixels",
        ("size", "s", "µs per pixel", "relative to the mean", "relative to the line"),
        rows,
        [
            f"Line: {1e3 * constant:.1f} ms and {1e6 * slope:.2f} µs per pixel, within "
            f"{np.abs(line - 1).max():.1%}. The times per pixel are within "
            f"{np.abs(relative - 1).max():.0%} of their mean, and within {spread:.1%} "
            "of the best single rate."
        ],
    ).publish()


def _seconds(run: Callable[[], float]) -> float:
    run()  # Allocates memory that another size may have returned to the system.
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    script.run(main)
