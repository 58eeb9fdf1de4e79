"""Dispersion across seeds over the steps of an optimisation."""

import math
from typing import NamedTuple

import numpy as np

from nst_jax.metrics.distances import pairwise_rms
from nst_jax.metrics.statistics import Estimate, jackknife, mean_of_pairs
from nst_jax.studies.formatting import (
    evenly_spaced,
    format_estimate,
    series_with_intervals,
)
from nst_jax.studies.results import Plot
from nst_jax.studies.run_data import RunData, SeedGroup

#: Curves of a plot, at most: matplotlib has as many colours.
MAX_CURVES = 10


class DivergenceCurve(NamedTuple):
    """Dispersion of a group of seeds, step by step.

    Attributes:
      label: label of the group.
      steps: recorded steps.
      std: standard deviation across the seeds at each of these steps.
      growth: last standard deviation over the first; None if the first is 0.
    """

    label: str
    steps: tuple[int, ...]
    std: list[Estimate]
    growth: Estimate | None


def divergence_curves(
    run_data: RunData, groups: list[SeedGroup]
) -> list[DivergenceCurve]:
    """Return a curve for each group whose members recorded the same steps."""
    if run_data.trajectory is None:
        return []
    curves = []
    dispersed = [group for group in groups if group.dispersion.std.value > 0]
    for group in evenly_spaced(dispersed, MAX_CURVES):
        trajectories = [run_data.trajectory(member) for member in group.members]
        steps, _ = trajectories[0]
        if len(steps) < 2 or any(recorded != steps for recorded, _ in trajectories):
            continue
        canvases = zip(*(recorded for _, recorded in trajectories), strict=True)
        ensembles = [np.stack(ensemble) for ensemble in canvases]
        if all(np.isfinite(ensemble).all() for ensemble in ensembles):
            squares = [pairwise_rms(ensemble) ** 2 for ensemble in ensembles]
            # The unbiased variance is half the mean square of the differences.
            std = [mean_of_pairs(s / 2, math.sqrt, positive=True) for s in squares]
            growth = _std_ratio(squares[-1], squares[0]) if std[0].value else None
            curves.append(DivergenceCurve(group.label, tuple(steps), std, growth))
    return curves


def _std_ratio(last: np.ndarray, first: np.ndarray) -> Estimate:
    """Ratio of two standard deviations; the jackknife omits a member from both."""

    def ratio(members: np.ndarray) -> float:
        pairs = np.ix_(members, members)
        numerator, denominator = last[pairs].sum(), first[pairs].sum()
        return math.sqrt(numerator / denominator) if denominator else math.inf

    return jackknife(ratio, len(first), positive=True)


def growth_sentences(curves: list[DivergenceCurve]) -> list[str]:
    """Describe the change of the dispersion over the recorded steps."""
    growths = [(curve.growth, curve.label) for curve in curves if curve.growth]
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


def divergence_plots(curves: list[DivergenceCurve]) -> list[Plot]:
    """Plot the dispersion against the steps."""
    if not curves:
        return []
    series = tuple(
        series_with_intervals(c.label if len(curves) > 1 else "", c.steps, c.std, 255)
        for c in curves
    )
    title, y_label = "Dispersion across seeds by step", "standard deviation (levels)"
    return [Plot(title, series, "step", y_label)]
