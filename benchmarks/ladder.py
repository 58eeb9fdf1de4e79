"""What coarse-to-fine saves: its time to the loss that one scale ends at.

    python -m benchmarks.ladder --content=… --style=…

configs/pastiche.py, its solver and its loss, at one size for all steps; then by a
ladder of sizes, moving a pyramid in place of pixels, until its last stage has come to
the loss that the former ended with.
Both times are of optimising; those of compiling are printed beside, for the ladder has
a program a stage.
"""

import time

import numpy as np
from absl import app, flags

import nst_jax
from configs import pastiche
from nst_jax.ensemble import Ensemble

_CONTENT = flags.DEFINE_string("content", "samples/chelsea.png", "A picture.")
_STYLE = flags.DEFINE_string("style", "samples/swirls.jpg", "A picture.")
_SIZE = flags.DEFINE_integer("size", 512, "The longer side in pixels.")
_STEPS = flags.DEFINE_integer("steps", 500, "Steps at one scale.")
_START = flags.DEFINE_integer("start", 128, "The least size of the ladder.")
_FACTOR = flags.DEFINE_float("factor", 2**0.5, "Between two of its sizes.")
_LADDER_STEPS = flags.DEFINE_integer("ladder_steps", 100, "Steps of a coarser stage.")
_PARAMETRISATION = flags.DEFINE_string(
    "parametrisation", "pyramid", "What the solver moves on the ladder."
)


def main(_: list[str]) -> None:
    alone, goal, compiling = timed(experiment(nst_jax.Ladder()))
    print(f"{_SIZE.value} px, {_STEPS.value} steps of L-BFGS at one scale:")
    print(f"  {alone:.0f} s to a loss of {goal:.6g} (and {compiling:.0f} s compiling)")
    ladder = nst_jax.Ladder(
        start=_START.value, factor=_FACTOR.value, steps=(_LADDER_STEPS.value,)
    )
    climbing = experiment(ladder)
    climbing.parametrisation = _PARAMETRISATION.value
    seconds, loss, compiling = timed(climbing, goal)
    sizes = [size for size, _, _ in ladder.stages(_SIZE.value, 0, 1.0)]
    print(f"by {sizes} px, {_LADDER_STEPS.value} steps at each but the last:")
    print(f"  {seconds:.0f} s to {loss:.6g} (and {compiling:.0f} s compiling)")
    if loss <= goal:
        print(f"ratio {seconds / alone:.2f}")
    else:
        print(f"not reached in {_STEPS.value} steps of the last stage")


def experiment(ladder: nst_jax.Ladder) -> nst_jax.Experiment:
    config = pastiche.get_config()
    config.content, config.styles = _CONTENT.value, (_STYLE.value,)
    config.size, config.steps, config.ladder = _SIZE.value, _STEPS.value, ladder
    return config


def timed(
    experiment: nst_jax.Experiment, goal: float = -np.inf
) -> tuple[float, float, float]:
    """(seconds, loss, seconds compiling) to a goal at the last stage, or to its end."""
    (group,) = nst_jax.build(experiment).groups
    ensemble, compiling = None, 0.0
    stages = []
    for stage in group.stages:
        ensemble = Ensemble.compile(
            stage.problems(), stage.content.shape, batch_size=1, coarser=ensemble
        )
        compiling += ensemble.compile_s
        stages.append((stage, ensemble))
    began = time.perf_counter()
    look = None
    for stage, ensemble in stages:
        coarse = look.state if look else None
        for look in ensemble.optimise(
            group.stages[0].starts([0]),
            stage.experiment.steps,
            look_every=5,
            coarse=coarse,
        ):
            if stage is group and look.report.loss[0] <= goal:
                break
    assert look is not None
    return time.perf_counter() - began, float(look.report.loss[0]), compiling


if __name__ == "__main__":
    app.run(main)
