"""Time of a coarse-to-fine ladder to the losses that one size reaches.

    python -m benchmarks.ladder --content=tubingen.jpg --style=starry_night.jpg

The solver and loss of configs/pastiche.py, first on pixels at one size, then on a
spectrum by a ladder of sizes. A row has a loss at one size and the ladder's time to
reach it, coarser stages included. Times exclude compiling, which is in the note: the
ladder has one program per stage.
"""

import time

from absl import flags

import nst_jax
from benchmarks import script
from benchmarks.table import Table
from configs import pastiche
from nst_jax.ensemble.ensemble import Ensemble

_CONTENT = flags.DEFINE_string("content", "samples/chelsea.png", "Content image.")
_STYLE = flags.DEFINE_string("style", "samples/swirls.jpg", "Style image.")
_CANVAS = flags.DEFINE_enum(
    "canvas", "noise", ["noise", "content", "style"], "Starting canvas."
)
_SIZE = script.size_flag(512)
_STEPS = script.count_flag("steps", 500, "Steps at one size.")
_LAST = script.count_flag(
    "last", 0, "Steps of the ladder's last stage; 0 for half of --steps.", least=0
)
_START = script.count_flag("start", 64, "Smallest size of the ladder.", least=16)
_FACTOR = flags.DEFINE_float("factor", 2.0, "Ratio of successive sizes.")
_LADDER_STEPS = script.numbers_flag(
    "ladder_steps", [200, 100, 60], "Steps of each coarser stage, or one number."
)
_PARAMETRISATION = flags.DEFINE_string(
    "parametrisation", "spectrum", "Optimised variable on the ladder."
)
#: Shares of the steps at one size whose losses make the rows.
_SHARES = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
#: Steps between two records of the loss.
_EVERY = 5

#: (seconds, loss) at each record of the last stage.
_Curve = list[tuple[float, float]]


def main() -> None:
    one_size = experiment(nst_jax.Ladder(), "pixels", _STEPS.value)
    ladder = nst_jax.Ladder(
        start=_START.value,
        factor=_FACTOR.value,
        steps=tuple(map(int, _LADDER_STEPS.value)),
    )
    last = _LAST.value or _STEPS.value // 2
    coarse_to_fine = experiment(ladder, _PARAMETRISATION.value, last)
    # A wrong request is refused before anything is timed.
    (group,) = nst_jax.build(coarse_to_fine).groups
    if len(group.stages) < 2:
        raise nst_jax.RequestError(
            f"--start={_START.value} and --factor={_FACTOR.value:g} give no stage "
            f"below --size={_SIZE.value}"
        )
    reference, reference_compile_s = loss_curve(one_size)
    curve, compile_s = loss_curve(coarse_to_fine)
    rows = []
    for record in sorted({round(part * (len(reference) - 1)) for part in _SHARES}):
        steps = min(record * _EVERY, _STEPS.value)
        seconds, loss = reference[record]
        reached = next((time for time, lower in curve if lower <= loss), None)
        cells = (reached, reached / seconds) if reached else ("not reached", "")
        rows.append((steps, loss, seconds, *cells))
    sizes = [stage.size for stage in coarse_to_fine.stages()]
    seconds, loss = curve[-1]
    Table(
        name=f"ladder-{_CANVAS.value}-{_SIZE.value}",
        title=f"Coarse to fine at {_SIZE.value} px, from {_CANVAS.value}",
        columns=("steps at one size", "loss", "s", "ladder, s", "ratio"),
        rows=rows,
        notes=(
            f"The reference optimises pixels. The ladder of {sizes} px makes "
            f"{', '.join(_LADDER_STEPS.value)} steps of {_PARAMETRISATION.value} "
            f"before the last stage and ends after {seconds:.0f} s at {loss:.6g}. "
            f"Compiling is excluded: {reference_compile_s:.0f} s at one size, "
            f"{compile_s:.0f} s for the ladder.",
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


def loss_curve(experiment: nst_jax.Experiment) -> tuple[_Curve, float]:
    """Return the loss curve of the last stage, and the seconds of compiling."""
    (group,) = nst_jax.build(experiment).groups
    ensembles: list[Ensemble] = []
    for stage in group.stages:
        coarser = ensembles[-1] if ensembles else None
        ensembles.append(
            Ensemble.compile(
                *(stage.problems(), stage.content.shape), batch_size=1, coarser=coarser
            )
        )
    starts, coarse = group.stages[0].starting_images([0]), None
    curve: _Curve = []
    began = time.perf_counter()
    for stage, ensemble in zip(group.stages, ensembles, strict=True):
        curve = []
        for result in ensemble.optimise(
            starts, stage.experiment.steps, log_every=_EVERY, coarse=coarse
        ):
            curve.append((time.perf_counter() - began, float(result.report.loss[0])))
            state = result.state
        coarse = state
    return curve, sum(ensemble.compile_s for ensemble in ensembles)


if __name__ == "__main__":
    script.run(main)
