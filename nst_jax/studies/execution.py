"""Effect of the execution: the same seeds, computed by other programs."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from nst_jax.metrics.dispersion import variance_components
from nst_jax.metrics.divergence import Divergence, Growth
from nst_jax.studies.execution_pairs import (
    ComparisonGroup,
    comparison_groups,
    is_execution_axis,
)
from nst_jax.studies.formatting import format_interval, format_percent, round_digits
from nst_jax.studies.results import Plot, Series, StudyResult, Table
from nst_jax.studies.run_data import RunData


def study_execution(run_data: RunData) -> StudyResult:
    """Compare the arms of an execution axis with the first arm, bit by bit.

    Every recorded step is compared, for each setting of the other axes. Distances are
    of exact canvases, not clipped; over seeds they are root mean squares.
    """
    axes = [i for i, paths in enumerate(run_data.fields) if is_execution_axis(paths)]
    if not axes or run_data.trajectory is None:
        return StudyResult()
    groups = comparison_groups(run_data, axes[0])
    if not groups:
        return StudyResult()
    index = [run_data.run["axes"][i]["name"] for i in run_data.other_axes(axes[0])]
    device = run_data.run.get("device", {}).get("platform", "device")
    sentences: list[str] = []
    for group in groups:
        sentences += _difference_sentences(device, group)
        sentences += _variance_sentences(group)
    return StudyResult(
        tuple(sentences),
        (
            _difference_table(run_data, [*index, "arm"], groups),
            _cost_table(run_data, [*index, "arm"], groups),
        ),
        tuple(plot for group in groups for plot in _growth_plots(group)),
    )


def _difference_table(
    run_data: RunData, index: Sequence[str], groups: Sequence[ComparisonGroup]
) -> Table:
    has_seeds = run_data.seed_axis is not None
    count = "seeds" if has_seeds else "images"
    records = []
    for group in groups:
        for arm in group.arms:
            record = _difference_record(count, arm.divergences)
            record["loss (relative)"] = round_digits(max(arm.losses))
            records.append(([*group.labels, arm.name], record))
        if group.seeds:
            record = _difference_record(count, group.seeds) | {"max ulps": None}
            records.append(([*group.labels, "another seed"], record))
    title = f"Difference from {groups[0].names[0]} (exact canvases in [0, 1]"
    if has_seeds:
        title += (
            "; over seeds: earliest step, largest maximum, mean, and root mean square "
            "of the RMS"
        )
    return Table.from_records(title + ")", index, records)


def _difference_record(count: str, divergences: Sequence[Divergence]) -> dict[str, Any]:
    ulps = [d.ulps for d in divergences if d.ulps is not None]
    first, growth = _first_difference(divergences), _median_growth(divergences)
    return {
        count: len(divergences),
        "bit-identical": "no" if first else "yes",
        "differ at step": _format_step(first),
        "max |Δ|": round_digits(max(d.max for d in divergences)),
        "mean |Δ|": round_digits(statistics.fmean(d.mean for d in divergences)),
        "max ulps": max(ulps, default=None),
        "RMS at the end": round_digits(_rms(divergences)),
        "loss (relative)": None,
        "e-folding steps": growth and round_digits(growth.e_folding),
    }


def _cost_table(
    run_data: RunData, index: Sequence[str], groups: Sequence[ComparisonGroup]
) -> Table:
    """Run time per step and batch slot; padding of the last batch counts as slots."""
    records = []
    for group in groups:
        seconds: dict[int, float] = {}
        for arm, member in (item for seed in group.members for item in seed.items()):
            number = run_data.run["members"][member].get("group")
            if number is None:
                continue
            program = run_data.run["groups"][number]
            if program["member_steps"]:
                size = program["batch_size"] or 1
                filled = program["count"] / (size * math.ceil(program["count"] / size))
                seconds[arm] = filled * program["run_s"] / program["member_steps"]
        for arm, time in sorted(seconds.items()):
            ratio = round_digits(time / seconds[0]) if 0 in seconds else None
            record = {
                "milliseconds": round_digits(1000 * time),
                f"relative to {group.names[0]}": ratio,
            }
            records.append(([*group.labels, group.names[arm]], record))
    title = "Time per step of a member, including the recording of its canvases"
    return Table.from_records(title, index, records)


def _rms(divergences: Sequence[Divergence]) -> float:
    return math.sqrt(statistics.fmean(d.rms**2 for d in divergences))


def _format_rms(divergences: Sequence[Divergence]) -> str:
    """RMS over the seeds, with its range if they differ."""
    values = [d.rms for d in divergences]
    low, high = f"{min(values):.2g}", f"{max(values):.2g}"
    return f"{_rms(divergences):.2g}" + (f" ({low} to {high})" if low != high else "")


def _first_difference(divergences: Sequence[Divergence]) -> tuple[str, int] | None:
    """("at", first differing step), or "by" if the step before was not recorded."""
    differing = [
        (d.first_difference, d.steps)
        for d in divergences
        if d.first_difference is not None
    ]
    if not differing:
        return None
    step, steps = min(differing)
    previous = max((s for s in steps if s < step), default=-1)
    return "at" if previous == step - 1 else "by", step


def _format_step(difference: tuple[str, int] | None) -> str | int | None:
    """The step of a table: an exact one as a number."""
    if difference is None or difference[0] == "at":
        return difference and difference[1]
    return f"by {difference[1]}"


def _median_growth(divergences: Sequence[Divergence]) -> Growth | None:
    """Median of the positive growth rates."""
    growths = [d.growth for d in divergences if d.growth and d.growth.rate > 0]
    growths.sort(key=lambda growth: growth.e_folding)
    return growths[(len(growths) - 1) // 2] if growths else None


def _difference_sentences(device: str, group: ComparisonGroup) -> list[str]:
    reference = f"“{group.names[0]}”{group.setting}"
    sentences = []
    if identical := [arm for arm in group.arms if arm.is_identical]:
        names = "; ".join(arm.name for arm in identical)
        steps = _describe_steps(identical[0].divergences[0].steps)
        sentences.append(
            f"Bit-identical to {reference} on this {device}, compared {steps}: {names}."
        )
    scale = f", against {_format_rms(group.seeds)} between seeds" if group.seeds else ""
    for arm in group.arms:
        first, growth = (
            _first_difference(arm.divergences),
            _median_growth(arm.divergences),
        )
        if first is None:
            continue
        rate = ""
        if growth:
            rate = (
                f" The difference grows e-fold every {growth.e_folding:.2g} steps, "
                f"fitted over steps {growth.first} to {growth.last}."
            )
        sentences.append(
            f"“{arm.name}” is not bit-identical to {reference}: they first differ "
            f"{first[0]} step {first[1]}, and the RMS difference at the end is "
            f"{_format_rms(arm.divergences)} in [0, 1]{scale}.{rate}"
        )
    return sentences


def _describe_steps(steps: Sequence[int]) -> str:
    if len(steps) == 1:
        return "at the end"
    recorded = "" if steps == tuple(range(steps[-1] + 1)) else "recorded "
    return f"at all {len(steps)} {recorded}steps"


def _variance_sentences(group: ComparisonGroup) -> list[str]:
    """Split the variance of the first arm and each differing one by cause."""
    sentences = []
    for arm in group.arms:
        seeds = len(arm.divergences)
        if seeds < 2 or arm.is_identical:
            continue
        share = variance_components(np.stack(arm.ends)).share
        cause = f"{arm.ulps} ulp of one starting value" if arm.ulps else "the execution"
        names = f"“{group.names[0]}” and “{arm.name}”"
        head = f"Variance among the images of {names}{group.setting}:"
        interval = format_interval(share, lambda x: format_percent(min(max(x, 0), 1)))
        interval = interval or f"{seeds} seeds, too few for a confidence interval"
        sentences.append(
            f"{head} all that is measurable is due to {cause} ({interval})."
            if share.value > 1
            else f"{head} {format_percent(share.value)} % ({interval}) is due to "
            f"{cause}, the rest to the seed's starting noise."
        )
    return sentences


def _growth_plots(group: ComparisonGroup) -> list[Plot]:
    """RMS distance by step of the arms that differ, and of another seed."""
    curves: dict[str, Sequence[Divergence]] = {
        arm.name: arm.divergences for arm in group.arms if not arm.is_identical
    }
    if group.seeds:
        curves["another seed"] = group.seeds
    series = []
    for name, divergences in curves.items():
        rms = np.sqrt(np.square([d.distances for d in divergences]).mean(0))
        y = tuple(float(distance) if distance > 0 else None for distance in rms)
        series.append(Series(name, divergences[0].steps, y))
    if not series or len(series[0].x) < 2:
        return []
    title = f"Growth of the difference from {group.names[0]}{group.setting}"
    return [Plot(title, tuple(series), "step", "RMS distance")]
