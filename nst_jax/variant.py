"""The small twin of a config."""

import dataclasses

from nst_jax.axes import Vary
from nst_jax.errors import RequestError
from nst_jax.experiment import Experiment


def variant(experiment: Experiment, arg: str) -> Experiment:
    """The experiment as `configs/NAME.py:arg` asks for it.

    Args:
      experiment: in full.
      arg: "" for that, "smoke" for 64 px, 4 steps and the ends of each axis, which
        are done in a minute.

    Raises:
      RequestError: `arg` is something else.
    """
    if arg not in ("", "smoke"):
        raise RequestError(f"argument must be 'smoke' or left out, got {arg!r}")
    if arg == "smoke":
        experiment.size, experiment.steps = 64, 4
        experiment.axes = tuple(map(_ends, experiment.axes))
    return experiment


def _ends(axis: Vary) -> Vary:
    """The first and the last value of an axis, sizes and steps brought down."""
    ends = sorted({0, len(axis.values) - 1})
    settings = [axis.settings(i) for i in ends]
    largest = max(setting.get("size", 0) for setting in settings)
    for setting in settings:
        if "size" in setting:
            setting["size"] = max(32, setting["size"] * 64 // largest)
        if "steps" in setting:
            setting["steps"] = min(4, setting["steps"])
    values = [tuple(setting.values()) for setting in settings]
    return dataclasses.replace(
        axis,
        values=tuple(v[0] if len(axis.paths) == 1 else v for v in values),
        labels=tuple(axis.labels[i] for i in ends) if axis.labels else (),
    )
