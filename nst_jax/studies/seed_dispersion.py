"""Dispersion across seeds: its size, its growth, and its share in each layer."""

import math
from typing import Any

import numpy as np

from nst_jax.metrics.dispersion import coefficient_of_variation, mean_image, std_image
from nst_jax.metrics.distances import CUTOFF, pairwise_rms
from nst_jax.metrics.feature_distances import layer_distances
from nst_jax.metrics.statistics import MIN_MEMBERS, mean_of_pairs
from nst_jax.models.layers import smallest_side
from nst_jax.studies.formatting import (
    evenly_spaced,
    format_estimate,
    series_with_intervals,
)
from nst_jax.studies.results import Matrix, Picture, Plot, StudyResult, Table
from nst_jax.studies.run_data import RunData, SeedGroup
from nst_jax.studies.seed_divergence import (
    divergence_curves,
    divergence_plots,
    growth_sentences,
)

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
    curves = divergence_curves(run_data, groups)
    pictured = evenly_spaced(groups, PICTURED)
    return StudyResult(
        (_extremes_sentence(groups), *growth_sentences(curves)),
        (
            _dispersion_table(run_data, head, groups),
            *_term_tables(run_data, head, groups),
            *_layer_tables(run_data, head, groups),
        ),
        (*_axis_plots(run_data, axis, groups), *divergence_plots(curves)),
        tuple(
            _distance_matrix(run_data, axis, group)
            for group in evenly_spaced(groups, MATRICES)
        ),
        tuple(picture for group in pictured for picture in _pictures(run_data, group)),
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


def _dispersion_table(run_data: RunData, head: str, groups: list[SeedGroup]) -> Table:
    records = []
    for label, members, _, dispersion in groups:
        losses = [row.get("loss") for row in _last_rows(run_data, members)]
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


def _term_tables(run_data: RunData, head: str, groups: list[SeedGroup]) -> list[Table]:
    """Table of the variation of each loss term, if there are metrics."""
    group_terms = [
        [row["terms"] for row in _last_rows(run_data, group.members)]
        for group in groups
    ]
    names = dict.fromkeys(n for rows in group_terms for terms in rows for n in terms)
    if not names:
        return []
    table_rows = [
        (
            group.label,
            *(_format_variation([terms.get(n) for terms in rows]) for n in names),
        )
        for group, rows in zip(groups, group_terms, strict=True)
    ]
    title = "Variation of the loss terms across seeds (standard deviation / mean, %)"
    return [Table(title, (head, *names), tuple(table_rows))]


def _last_rows(run_data: RunData, members: list[int]) -> list[Any]:
    """Last metrics row of each member that has one."""
    return [run_data.rows[m][-1] for m in members if run_data.rows.get(m)]


def _format_variation(values: list[float | None]) -> str | None:
    """Coefficient of variation in per cent; None if a value is missing or negative."""
    valid = [v for v in values if v is not None and 0 <= v < math.inf]
    if len(valid) < max(MIN_MEMBERS, len(values)):
        return None
    return format_estimate(coefficient_of_variation(valid), 100)


def _layer_tables(run_data: RunData, head: str, groups: list[SeedGroup]) -> list[Table]:
    """Table of the feature distances of seeds at the layers of the loss terms."""
    layers = dict.fromkeys(x for term in run_data.terms for x in term.get("layers", ()))
    network = run_data.network() if layers else None
    if network is None:
        return []
    rows = []
    for group in evenly_spaced(groups, BY_LAYER):
        images = group.pictures[:MAX_IMAGES]
        side = min(images.shape[1:3])
        reached = [layer for layer in layers if smallest_side([layer]) <= side]
        for layer, distances in layer_distances(network, images, reached).items():
            cells = [
                format_estimate(mean_of_pairs(d, positive=True)) for d in distances
            ]
            rows.append((group.label, layer, *cells))
    title = "Distance of two seeds in feature space (relative to the norm)"
    return [Table(title, (head, "layer", "features", "Gram matrices"), tuple(rows))]


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
    margins = (0, 0), (0, GAP), (0, GAP), (0, 0)
    tiles = np.pad(group.pictures[selected], margins, constant_values=1)
    columns = min(len(tiles), COLUMNS)
    blanks = np.ones((-len(tiles) % columns, *tiles.shape[1:]))
    rows = np.split(np.concatenate([tiles, blanks]), -(-len(tiles) // columns))
    sheet = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    of_all = "" if len(tiles) == len(order) else f"{len(tiles)} of "
    title = (
        f"{group.label}: {of_all}{len(order)} seeds by ascending loss, row by row, "
        f"from {losses[order[0]]:.4g} to {losses[order[-1]]:.4g}"
    )
    return [Picture(title, sheet[:-GAP, :-GAP])]


def _distance_matrix(run_data: RunData, axis: int, group: SeedGroup) -> Matrix:
    return Matrix(
        f"{group.label}: distance of two seeds (RMS, levels of 255)",
        tuple(run_data.labels(member, [axis])[0] for member in group.members),
        255 * pairwise_rms(group.pictures),
    )


def _axis_plots(run_data: RunData, axis: int, groups: list[SeedGroup]) -> list[Plot]:
    """Dispersion against the other axis, if there is exactly one."""
    std = [group.dispersion.std for group in groups]
    if len(run_data.fields) != 2 or len(groups) < 2 or not any(s.value for s in std):
        return []
    name = run_data.other_names(axis)
    x, scale = _axis_positions([group.label for group in groups])
    series = (series_with_intervals("", x, std, 255),)
    title = f"Dispersion across seeds by {name}"
    return [Plot(title, series, name, "standard deviation (levels)", scale)]


def _axis_positions(labels: list[str]) -> tuple[list[Any], str]:
    """Labels as numbers if all are numbers, and the scale of their axis."""
    try:
        numbers = [float(label) for label in labels]
    except ValueError:
        return list(labels), "linear"
    is_wide = min(numbers) > 0 and max(numbers) > 100 * min(numbers)
    return numbers, "log" if is_wide else "linear"
