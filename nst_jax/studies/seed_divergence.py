"""How seeds part over the steps of an optimisation."""

import math
from typing import NamedTuple

import numpy as np

from nst_jax.metrics.distances import pairwise_rms
from nst_jax.metrics.statistics import Estimate, jackknife, mean_of_pairs
from nst_jax.studies.formatting import bars, few, text
from nst_jax.studies.results import Line, Plot, RunData

#: Curves, at most: as many as matplotlib has colours.
CURVES = 10


class DivergenceCurve(NamedTuple):
    """How the seeds of a line part.

    Attributes:
      label: of the line.
      steps: those that were kept.
      std: the standard deviation among the seeds at each of them.
      change: the last by the first; None where that is 0.
    """

    label: str
    steps: tuple[int, ...]
    std: list[Estimate]
    change: Estimate | None


def divergence_curves(evidence: RunData, lines: list[Line]) -> list[DivergenceCurve]:
    """Of those lines all members of which kept the same steps, more than one."""
    if evidence.trajectory is None:
        return []
    found = []
    parted = [line for line in lines if line.dispersion.std.value > 0]
    for line in few(parted, CURVES):
        kept = [evidence.trajectory(m) for m in line.members]
        steps, _ = kept[0]
        if len(steps) < 2 or any(own != steps for own, _ in kept):
            continue
        ensembles = [np.stack(step) for step in zip(*(c for _, c in kept), strict=True)]
        if all(np.isfinite(pictures).all() for pictures in ensembles):
            squares = [pairwise_rms(pictures) ** 2 for pictures in ensembles]
            std = list(map(_std, squares))
            by = _ratio(squares[-1], squares[0]) if std[0].value else None
            found.append(DivergenceCurve(line.label, tuple(steps), std, by))
    return found


def _std(squares: np.ndarray) -> Estimate:
    """As `dispersion` has it: half the mean square of the differences, its root."""
    return mean_of_pairs(squares / 2, math.sqrt, positive=True)


def _ratio(last: np.ndarray, first: np.ndarray) -> Estimate:
    """Of two standard deviations, a member being left out of both."""

    def ratio(members: np.ndarray) -> float:
        pairs = np.ix_(members, members)
        above, below = last[pairs].sum(), first[pairs].sum()
        return math.sqrt(above / below) if below else math.inf

    return jackknife(ratio, len(first), positive=True)


def change(there: list[DivergenceCurve]) -> list[str]:
    """By what the dispersion grows from the first step that was kept to the last."""
    known = [(course.change, course.label) for course in there if course.change]
    if not known:
        return []
    span = "From the first step that was kept to the last the standard deviation"
    if len(known) == 1:
        ((only, _),) = known
        way = {1: "it grows", -1: "it falls", 0: "which way cannot be told"}[_way(only)]
        return [f"{span} becomes {text(only)} times what it was: {way}."]
    known.sort(key=lambda pair: pair[0].value)
    (least, where), (most, top) = known[0], known[-1]
    ways = [_way(own) for own, _ in known]
    return [
        f"{span} becomes {text(least)} times (at {where}) to {text(most)} times (at "
        f"{top}) what it was: of {len(known)} settings it grows at {ways.count(1)} "
        f"and falls at {ways.count(-1)}, as far as can be told."
    ]


def _way(change: Estimate) -> int:
    """1 if what has changed has grown, −1 if it has fallen, 0 if that is not sure."""
    if change.low is None or change.high is None:
        return 0
    return int(change.low > 1) - int(change.high < 1)


def plot(there: list[DivergenceCurve]) -> list[Plot]:
    """The dispersion against the steps."""
    if not there:
        return []
    return [
        Plot(
            "How the dispersion of seeds goes with the steps",
            tuple(
                bars(c.label if len(there) > 1 else "", c.steps, c.std, 255)
                for c in there
            ),
            *("step", "standard deviation (levels)"),
        )
    ]
