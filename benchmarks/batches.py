"""Member steps per second against the batch size, by solver.

    python -m benchmarks.batches
    python -m benchmarks.batches --size=256 --batches=1,8,64 --arithmetic=bfloat16

A content and a Gram term from noise, each batch in one program. Under `vmap` a
line search lasts as long as the slowest member's, so a batch computes more evaluations
than its members request. Solvers without a line search request one per step.
"""

import time

import numpy as np
from absl import flags

import nst_jax
from benchmarks import script
from benchmarks.evaluation import ARITHMETICS
from benchmarks.table import Table
from nst_jax.ensemble.ensemble import Ensemble
from nst_jax.optim.solvers import SOLVERS

_SIZE = script.size_flag(128)
_STEPS = script.count_flag("steps", 10, "Timed steps, after as many untimed ones.")
_BATCHES = script.numbers_flag("batches", (1, 2, 4, 8, 16), "Batch sizes.")
_SOLVERS = script.names_flag(
    "solvers", ("lbfgs", "lbfgs_fixed", "adam"), SOLVERS, "Solvers."
)
_ARITHMETIC = flags.DEFINE_enum(
    "arithmetic", "float32", list(ARITHMETICS), "Precision of products."
)


def main() -> None:
    rows: list[tuple] = []
    for solver in _SOLVERS.value:
        first_rate = None
        for batch in map(int, _BATCHES.value):
            rate, evaluations = measure(solver, batch)
            first_rate = first_rate or rate
            rows.append((solver, batch, rate, rate / first_rate, evaluations))
    Table(
        "batches",
        f"Member steps per second, {_SIZE.value} px, {_ARITHMETIC.value}",
        ("solver", "batch", "steps/s", "relative", "evaluations per step"),
        rows,
        ["Evaluations are the mean number that a member requested."],
    ).publish()


def measure(solver: str, batch: int) -> tuple[float, float]:
    """Return member steps per second, and a member's evaluations per step."""
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
    starts = group.starting_images(range(batch))
    ensemble = Ensemble.compile(group.problems(), starts.shape[1:], batch_size=batch)
    steps = _STEPS.value
    results = ensemble.optimise(starts, 2 * steps, log_every=steps)
    next(results)
    first = next(results)
    began = time.perf_counter()
    *_, last = results
    seconds = time.perf_counter() - began
    evaluations = last.report.evaluations - first.report.evaluations
    return batch * steps / seconds, float(np.mean(evaluations) / steps)


if __name__ == "__main__":
    script.run(main)
