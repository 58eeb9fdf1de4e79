"""How far loss curves with features in bfloat16 are from those in float32.

    python -m benchmarks.bfloat16

configs/transfer.py's terms on three pairs of the samples, from the same noise of a
seed, by L-BFGS without a line search: one curve with the network in each, and on a
device that has TF32 one with products in that. Beside them, what the least rounding
does: the same start but for one unit in the last place of one value, in float32. A
difference of that size is no loss of precision.
"""

import jax
import numpy as np
from absl import flags

import nst_jax
from benchmarks import script
from benchmarks.evaluation import ARITHMETICS
from benchmarks.table import Table
from configs import gallery

_SIZE = flags.DEFINE_integer("size", 128, "The longer side in pixels.", lower_bound=32)
_STEPS = flags.DEFINE_integer("steps", 300, "Steps of the solver.", lower_bound=1)
_SOLVER = flags.DEFINE_string("solver", "lbfgs_fixed", "Which.")


def main() -> None:
    rows: list[tuple] = []
    less = ("bfloat16",) if jax.default_backend() == "cpu" else ("tf32", "bfloat16")
    for pair, (content, styles) in gallery.PAIRS.items():
        wanted = curve(content, styles, "float32")
        for name, other in (
            *((name, curve(content, styles, name)) for name in less),
            ("a rounding", curve(content, styles, "float32", ulps=1)),
        ):
            ratio = (other / wanted)[1:]
            off = 10 * (1 + np.flatnonzero(np.abs(ratio - 1) > 0.01))
            ends = map(float, (ratio.min(), ratio.max(), ratio[-1]))
            rows.append((pair, name, *ends, int(off.max(initial=0))))
    Table(
        "bfloat16",
        f"Loss over that of float32, {_SIZE.value} px, {_STEPS.value} steps of "
        f"{_SOLVER.value}",
        (
            *("pair", "features", "least from step 10 on", "most", "at the end"),
            "last step off by 1 %",
        ),
        rows,
    ).publish()


def curve(
    content: str, styles: tuple[str, ...], arithmetic: str, ulps: int = 0
) -> np.ndarray:
    """The loss at the start and every ten steps."""
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
    result = nst_jax.run(group.problems(), group.starts([0]), steps=experiment.steps)
    return np.array([report.loss[0] for report in result.history])


if __name__ == "__main__":
    script.run(main)
