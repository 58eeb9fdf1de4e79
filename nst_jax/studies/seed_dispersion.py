"""Dispersion across seeds: its size, its growth, and its share in each layer."""

import contextlib
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from nst_jax.metrics.dispersion import coefficient_of_variation, mean_image, std_image
from nst_jax.metrics.distances import CUTOFF, pairwise_rms
from nst_jax.metrics.feature_distances import layer_distances
from nst_jax.metrics.statistics import (
    MIN_MEMBERS,
    Estimate,
    mean_of_pairs,
    root_ratio_of_pairs,
)
from nst_jax.models.layers import smallest_side
from nst_jax.studies.formatting import (
    evenly_spaced,
    format_estimate,
    series_with_intervals,
)
from nst_jax.studies.results import (
    MAX_CURVES,
    Matrix,
    Picture,
    Plot,
    StudyResult,
    Table,
)
from nst_jax.studies.run_data import RunData, SeedGroup

#: Groups that are shown as images, as matrices and by layer, at most.
PICTURED, MATRICES, BY_LAYER = 4, 2, 8
#: Images of a group whose features are computed, or that are shown, at most.
MAX_IMAGES = 16
#: Images in a row of the sheet of a group, and pixels between them.
COLUMNS, GAP = 4, 4


def study_seed_dispersion(run_data: RunData) -> StudyResult:
    """Measure how much the results of seeds differ, clipped to [0, 1].

    The dispersion by step is that of the recorded exact canvases, also clipped.
    """
    groups, axis = run_data.seed_groups, run_data.seed_axis
    if not groups or axis is None:
        return StudyResult()
    head = run_data.other_names(axis)
    curves = _divergence_curves(run_data)
    return StudyResult(
        (_extremes_sentence(groups), *_growth_sentences(curves)),
        (
            _dispersion_table(run_data, head),
            *_term_tables(run_data, head),
            *_layer_tables(run_data, head),
        ),
        (*_axis_plots(run_data, axis), *_divergence_plots(curves)),
        tuple(
            Matrix(
                f"{group.label}: distance of two seeds (RMS, levels of 255)",
                tuple(run_data.labels(member, [axis])[0] for member in group.members),
                (255 * pairwise_rms(group.pictures)).tolist(),
            )
            for group in evenly_spaced(groups, MATRICES)
        ),
        tuple(
            picture
            for group in evenly_spaced(groups, PICTURED)
            for picture in _pictures(run_data, group)
        ),
    )


def _extremes_sentence(groups: list[SeedGroup]) -> str:
    if len(groups) == 1:
        ((_, members, _, dispersion),) = groups
        return (
            f"The {len(members)} seeds have a standard deviation of "
            f"{format_estimate(dispersion.std, 255)} levels of 255 and a mean pairwise "
            f"SSIM of {format_estimate(dispersion.ssim)}; parentheses hold 95 % "
            "confidence intervals."
        )
    intervals = [
        (group, std.low, std.high)
        for group in groups
        if (std := group.dispersion.std).low is not None and std.high is not None
    ]
    if len(intervals) < len(groups):
        return (
            "Some settings have too few seeds for a confidence interval, so the "
            "dispersion across seeds is not compared between settings."
        )
    lowest, _, high = min(intervals, key=lambda interval: interval[2])
    highest, low, _ = max(intervals, key=lambda interval: interval[1])
    if low <= high:
        return (
            f"The {len(groups)} settings do not differ measurably in dispersion across "
            "seeds: their 95 % confidence intervals overlap."
        )
    return (
        f"Dispersion across seeds is lowest for {lowest.label}, with a standard "
        f"deviation of {format_estimate(lowest.dispersion.std, 255)} levels of 255, "
        f"and highest for {highest.label}, with "
        f"{format_estimate(highest.dispersion.std, 255)}."
    )


def _dispersion_table(run_data: RunData, head: str) -> Table:
    records = []
    for label, members, _, dispersion in run_data.seed_groups:
        losses = (row.get("loss") for row in _last_rows(run_data, members))
        record: dict[str, Any] = {
            "seeds": len(members),
            "standard deviation": format_estimate(dispersion.std, 255),
            "RMS of pairs": format_estimate(dispersion.rms, 255),
            "coarse": format_estimate(dispersion.coarse, 255),
            "fine": format_estimate(dispersion.fine, 255),
            "SSIM of pairs": format_estimate(dispersion.ssim),
            "loss, std / mean (%)": _format_variation(losses),
        }
        records.append(([label], record))
    title = (
        "Dispersion across seeds (levels of 255, with 95 % confidence intervals; "
        f"coarse and fine are split at a wavelength of {1 / CUTOFF:.0f} pixels)"
    )
    return Table.from_records(title, [head], records)


def _term_tables(run_data: RunData, head: str) -> list[Table]:
    """Table of the variation of each loss term, if there are metrics."""
    records = []
    for group in run_data.seed_groups:
        rows = [row["terms"] for row in _last_rows(run_data, group.members)]
        names = dict.fromkeys(name for terms in rows for name in terms)
        record = {n: _format_variation(terms.get(n) for terms in rows) for n in names}
        records.append(([group.label], record))
    if not any(record for _, record in records):
        return []
    title = "Variation of the loss terms across seeds (standard deviation / mean, %)"
    return [Table.from_records(title, [head], records)]


