"""Distance of members that differ along one axis, beside that of twins."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nst_jax.metrics.distances import (
    ALL,
    CUTOFF,
    AxisDistances,
    distances_by_axis,
    low_pass,
    pairwise_rms,
    rms,
)
from nst_jax.metrics.statistics import MIN_MEMBERS, Estimate, jackknife
from nst_jax.studies.formatting import format_estimate, to_levels
from nst_jax.studies.results import StudyResult, Table
from nst_jax.studies.run_data import RunData

#: Members that are compared in pairs, at most: the cost grows with their square.
MAX_COMPARED = 256
#: Row of the members that differ in anything, and of twins.
ANYTHING, TWINS = "anything", "rounding alone (twins)"
_COARSE = f"mean, coarser than {1 / CUTOFF:.0f} pixels"


def study_axis_distances(run_data: RunData) -> StudyResult:
    """Measure the distance of members that differ along one axis only.

    With twins, the effect size of an axis is its mean distance over the mean distance
    of twins: about 1 for an axis that does no more than a rounding error.
    """
    finals = run_data.finals
    axes = [i for i in range(len(run_data.run.axes)) if i != run_data.twin_axis]
    originals = run_data.without_twins(sorted(finals))
    if len({finals[m].shape for m in originals}) != 1:
        return StudyResult()
    members = _subsample(run_data, axes, originals)
    if len(members) < 2:
        return StudyResult()
    distances = pairwise_rms(np.stack([finals[m] for m in members]))
    coarse = pairwise_rms(np.stack([low_pass(finals[m], CUTOFF) for m in members]))
    index = np.asarray([run_data.index(m, axes) for m in members])
    names = [run_data.run.axes[axis].name for axis in axes]
    floors = np.array([_twin_distance(run_data, m) for m in members])
    records, sentences = [], []
    for column, (axis, low) in enumerate(
        zip(
            *(distances_by_axis(d, index, names) for d in (distances, coarse)),
            strict=True,
        )
    ):
        # Of a single axis, all pairs are the pairs of the axis.
        if not axis.pairs or (axis.axis == ALL and len(names) == 1):
            continue
        effect = _effect_size(distances, index, column, floors)
        record: dict[str, Any] = {
            "pairs": axis.pairs,
            "mean": to_levels(axis.mean),
            "neighbours": to_levels(axis.neighbours),
            "median": to_levels(axis.median),
            "max": to_levels(axis.max),
            _COARSE: to_levels(low.mean),
        }
        if run_data.twins:
            record["mean / mean of twins"] = format_estimate(effect)
        records.append(([ANYTHING if axis.axis == ALL else axis.axis], record))
        if axis.axis != ALL:
            sentences.append(_distance_sentence(axis, effect))
    if run_data.twins:
        records.append(([TWINS], _twin_record(run_data, members, floors)))
    title = "Distance of members that differ along one axis (RMS, levels of 255"
    if len(members) < len(originals):
        title += f"; {len(members)} of {len(originals)} members"
    tables = [Table.from_records(title + ")", ["differing in"], records)]
    if len(names) == 1:
        first, *labels = [run_data.labels(member, axes)[0] for member in members]
        title = f"Distance from {names[0]} {first} (RMS, levels of 255)"
        rows = zip(labels, map(to_levels, distances[0, 1:]), strict=True)
        tables.append(Table(title, (names[0], "distance"), tuple(rows)))
    tables += _step_tables(run_data, members, index, names)
    return StudyResult(tuple(sentences), tuple(tables))


def _step_tables(
    run_data: RunData, members: Sequence[int], index: np.ndarray, names: Sequence[str]
) -> list[Table]:
    """Table of the distances at each recorded step, if all members have a twin."""
    twins = [run_data.twins[m][0] for m in members if m in run_data.twins]
    if len(twins) < len(members):
        return []
    canvases = run_data.canvases([*members, *twins])
    if len(canvases) < 2:
        return []
    records = []
    for step, ensemble in canvases.items():
        images, perturbed = np.split(ensemble, 2)
        floors = np.array([rms(*pair) for pair in zip(images, perturbed, strict=True)])
        distances = pairwise_rms(images)
        for column, axis in enumerate(distances_by_axis(distances, index, names)):
            if axis.axis == ALL or not axis.pairs:
                continue
            effect = _effect_size(distances, index, column, floors)
            record = {
                "mean": to_levels(axis.mean),
                "mean of twins": to_levels(float(floors.mean())),
                "mean / mean of twins": format_estimate(effect),
            }
            records.append(([step, axis.axis], record))
    title = (
        "Distance of members that differ along one axis by step (RMS of exact "
        "canvases, levels of 255)"
    )
    return [Table.from_records(title, ["step", "differing in"], records)]


def _subsample(
    run_data: RunData, axes: Sequence[int], members: Sequence[int]
) -> list[int]:
    """Members of a part of the grid with at most `MAX_COMPARED` positions.

    Every other position along the longest axis is dropped until few enough are left.
    """
    grid = [range(len(run_data.run.axes[axis].labels)) for axis in axes]
    while math.prod(map(len, grid)) > MAX_COMPARED:
        longest = max(range(len(grid)), key=lambda axis: len(grid[axis]))
        grid[longest] = grid[longest][::2]
    return [
        member
        for member in members
        if all(map(range.__contains__, grid, run_data.index(member, axes)))
    ]


def _twin_distance(run_data: RunData, member: int, cutoff: float = math.inf) -> float:
    """Mean RMS distance of a member from its twins below a cutoff; NaN for none."""
    twins = run_data.twins.get(member, ())
    images = [run_data.finals[m] for m in (member, *twins)]
    if cutoff < math.inf:
        images = [low_pass(image, cutoff) for image in images]
    distances = [rms(images[0], image) for image in images[1:]]
    return float(np.mean(distances)) if distances else math.nan


def _twin_record(
    run_data: RunData, members: Sequence[int], floors: np.ndarray
) -> dict[str, Any]:
    measured = floors[np.isfinite(floors)]
    if not len(measured):
        return {}
    low = [_twin_distance(run_data, m, CUTOFF) for m in members if m in run_data.twins]
    return {
        "pairs": len(measured),
        "mean": to_levels(float(measured.mean())),
        "median": to_levels(float(np.median(measured))),
        "max": to_levels(float(measured.max())),
        _COARSE: to_levels(float(np.mean(low))),
    }


def _effect_size(
    distances: np.ndarray, index: np.ndarray, axis: int, floors: np.ndarray
) -> Estimate | None:
    """Return the mean distance along an axis over the mean distance of twins.

    The interval comes from leaving out one point of the other axes, with all of its
    pairs and twins, or one member if the other axes have fewer than `MIN_MEMBERS`
    points.

    Args:
      distances: [N, N].
      index: [N, A], grid coordinates.
      axis: column of the index; A stands for all pairs.
      floors: [N], distance of each member from its twins, or NaN.

    Returns:
      The ratio; None without twins, or if all twins are equal.
    """
    others = np.delete(index, axis, 1) if axis < index.shape[1] else index[:, :0]
    blocks = np.unique(others, axis=0, return_inverse=True)[1].reshape(-1)
    is_pair = np.triu(blocks[:, None] == blocks, 1)
    count = int(blocks.max()) + 1
    units = blocks if count >= MIN_MEMBERS else np.arange(len(index))
    if not np.nansum(floors):
        return None

    def ratio(kept: np.ndarray) -> float:
        selected = np.isin(units, kept)
        pairs = distances[is_pair & selected[:, None] & selected]
        twins = floors[selected & np.isfinite(floors)]
        if not len(pairs) or not twins.any():
            return math.nan
        return float(pairs.mean() / twins.mean())

    return jackknife(ratio, int(units.max()) + 1, positive=True)


def _distance_sentence(axis: AxisDistances, effect: Estimate | None) -> str:
    neighbours, floor = "", ""
    if axis.neighbours is not None:
        neighbours = f"neighbours: {to_levels(axis.neighbours)}, "
    if effect is not None:
        times = f"{format_estimate(effect)} times that of twins"
        is_larger = effect.low is not None and effect.low > 1
        floor = f", {times}"
        if not is_larger:
            floor += ", which is not measurably more"
    return (
        f"Members that differ only in {axis.axis} have a mean RMS distance of "
        f"{to_levels(axis.mean)} levels of 255{floor} ({neighbours}largest: "
        f"{to_levels(axis.max)}, number of pairs: {axis.pairs})."
    )
