"""The small twin of a config."""

import dataclasses

from nst_jax.config.axes import Vary
from nst_jax.config.experiment import Experiment
from nst_jax.config.ladder import Ladder
from nst_jax.core.errors import RequestError

#: Of a small twin: the longer side in pixels, at the least stage of a ladder too, and
#: the steps of a stage.
SIZE, LEAST, STEPS = 64, 24, 4


def variant(experiment: Experiment, arg: str) -> Experiment:
    """The experiment as `configs/NAME.py:arg` asks for it.

    Args:
      experiment: in full.
      arg: "" for that, "smoke" for 64 px, 4 steps, a ladder in proportion and the
        ends of each axis, which are done in a minute.

    Raises:
      RequestError: `arg` is something else.
    """
    if arg not in ("", "smoke"):
        raise RequestError(f"argument must be 'smoke' or left out, got {arg!r}")
    if arg == "smoke":
        # The content's own size is not known here: twice that of any coarser stage.
        coarser = experiment.ladder.start, *experiment.ladder.sizes
        share = SIZE / (experiment.size or 2 * max(SIZE, *coarser))
        experiment.ladder = _lowered(experiment.ladder, share)
        experiment.axes = tuple(_ends(axis, share) for axis in experiment.axes)
        experiment.size, experiment.steps = SIZE, STEPS
    return experiment


def _lowered(ladder: Ladder, share: float) -> Ladder:
    """In proportion; stages that would be as small as the one before are left out."""
    kept: dict[int, int] = {}
    for i, size in enumerate(ladder.sizes):
        if _scaled(size, share) < SIZE:
            kept.setdefault(_scaled(size, share), i)

    def of_these(values: tuple) -> tuple:
        """One number is of all stages."""
        return values if len(values) < 2 else tuple(values[i] for i in kept.values())

    return dataclasses.replace(
        ladder,
        start=_scaled(ladder.start, share),
        sizes=tuple(kept),
        steps=tuple(min(STEPS, steps) for steps in of_these(ladder.steps)),
        style_scales=of_these(ladder.style_scales),
    )


def _scaled(size: int, share: float) -> int:
    """The size of a stage in proportion, but not below what relu5_1 sees; 0 for 0."""
    return size and max(LEAST, int(size * share))


def _ends(axis: Vary, share: float) -> Vary:
    """The first and the last value of an axis, sizes and steps brought down."""
    ends = sorted({0, len(axis.values) - 1})
    settings = [axis.settings(i) for i in ends]
    largest = max(setting.get("size", 0) for setting in settings)
    own_size = 2 * largest or SIZE  # Size 0, as if it were larger than the others.
    if any(setting.get("size") == 0 for setting in settings):
        largest = own_size
    for setting in settings:
        if "size" in setting:
            setting["size"] = setting["size"] or own_size
            setting["size"] = max(32, setting["size"] * SIZE // largest)
        if "steps" in setting:
            setting["steps"] = min(STEPS, setting["steps"])
        if "ladder.start" in setting:
            setting["ladder.start"] = _scaled(setting["ladder.start"], share)
    values = [tuple(setting.values()) for setting in settings]
    return dataclasses.replace(
        axis,
        values=tuple(v[0] if len(axis.paths) == 1 else v for v in values),
        labels=tuple(axis.labels[i] for i in ends) if axis.labels else (),
    )
