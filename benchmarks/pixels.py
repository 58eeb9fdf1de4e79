"""Whether the time of one value and gradient is linear in the number of pixels.

    python -m benchmarks.pixels

Square pictures of several sizes, in turn, for a machine that drifts drifts for all of
them alike: each round's times a pixel are compared with their mean over the sizes.
Beside that stands the line, a constant and so much a pixel, that is nearest to all
sizes' times, relative to them.
"""

import time
from collections.abc import Callable

import numpy as np
from absl import flags

from benchmarks import script
from benchmarks.evaluation import inner, ours, pictures
from benchmarks.lists import numbers
from benchmarks.table import Table

_SIZES = numbers("sizes", (128, 256, 512, 1024), "Sides in pixels.", least=16)
_ROUNDS = flags.DEFINE_integer(
    "rounds", 5, "How often all of them are run.", lower_bound=1
)


def main() -> None:
    sizes = list(map(int, _SIZES.value))
    runs = [ours(*pictures(size)) for size in sizes]
    for run in runs:
        run()  # Compiles.
    seconds = np.array([[_seconds(run) for run in runs] for _ in range(_ROUNDS.value)])
    each = seconds / inner() / np.square(sizes)
    relative = np.median(each / each.mean(1, keepdims=True), 0)
    own, pixels = np.median(each, 0), np.square(sizes)
    terms = np.stack([1 / (own * pixels), 1 / own], 1)
    constant, slope = np.linalg.lstsq(terms, np.ones(len(sizes)), rcond=None)[0]
    line = own * pixels / (constant + slope * pixels)
    cells = np.stack([own * pixels, 1e6 * own, relative, line], 1).tolist()
    rows = [(f"{size}×{size}", *row) for size, row in zip(sizes, cells, strict=True)]
    spread = (own.max() - own.min()) / (own.max() + own.min())
    Table(
        "pixels",
        "Time of one value and gradient against pixels",
        ("size", "s", "µs a pixel", "of the mean over sizes", "of the line"),
        rows,
        [
            f"The line: {1e3 * constant:.1f} ms and {1e6 * slope:.2f} µs a pixel; "
            f"off it by {np.abs(line - 1).max():.1%} at most. Off the mean of times a "
            f"pixel by {np.abs(relative - 1).max():.0%}, off the best proportion by "
            f"{spread:.1%}."
        ],
    ).publish()


def _seconds(run: Callable[[], float]) -> float:
    run()  # Gets its memory, which another size may have given back to the system.
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    script.run(main)