def _last_rows(run_data: RunData, members: list[int]) -> list[Any]:
    """Last metrics row of each member that has one."""
    return [run_data.rows[m][-1] for m in members if run_data.rows.get(m)]


def _format_variation(losses: Iterable[float | None]) -> str | None:
    """Coefficient of variation in per cent; None if a loss is missing or negative."""
    values = [math.nan if loss is None else loss for loss in losses]
    if len(values) < MIN_MEMBERS or not all(0 <= x < math.inf for x in values):
        return None
    return format_estimate(coefficient_of_variation(values), 100)


def _layer_tables(run_data: RunData, head: str) -> list[Table]:
    """Table of the feature distances of seeds at the layers of the loss terms."""
    layers = dict.fromkeys(x for term in run_data.terms for x in term.get("layers", ()))
    network = run_data.network() if layers else None
    if network is None:
        return []
    rows = []
    for group in evenly_spaced(run_data.seed_groups, BY_LAYER):
        images = group.pictures[:MAX_IMAGES]
        side = min(images.shape[1:3])
        reached = [layer for layer in layers if smallest_side([layer]) <= side]
        for layer, distances in layer_distances(network, images, reached).items():
            means = [mean_of_pairs(d, positive=True) for d in distances]
            features, unrelated, _ = distances
            share = root_ratio_of_pairs(features**2, unrelated**2)
            estimates = *means[:2], share, means[2]
            rows.append((group.label, layer, *map(format_estimate, estimates)))
    title = (
        "Distance of two seeds in feature space (relative to the norm; unrelated "
        "features are those of one seed at all shifts against the other's)"
    )
    columns = "features", "unrelated features", "share", "Gram matrices"
    return [Table(title, (head, "layer", *columns), tuple(rows))]


def _pictures(run_data: RunData, group: SeedGroup) -> list[Picture]:
    """Members in the order of their loss, their mean and their standard deviation."""
    seeds = f"{len(group.members)} seeds"
    std = std_image(group.pictures)
    mean = Picture(f"{group.label}: mean of {seeds}", mean_image(group.pictures))
    pictures = [*_sheet_by_loss(run_data, group), mean]
    if largest := std.max():
        gain = 1 / largest
        title = f"{group.label}: standard deviation of {seeds}, × {gain:.3g}"
        pictures.append(Picture(title, gain * std))
    return pictures


def _sheet_by_loss(run_data: RunData, group: SeedGroup) -> list[Picture]:
    """Sheet of members by ascending loss; nothing if a member has no loss."""
    rows = _last_rows(run_data, group.members)
    losses = [loss for row in rows if (loss := row.get("loss")) is not None]
    if len(losses) < len(group.members):
        return []
    order = sorted(range(len(losses)), key=losses.__getitem__)
    selected = evenly_spaced(order, MAX_IMAGES)
    columns = min(len(selected), COLUMNS)
    margins = (0, -len(selected) % columns), (0, GAP), (0, GAP), (0, 0)
    tiles = np.pad(group.pictures[selected], margins, constant_values=1)
    height, width = tiles.shape[1:3]
    grid = tiles.reshape(-1, columns, height, width, 3).swapaxes(1, 2)
    sheet = grid.reshape(-1, columns * width, 3)
    of_all = "" if len(selected) == len(order) else f"{len(selected)} of "
    title = (
        f"{group.label}: {of_all}{len(order)} seeds by ascending loss, row by row, "
        f"from {losses[order[0]]:.4g} to {losses[order[-1]]:.4g}"
    )
    return [Picture(title, sheet[:-GAP, :-GAP])]


def _axis_plots(run_data: RunData, axis: int) -> list[Plot]:
    """Dispersion against the other axis, if there is exactly one."""
    groups = run_data.seed_groups
    std = [group.dispersion.std for group in groups]
    if len(run_data.fields) != 2 or len(groups) < 2 or not any(s.value for s in std):
        return []
    name, scale = run_data.other_names(axis), "linear"
    x: list[Any] = [group.label for group in groups]
    with contextlib.suppress(ValueError):
        x = [float(label) for label in x]
        scale = "log" if min(x) > 0 and max(x) > 100 * min(x) else "linear"
    series = (series_with_intervals("", x, std, 255),)
    title = f"Dispersion across seeds by {name}"
    return [Plot(title, series, name, "standard deviation (levels)", scale)]


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


def _divergence_curves(run_data: RunData) -> list[DivergenceCurve]:
    """A curve for each group whose members recorded the same steps."""
    curves = []
    dispersed = [g for g in run_data.seed_groups if g.dispersion.std.value > 0]
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
            growth = None
            if std[0].value:
                growth = root_ratio_of_pairs(squares[-1], squares[0])
            curves.append(DivergenceCurve(group.label, tuple(steps), std, growth))
    return curves


def _growth_sentences(curves: list[DivergenceCurve]) -> list[str]:
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


def _divergence_plots(curves: list[DivergenceCurve]) -> list[Plot]:
    """Plot the dispersion against the steps."""
    if not curves:
        return []
    series = tuple(
        series_with_intervals(c.label if len(curves) > 1 else "", c.steps, c.std, 255)
        for c in curves
    )
    title, y_label = "Dispersion across seeds by step", "standard deviation (levels)"
    return [Plot(title, series, "step", y_label)]
