"""Effect of the execution: the same seeds, computed by other programs."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nst_jax.metrics.dispersion import variance_components
from nst_jax.metrics.divergence import Divergence, Growth, divergence
from nst_jax.studies.formatting import format_interval, format_percent, round_digits
from nst_jax.studies.results import Plot, Series, StudyResult, Table
from nst_jax.studies.run_data import ULPS, RunData

#: An axis over these config paths varies the execution, not the request.
EXECUTION_PREFIXES = ("ensemble.", "numerics.")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One arm against the first arm, or other seeds against the first seed.

    Each list has a value for each pair of members.

    Attributes:
      name: name of the arm.
      ulps: perturbation of the start relative to the first arm, in ulps.
      divergences: distances of the canvases from those of the reference.
      losses: relative differences of the last losses; empty between seeds.
      ends: last canvas of the reference and of this arm, float32 [H, W, 3] each.
    """

    name: str
    ulps: int = 0
    divergences: list[Divergence] = dataclasses.field(default_factory=list)
    losses: list[float] = dataclasses.field(default_factory=list)
    ends: list[tuple[np.ndarray, np.ndarray]] = dataclasses.field(default_factory=list)

    @property
    def first_difference(self) -> tuple[str, int] | None:
        """("at", first differing step), or "by" if the step before is no record."""
        differing = [
            (d.first_difference, d.steps)
            for d in self.divergences
            if d.first_difference is not None
        ]
        if not differing:
            return None
        step, steps = min(differing)
        return "at" if step == 0 or step - 1 in steps else "by", step

    @property
    def growth(self) -> Growth | None:
        """Median of the positive growth rates."""
        growths = [d.growth for d in self.divergences if d.growth and d.growth.rate > 0]
        growths.sort(key=lambda growth: growth.e_folding)
        return growths[(len(growths) - 1) // 2] if growths else None

    @property
    def distances(self) -> np.ndarray:
        """RMS distance at each step, over all pairs."""
        return np.sqrt(np.square([d.distances for d in self.divergences]).mean(0))

    @property
    def rms(self) -> float:
        return math.sqrt(statistics.fmean(d.rms**2 for d in self.divergences))

    def format_rms(self) -> str:
        """Return the last RMS distance, with its range over the pairs."""
        values = [d.rms for d in self.divergences]
        low, high = f"{min(values):.2g}", f"{max(values):.2g}"
        return f"{self.rms:.2g}" + (f" ({low} to {high})" if low != high else "")

    def record(self, count: str) -> dict[str, Any]:
        """Return the cells of a table; `count` names the column of the pairs."""
        first, growth, all_pairs = self.first_difference, self.growth, self.divergences
        by_step = first and " ".join(map(str, first))
        ulps = [d.ulps for d in all_pairs if d.ulps is not None and self.losses]
        return {
            count: len(all_pairs),
            "bit-identical": "no" if first else "yes",
            "differ at step": first[1] if first and first[0] == "at" else by_step,
            "max |Δ|": round_digits(max(d.max for d in all_pairs)),
            "mean |Δ|": round_digits(statistics.fmean(d.mean for d in all_pairs)),
            "max ulps": max(ulps, default=None),
            "RMS at the end": round_digits(self.rms),
            "loss (relative)": round_digits(max(self.losses, default=math.nan)),
            "e-folding steps": growth and round_digits(growth.e_folding),
        }


def is_execution_axis(paths: Sequence[str]) -> bool:
    """Return whether an axis over these paths varies the execution only."""
    return all(p.startswith(EXECUTION_PREFIXES) or p == ULPS for p in paths)


def study_execution(run_data: RunData) -> StudyResult:
    """Compare the arms of an execution axis with the first arm, bit by bit.

    Every recorded step is compared, for each setting of the other axes. Distances are
    of exact canvases, not clipped; over seeds they are root mean squares. Twins of
    several settings are the floor of other studies instead.
    """
    axes = [
        i
        for i, paths in enumerate(run_data.fields)
        if is_execution_axis(paths)
        and not (i == run_data.twin_axis and run_data.other_axes(i))
    ]
    if not axes:
        return StudyResult()
    axis, other_axes = axes[0], run_data.other_axes(axes[0])
    names = _arm_names(run_data, axis)
    has_seeds = run_data.seed_axis is not None
    differences, costs, sentences, plots = [], [], list[str](), list[Plot]()
    for seeds in run_data.seeds_by_setting(axis, run_data.finals):
        by_arm = [{run_data.index(m, [axis])[0]: m for m in seed} for seed in seeds]
        by_arm = [members for members in by_arm if 0 in members]
        arms, between_seeds = _compare_arms(run_data, names, by_arm)
        if not arms:
            continue
        labels = run_data.labels(by_arm[0][0], other_axes)
        words = run_data.describe(by_arm[0][0], other_axes)
        setting = f" at {words}" if words else ""
        for comparison in (*arms, *between_seeds):
            cells = comparison.record("seeds" if has_seeds else "images")
            differences.append(([*labels, comparison.name], cells))
        seconds = _seconds_per_step(run_data, by_arm)
        for arm, time in sorted(seconds.items()):
            ratio = round_digits(time / seconds.get(0, math.nan))
            milliseconds = round_digits(1000 * time)
            record = {"milliseconds": milliseconds, f"relative to {names[0]}": ratio}
            costs.append(([*labels, names[arm]], record))
        device = run_data.run.device.get("platform", "device")
        reference = f"“{names[0]}”{setting}"
        sentences += _identity_sentences(device, reference, arms)
        sentences += _difference_sentences(reference, arms, between_seeds)
        sentences += _variance_sentences(names[0], setting, arms)
        title = f"Growth of the difference from {names[0]}{setting}"
        plots += _growth_plots(title, [*arms, *between_seeds])
    if not differences:
        return StudyResult()
    index = [*(run_data.run.axes[i].name for i in other_axes), "arm"]
    title = f"Difference from {names[0]} (exact canvases in [0, 1]"
    if has_seeds:
        title += (
            "; over seeds: earliest step, largest maximum, mean, and root mean square "
            "of the RMS"
        )
    cost_title = "Time per step of a member, including the recording of its canvases"
    tables = (
        Table.from_records(title + ")", index, differences),
        Table.from_records(cost_title, index, costs),
    )
    return StudyResult(tuple(sentences), tables, tuple(plots))


def _arm_names(run_data: RunData, axis: int) -> list[str]:
    """Labels of the axis; a number or a boolean has the axis name before it."""
    name, labels = run_data.run.axes[axis].name, run_data.run.axes[axis].labels
    return [f"{name} {label}" if _is_value(label) else label for label in labels]


def _is_value(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return label in ("True", "False")
    return True


def _compare_arms(
    run_data: RunData, names: Sequence[str], seeds: Sequence[Mapping[int, int]]
) -> tuple[list[Comparison], list[Comparison]]:
    """Compare each arm with the first, and seeds within it with the first seed.

    Args:
      run_data: data with exact canvases.
      names: names of all arms.
      seeds: index of the arm -> member, for each seed; all have the first arm.

    Returns:
      A comparison for each other arm, and at most one between seeds.
    """
    entries = run_data.run.members
    arms: dict[int, Comparison] = {}
    between_seeds = Comparison("another seed")
    root = None
    for members in seeds:
        steps, reference = run_data.trajectory(members[0])
        if not steps:
            continue
        if root is None:
            root = steps, reference
        elif root[0] == steps:
            divergences = divergence(steps, root[1], reference)
            between_seeds.divergences.append(divergences)
        for arm, member in members.items():
            recorded, canvases = run_data.trajectory(member) if arm else ([], [])
            if recorded != steps:
                continue
            start, reference_start = (
                entries[m].varies.get(ULPS, 0) for m in (member, seeds[0][0])
            )
            new = Comparison(names[arm], abs(start - reference_start))
            comparison = arms.setdefault(arm, new)
            comparison.divergences.append(divergence(steps, reference, canvases))
            loss, reference_loss = (
                entries[m].loss or 0.0 for m in (member, members[0])
            )
            difference = abs(loss - reference_loss)
            comparison.losses.append(difference / (abs(reference_loss) or 1))
            comparison.ends.append((reference[-1], canvases[-1]))
    has_pairs = bool(between_seeds.divergences)
    return [arms[arm] for arm in sorted(arms)], [between_seeds] * has_pairs


def _seconds_per_step(
    run_data: RunData, seeds: Sequence[Mapping[int, int]]
) -> dict[int, float]:
    """Run time of each arm per step and batch slot.

    Padding of the last batch counts as slots.
    """
    seconds: dict[int, float] = {}
    for arm, member in (item for seed in seeds for item in seed.items()):
        program = run_data.run.groups[run_data.run.members[member].group]
        if program.member_steps:
            size = program.batch_size or 1
            filled = program.count / (size * math.ceil(program.count / size))
            seconds[arm] = filled * program.run_s / program.member_steps
    return seconds


def _identity_sentences(
    device: str, reference: str, arms: Sequence[Comparison]
) -> list[str]:
    """Name the arms that are bit-identical to the reference."""
    identical = [arm for arm in arms if not arm.first_difference]
    if not identical:
        return []
    steps = identical[0].divergences[0].steps
    recorded = "" if steps == tuple(range(steps[-1] + 1)) else "recorded "
    compared = (
        f"at all {len(steps)} {recorded}steps" if len(steps) > 1 else "at the end"
    )
    names = "; ".join(arm.name for arm in identical)
    return [
        f"Bit-identical to {reference} on this {device}, compared {compared}: {names}."
    ]


def _difference_sentences(
    reference: str, arms: Sequence[Comparison], between_seeds: Sequence[Comparison]
) -> list[str]:
    """Describe the onset, the size and the growth of each difference."""
    scale = "".join(f", against {x.format_rms()} between seeds" for x in between_seeds)
    sentences = []
    for arm in arms:
        if not (first := arm.first_difference):
            continue
        rate = ""
        if growth := arm.growth:
            rate = (
                f" The difference grows e-fold every {growth.e_folding:.2g} steps, "
                f"fitted over steps {growth.first} to {growth.last}."
            )
        sentences.append(
            f"“{arm.name}” is not bit-identical to {reference}: they first differ "
            f"{first[0]} step {first[1]}, and the RMS difference at the end is "
            f"{arm.format_rms()} in [0, 1]{scale}.{rate}"
        )
    return sentences


def _variance_sentences(
    reference: str, setting: str, arms: Sequence[Comparison]
) -> list[str]:
    """Split the variance of the first arm and each differing one by cause."""
    sentences = []
    for arm in arms:
        seeds = len(arm.divergences)
        if seeds < 2 or not arm.first_difference:
            continue
        share = variance_components(np.stack(arm.ends)).share
        cause = f"{arm.ulps} ulp of one starting value" if arm.ulps else "the execution"
        names = f"“{reference}” and “{arm.name}”"
        head = f"Variance among the images of {names}{setting}:"
        interval = format_interval(share, lambda x: format_percent(min(max(x, 0), 1)))
        interval = interval or f"{seeds} seeds, too few for a confidence interval"
        sentences.append(
            f"{head} all that is measurable is due to {cause} ({interval})."
            if share.value > 1
            else f"{head} {format_percent(share.value)} % ({interval}) is due to "
            f"{cause}, the rest to the seed's starting noise."
        )
    return sentences


def _growth_plots(title: str, comparisons: Sequence[Comparison]) -> list[Plot]:
    """RMS distance by step of the arms that differ, and of another seed."""
    series = tuple(
        Series(
            comparison.name,
            comparison.divergences[0].steps,
            tuple(float(x) if x > 0 else None for x in comparison.distances),
        )
        for comparison in comparisons
        if comparison.first_difference or not comparison.losses
    )
    if not series or len(series[0].x) < 2:
        return []
    return [Plot(title, series, "step", "RMS distance")]
