"""Effect of the execution: the same seeds, computed by other programs."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nst_jax.metrics.dispersion import variance_components
from nst_jax.metrics.divergence import Divergence, Growth
from nst_jax.studies.execution_pairs import (
    ComparisonGroup,
    comparison_groups,
    is_execution_axis,
    start_ulps,
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
    arms = _arm_names(run_data, axes[0])
    index = [run_data.run["axes"][i]["name"] for i in run_data.other_axes(axes[0])]
    sentences: list[str] = []
    for group in groups:
        sentences += _difference_sentences(run_data, arms, group)
        sentences += _variance_sentences(run_data, arms, group)
    return StudyResult(
        tuple(sentences),
        (
            _difference_table(run_data, arms, [*index, "arm"], groups),
            _cost_table(run_data, arms, [*index, "arm"], groups),
        ),
        tuple(plot for group in groups for plot in _growth_plots(arms, group)),
    )


def _arm_names(run_data: RunData, axis: int) -> list[str]:
    """Labels of the axis; a number or a boolean has the axis name before it."""
    name, labels = (run_data.run["axes"][axis][key] for key in ("name", "labels"))
    return [f"{name} {label}" if _is_value(label) else label for label in labels]


def _is_value(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return label in ("True", "False")
    return True


def _noun(run_data: RunData) -> str:
    return "image" if run_data.seed_axis is None else "seed"


def _difference_table(
    run_data: RunData,
    arms: Sequence[str],
    index: Sequence[str],
    groups: Sequence[ComparisonGroup],
) -> Table:
    count = f"{_noun(run_data)}s"
    records = []
    for group in groups:
        for arm, pairs in group.pairs.items():
            record = _difference_record(count, [pair.divergence for pair in pairs])
            record["loss (relative)"] = round_digits(max(pair.loss for pair in pairs))
            records.append(([*group.labels, arms[arm]], record))
        if group.seeds:
            record = _difference_record(count, group.seeds) | {"max ulps": None}
            records.append(([*group.labels, "another seed"], record))
    title = f"Difference from {arms[0]} (exact canvases in [0, 1]"
    if run_data.seed_axis is not None:
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
    run_data: RunData,
    arms: Sequence[str],
    index: Sequence[str],
    groups: Sequence[ComparisonGroup],
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
                f"relative to {arms[0]}": ratio,
            }
            records.append(([*group.labels, arms[arm]], record))
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
    differing = [(d.parted, d.steps) for d in divergences if d.parted is not None]
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


def _difference_sentences(
    run_data: RunData, arms: Sequence[str], group: ComparisonGroup
) -> list[str]:
    device = run_data.run.get("device", {}).get("platform", "device")
    identical: list[tuple[str, list[Divergence]]] = []
    differing: list[tuple[str, list[Divergence]]] = []
    for arm, pairs in group.pairs.items():
        divergences = [pair.divergence for pair in pairs]
        (identical if all(d.equal for d in divergences) else differing).append(
            (arms[arm], divergences)
        )
    sentences = []
    if identical:
        names = "; ".join(name for name, _ in identical)
        steps = _describe_steps(identical[0][1][0].steps)
        sentences.append(
            f"Bit-identical to “{arms[0]}”{group.setting} on this {device}, compared "
            f"{steps}: {names}."
        )
    reference = ""
    if group.seeds:
        reference = f", against {_format_rms(group.seeds)} between seeds"
    for name, divergences in differing:
        first, growth = _first_difference(divergences), _median_growth(divergences)
        assert first is not None
        rate = ""
        if growth:
            rate = (
                f" The difference grows e-fold every {growth.e_folding:.2g} steps, "
                f"fitted over steps {growth.first} to {growth.last}."
            )
        sentences.append(
            f"“{name}” is not bit-identical to “{arms[0]}”{group.setting}: they first "
            f"differ {first[0]} step {first[1]}, and the RMS difference at the end is "
            f"{_format_rms(divergences)} in [0, 1]{reference}.{rate}"
        )
    return sentences


def _describe_steps(steps: Sequence[int]) -> str:
    if len(steps) == 1:
        return "at the end"
    recorded = "" if steps == tuple(range(steps[-1] + 1)) else "recorded "
    return f"at all {len(steps)} {recorded}steps"


def _variance_sentences(
    run_data: RunData, arms: Sequence[str], group: ComparisonGroup
) -> list[str]:
    """Split the variance of the first arm and each differing one by cause."""
    sentences = []
    reference_ulps = start_ulps(run_data, group.members[0][0])
    for arm, pairs in group.pairs.items():
        if len(pairs) < 2 or all(pair.divergence.equal for pair in pairs):
            continue
        share = variance_components(np.stack([pair.ends for pair in pairs])).share
        ulps = abs(start_ulps(run_data, pairs[0].member) - reference_ulps)
        cause = f"{ulps} ulp of one starting value" if ulps else "the execution"
        names = f"“{arms[0]}” and “{arms[arm]}”"
        head = f"Variance among the images of {names}{group.setting}:"
        interval = format_interval(share, lambda x: format_percent(min(max(x, 0), 1)))
        interval = interval or f"{len(pairs)} seeds, too few for a confidence interval"
        sentences.append(
            f"{head} all that is measurable is due to {cause} ({interval})."
            if share.value > 1
            else f"{head} {format_percent(share.value)} % ({interval}) is due to "
            f"{cause}, the rest to the seed's starting noise."
        )
    return sentences


def _growth_plots(arms: Sequence[str], group: ComparisonGroup) -> list[Plot]:
    """RMS distance by step of the arms that differ, and of another seed."""
    curves: Mapping[str, Sequence[Divergence]] = {
        arms[arm]: [pair.divergence for pair in pairs]
        for arm, pairs in group.pairs.items()
        if not all(pair.divergence.equal for pair in pairs)
    } | ({"another seed": group.seeds} if group.seeds else {})
    series = []
    for name, divergences in curves.items():
        rms = np.sqrt(np.square([d.distances for d in divergences]).mean(0))
        y = tuple(float(distance) if distance > 0 else None for distance in rms)
        series.append(Series(name, divergences[0].steps, y))
    if not series or len(series[0].x) < 2:
        return []
    title = f"Growth of the difference from {arms[0]}{group.setting}"
    return [Plot(title, tuple(series), "step", "RMS distance")]
