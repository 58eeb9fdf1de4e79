"""What coarse-to-fine saves: its time to the losses that one scale comes to.

    python -m benchmarks.ladder --content=tubingen.jpg --style=starry_night.jpg

configs/pastiche.py, its solver and its loss, at one size for all steps; then by a
ladder of sizes, moving a spectrum in place of pixels. A row is a loss that one scale
came to, and what of its time the ladder took to come there, its coarser stages
included. Times are of optimising; those of compiling are below, for the ladder has a
program a stage.
"""

import time

from absl import flags

import nst_jax
from benchmarks import lists, script
from benchmarks.table import Table
from configs import pastiche
from nst_jax.ensemble.ensemble import Ensemble

_CONTENT = flags.DEFINE_string("content", "samples/chelsea.png", "A picture.")
_STYLE = flags.DEFINE_string("style", "samples/swirls.jpg", "A picture.")
_CANVAS = flags.DEFINE_enum(
    "canvas", "noise", ["noise", "content", "style"], "Where it begins."
)
_SIZE = flags.DEFINE_integer("size", 512, "The longer side in pixels.", lower_bound=32)
_STEPS = flags.DEFINE_integer("steps", 500, "Steps at one scale.", lower_bound=1)
_LAST = flags.DEFINE_integer(
    "last", 0, "Steps of the ladder's last stage; 0 for half.", lower_bound=0
)
_START = flags.DEFINE_integer(
    "start", 64, "The least size of the ladder.", lower_bound=16
)
_FACTOR = flags.DEFINE_float("factor", 2.0, "Between two of its sizes.")
_LADDER_STEPS = lists.numbers(
    "ladder_steps", [200, 100, 60], "Steps of each coarser stage, or one for all."
)
_PARAMETRISATION = flags.DEFINE_string(
    "parametrisation", "spectrum", "What the solver moves on the ladder."
)
#: Of the steps of one scale, at which its loss is taken.
_PARTS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
#: Steps from one look at the loss to the next.
_EVERY = 5

#: (seconds, loss) at each look of the last stage.
_Curve = list[tuple[float, float]]


def main() -> None:
    at_one_size = experiment(nst_jax.Ladder(), "pixels", _STEPS.value)
    ladder = nst_jax.Ladder(
        start=_START.value,
        factor=_FACTOR.value,
        steps=tuple(map(int, _LADDER_STEPS.value)),
    )
    last = _LAST.value or _STEPS.value // 2
    coarse_to_fine = experiment(ladder, _PARAMETRISATION.value, last)
    # What is wrong with it is known before anything is timed.
    (group,) = nst_jax.build(coarse_to_fine).groups
    if len(group.stages) < 2:
        raise nst_jax.RequestError(
            f"--start={_START.value} and --factor={_FACTOR.value:g} give no stage "
            f"below --size={_SIZE.value}"
        )
    alone, compiling_alone = descent(at_one_size)
    climbed, compiling = descent(coarse_to_fine)
    rows = []
    for look in sorted({round(part * (len(alone) - 1)) for part in _PARTS}):
        steps = min(look * _EVERY, _STEPS.value)
        seconds, loss = alone[look]
        there = next((at for at, lower in climbed if lower <= loss), None)
        reached = (there, there / seconds) if there else ("not reached", "")
        rows.append((steps, loss, seconds, *reached))
    sizes = [stage.size for stage in coarse_to_fine.stages()]
    seconds, loss = climbed[-1]
    Table(
        name=f"ladder-{_CANVAS.value}-{_SIZE.value}",
        title=f"Coarse to fine at {_SIZE.value} px, from {_CANVAS.value}",
        columns=("steps at one scale", "loss", "s", "by the ladder, s", "ratio"),
        rows=rows,
        notes=(
            f"One scale moves pixels. The ladder: {sizes} px, "
            f"{', '.join(_LADDER_STEPS.value)} steps of {_PARAMETRISATION.value} at "
            f"each but the last; it ends after {seconds:.0f} s at {loss:.6g}. "
            f"Compiling is not in it: {compiling_alone:.0f} s at one scale, "
            f"{compiling:.0f} s for the ladder.",
        ),
    ).publish()


def experiment(
    ladder: nst_jax.Ladder, parametrisation: str, steps: int
) -> nst_jax.Experiment:
    config = pastiche.get_config()
    config.content, config.styles = _CONTENT.value, (_STYLE.value,)
    config.canvas.kind = _CANVAS.value
    config.size, config.steps = _SIZE.value, steps
    config.ladder = ladder
    return config.with_field("parametrisation", parametrisation)


def descent(experiment: nst_jax.Experiment) -> tuple[_Curve, float]:
    """What the last stage comes to, look by look, and the seconds of compiling."""
    (group,) = nst_jax.build(experiment).groups
    ensembles: list[Ensemble] = []
    for stage in group.stages:
        before = ensembles[-1] if ensembles else None
        ensembles.append(
            Ensemble.compile(
                *(stage.problems(), stage.content.shape), batch_size=1, coarser=before
            )
        )
    starts, coarse = group.stages[0].starts([0]), None
    curve: _Curve = []
    began = time.perf_counter()
    for stage, ensemble in zip(group.stages, ensembles, strict=True):
        curve = []
        for look in ensemble.optimise(
            starts, stage.experiment.steps, look_every=_EVERY, coarse=coarse
        ):
            curve.append((time.perf_counter() - began, float(look.report.loss[0])))
            state = look.state
        coarse = state
    return curve, sum(ensemble.compile_s for ensemble in ensembles)


if __name__ == "__main__":
    script.run(main)
