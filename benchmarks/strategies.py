"""Effect of the strategy on a seed's result, compared with the noise floor.

    python -m benchmarks.strategies

Eight seeds of configs/seeds.py by loop, map and vmap: equality of the starts, distance
of the ends, and time. Two figures give the distances a scale: the effect of one ulp in
one starting value within the same program, and the distance between two seeds.
"""

import time

import numpy as np
from absl import flags

import nst_jax
from benchmarks import script
from benchmarks.table import Table
from configs import seeds
from nst_jax.ensemble.ensemble import Ensemble

_SIZE = script.size_flag(128)
_STEPS = script.count_flag("steps", 60, "Steps of the solver.")
_MEMBERS = script.count_flag("members", 8, "Number of seeds, from 0.")
_SOLVER = flags.DEFINE_string("solver", "lbfgs_fixed", "Name of the solver.")


def main() -> None:
    experiment = seeds.get_config()
    experiment.size, experiment.steps = _SIZE.value, _STEPS.value
    experiment.seeds = tuple(range(_MEMBERS.value))
    experiment.solver = nst_jax.SolverOptions(name=_SOLVER.value)
    (group,) = nst_jax.build(experiment).groups
    starts = group.starting_images(range(_MEMBERS.value))
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
        results = [_end(ensemble, batch, _STEPS.value) for batch in batches]
        seconds[strategy] = time.perf_counter() - began
        ends[strategy] = np.concatenate(results)
        if strategy == "loop":
            perturbed = starts[:1].copy()
            perturbed[0, 0, 0, 0] = np.nextafter(perturbed[0, 0, 0, 0], np.float32(1))
            repeated = _end(ensemble, starts[:1], _STEPS.value)
            ulp = _end(ensemble, perturbed, _STEPS.value)
    pairs = {
        "loop, repeated": (repeated, ends["loop"][:1]),
        "map against loop": (ends["map"], ends["loop"]),
        "vmap against loop": (ends["vmap"], ends["loop"]),
        "one ulp in one value of the start": (ulp, ends["loop"][:1]),
        "one seed against the next": (ends["loop"][1:], ends["loop"][:-1]),
    }
    rows: list[tuple] = []
    for name, (a, b) in pairs.items():
        difference = np.abs(a.astype(np.float64) - b)
        rows.append((name, float(difference.mean()), float(difference.max())))
    Table(
        "strategies",
        f"{_MEMBERS.value} seeds, {_SIZE.value} px, {_STEPS.value} steps of "
        f"{_SOLVER.value}, by three strategies",
        ("compared", "mean |Δ|", "max |Δ|"),
        rows,
        [
            "All strategies start from the same bits.",
            *(
                f"{name}: {total:.1f} s, {total / seconds['loop']:.2f} of loop."
                for name, total in seconds.items()
            ),
        ],
    ).publish()


def _end(ensemble: Ensemble, starts: np.ndarray, steps: int) -> np.ndarray:
    canvas = list(ensemble.optimise(starts, steps))[-1].canvas
    assert canvas is not None
    return canvas


if __name__ == "__main__":
    script.run(main)
