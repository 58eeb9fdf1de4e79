"""What a run says in numbers and sentences, from its record alone.

Which questions are asked follows from the axes: every axis moves pictures by some
distance; seeds part coarsely or in grain; solvers need so many steps for one loss;
sizes cost so much time.
"""

import dataclasses
import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nst_jax.studies.spread import ALL, Spread, band_rms, by_axis, pairwise, steps_to

#: Cycles per pixel: what is coarser than 8 pixels is shape, what is finer is grain.
CUTOFF = 1 / 8


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows under their columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclasses.dataclass(frozen=True)
class Plot:
    """One curve on logarithmic axes."""

    title: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    x_label: str
    y_label: str


@dataclasses.dataclass(frozen=True)
class Findings:
    """What there is to say.

    Attributes:
      summary: one sentence a fact.
      tables: the numbers behind them.
      plots: curves that are not losses.
    """

    summary: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()

    def __add__(self, other: "Findings") -> "Findings":
        return Findings(
            self.summary + other.summary,
            self.tables + other.tables,
            self.plots + other.plots,
        )


def findings(
    run: Mapping[str, Any],
    finals: Mapping[int, np.ndarray],
    losses: Mapping[int, tuple[Sequence[int], Sequence[float | None]]],
    contents: Mapping[int, np.ndarray],
) -> Findings:
    """All that can be said of a run, also of one that is not finished.

    Args:
      run: what run.json holds.
      finals: member -> its picture [H, W, 3]; those that there are.
      losses: member -> (steps, losses), as they were logged.
      contents: member -> the content picture that it was given, [H, W, 3].
    """
    finite = {m: x for m, x in finals.items() if np.isfinite(x).all()}
    names = [axis["name"] for axis in run["axes"]]
    return (
        _distances(run, finite)
        + _seeds(run, finite, contents, names)
        + _solvers(run, losses, names)
        + _sizes(run)
    )


def _distances(run: Mapping[str, Any], finals: Mapping[int, np.ndarray]) -> Findings:
    """How far each axis moves the picture."""
    if len(finals) < 2 or len({x.shape for x in finals.values()}) > 1:
        return Findings()
    members = sorted(finals)
    distances = pairwise(np.stack([finals[m] for m in members]))
    index = np.asarray([run["members"][m]["index"] for m in members])
    names = [axis["name"] for axis in run["axes"]]
    spreads = [s for s in by_axis(distances, index, names) if s.pairs]
    along = [s for s in spreads if s.axis != ALL]
    if len(spreads) == 2:
        spreads = along  # One axis: all pairs are its pairs.
    return Findings(
        tuple(_moves(spread) for spread in along),
        (
            Table(
                "How different the members are (RMS of 255 levels)",
                (
                    "pairs that differ in",
                    "pairs",
                    "mean",
                    "neighbours",
                    "median",
                    "max",
                ),
                tuple(
                    (
                        s.axis if s.axis != ALL else "anything",
                        s.pairs,
                        *map(_levels, (s.mean, s.neighbours, s.median, s.max)),
                    )
                    for s in spreads
                ),
            ),
        ),
    )


def _moves(spread: Spread) -> str:
    near = _levels(spread.neighbours)
    return (
        f"Members that differ in {spread.axis} alone are {_levels(spread.mean)} of 255 "
        f"levels apart on average (RMS), "
        + (f"neighbours {near}, " if near is not None else "")
        + f"the farthest {_levels(spread.max)}."
    )


def _levels(distance: float | None) -> float | None:
    return None if distance is None else float(f"{255 * distance:.3g}")


