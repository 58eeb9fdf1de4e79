"""Dispersion across seeds as a function of the step."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nst_jax.metrics.dispersion import Dispersion, dispersion, twin_deviation
from nst_jax.metrics.distances import CUTOFF, pairwise_rms, rms
from nst_jax.metrics.statistics import Estimate, root_ratio_of_pairs
from nst_jax.studies.formatting import (
    evenly_spaced,
    format_estimate,
    round_digits,
    series_with_intervals,
)
from nst_jax.studies.results import MAX_CURVES, Plot, StudyResult, Table
from nst_jax.studies.run_data import RunData, SeedGroup


class DispersionCurve(NamedTuple):
    """Dispersion of a group of seeds, step by step.

    Attributes:
      group: the group.
      steps: recorded steps.
      dispersions: dispersion of the canvases at each of these steps.
      floors: `twin_deviation` at each of these steps; empty without twins.
      growth: last standard deviation over the first; None if the first is 0.
    """

    group: SeedGroup
    steps: tuple[int, ...]
    dispersions: list[Dispersion]
    floors: list[Estimate]
    growth: Estimate | None

    @property
    def std(self) -> list[Estimate]:
        return [dispersion.std for dispersion in self.dispersions]


def study_dispersion_by_step(run_data: RunData) -> StudyResult:
    """Measure the dispersion of the recorded exact canvases, clipped to [0, 1]."""
    dispersed = [g for g in run_data.seed_groups if g.dispersion.std.value > 0]
    curves = [
        curve
        for group in evenly_spaced(dispersed, MAX_CURVES)
        if (curve := _measure(run_data, group))
    ]
    if not curves:
        return StudyResult()
    return StudyResult(
        tuple(_growth_sentences(curves)),
        (_table(run_data, curves),),
        (_std_plot(curves), _share_plot(curves)),
    )


def _measure(run_data: RunData, group: SeedGroup) -> DispersionCurve | None:
    """Return the curve of a group; None unless its members recorded the same steps."""
    canvases = run_data.canvases(group.members)
    if len(canvases) < 2:
        return None
    steps = tuple(canvases)
    first, last = (pairwise_rms(canvases[step]) ** 2 for step in (steps[0], steps[-1]))
    twins = [(m, run_data.twins[m][0]) for m in group.members if m in run_data.twins]
    floors = []
    if pairs := run_data.canvases([member for pair in twins for member in pair]):
        floors = [
            twin_deviation([rms(*pair) for pair in zip(x[::2], x[1::2], strict=True)])
            for x in pairs.values()
        ]
    return DispersionCurve(
        group,
        steps,
        [dispersion(ensemble, CUTOFF) for ensemble in canvases.values()],
        floors if pairs and tuple(pairs) == steps else [],
        root_ratio_of_pairs(last, first) if first.any() else None,
    )


def _table(run_data: RunData, curves: Sequence[DispersionCurve]) -> Table:
    records = []
    for curve in curves:
        losses = _mean_losses(run_data, curve.group.members)
        for i, (step, measured) in enumerate(
            zip(curve.steps, curve.dispersions, strict=True)
        ):
            record: dict[str, Any] = {
                "mean loss": round_digits(losses.get(step), 4),
                "standard deviation": format_estimate(measured.std, 255),
                "share": format_estimate(measured.share),
                "coarse share": format_estimate(measured.coarse_share),
                "fine share": format_estimate(measured.fine_share),
            }
            if run_data.twins:
                floor = curve.floors[i] if curve.floors else None
                record["of twins"] = format_estimate(floor, 255)
            records.append(([curve.group.label, step], record))
    title = (
        "Dispersion across seeds by step (levels of 255; shares are of the standard "
        "deviation of unrelated pictures of the same contrast)"
    )
    head = run_data.other_names(run_data.seed_axis)
    return Table.from_records(title, [head, "step"], records)


def _mean_losses(run_data: RunData, members: Sequence[int]) -> dict[int, float]:
    """Return step -> mean loss over the members, at steps that all have logged."""
    histories = [
        {row["step"]: row["loss"] for row in run_data.rows.get(member, ())}
        for member in members
    ]
    means = {}
    for step in histories[0]:
        losses = [loss for h in histories if (loss := h.get(step)) is not None]
        if len(losses) == len(members):
            means[step] = float(np.mean(losses))
    return means


def _growth_sentences(curves: Sequence[DispersionCurve]) -> list[str]:
    """Describe the change of the dispersion over the recorded steps."""
    growths = [(curve.growth, curve.group.label) for curve in curves if curve.growth]
    if not growths:
        return []
    head = (
        "From the first recorded step to the last, the standard deviation across seeds "
        "changes by a factor of"
    )
    signs = [_growth_sign(growth) for growth, _ in growths]
    if len(growths) == 1:
        verdict = {1: "it grows", -1: "it falls", 0: "the interval includes 1"}
        return [f"{head} {format_estimate(growths[0][0])}: {verdict[signs[0]]}."]
    growths.sort(key=lambda pair: pair[0].value)
    (lowest, lowest_label), (highest, highest_label) = growths[0], growths[-1]
    return [
        f"{head} {format_estimate(lowest)} for {lowest_label} to "
        f"{format_estimate(highest)} for {highest_label}. With 95 % confidence, it "
        f"grows in {signs.count(1)} and falls in {signs.count(-1)} of {len(growths)} "
        "settings."
    ]


def _growth_sign(growth: Estimate) -> int:
    """1 or −1 if the interval of a ratio lies above or below 1, else 0."""
    if growth.low is None or growth.high is None:
        return 0
    return int(growth.low > 1) - int(growth.high < 1)


def _std_plot(curves: Sequence[DispersionCurve]) -> Plot:
    """Plot the standard deviation of seeds, and of twins."""
    series = []
    count = MAX_CURVES // 2 if curves[0].floors else MAX_CURVES
    for curve in evenly_spaced(curves, count):
        label = curve.group.label if len(curves) > 1 else ""
        series.append(series_with_intervals(label, curve.steps, curve.std, 255))
        if curve.floors:
            label = ", ".join(filter(None, (label, "twins")))
            series.append(series_with_intervals(label, curve.steps, curve.floors, 255))
    title, y_label = "Dispersion across seeds by step", "standard deviation (levels)"
    return Plot(title, tuple(series), "step", y_label)


def _share_plot(curves: Sequence[DispersionCurve]) -> Plot:
    """Plot the shares of structure and of grain."""
    series = []
    for curve in evenly_spaced(curves, MAX_CURVES // 2):
        label = f"{curve.group.label}, " if len(curves) > 1 else ""
        for band in ("coarse", "fine"):
            shares = [getattr(x, f"{band}_share") for x in curve.dispersions]
            series.append(series_with_intervals(label + band, curve.steps, shares))
    title = "Share of the standard deviation of unrelated pictures by step"
    return Plot(title, tuple(series), "step", "share", y_scale="linear")
