"""The "smoke" variant of a config, which runs in a minute."""

import dataclasses

from nst_jax.config.axes import Vary
from nst_jax.config.experiment import Experiment
from nst_jax.config.ladder import Ladder
from nst_jax.core.validation import check_choice

#: Size of a smoke run, smallest size of its ladder, and steps of a stage.
SIZE, MIN_SIZE, STEPS = 64, 24, 4


def variant(experiment: Experiment, arg: str) -> Experiment:
    """Return the experiment that `configs/NAME.py:arg` means.

    Args:
      experiment: the full experiment; it is modified.
      arg: "" for the full experiment; "smoke" for 64 px, 4 steps, a ladder in
        proportion and the ends of each axis.

    Raises:
      RequestError: `arg` is something else.
    """
    check_choice("the config's argument", arg, ("", "smoke"))
    if arg == "smoke":
        ladder = experiment.ladder
        # Size 0 is unknown here: take twice the size of any coarser stage.
        size = experiment.size or 2 * max(SIZE, ladder.start, *ladder.sizes)
        ratio = SIZE / size
        experiment.ladder = _shrink_ladder(ladder, ratio)
        experiment.axes = tuple(_shrink_axis(axis, ratio) for axis in experiment.axes)
        experiment.size, experiment.steps = SIZE, STEPS
    return experiment


def _shrink_ladder(ladder: Ladder, ratio: float) -> Ladder:
    """Return a ladder in proportion, without stages that shrink to the same size."""
    stages: dict[int, int] = {}  # Size -> index of the first stage.
    for i, size in enumerate(ladder.sizes):
        if _shrink_size(size, ratio) < SIZE:
            stages.setdefault(_shrink_size(size, ratio), i)

    def select(values: tuple) -> tuple:
        is_shared = len(values) < 2
        return values if is_shared else tuple(values[i] for i in stages.values())

    return dataclasses.replace(
        ladder,
        start=_shrink_size(ladder.start, ratio),
        sizes=tuple(stages),
        steps=tuple(min(STEPS, steps) for steps in select(ladder.steps)),
        style_scales=select(ladder.style_scales),
        term_weights=select(ladder.term_weights),
    )


def _shrink_size(size: int, ratio: float) -> int:
    """Return a stage's size in proportion, large enough for relu5_1; 0 for 0."""
    return size and max(MIN_SIZE, int(size * ratio))


def _shrink_axis(axis: Vary, ratio: float) -> Vary:
    """Return the first and the last value of an axis, with smaller sizes and steps."""
    ends = sorted({0, len(axis.values) - 1})
    settings = [axis.settings(i) for i in ends]
    sizes = [setting.get("size", 0) for setting in settings]
    unknown_size = 2 * max(sizes) or SIZE  # Size 0 counts as larger than the others.
    largest = unknown_size if 0 in sizes else max(sizes)
    for setting in settings:
        if "size" in setting:
            size = setting["size"] or unknown_size
            setting["size"] = max(32, size * SIZE // largest)
        if "steps" in setting:
            setting["steps"] = min(STEPS, setting["steps"])
        if "ladder.start" in setting:
            setting["ladder.start"] = _shrink_size(setting["ladder.start"], ratio)
    values = [tuple(setting.values()) for setting in settings]
    return dataclasses.replace(
        axis,
        values=tuple(v[0] if len(axis.paths) == 1 else v for v in values),
        labels=tuple(axis.labels[i] for i in ends) if axis.labels else (),
    )
