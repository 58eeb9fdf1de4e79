"""What a weight trades: a picture nearer to its style is farther from its content.

Settings are not to be compared at one weight, which means another thing to each, but
by their curves: how near to the style is one, where it is as near to the content as
another?
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nst_jax.metrics.statistics import Estimate
from nst_jax.studies.results import Plot, RunData, Series, StudyResult, Table
from nst_jax.studies.seed_divergence import CURVES

STYLE, CONTENT = "from the style", "from the content"
#: How many distances from the content curves are compared at.
POINTS = 101
#: What an axis varies if its places have other pictures, which no curve should join.
PICTURES = {"content", "styles", "style_scale", "style_size", "frame", "size"}


class Setting(NamedTuple):
    """The seeds at one place on the other axes.

    Attributes:
      label: where that is.
      place: the index of one of them along each axis.
      finished: how many of them are.
      merits: column -> mean over these; without what could not be measured.
    """

    label: str
    place: list[int]
    finished: int
    merits: dict[str, Estimate]


#: (distance from the content, distance from the style) at each weight.
Curve = Sequence[tuple[float, float]]
#: Pictures -> what else is set -> the settings along a weight.
Curves = dict[str, dict[str, list[Setting]]]


class CurveComparison(NamedTuple):
    """One curve against another, where both have a picture as far from the content.

    Attributes:
      mean: its distance from the style over the other's, mean over these places.
      best: the least of these ratios.
      worst: the largest.
      shared: the part of the other's range of distances from the content.
    """

    mean: float
    best: float
    worst: float
    shared: float


def trade(evidence: RunData, settings: list[Setting], seeds: int) -> StudyResult:
    """The curves along a weight, if one is varied, and how they compare.

    Args:
      settings: each with its distances from the style and from the content.
      seeds: which axis is that of the seeds.
    """
    along = _weight(evidence)
    if along is None or not settings:
        return StudyResult()
    curves = _curves(evidence, settings, along, seeds)
    words, tables = _compared(curves)
    return StudyResult(
        (*_traded(evidence, curves, along), *words),
        tables,
        tuple(_plots(curves, evidence.run["axes"][along]["name"])),
    )


def compare_curves(curve: Curve, reference: Curve) -> CurveComparison | None:
    """How much nearer to the style a curve is at equal distance from the content.

    Between two of its points a curve is a straight line. It is looked at from the
    nearest to the farthest place that both have; None if there is no such stretch.
    """
    ours, theirs = sorted(curve), sorted(reference)
    low, high = max(ours[0][0], theirs[0][0]), min(ours[-1][0], theirs[-1][0])
    if low >= high:
        return None
    x = np.linspace(low, high, POINTS)
    own, other = (np.interp(x, *np.transpose(line)) for line in (ours, theirs))
    if not other.all():
        return None
    ratio = own / other
    shared = (high - low) / (theirs[-1][0] - theirs[0][0])
    return CurveComparison(
        *map(float, (ratio.mean(), ratio.min(), ratio.max(), shared))
    )


def _weight(evidence: RunData) -> int | None:
    """The axis of a weight, of a style's if there are several."""
    weights = [
        axis
        for axis, paths in enumerate(evidence.fields)
        if any(path.endswith("weight") for path in paths)
    ]
    names = [" ".join(paths) for paths in evidence.fields]
    return min(weights, key=lambda axis: "style" not in names[axis], default=None)


def _curves(
    evidence: RunData, settings: list[Setting], along: int, seeds: int
) -> Curves:
    """What differs in the weight alone, in its order; a plot for the same pictures."""
    axes = evidence.run["axes"]
    others = [axis for axis in range(len(axes)) if axis not in (along, seeds)]
    pictures = [axis for axis in others if PICTURES & set(evidence.fields[axis])]
    methods = [axis for axis in others if axis not in pictures]

    def where(setting: Setting, chosen: list[int]) -> str:
        return ", ".join(axes[a]["labels"][setting.place[a]] for a in chosen)

    curves: Curves = {}
    for setting in sorted(settings, key=lambda s: s.place[along]):
        plot = curves.setdefault(where(setting, pictures), {})
        plot.setdefault(where(setting, methods), []).append(setting)
    return curves


def _plots(curves: Curves, weight: str) -> list[Plot]:
    return [
        Plot(
            ": ".join(filter(None, (f"Distances along {weight}", pictures))),
            tuple(_series(*curve) for curve in itertools.islice(plot.items(), CURVES)),
            *(f"distance {CONTENT}", f"distance {STYLE}"),
            y_scale="linear",
        )
        for pictures, plot in curves.items()
    ]


def _series(label: str, curve: list[Setting]) -> Series:
    x = tuple(setting.merits[CONTENT].value for setting in curve)
    ys = [setting.merits[STYLE] for setting in curve]
    ends = [(y.low, y.high) for y in ys] if any(y.low is not None for y in ys) else []
    low, high = zip(*ends, strict=True) if ends else ((), ())
    return Series(label, x, tuple(y.value for y in ys), low, high)


def _traded(evidence: RunData, curves: Curves, along: int) -> list[str]:
    """What the ends of the weight differ by, mean over the curves that have both."""
    axis = evidence.run["axes"][along]
    ends = [0, len(axis["labels"]) - 1]
    whole = [
        [curve[0], curve[-1]]
        for plot in curves.values()
        for curve in plot.values()
        if [curve[0].place[along], curve[-1].place[along]] == ends
    ]
    if not whole:
        return []
    changes = []
    for name in (STYLE, CONTENT):
        first, last = np.mean(
            [[end.merits[name].value for end in pair] for pair in whole], axis=0
        )
        changes.append(f"that {name} goes from {first:.3g} to {last:.3g}")
    count = f" (mean of {len(whole)} curves)" if len(whole) > 1 else ""
    return [
        f"From {axis['name']} {axis['labels'][0]} to {axis['labels'][-1]} the distance "
        f"{' and '.join(changes).removeprefix('that ')}{count}."
    ]


def _compared(curves: Curves) -> tuple[list[str], tuple[Table, ...]]:
    """Each method against the first, on all pictures."""
    methods = list(dict.fromkeys(name for plot in curves.values() for name in plot))
    first, *others = methods
    found = {
        (pictures, method): compare_curves(_points(plot[method]), _points(plot[first]))
        for method in others
        for pictures, plot in curves.items()
        if first in plot and method in plot
    }
    told = {place: own for place, own in found.items() if own is not None}
    words = []
    for method in others:
        own = [comparison for (_, name), comparison in told.items() if name == method]
        if own:
            nearer = sum(comparison.mean < 1 for comparison in own)
            words.append(
                f"At equal distance {CONTENT}, {method} has "
                f"{np.mean([comparison.mean for comparison in own]):.2f} of the distance "
                f"{STYLE} that {first} has, and is nearer on {nearer} of {len(own)}."
            )
    if not told:
        return [], ()
    table = Table(
        f"Distance {STYLE} at equal distance {CONTENT}, over that of {first}",
        ("pictures", "method", "mean", "best", "worst", "shared (%)"),
        tuple(
            (
                *place,
                *(f"{ratio:.2f}" for ratio in (own.mean, own.best, own.worst)),
                f"{100 * own.shared:.0f}",
            )
            for place, own in told.items()
        ),
    )
    return words, (table,)


def _points(curve: list[Setting]) -> Curve:
    return [(s.merits[CONTENT].value, s.merits[STYLE].value) for s in curve]
