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
from benchmarks.table import Table

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
    rows = [
        (f"{size}×{size}", float(own * size**2), float(1e6 * own), float(share))
        for size, own, share in zip(sizes, np.median(each, 0), relative, strict=True)
    ]
    off = np.abs(relative - 1).max()
    Table(
        "pixels",
        "Time of one value and gradient against pixels",
        ("size", "s", "µs a pixel", "of the mean over sizes"),
        rows,
        [f"Off proportional by {off:.0%} at most."],
    ).publish()


def _seconds(run: Callable[[], float]) -> float:
    run()  # Gets its memory, which another size may have given back to the system.
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    app.run(main)
