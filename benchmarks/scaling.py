"""Cost model of a study, fitted to small runs and checked against larger ones.

    python -m benchmarks.scaling

The model of a command's seconds, without compiling, is

    start + member·M + pixel·M·P + evaluation·M·(S + 1) + visit·M·(S + 1)·P

for M members of P pixels and S steps of Adam, one evaluation each. The last two
constants are fitted to the optimisation seconds of the runs in FITTED, the first three
to their other seconds, by non-negative least squares of relative errors. The forecast
of docs/scaling.md keeps the constants of a member and a pixel and replaces an
evaluation's cost by its arithmetic at a stated rate.
"""

import pathlib
import tempfile
from typing import NamedTuple

import numpy as np
import scipy.optimize

from benchmarks import script
from benchmarks.evaluation import FLOP
from benchmarks.table import Table

#: (members, longer side, steps) of the fitted runs, and of the runs for the check.
FITTED = ((1, 64, 1), (1, 192, 1), (1, 192, 41), (8, 64, 1), (8, 128, 21), (32, 64, 21))
CHECKED = ((16, 128, 40), (64, 96, 20), (4, 256, 60))
#: Members, side and steps of the forecast study.
STUDY = (1_000_000, 256, 300)
#: Chips, FLOP/s of a chip in bfloat16 by its maker, and chips per host.
HARDWARE = {
    "8 NVIDIA H100": (8, 989e12, 8),
    "1024 NVIDIA H100": (1024, 989e12, 8),
    "256 TPU v5e": (256, 197e12, 8),
    "4096 TPU v5p": (4096, 459e12, 4),
}
#: Assumed share of the maker's FLOP/s.
UTILISATION = 0.45


class Cost(NamedTuple):
    """Seconds of a command by purpose, and the bytes that it wrote."""

    optimising: float
    compiling: float
    overhead: float
    bytes: int


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        fitted = [launch(run, folder / str(i)) for i, run in enumerate(FITTED)]
        factors = np.array([model_factors(*run) for run in FITTED])
        overhead = _fit(factors[:, :3], [cost.overhead for cost in fitted])
        optimising = _fit(factors[:, 3:], [cost.optimising for cost in fitted])
        constants = np.concatenate([overhead, optimising])
        checked = [launch(run, folder / f"x{i}") for i, run in enumerate(CHECKED)]
    names = ("start", "member", "pixel", "evaluation", "visit")
    Table(
        "scaling-constants",
        "Constants of the cost model",
        ("constant", "s"),
        list(zip(names, map(float, constants), strict=True)),
    ).publish()
    rows: list[tuple[str, float, float, float]] = []
    for run, cost in zip((*FITTED, *CHECKED), (*fitted, *checked), strict=True):
        members, side, steps = run
        expected = float(model_factors(*run) @ constants)
        seconds = cost.overhead + cost.optimising
        name = f"{members}, {side} px, {steps}"
        rows.append((name, expected, seconds, expected / seconds))
    compiling = [cost.compiling for cost in (*fitted, *checked)]
    Table(
        "scaling",
        "Seconds of commands, modelled and measured",
        ("members, size, steps", "model, s", "s", "ratio"),
        rows,
        [
            f"The last {len(CHECKED)} are forecasts, the others were fitted. Compiling "
            f"is excluded; it took {min(compiling):.1f} to {max(compiling):.1f} s."
        ],
    ).publish()
    bytes_per_pixel = checked[0].bytes / (CHECKED[0][0] * pixels(CHECKED[0][1]))
    publish_forecast(constants, bytes_per_pixel)


def _fit(factors: np.ndarray, seconds: list[float]) -> np.ndarray:
    """Fit non-negative constants by least squares of relative errors."""
    relative = factors / np.array(seconds)[:, None]
    return scipy.optimize.nnls(relative, np.ones(len(seconds)))[0]


def publish_forecast(constants: np.ndarray, bytes_per_pixel: float) -> None:
    members, side, steps = STUDY
    visits = members * (steps + 1) * pixels(side)
    _, member, pixel, *_ = constants
    rows: list[tuple[str, float, float]] = []
    for name, (chips, peak, per_host) in HARDWARE.items():
        computing = visits * FLOP / (chips * peak * UTILISATION)
        writing = members * (member + pixel * pixels(side)) / (chips / per_host)
        rows.append((name, computing / 3600, writing / 3600))
    size = members * pixels(side) * bytes_per_pixel / 1e12
    Table(
        "scaling-study",
        f"Forecast for {members:,} members of {side} px, {steps} steps",
        ("hardware", "h computing", "h of each host's files"),
        rows,
        [
            f"{visits * FLOP:.3g} FLOP at an assumed {UTILISATION:.0%} of the maker's "
            f"figure; one writer a host, as here; {size:.2f} TB in all."
        ],
    ).publish()


def pixels(side: int) -> float:
    """Return the pixels of a 3:2 canvas, the shape of the sample image."""
    return side * round(side * 2 / 3)


def model_factors(members: int, side: int, steps: int) -> np.ndarray:
    """Return the factors of the model's five constants."""
    evaluations = members * (steps + 1)
    per_run = 1, members, members * pixels(side)
    return np.array([*per_run, evaluations, evaluations * pixels(side)], np.float64)


def launch(run: tuple[int, int, int], workdir: pathlib.Path) -> Cost:
    """Launch one run without the compilation cache."""
    members, side, steps = run
    seconds, manifest = script.timed_launch(
        workdir,
        "--nojax_enable_compilation_cache",
        f"--config.seeds={tuple(range(members))}",
        f"--config.size={side}",
        f"--config.steps={steps}",
        "--config.solver.name=adam",
    )
    compile_s, run_s = (manifest["timings"][name] for name in ("compile_s", "run_s"))
    written = sum(p.stat().st_size for p in workdir.rglob("*") if p.is_file())
    return Cost(run_s, compile_s, seconds - compile_s - run_s, written)


if __name__ == "__main__":
    script.run(main)
