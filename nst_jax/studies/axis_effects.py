"""How far axes move pictures, seeds part them, solvers haste and sizes cost."""

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from nst_jax.metrics.distances import (
    ALL,
    CUTOFF,
    AxisDistances,
    band_rms,
    difference_image,
    distances_by_axis,
    low_pass,
    pairwise_rms,
    steps_to_loss,
)
from nst_jax.studies.results import (
    Picture,
    Plot,
    Rows,
    RunData,
    Series,
    StudyResult,
    Table,
    few_seeds,
    levels,
)

#: The parts of a difference, below the cutoff and above.
BANDS = ("coarse", "fine")
#: Members that are compared in pairs, at most: what that takes grows with their square.
COMPARED = 256
#: Pictures of differences, at most.
DIFFERENCES = 12
#: Steps of a size, at least, that its time is told from.
STEPS_TO_TIME = 5


def study_axis_distances(evidence: RunData) -> StudyResult:
    """How far each axis moves the picture."""
    run, finals = evidence.run, evidence.finals
    if len(finals) < 2 or len({x.shape for x in finals.values()}) > 1:
        return StudyResult()
    members = _some_of(run, sorted(finals))
    if len(members) < 2:
        return StudyResult()
    apart = pairwise_rms(np.stack([finals[m] for m in members]))
    index = np.asarray([run["members"][m]["index"] for m in members])
    names = [axis["name"] for axis in run["axes"]]
    some = f"; of {len(members)} of {len(finals)} members"
    some = some if len(members) < len(finals) else ""
    shapes = np.stack([low_pass(finals[m], CUTOFF) for m in members])
    coarse = {
        s.axis: s.mean for s in distances_by_axis(pairwise_rms(shapes), index, names)
    }
    spreads = [s for s in distances_by_axis(apart, index, names) if s.pairs]
    along = [s for s in spreads if s.axis != ALL]
    tables = []
    if len(run["axes"]) == 1:
        spreads = along  # All pairs are the axis's pairs.
        tables = [_from_the_first(run, members, apart)]
    return StudyResult(
        tuple(_moves(spread) for spread in along),
        (
            Table(
                f"How different the members are (RMS of 255 levels{some})",
                (
                    *("differing in", "pairs", "mean", "neighbours", "median", "max"),
                    f"mean, coarser than {1 / CUTOFF:.0f} pixels",
                ),
                tuple(
                    (
                        s.axis if s.axis != ALL else "anything",
                        s.pairs,
                        *map(levels, (s.mean, s.neighbours, s.median, s.max)),
                        levels(coarse[s.axis]),
                    )
                    for s in spreads
                ),
            ),
            *tables,
        ),
    )


def _some_of(run: Mapping[str, Any], members: Sequence[int]) -> list[int]:
    """Return the members that are compared with each other: a part of a large grid.

    Along the longest axis every other place is left out until `COMPARED` are left.
    """
    kept = [range(len(axis["labels"])) for axis in run["axes"]]
    while math.prod(map(len, kept)) > COMPARED:
        longest = max(range(len(kept)), key=lambda a: len(kept[a]))
        kept[longest] = kept[longest][::2]
    places = (run["members"][m]["index"] for m in members)
    return [
        member
        for member, place in zip(members, places, strict=True)
        if all(i in axis for i, axis in zip(place, kept, strict=True))
    ]


def _from_the_first(
    run: Mapping[str, Any], members: Sequence[int], distances: np.ndarray
) -> Table:
    (axis,) = run["axes"]
    labels = [axis["labels"][run["members"][m]["index"][0]] for m in members]
    return Table(
        f"How far each is from {axis['name']} {labels[0]} (RMS of 255 levels)",
        (axis["name"], "distance"),
        tuple(zip(labels[1:], map(levels, distances[0, 1:]), strict=True)),
    )


def _moves(spread: AxisDistances) -> str:
    near = levels(spread.neighbours)
    return (
        f"Members that differ in {spread.axis} alone are {levels(spread.mean)} of 255 "
        f"levels apart on average (RMS), "
        + (f"neighbours {near}, " if near is not None else "")
        + f"the farthest {levels(spread.max)}."
    )


def study_seed_differences(evidence: RunData) -> StudyResult:
    """How far seeds are from the content, and from each other where there are two.

    Of more of them `ensembles` tells how far apart they are.
    """
    finals, contents = evidence.finals, evidence.contents
    axis = evidence.axis("seeds")
    if axis is None or evidence.fields[axis] != ("seeds",):
        return StudyResult()
    told = {line.members[0] for line in evidence.seed_lines}
    rows: list[tuple[Any, ...]] = []
    shares: list[float] = []
    pictures: list[Picture] = []
    for label, members in evidence.lines(axis):
        label, there = few_seeds(label, [m for m in members if m in finals])
        if len(there) < 2:
            continue
        apart: tuple[float | None, ...] = (None, None)
        seen = []
        if there[0] not in told:
            pairs = itertools.combinations(there, 2)
            coarse, fine = apart = _mean_bands((finals[a], finals[b]) for a, b in pairs)
            if energy := coarse**2 + fine**2:
                shares.append(coarse**2 / energy)
            seen = [("of two seeds", finals[there[0]], finals[there[1]])]
        own = [
            (finals[m], contents[m])
            for m in there
            if m in contents and contents[m].shape == finals[m].shape
        ]
        away = _mean_bands(own) if own else (None, None)
        rows.append((label, *map(levels, (*apart, *away))))
        seen += [("from the content", *own[0])] if own else []
        for name, a, b in seen:
            if np.array_equal(a, b):
                continue
            picture, gain = difference_image(a, b)
            title = f"{label}: difference {name}, × {gain:.3g}"
            pictures.append(Picture(title, picture))
    columns = [evidence.other_names(axis)]
    columns += [f"{x}, {y}" for x in ("seeds apart", "from the content") for y in BANDS]
    kept = [0, *(i for i in range(1, 5) if any(row[i] is not None for row in rows))]
    if len(kept) == 1:
        return StudyResult()
    return StudyResult(
        _share_of_shapes(shares),
        (
            Table(
                "Seeds, and the content picture (RMS of 255 levels; coarse is what "
                f"is coarser than {1 / CUTOFF:.0f} pixels)",
                tuple(columns[i] for i in kept),
                tuple(tuple(row[i] for i in kept) for row in rows),
            ),
        ),
        pictures=tuple(pictures[:DIFFERENCES]),
    )


