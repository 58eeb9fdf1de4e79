"""Trade-off between strokes and structure along a weight.

One weight means different things to different methods. So methods are compared by
their curves: the stroke distance of each at an equal structure distance.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nst_jax.metrics.quality import STROKES, STRUCTURE
from nst_jax.metrics.statistics import Estimate
from nst_jax.studies.results import MAX_CURVES, Plot, Series, StudyResult, Table
from nst_jax.studies.run_data import RunData

STYLE, CONTENT = STROKES, STRUCTURE
#: Structure distances at which curves are compared.
POINTS = 101
#: Config paths whose values have different input images, which no curve joins.
IMAGE_PATHS = {"content", "styles", "style_scale", "style_size", "frame", "size"}


class QualitySetting(NamedTuple):
    """Mean measurements of the seeds of one setting.

    Attributes:
      label: label of the setting.
      members: finished members.
      means: column -> mean; without columns that could not be measured.
    """

    label: str
    members: list[int]
    means: dict[str, Estimate]


#: (structure distance, stroke distance) at each weight.
Curve = Sequence[tuple[float, float]]
#: Label of the input images -> label of the method -> its settings along the weight.
Curves = dict[str, dict[str, list[QualitySetting]]]


class CurveComparison(NamedTuple):
    """Stroke distance of a curve over a reference's, at equal structure distance.

    Attributes:
      mean: mean ratio over the shared structure distances.
      best: smallest ratio.
      worst: largest ratio.
      shared: shared part of the reference's range of structure distances, 0 to 1.
    """

    mean: float
    best: float
    worst: float
    shared: float


def study_tradeoff(run_data: RunData, settings: list[QualitySetting]) -> StudyResult:
    """Draw and compare the curves along a weight axis, if there is one.

    Args:
      run_data: data of the run.
      settings: settings with a stroke distance and a structure distance.
    """
    axis = _weight_axis(run_data)
    if axis is None or not settings:
        return StudyResult()
    curves = _group_curves(run_data, settings, axis)
    sentences, tables = _compare_methods(curves)
    weight = run_data.run.axes[axis].name
    plots = (_plot(weight, images, methods) for images, methods in curves.items())
    return StudyResult(
        (*_range_sentences(run_data, curves, axis), *sentences), tables, tuple(plots)
    )


def compare_curves(curve: Curve, reference: Curve) -> CurveComparison | None:
    """Compare the stroke distances of two curves at equal structure distance.

    Curves are interpolated linearly over the structure distances that both have.

    Returns:
      The comparison, or None if they share no range or the reference reaches 0.
    """
    points, reference_points = sorted(curve), sorted(reference)
    low = max(points[0][0], reference_points[0][0])
    high = min(points[-1][0], reference_points[-1][0])
    if low >= high:
        return None
    x = np.linspace(low, high, POINTS)
    style, reference_style = (
        np.interp(x, *np.transpose(line)) for line in (points, reference_points)
    )
    if not reference_style.all():
        return None
    ratio = style / reference_style
    shared = (high - low) / (reference_points[-1][0] - reference_points[0][0])
    return CurveComparison(
        *map(float, (ratio.mean(), ratio.min(), ratio.max(), shared))
    )


def _weight_axis(run_data: RunData) -> int | None:
    """The first axis of a style weight, else of any weight."""
    names = {
        axis: " ".join(paths)
        for axis, paths in enumerate(run_data.fields)
        if any(path.endswith("weight") for path in paths)
    }
    return min(names, key=lambda axis: "style" not in names[axis], default=None)


def _group_curves(
    run_data: RunData, settings: list[QualitySetting], weight_axis: int
) -> Curves:
    """Settings in the order of the weight, by input images and by method."""
    axes = run_data.other_axes(weight_axis)
    image_axes = [a for a in axes if IMAGE_PATHS & set(run_data.fields[a])]
    method_axes = [a for a in axes if a not in image_axes]
    curves: Curves = {}
    for setting in sorted(
        settings, key=lambda s: run_data.index(s.members[0], [weight_axis])
    ):
        images, method = (
            ", ".join(run_data.labels(setting.members[0], axes))
            for axes in (image_axes, method_axes)
        )
        curves.setdefault(images, {}).setdefault(method, []).append(setting)
    return curves


def _plot(weight: str, images: str, methods: dict[str, list[QualitySetting]]) -> Plot:
    title = ": ".join(filter(None, (f"Distances along {weight}", images)))
    first_methods = itertools.islice(methods.items(), MAX_CURVES)
    series = tuple(_series(label, curve) for label, curve in first_methods)
    return Plot(title, series, CONTENT, STYLE, y_scale="linear")


def _series(label: str, curve: list[QualitySetting]) -> Series:
    x = tuple(setting.means[CONTENT].value for setting in curve)
    style = [setting.means[STYLE] for setting in curve]
    y = tuple(estimate.value for estimate in style)
    if all(estimate.low is None for estimate in style):
        return Series(label, x, y)
    low, high = zip(*((e.low, e.high) for e in style), strict=True)
    return Series(label, x, y, low, high)


def _range_sentences(run_data: RunData, curves: Curves, weight_axis: int) -> list[str]:
    """Compare the ends of the weight axis, mean over the curves that have both."""
    axis = run_data.run.axes[weight_axis]
    ends = [(0,), (len(axis.labels) - 1,)]
    complete = [
        (curve[0], curve[-1])
        for methods in curves.values()
        for curve in methods.values()
        if [run_data.index(curve[i].members[0], [weight_axis]) for i in (0, -1)] == ends
    ]
    if not complete:
        return []
    changes = []
    for name in (STYLE, CONTENT):
        values = [[end.means[name].value for end in pair] for pair in complete]
        first, last = np.mean(values, axis=0)
        changes.append(f"{name} changes from {first:.3g} to {last:.3g}")
    count = f" (mean of {len(complete)} curves)" if len(complete) > 1 else ""
    return [
        f"From {axis.name} {axis.labels[0]} to {axis.labels[-1]}, "
        f"{' and '.join(changes)}{count}."
    ]


def _compare_methods(curves: Curves) -> tuple[list[str], tuple[Table, ...]]:
    """Compare each method with the first one, for all input images."""
    reference, *methods = dict.fromkeys(
        m for by_name in curves.values() for m in by_name
    )
    sentences, rows = [], []
    for method in methods:
        ratios = []
        for images, by_name in curves.items():
            if not {reference, method} <= by_name.keys():
                continue
            points, reference_points = (
                [(s.means[CONTENT].value, s.means[STYLE].value) for s in by_name[name]]
                for name in (method, reference)
            )
            if comparison := compare_curves(points, reference_points):
                ratios.append(comparison.mean)
                cells = (f"{ratio:.2f}" for ratio in comparison[:3])
                shared = f"{100 * comparison.shared:.0f}"
                rows.append((images, method, *cells, shared))
        if ratios:
            lower = sum(ratio < 1 for ratio in ratios)
            sentences.append(
                f"At equal {CONTENT}, {method} has {np.mean(ratios):.2f} times the "
                f"{STYLE} of {reference}; it is lower for {lower} of {len(ratios)} "
                "inputs."
            )
    if not rows:
        return [], ()
    title = f"Ratio of the {STYLE} to {reference} at equal {CONTENT}"
    columns = "images", "method", "mean", "best", "worst", "shared (%)"
    return sentences, (Table(title, columns, tuple(rows)),)
