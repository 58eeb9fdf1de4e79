"""What the way of computing does: the same seeds, computed by other programs."""

import itertools
import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from nst_jax.metrics.dispersion import variance_components
from nst_jax.metrics.divergence import Divergence, Growth
from nst_jax.metrics.statistics import Estimate
from nst_jax.studies.execution_pairs import (
    Compared,
    ComparisonGroup,
    is_execution,
    places,
    planted,
)
from nst_jax.studies.results import (
    Plot,
    RunData,
    Series,
    StudyResult,
    Table,
    percent,
    rounded,
)


def study_execution(evidence: RunData) -> StudyResult:
    """Which ways of computing give the same bits, and how far the others lead.

    Members along the axis of execution are compared to the first of them, step by
    step where every step was kept, at each place on the other axes for itself. All
    distances are of exact canvases, not clipped; over seeds they are root mean
    squares.
    """
    axis = next((i for i, p in enumerate(evidence.fields) if is_execution(p)), None)
    if axis is None or evidence.trajectory is None:
        return StudyResult()
    arms = _arms(evidence, axis)
    there = [place for place in places(evidence, axis) if place.ways]
    if not there:
        return StudyResult()
    said = (
        (*_said(evidence, arms, place), *_shares(evidence, arms, place))
        for place in there
    )
    return StudyResult(
        tuple(itertools.chain(*said)),
        (_table(evidence, axis, there), _costs(evidence, axis, there)),
        tuple(plot for place in there for plot in _growth(arms, place)),
    )


def _arms(evidence: RunData, axis: int) -> list[str]:
    """What the ways are called: a bare value with the name of what it is of."""
    name, labels = (evidence.run["axes"][axis][key] for key in ("name", "labels"))
    return [f"{name} {label}" if _bare(label) else label for label in labels]


def _bare(label: str) -> bool:
    """Whether a label is a value alone, of which a sentence says nothing."""
    try:
        float(label)
    except ValueError:
        return label in ("True", "False")
    return True


def _table(evidence: RunData, axis: int, there: Sequence[ComparisonGroup]) -> Table:
    axes = evidence.run["axes"]
    arms, noun = _arms(evidence, axis), _noun(evidence)
    rows = []
    for place in there:
        for way, own in place.ways.items():
            paths, losses = [c.path for c in own], [c.loss for c in own]
            rows.append((*place.labels, *_row(arms[way], paths, losses)))
        if place.between:
            row = _row("another seed", place.between, [float("nan")])
            rows.append((*place.labels, *row[:6], None, *row[7:]))
    over = ""
    if noun == "seed":
        over = (
            "; over all seeds the earliest step, the largest maximum, the mean, and "
            "the root mean square of the RMS"
        )
    return Table(
        f"The same {noun}s, against {arms[0]} (exact canvases in [0, 1] units{over})",
        (
            *(axes[i]["name"] for i in evidence.other_axes(axis)),
            *("arm", f"{noun}s", "same bits", "part at step"),
            *("max |Δ|", "mean |Δ|", "max ulps", "RMS at the end"),
            *("loss, relative", "e-folds every … steps"),
        ),
        tuple(rows),
    )


def _costs(evidence: RunData, axis: int, there: Sequence[ComparisonGroup]) -> Table:
    """Return the table of run seconds by step and slot of a batch.

    The slots that fill up the last batch are computed too, and count.
    """
    axes, groups = evidence.run["axes"], evidence.run.get("groups", [])
    arms = _arms(evidence, axis)
    rows: list[tuple[Any, ...]] = []
    for place in there:
        seconds: dict[int, float] = {}
        for arm, member in (item for line in place.lines for item in line.items()):
            number = evidence.run["members"][member].get("group")
            if number is None or not groups[number]["member_steps"]:
                continue
            group, size = groups[number], groups[number]["batch_size"] or 1
            slots = size * math.ceil(group["count"] / size)
            filled = group["count"] / slots
            seconds[arm] = filled * group["run_s"] / group["member_steps"]
        rows += [
            (
                *(*place.labels, arms[arm]),
                rounded(1000 * s),
                rounded(s / seconds[0]) if 0 in seconds else None,
            )
            for arm, s in sorted(seconds.items())
        ]
    return Table(
        "What a member's step costs, with all that is kept of it",
        (
            *(axes[i]["name"] for i in evidence.other_axes(axis)),
            *("arm", "milliseconds", f"times {arms[0]}"),
        ),
        tuple(rows),
    )


def _noun(evidence: RunData) -> str:
    """What is computed in several ways."""
    return "seed" if ("seeds",) in evidence.fields else "picture"


def _row(
    name: str, own: Sequence[Divergence], losses: Sequence[float]
) -> tuple[Any, ...]:
    ulps = [d.ulps for d in own if d.ulps is not None]
    parting, growth = _parting(own), _median(own)
    return (
        name,
        len(own),
        "no" if parting else "yes",
        _step(parting),
        rounded(max(d.max for d in own)),
        rounded(statistics.fmean(d.mean for d in own)),
        max(ulps, default=None),
        rounded(_rms(own)),
        rounded(max(losses)),
        rounded(growth.e_folding) if growth else None,
    )


def _rms(own: Sequence[Divergence]) -> float:
    """How far apart at the end, over the seeds."""
    return math.sqrt(statistics.fmean(d.rms**2 for d in own))


