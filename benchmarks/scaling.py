"""What a study costs, as a formula: fitted to small runs, held against larger ones.

    python -m benchmarks.scaling

A command's seconds, without compiling, are taken to be

    start + member·M + pixel·M·P + evaluation·M·(S + 1) + visit·M·(S + 1)·P

for M members of P pixels and S steps of Adam, one evaluation each. The last two come
from the seconds that the runs in FITTED optimised, the first three from their others,
by least squares of what is said over what it took, none below zero; what the formula
says of larger runs stands beside what those took. With the constants of a member and a
pixel kept, and an evaluation's cost replaced by its arithmetic at a stated rate, the
same formula is docs/scaling.md's forecast.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

import numpy as np
import scipy.optimize

from benchmarks import script
from benchmarks.evaluation import FLOP
from benchmarks.table import Table

#: (members, longer side, steps) that the constants come from, and that are foretold.
FITTED = ((1, 64, 1), (1, 192, 1), (1, 192, 41), (8, 64, 1), (8, 128, 21), (32, 64, 21))
FORETOLD = ((16, 128, 40), (64, 96, 20), (4, 256, 60))
#: Members, side and steps of the study that no one machine makes, and where it could
#: be made: chips, the FLOP/s of one in bfloat16 by its maker, and chips a host has.
STUDY = (1_000_000, 256, 300)
PODS = {
    "8 NVIDIA H100": (8, 989e12, 8),
    "1024 NVIDIA H100": (1024, 989e12, 8),
    "256 TPU v5e": (256, 197e12, 8),
    "4096 TPU v5p": (4096, 459e12, 4),
}
#: The part of that which an evaluation is taken to reach.
FRACTION = 0.45


class Cost(NamedTuple):
    """A command: its seconds, by what they went to, and the bytes that it wrote."""

    optimising: float
    compiling: float
    other: float
    bytes: int


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        fitted = [command(run, folder / str(i)) for i, run in enumerate(FITTED)]
        seen = np.array([features(*run) for run in FITTED])
        other = _fit(seen[:, :3], [cost.other for cost in fitted])
        optimising = _fit(seen[:, 3:], [cost.optimising for cost in fitted])
        constants = np.concatenate([other, optimising])
        foretold = [command(run, folder / f"x{i}") for i, run in enumerate(FORETOLD)]
    names = ("start", "member", "pixel", "evaluation", "visit")
    Table(
        "scaling-constants",
        "What a command's seconds are made of",
        ("constant", "s"),
        list(zip(names, map(float, constants), strict=True)),
    ).publish()
    rows: list[tuple[str, float, float, float]] = []
    for run, cost in zip((*FITTED, *FORETOLD), (*fitted, *foretold), strict=True):
        said, took = float(features(*run) @ constants), cost.other + cost.optimising
        rows.append((_named(*run), said, took, said / took))
    compiling = [cost.compiling for cost in (*fitted, *foretold)]
    Table(
        "scaling",
        "Seconds of commands, by the formula and by the clock",
        ("members, size, steps", "s said", "s", "ratio"),
        rows,
        [
            f"The last {len(FORETOLD)} were foretold, the others fitted. Compiling, "
            f"not in them, took {min(compiling):.1f} to {max(compiling):.1f} s."
        ],
    ).publish()
    per_pixel = foretold[0].bytes / (FORETOLD[0][0] * pixels(FORETOLD[0][1]))
    study(constants, per_pixel)


def _fit(seen: np.ndarray, seconds: list[float]) -> np.ndarray:
    """The constants that are nearest to all of these, relative to each."""
    relative = seen / np.array(seconds)[:, None]
    return scipy.optimize.nnls(relative, np.ones(len(seconds)))[0]


def study(constants: np.ndarray, bytes_per_pixel: float) -> None:
    """The large study, where it could be made."""
    members, side, steps = STUDY
    seen = members * (steps + 1) * pixels(side)
    _, member, pixel, *_ = constants
    rows: list[tuple[str, float, float]] = []
    for name, (chips, peak, per_host) in PODS.items():
        computing = seen * FLOP / (chips * peak * FRACTION)
        writing = members * (member + pixel * pixels(side)) / (chips / per_host)
        rows.append((name, computing / 3600, writing / 3600))
    size = members * pixels(side) * bytes_per_pixel / 1e12
    Table(
        "scaling-study",
        f"{members:,} members of {side} px, {steps} steps: a forecast",
        ("where", "h computing", "h of each host's files"),
        rows,
        [
            f"{seen * FLOP:.3g} FLOP at {FRACTION:.0%} of the maker's figure, which is "
            f"an assumption; one writer a host, as here; {size:.2f} TB in all."
        ],
    ).publish()


def pixels(side: int) -> float:
    """Of a canvas of the sample picture, 3:2."""
    return side * round(side * 2 / 3)


def features(members: int, side: int, steps: int) -> np.ndarray:
    """What the formula's constants are multiplied by."""
    evaluations = members * (steps + 1)
    each = 1, members, members * pixels(side)
    return np.array([*each, evaluations, evaluations * pixels(side)], np.float64)


def command(run: tuple[int, int, int], workdir: pathlib.Path) -> Cost:
    """Launches one, with nothing compiled before."""
    members, side, steps = run
    asked = [
        *(sys.executable, "launch.py", f"--workdir={workdir}"),
        *(
            "--nojax_enable_compilation_cache",
            f"--config.seeds={tuple(range(members))}",
        ),
        *(f"--config.size={side}", f"--config.steps={steps}"),
        "--config.solver.name=adam",
    ]
    began = time.perf_counter()
    subprocess.run(asked, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    timings = json.loads((workdir / "run.json").read_text())["timings"]
    compile_s, run_s = timings["compile_s"], timings["run_s"]
    written = sum(p.stat().st_size for p in workdir.rglob("*") if p.is_file())
    return Cost(run_s, compile_s, seconds - compile_s - run_s, written)


def _named(members: int, side: int, steps: int) -> str:
    return f"{members}, {side} px, {steps}"


if __name__ == "__main__":
    script.run(main)