def _share_of_shapes(shares: Sequence[float]) -> tuple[str, ...]:
    if not shares:
        return ()
    low, high = (f"{100 * share:.0f}" for share in (min(shares), max(shares)))
    share = low if low == high else f"{low} to {high}"
    return (
        f"Of the difference between seeds, {share} % of the energy is coarser than "
        f"{1 / CUTOFF:.0f} pixels; the rest is grain.",
    )


def _mean_bands(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]],
) -> tuple[float, float]:
    """Coarse and fine RMS distance, over all pairs of pictures."""
    squares = np.square([band_rms(a, b, CUTOFF) for a, b in pairs])
    low, high = np.sqrt(squares.mean(0))
    return float(low), float(high)


def study_solvers(evidence: RunData) -> StudyResult:
    """How many steps and evaluations each solver needs for a loss all of them reach."""
    axis, rows = evidence.axis("solver", "solver.name"), evidence.rows
    if axis is None or not all(
        path.startswith("solver") or path == "steps" for path in evidence.fields[axis]
    ):
        return StudyResult()
    names = evidence.run["axes"][axis]["labels"]
    lines: list[tuple[Any, ...]] = []
    reached: list[list[tuple[float, float]]] = []
    for label, members in evidence.lines(axis):
        own = [rows[m] for m in members if rows.get(m)]
        ends = [logged[-1]["loss"] for logged in own]
        if len(ends) < len(members) or not all(end and end > 0 for end in ends):
            continue
        target = max(ends)
        costs = [_cost(logged, target) for logged in own]
        lines.append((label, target, *(round(x, 1) for cost in costs for x in cost)))
        reached.append(costs)
    if not reached:
        return StudyResult()
    return StudyResult(
        tuple(
            _needs(name, names[-1], [(costs[i], costs[-1]) for costs in reached])
            for i, name in enumerate(names[:-1])
        ),
        (
            Table(
                "What it takes to reach the loss that all solvers reach",
                (
                    evidence.other_names(axis),
                    "loss",
                    *(f"{s}: {x}" for s in names for x in ("steps", "evaluations")),
                ),
                tuple(lines),
            ),
        ),
    )


def _cost(rows: Rows, target: float) -> tuple[float, float]:
    """The steps and the evaluations to a loss that is reached."""
    losses = [np.nan if row["loss"] is None else row["loss"] for row in rows]
    steps = [row["step"] for row in rows]
    at = steps_to_loss(losses, steps, target)
    assert at is not None
    return at, float(np.interp(at, steps, [row["evaluations"] for row in rows]))


def _needs(
    slow: str,
    quick: str,
    costs: Sequence[tuple[tuple[float, float], tuple[float, float]]],
) -> str:
    steps, evaluations = (
        [a[i] / b[i] for a, b in costs if b[i] > 0] or [float("nan")] for i in (0, 1)
    )
    return (
        f"For the same loss {slow} needs {statistics.median(steps):.2g} times the "
        f"steps of {quick} (median of {len(costs)}; from {min(steps):.2g} to "
        f"{max(steps):.2g}), and {statistics.median(evaluations):.2g} times the "
        "evaluations."
    )


def study_step_times(evidence: RunData) -> StudyResult:
    """Time of a step against number of pixels, where size alone selects programs."""
    run, number = evidence.run, evidence.axis("size")
    if number is None or len(run["groups"]) != len(run["axes"][number]["labels"]):
        return StudyResult()
    ladder = run.get("config", {}).get("ladder", {})
    if ladder.get("sizes") or ladder.get("start"):
        return StudyResult()  # A group's time is that of all its stages.
    rows = sorted(
        (
            group["size"][0] * group["size"][1],
            f"{group['size'][1]}×{group['size'][0]}",
            group["run_s"] / group["member_steps"],
        )
        for group in run["groups"]
        if group["member_steps"] >= STEPS_TO_TIME
    )
    if len({pixels for pixels, _, _ in rows}) < 3:
        return StudyResult()
    pixels, names, seconds = zip(*rows, strict=True)
    exponent = np.polyfit(np.log(pixels), np.log(seconds), 1)[0]
    if exponent <= 0:
        return StudyResult()  # Runs so short are not timed by their steps.
    title = "Time of a step against pixels"
    return StudyResult(
        (f"The time of a step grows as the {exponent:.2f}th power of the pixels.",),
        (
            Table(
                title,
                ("picture", "pixels", "seconds a step", "microseconds a pixel"),
                tuple(
                    (name, n, float(f"{s:.3g}"), float(f"{1e6 * s / n:.3g}"))
                    for name, n, s in zip(names, pixels, seconds, strict=True)
                ),
            ),
        ),
        (
            Plot(
                title,
                (Series("", pixels, seconds),),
                *("pixels", "seconds a step", "log"),
            ),
        ),
    )
