"""One value and gradient, compared with PyTorch in one run.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.gradient
    python -m benchmarks.gradient --members=1,8 --arithmetics=float32,tf32,bfloat16

The loss of configs/pastiche.py on square images, one or a batch. The peer
(benchmarks/peer.py) runs in both memory formats, eager and with `torch.compile`. Ratios
are medians of paired rounds, relative to the fastest peer. Ours runs inside a loop, as
in an optimisation; on a CPU the direct form of convolutions is measured too. On a GPU
both programs use it.
"""

import functools
import itertools
import statistics
import time
from collections.abc import Callable

import jax
import numpy as np
import torch

from benchmarks import peer, script
from benchmarks.evaluation import (
    ARITHMETICS,
    FLOP,
    copy_rate,
    inner,
    matmul_rate,
    ours,
    sample_images,
)
from benchmarks.table import Table

_SIZES = script.numbers_flag("sizes", (256, 512), "Sides in pixels.", least=16)
_MEMBERS = script.numbers_flag("members", (1,), "Batch sizes.")
_ARITHMETICS = script.names_flag(
    "arithmetics", ["float32"], ARITHMETICS, "Precisions of products."
)
_ROUNDS = script.count_flag("rounds", 7, "Paired rounds.")


def main() -> None:
    peaks = {name: matmul_rate(name) for name in _ARITHMETICS.value}
    rows: list[tuple] = []
    notes = []
    cases = itertools.product(
        _ARITHMETICS.value, map(int, _SIZES.value), map(int, _MEMBERS.value)
    )
    for arithmetic, size, members in cases:
        case = f"{arithmetic}, {size}×{size}, {members}"
        try:
            losses, seconds = measure(arithmetic, size, members)
        except RuntimeError as error:  # Earlier cases are kept.
            notes.append(f"{case}: not measured, {str(error).splitlines()[0]}")
            continue
        peers = [name for name in losses if not name.startswith("nst_jax")]
        best = min(peers, key=lambda name: statistics.median(seconds[name]))
        notes.append(f"{case}: the fastest peer is {best}.")
        for name, times in seconds.items():
            pairs = zip(times, seconds[best], strict=True)
            median = statistics.median(times)
            flops = FLOP * size**2 * members / median
            ratio = statistics.median(a / b for a, b in pairs)
            loss = f"{losses[name]:.6g}"
            rows.append((case, name, loss, median, ratio, flops / peaks[arithmetic]))
    limits = [
        f"A matrix product runs at {peak / 1e9:.0f} GFLOP/s in {arithmetic}."
        for arithmetic, peak in peaks.items()
    ]
    Table(
        "gradient",
        "One value and gradient, compared with PyTorch",
        (
            *("arithmetic, size, members", "program", "loss", "s"),
            *("relative to the fastest peer", "share of a matrix product"),
        ),
        rows,
        [
            *notes,
            " ".join(limits) + " The last column is relative to this and counts the "
            "multiplications of the direct form; Winograd's form on a CPU needs fewer. "
            f"A pass over an array reads and writes {copy_rate() / 1e9:.0f} GB/s.",
        ],
    ).publish()


def measure(
    arithmetic: str, size: int, members: int
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Return the loss, and the seconds of one evaluation in each round, by program.

    Raises:
      RuntimeError: a program fails, or the programs compute different losses.
    """
    torch.compiler.reset()  # Forget programs for other shapes.
    content, style, canvas = sample_images(size)
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
    losses = {name: run() for name, run in runs.items()}  # Warms up and compiles.
    tolerance = 0.05 if arithmetic == "bfloat16" else 1e-3
    if np.ptp(list(losses.values())) > tolerance * losses["nst_jax"]:
        raise RuntimeError(f"the programs compute different losses: {losses}")
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
