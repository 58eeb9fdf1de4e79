"""What the strategy does to a seed's result, beside the noise floor.

    python -m benchmarks.strategies

Eight seeds of configs/seeds.py by loop, map and vmap: do they start from the same
bits, how far apart do they end, and how much does each strategy cost? Beside it
stand the two figures that give the differences a size: how far one unit in the last
place of one starting value carries in the same program, and how far apart two seeds
are.
"""

import time

import numpy as np
from absl import flags

import nst_jax
from benchmarks import script
from benchmarks.table import Table
from configs import seeds
from nst_jax.ensemble.ensemble import Ensemble

_SIZE = flags.DEFINE_integer("size", 128, "The longer side in pixels.", lower_bound=32)
_STEPS = flags.DEFINE_integer("steps", 60, "Steps of the solver.", lower_bound=1)
_MEMBERS = flags.DEFINE_integer("members", 8, "Seeds, from 0.", lower_bound=1)
_SOLVER = flags.DEFINE_string("solver", "lbfgs_fixed", "A solver's name.")


def main() -> None:
    experiment = seeds.get_config()
    experiment.size, experiment.steps = _SIZE.value, _STEPS.value
    experiment.seeds = tuple(range(_MEMBERS.value))
    experiment.solver = nst_jax.SolverOptions(name=_SOLVER.value)
    plan = nst_jax.build(experiment)
    (group,) = plan.groups
    starts = group.starts(range(_MEMBERS.value))
    ends, seconds = {}, {}
    for strategy in ("loop", "map", "vmap"):
        ensemble = Ensemble.compile(
            group.problems(),
            starts.shape[1:],
            batch_size=len(starts),
            strategy=strategy,
        )
        size = ensemble.batch_size
        batches = [starts[i : i + size] for i in range(0, len(starts), size)]
        first = [_end(ensemble, batch, steps=0) for batch in batches]
        assert (np.concatenate(first) == starts).all()
        began = time.perf_counter()
        ends[strategy] = np.concatenate(
            [_end(ensemble, batch, _STEPS.value) for batch in batches]
        )
        seconds[strategy] = time.perf_counter() - began
        if strategy == "loop":
            nudged = starts[:1].copy()
            nudged[0, 0, 0, 0] = np.nextafter(nudged[0, 0, 0, 0], np.float32(1))
            again = _end(ensemble, starts[:1], _STEPS.value)
            ulp = _end(ensemble, nudged, _STEPS.value)
    pairs = {
        "loop, run again": (again, ends["loop"][:1]),
        "map against loop": (ends["map"], ends["loop"]),
        "vmap against loop": (ends["vmap"], ends["loop"]),
        "one ulp in one value of the start": (ulp, ends["loop"][:1]),
        "one seed against the next": (ends["loop"][1:], ends["loop"][:-1]),
    }
    rows: list[tuple] = []
    for name, (a, b) in pairs.items():
        apart = np.abs(a.astype(np.float64) - b)
        rows.append((name, float(apart.mean()), float(apart.max())))
    what = f"{_MEMBERS.value} seeds, {_SIZE.value} px, {_STEPS.value} steps of "
    Table(
        "strategies",
        f"{what}{_SOLVER.value}, by three strategies",
        ("compared", "mean |Δ|", "max |Δ|"),
        rows,
        [
            "All strategies start from the same bits.",
            *(
                f"{k}: {v:.1f} s, {v / seconds['loop']:.2f} of loop."
                for k, v in seconds.items()
            ),
        ],
    ).publish()


def _end(ensemble: Ensemble, starts: np.ndarray, steps: int) -> np.ndarray:
    canvas = list(ensemble.optimise(starts, steps))[-1].canvas
    assert canvas is not None
    return canvas


if __name__ == "__main__":
    script.run(main)
