"""One value and gradient: ours against PyTorch's, in one run.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.gradient
    python -m benchmarks.gradient --members=1,8 --arithmetics=float32,tf32,bfloat16

The loss of configs/pastiche.py on square pictures, one or a batch. The peer
(benchmarks/peer.py) is measured in both memory formats, as it is and by
`torch.compile`; ratios are to the fastest of these, medians of paired rounds. Ours is
measured inside a loop, as an optimisation runs it, and on a CPU in the direct form of
convolutions too. On a GPU both compute there.
"""

import functools
import itertools
import statistics
import time
from collections.abc import Callable

import jax
import numpy as np
import torch
from absl import flags

from benchmarks import peer, script
from benchmarks.evaluation import (
    ARITHMETICS,
    FLOP,
    copy,
    inner,
    ours,
    pictures,
    product,
)
from benchmarks.lists import names, numbers
from benchmarks.table import Table

_SIZES = numbers("sizes", (256, 512), "Heights and widths in pixels.", least=16)
_MEMBERS = numbers("members", (1,), "Sizes of batches.")
_ARITHMETICS = names(
    "arithmetics", ["float32"], ARITHMETICS, "What products are made of."
)
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Paired rounds.", lower_bound=1)


def main() -> None:
    peaks = {name: product(name) for name in _ARITHMETICS.value}
    rows: list[tuple] = []
    notes = []
    cases = itertools.product(
        _ARITHMETICS.value, map(int, _SIZES.value), map(int, _MEMBERS.value)
    )
    for arithmetic, size, members in cases:
        what = f"{arithmetic}, {size}×{size}, {members}"
        try:
            losses, seconds = measured(arithmetic, size, members)
        except RuntimeError as error:  # What is measured already is not lost.
            notes.append(f"{what}: not measured, {str(error).splitlines()[0]}")
            continue
        peers = [name for name in losses if not name.startswith("nst_jax")]
        best = min(peers, key=lambda name: statistics.median(seconds[name]))
        notes.append(f"{what}: the fastest peer is {best}.")
        for name, times in seconds.items():
            pairs = zip(times, seconds[best], strict=True)
            median = statistics.median(times)
            flops = FLOP * size**2 * members / median
            ratio = statistics.median(a / b for a, b in pairs)
            loss = f"{losses[name]:.6g}"
            rows.append((what, name, loss, median, ratio, flops / peaks[arithmetic]))
    limits = [
        f"A product of matrices runs at {peak / 1e9:.0f} GFLOP/s in {arithmetic}."
        for arithmetic, peak in peaks.items()
    ]
    Table(
        "gradient",
        "One value and gradient, against PyTorch",
        (
            *("arithmetic, size, members", "program", "loss", "s"),
            *("of the fastest peer", "of a product's FLOP/s"),
        ),
        rows,
        [
            *notes,
            " ".join(limits) + " The last column is of that, and counts the "
            "multiplications of the direct form, which Winograd's, on a CPU, has "
            f"fewer of. A pass over an array reads and writes {copy() / 1e9:.0f} GB/s.",
        ],
    ).publish()


def measured(
    arithmetic: str, size: int, members: int
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Loss, and seconds of one evaluation in each round, by program.

    Raises:
      RuntimeError: the programs do not compute the same loss, or fail.
    """
    torch.compiler.reset()  # Or what was compiled for other shapes counts as this one.
    content, style, canvas = pictures(size)
    if members > 1:
        noise = np.random.default_rng(0).normal(0, 0.05, (members, *canvas.shape))
        canvas = np.clip(canvas + noise, 0, 1).astype(np.float32)
    images = content, style, canvas
    theirs = functools.partial(peer.evaluation, *images, arithmetic=arithmetic)
    direct = {}
    if jax.default_backend() == "cpu" and arithmetic == "float32":
        direct["nst_jax, direct"] = ours(*images, "direct")
    runs: dict[str, Callable[[], float]] = {
        "nst_jax": ours(*images, arithmetic),
        **direct,
        "torch, contiguous": theirs(),
        "torch, channels last": theirs(channels_last=True),
        "torch, compiled": theirs(compiled=True),
        "torch, compiled, channels last": theirs(compiled=True, channels_last=True),
    }
    losses = {name: run() for name, run in runs.items()}  # warms up, compiles
    within = 0.05 if arithmetic == "bfloat16" else 1e-3
    if np.ptp(list(losses.values())) > within * losses["nst_jax"]:
        raise RuntimeError(f"the losses are not of one computation: {losses}")
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(_ROUNDS.value):
            for name, run in runs.items():
                began = time.perf_counter()
                run()
                seconds[name].append((time.perf_counter() - began) / inner())
    return losses, seconds


if __name__ == "__main__":
    script.run(main)
