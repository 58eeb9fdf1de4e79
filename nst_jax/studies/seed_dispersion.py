"""Dispersion across seeds: its size, its floor, and its share in each layer."""

import contextlib
import math
from collections.abc import Iterable, Sequence
from typing import Any

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
    round_digits,
    series_with_intervals,
)
from nst_jax.studies.results import Matrix, Picture, Plot, StudyResult, Table
from nst_jax.studies.run_data import RunData, SeedGroup

#: Groups that are shown as images, as matrices and by layer, at most.
PICTURED, MATRICES, BY_LAYER = 4, 2, 8
#: Images of a group whose features are computed, or that are shown, at most.
MAX_IMAGES = 16
#: Images in a row of the sheet of a group, and pixels between them.
COLUMNS, GAP = 4, 4


def study_seed_dispersion(run_data: RunData) -> StudyResult:
    """Measure how much the results of seeds differ, clipped to [0, 1].

    Beside levels, differences are shares of the differences of unrelated pictures of
    the same contrast. The floor is the difference of twins, if the run has any.
    """
    groups, axis = run_data.seed_groups, run_data.seed_axis
    if not groups or axis is None:
        return StudyResult()
    head = run_data.other_names(axis)
    return StudyResult(
        (*_dispersion_sentences(groups), *_floor_sentences(groups)),
        (
            _dispersion_table(run_data, head),
            *_term_tables(run_data, head),
            *_layer_tables(run_data, head),
        ),
        tuple(_axis_plots(run_data, axis)),
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


def _dispersion_sentences(groups: list[SeedGroup]) -> list[str]:
    """Compare the dispersion of settings in levels, and as shares."""
    if len(groups) == 1:
        ((_, members, _, dispersion, _),) = groups
        return [
            f"The {len(members)} seeds have a standard deviation of "
            f"{format_estimate(dispersion.std, 255)} levels of 255, which is "
            f"{format_estimate(dispersion.share)} of that of unrelated pictures of the "
            f"same contrast, and a mean pairwise SSIM of "
            f"{format_estimate(dispersion.ssim)}; parentheses hold 95 % confidence "
            "intervals."
        ]
    stds = [group.dispersion.std for group in groups]
    shares = [group.dispersion.share for group in groups]
    if any(std.low is None for std in stds):
        return [
            "Some settings have too few seeds for a confidence interval, so the "
            "dispersion across seeds is not compared between settings."
        ]
    extremes = _separate(stds)
    if extremes is None:
        sentences = [
            f"The {len(groups)} settings do not differ measurably in dispersion across "
            "seeds: their 95 % confidence intervals overlap."
        ]
    else:
        lowest, highest = extremes
        sentences = [
            f"Dispersion across seeds is lowest for {groups[lowest].label}, with a "
            f"standard deviation of {format_estimate(stds[lowest], 255)} levels of "
            f"255, and highest for {groups[highest].label}, with "
            f"{format_estimate(stds[highest], 255)}."
        ]
    head = "As a share of that of unrelated pictures of the same contrast, dispersion"
    if separated := _separate(shares):
        least, most = separated
        sentences.append(
            f"{head} is lowest for {groups[least].label}, with "
            f"{format_estimate(shares[least])}, and highest for {groups[most].label}, "
            f"with {format_estimate(shares[most])}."
        )
    else:
        values = sorted(share.value for share in shares)
        sentences.append(
            f"{head} is {values[0]:.3g} to {values[-1]:.3g} without a measurable "
            "difference between settings."
        )
    if extremes and _separate([shares[i] for i in extremes]) != (0, 1):
        lowest, highest = extremes
        sentences.append(
            "Differences in levels follow the contrast of the pictures: by share, "
            f"dispersion is not measurably higher for {groups[highest].label} than for "
            f"{groups[lowest].label}."
        )
    return sentences


def _separate(estimates: Sequence[Estimate]) -> tuple[int, int] | None:
    """Return the lowest and the highest estimate if their intervals do not overlap."""
    lows = [math.inf if x.low is None else x.low for x in estimates]
    highs = [-math.inf if x.high is None else x.high for x in estimates]
    if any(x.low is None for x in estimates):
        return None
    lowest, highest = int(np.argmin(highs)), int(np.argmax(lows))
    return (lowest, highest) if highs[lowest] < lows[highest] else None


def _floor_sentences(groups: list[SeedGroup]) -> list[str]:
    """Compare the seeds with their twins."""
    pairs = [
        (group.label, group.dispersion.std, group.floor)
        for group in groups
        if group.floor and group.dispersion.std.value > 0
    ]
    if not pairs:
        return []
    floors = sorted(255 * floor.value for _, _, floor in pairs)
    shares = sorted(100 * floor.value / std.value for _, std, floor in pairs)
    levels, percent = (
        " to ".join(
            dict.fromkeys(f"{round_digits(x, 2):g}" for x in (values[0], values[-1]))
        )
        for values in (floors, shares)
    )
    sentence = (
        "Twins of a seed, which start one unit in the last place apart, end with a "
        f"standard deviation of {levels} levels of 255, {percent} % of that of seeds."
    )
    close = [
        label
        for label, std, floor in pairs
        if std.low is None or std.low <= (floor.high or floor.value)
    ]
    if close:
        names = "; ".join(close)
        sentence += f" Seeds do not differ measurably more than twins for {names}."
    return [sentence]


def _dispersion_table(run_data: RunData, head: str) -> Table:
    records = []
    for label, members, _, dispersion, floor in run_data.seed_groups:
        losses = (row.get("loss") for row in _last_rows(run_data, members))
        record: dict[str, Any] = {
            "seeds": len(members),
            "standard deviation": format_estimate(dispersion.std, 255),
            "of unrelated pictures": format_estimate(dispersion.unrelated, 255),
            "share": format_estimate(dispersion.share),
            "coarse share": format_estimate(dispersion.coarse_share),
            "fine share": format_estimate(dispersion.fine_share),
        }
        if run_data.twins:
            record["of twins"] = format_estimate(floor, 255)
        record |= {
            "RMS of pairs": format_estimate(dispersion.rms, 255),
            "coarse": format_estimate(dispersion.coarse, 255),
            "fine": format_estimate(dispersion.fine, 255),
            "SSIM of pairs": format_estimate(dispersion.ssim),
            "loss, std / mean (%)": _format_variation(losses),
        }
        records.append(([label], record))
    title = (
        "Dispersion across seeds (levels of 255, with 95 % confidence intervals; "
        "shares are of the standard deviation of unrelated pictures of the same "
        f"contrast; coarse and fine are split at a wavelength of {1 / CUTOFF:.0f} "
        "pixels)"
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
