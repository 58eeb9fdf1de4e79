"""Loss curves with features in bfloat16, relative to float32.

    python -m benchmarks.bfloat16

A content and a Gram term on three pairs of samples, from the same noise, by L-BFGS
without a line search. On a device with TF32, a third curve uses TF32 products.
The noise floor is a float32 curve whose start differs by one ulp in one value.
"""

import jax
import numpy as np
from absl import flags

import nst_jax
from benchmarks import script
from benchmarks.evaluation import ARITHMETICS
from benchmarks.table import Table
from configs import gallery

_SIZE = script.size_flag(128)
_STEPS = script.count_flag("steps", 300, "Steps of the solver.")
_SOLVER = flags.DEFINE_string("solver", "lbfgs_fixed", "Name of the solver.")


def main() -> None:
    rows: list[tuple] = []
    lower = ("bfloat16",) if jax.default_backend() == "cpu" else ("tf32", "bfloat16")
    for pair, (content, styles) in gallery.PAIRS.items():
        reference = loss_curve(content, styles, "float32")
        curves = {name: loss_curve(content, styles, name) for name in lower}
        curves["one ulp in the start"] = loss_curve(content, styles, "float32", ulps=1)
        for name, curve in curves.items():
            ratio = (curve / reference)[1:]
            off = 10 * (1 + np.flatnonzero(np.abs(ratio - 1) > 0.01))
            ends = map(float, (ratio.min(), ratio.max(), ratio[-1]))
            rows.append((pair, name, *ends, int(off.max(initial=0))))
    Table(
        "bfloat16",
        f"Loss relative to float32, {_SIZE.value} px, {_STEPS.value} steps of "
        f"{_SOLVER.value}",
        (
            *("pair", "features", "minimum from step 10", "maximum", "final"),
            "last step off by 1 %",
        ),
        rows,
    ).publish()


def loss_curve(
    content: str, styles: tuple[str, ...], arithmetic: str, ulps: int = 0
) -> np.ndarray:
    """Return the loss at the start and every ten steps."""
    experiment = nst_jax.Experiment(
        content=content,
        styles=styles,
        terms=(nst_jax.Content(weight=1000.0), nst_jax.Gram()),
        size=_SIZE.value,
        steps=_STEPS.value,
        canvas=nst_jax.Canvas("noise", ulps=ulps),
        solver=nst_jax.SolverOptions(name=_SOLVER.value),
        numerics=ARITHMETICS[arithmetic],
    )
    (group,) = nst_jax.build(experiment).groups
    result = nst_jax.run(
        group.problems(), group.starting_images([0]), steps=experiment.steps
    )
    return np.array([report.loss[0] for report in result.history])


if __name__ == "__main__":
    script.run(main)