def _apart(own: Sequence[Divergence]) -> str:
    """`_rms`, and from where to where the seeds are if they are not alike."""
    low, high = (
        f"{end:.2g}" for end in (min(d.rms for d in own), max(d.rms for d in own))
    )
    return f"{_rms(own):.2g}" + (f" ({low} to {high})" if low != high else "")


def _parting(own: Sequence[Divergence]) -> tuple[str, int] | None:
    """The first step that differs: "at" it, or "by" it if the one before was not kept.

    None if no bit differs.
    """
    parted = [(d.parted, d.steps) for d in own if d.parted is not None]
    if not parted:
        return None
    step, steps = min(parted)
    before = max((s for s in steps if s < step), default=-1)
    return "at" if before == step - 1 else "by", step


def _step(parting: tuple[str, int] | None) -> str | int | None:
    """What a table has of a parting: a number where it is exact."""
    if parting is None or parting[0] == "at":
        return parting and parting[1]
    return f"by {parting[1]}"


def _median(own: Sequence[Divergence]) -> Growth | None:
    """The median growth, of those that grow."""
    rates = [d.growth for d in own if d.growth is not None and d.growth.rate > 0]
    rates.sort(key=lambda growth: growth.e_folding)
    return rates[(len(rates) - 1) // 2] if rates else None


def _said(evidence: RunData, arms: Sequence[str], place: ComparisonGroup) -> list[str]:
    device = evidence.run.get("device", {}).get("platform", "device")
    noun = _noun(evidence)
    where = f" at {place.where}" if place.where else ""
    paths = {way: [c.path for c in own] for way, own in place.ways.items()}
    equal = [way for way, own in paths.items() if all(d.equal for d in own)]
    said = []
    if equal:
        names = "; ".join(arms[way] for way in equal)
        said.append(
            f"On this {device}{where} a {noun} is the same to the last bit, "
            f"{_looks(paths[equal[0]][0].steps)}, {arms[0]} and: {names}."
        )
    against = (
        f", against {_apart(place.between)} between seeds" if place.between else ""
    )
    for way, own in paths.items():
        if way in equal:
            continue
        parting, growth = _parting(own), _median(own)
        assert parting is not None
        grows = (
            f"; the difference grows e-fold in {growth.e_folding:.2g} steps, over "
            f"steps {growth.first} to {growth.last}"
            if growth
            else ""
        )
        said.append(
            f"A {noun} {arms[way]} is not the {noun} {arms[0]}{where}: they part "
            f"{parting[0]} step {parting[1]} and end {_apart(own)} apart (RMS, of 1)"
            f"{against}{grows}."
        )
    return said


def _looks(steps: Sequence[int]) -> str:
    """At which steps two were compared."""
    if len(steps) == 1:
        return "at the end"
    if steps == tuple(range(steps[-1] + 1)):
        return f"at all of {len(steps)} steps"
    return f"at the {len(steps)} steps that were kept"


def _shares(
    evidence: RunData, arms: Sequence[str], place: ComparisonGroup
) -> list[str]:
    """How much of the variance is start noise, how much arithmetic.

    Of the first arm and one that differs at a time: arms that are equal to the first
    would dilute it.
    """
    said = []
    for way, own in place.ways.items():
        if len(own) < 2 or all(c.path.equal for c in own):
            continue
        share = variance_components(np.stack([c.ends for c in own])).share
        first = planted(evidence, place.lines[0][0])
        ulps = abs(planted(evidence, own[0].member) - first)
        what = "the way of computing"
        if ulps:
            units = "one unit" if ulps == 1 else f"{ulps} units"
            what = f"{units} in the last place of one starting value"
        said.append(_share(arms, way, place, own, share, what))
    return said


def _share(
    arms: Sequence[str],
    way: int,
    place: ComparisonGroup,
    own: Sequence[Compared],
    share: Estimate,
    what: str,
) -> str:
    where = f" at {place.where}" if place.where else ""
    head = f"Of the variance among the pictures {arms[0]} and {arms[way]}{where}"
    if share.low is not None and share.high is not None:
        low, high = (percent(min(max(x, 0), 1)) for x in (share.low, share.high))
        bars = f"95 %: {low} to {high}"
    else:
        bars = f"of {len(own)} seeds, which give no interval"
    if share.value > 1:
        return f"{head} all that can be told is due to {what} ({bars})."
    return (
        f"{head} {percent(share.value)} % ({bars}) is due to {what}, the rest to the "
        "noise that a seed starts from."
    )


def _growth(arms: Sequence[str], place: ComparisonGroup) -> tuple[Plot, ...]:
    """Distance against step, of the arms that part."""
    kinds = [
        (arms[way], [c.path for c in own])
        for way, own in place.ways.items()
        if not all(c.path.equal for c in own)
    ]
    if place.between:
        kinds.append(("another seed", list(place.between)))
    if not kinds or len(kinds[0][1][0].steps) < 2:
        return ()
    series = []
    for name, own in kinds:
        mean = np.sqrt(np.square([d.distances for d in own]).mean(0))
        y = tuple(float(y) if y > 0 else None for y in mean)
        series.append(Series(name, own[0].steps, y))
    where = f" at {place.where}" if place.where else ""
    title = f"How a difference from {arms[0]} grows{where}"
    return (Plot(title, tuple(series), "step", "RMS distance"),)
