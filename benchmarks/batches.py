"""Members' steps a second against the size of a batch, by solver.

    python -m benchmarks.batches
    python -m benchmarks.batches --size=256 --batches=1,8,64 --arithmetic=bfloat16

The loss of configs/transfer.py from noise of so many seeds, in one program. Under
`vmap` a line search lasts as long as its slowest member's, and the evaluations that a
member asked for are fewer than were computed. Solvers without a search ask for one.
"""

import time

import numpy as np
from absl import flags

import nst_jax
from benchmarks import script
from benchmarks.evaluation import ARITHMETICS
from benchmarks.lists import names, numbers
from benchmarks.table import Table
from nst_jax.ensemble.ensemble import Ensemble
from nst_jax.optim.solvers import SOLVERS

_SIZE = flags.DEFINE_integer("size", 128, "The longer side in pixels.", lower_bound=32)
_STEPS = flags.DEFINE_integer(
    "steps", 10, "Steps that are timed, after as many.", lower_bound=1
)
_BATCHES = numbers("batches", (1, 2, 4, 8, 16), "Their sizes.")
_SOLVERS = names("solvers", ("lbfgs", "lbfgs_fixed", "adam"), SOLVERS, "Which.")
_ARITHMETIC = flags.DEFINE_enum(
    "arithmetic", "float32", list(ARITHMETICS), "What products are made of."
)


def main() -> None:
    rows: list[tuple] = []
    for solver in _SOLVERS.value:
        alone = None
        for batch in map(int, _BATCHES.value):
            rate, asked = measured(solver, batch)
            alone = alone or rate
            rows.append((solver, batch, rate, rate / alone, asked))
    Table(
        "batches",
        f"Members' steps a second, {_SIZE.value} px, {_ARITHMETIC.value}",
        ("solver", "batch", "steps/s", "of one alone", "evaluations a step"),
        rows,
        ["Evaluations are those that a member asked for, on average."],
    ).publish()


def measured(solver: str, batch: int) -> tuple[float, float]:
    """Members' steps a second, and evaluations that each asked for."""
    experiment = nst_jax.Experiment(
        content="samples/chelsea.png",
        styles=("samples/swirls.jpg",),
        terms=(nst_jax.Content(weight=1000.0), nst_jax.Gram()),
        size=_SIZE.value,
        seeds=tuple(range(batch)),
        canvas=nst_jax.Canvas("noise"),
        numerics=ARITHMETICS[_ARITHMETIC.value],
    ).with_field("solver.name", solver)
    (group,) = nst_jax.build(experiment).groups
    starts = group.starts(range(batch))
    ensemble = Ensemble.compile(group.problems(), starts.shape[1:], batch_size=batch)
    steps = _STEPS.value
    looks = ensemble.optimise(starts, 2 * steps, look_every=steps)
    next(looks)
    first = next(looks)
    began = time.perf_counter()
    *_, last = looks
    seconds = time.perf_counter() - began
    asked = last.report.evaluations - first.report.evaluations
    return batch * steps / seconds, float(np.mean(asked) / steps)


if __name__ == "__main__":
    script.run(main)