def _seeds(
    run: Mapping[str, Any],
    finals: Mapping[int, np.ndarray],
    contents: Mapping[int, np.ndarray],
    names: Sequence[str],
) -> Findings:
    """Whether two seeds differ in shapes or in grain, and either from the content."""
    fields = [axis["field"] for axis in run["axes"]]
    if "seeds" not in fields:
        return Findings()
    rows, shares = [], []
    for label, members in _lines(run, fields.index("seeds")):
        there = [m for m in members if m in finals]
        for a, b in itertools.islice(itertools.pairwise(there), 1):
            apart = band_rms(finals[a], finals[b], CUTOFF)
            content = contents.get(a)
            away: tuple[float | None, ...] = (None, None)
            if content is not None and content.shape == finals[a].shape:
                away = band_rms(finals[a], content, CUTOFF)
            rows.append((label, *map(_levels, (*apart, *away))))
            energy = apart[0] ** 2 + apart[1] ** 2
            if energy > 0:
                shares.append(apart[0] ** 2 / energy)
    if not shares:
        return Findings()
    return Findings(
        (
            f"Of the difference between two seeds, {100 * min(shares):.0f} to "
            f"{100 * max(shares):.0f} % of the energy is coarser than "
            f"{1 / CUTOFF:.0f} pixels; the rest is grain.",
        ),
        (
            Table(
                "Two seeds, and the content picture (RMS of 255 levels; coarse is what "
                f"is coarser than {1 / CUTOFF:.0f} pixels)",
                (
                    ", ".join(n for n in names if n != "seed") or "member",
                    *("seeds apart, coarse", "seeds apart, fine"),
                    *("from the content, coarse", "from the content, fine"),
                ),
                tuple(rows),
            ),
        ),
    )


def _solvers(
    run: Mapping[str, Any],
    losses: Mapping[int, tuple[Sequence[int], Sequence[float | None]]],
    names: Sequence[str],
) -> Findings:
    """How many steps each solver needs for a loss that all of them reach."""
    fields = [axis["field"] for axis in run["axes"]]
    axis = next((i for i, f in enumerate(fields) if f.startswith("solver")), None)
    if axis is None:
        return Findings()
    solvers = run["axes"][axis]["labels"]
    rows: list[tuple[Any, ...]] = []
    ratios: list[float] = []
    for label, members in _lines(run, axis):
        curves = [losses[m] for m in members if m in losses]
        ends = [logged[-1] for _, logged in curves if logged[-1]]
        if len(ends) < len(members):
            continue
        target = max(ends)
        steps = [
            steps_to([np.nan if x is None else x for x in logged], at, target)
            for at, logged in curves
        ]
        rows.append((label, target, *(s if s is None else round(s, 1) for s in steps)))
        if steps[0] and steps[-1]:
            ratios.append(steps[0] / steps[-1])
    if not ratios:
        return Findings()
    return Findings(
        (
            f"For the same loss {solvers[0]} needs {statistics.median(ratios):.2g} "
            f"times the steps of {solvers[-1]} (median of {len(ratios)}; from "
            f"{min(ratios):.2g} to {max(ratios):.2g}).",
        ),
        (
            Table(
                "Steps to the loss that all solvers reach",
                (
                    ", ".join(n for i, n in enumerate(names) if i != axis) or "member",
                    "loss",
                    *solvers,
                ),
                tuple(rows),
            ),
        ),
    )


def _sizes(run: Mapping[str, Any]) -> Findings:
    """Time of a step against number of pixels."""
    if not any("size" in axis["field"].split(", ") for axis in run["axes"]):
        return Findings()
    rows = sorted(
        (
            group["size"][0] * group["size"][1],
            f"{group['size'][1]}×{group['size'][0]}",
            group["run_s"] / group["member_steps"],
        )
        for group in run["groups"]
        if group["member_steps"]
    )
    if len({pixels for pixels, _, _ in rows}) < 2:
        return Findings()
    pixels, names, seconds = zip(*rows, strict=True)
    exponent = np.polyfit(np.log(pixels), np.log(seconds), 1)[0]
    title = "Time of a step against pixels"
    return Findings(
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
        (Plot(title, pixels, seconds, "pixels", "seconds a step"),),
    )


def _lines(run: Mapping[str, Any], axis: int) -> list[tuple[str, list[int]]]:
    """(label, members along one axis), for each place on the other ones."""
    lines: dict[tuple[int, ...], list[int]] = {}
    for entry in run["members"]:
        place = tuple(i for a, i in enumerate(entry["index"]) if a != axis)
        lines.setdefault(place, []).append(entry["member"])
    others = [a for i, a in enumerate(run["axes"]) if i != axis]
    return [
        (
            ", ".join(a["labels"][i] for a, i in zip(others, place, strict=True))
            or "all",
            members,
        )
        for place, members in lines.items()
    ]
