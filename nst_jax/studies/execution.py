"""What the way of computing does: the same seeds, computed by other programs."""

import statistics
from typing import Any

import numpy as np

from nst_jax.studies.dispersion import variance_components
from nst_jax.studies.divergence import Divergence, divergence
from nst_jax.studies.found import Evidence, Findings, Plot, Series, Table, rounded

#: An axis over nothing but these says how, not what.
WAYS = ("ensemble.", "numerics.")
#: A difference that is planted, and no way of computing.
PLANTED = "canvas.ulps"


def execution(evidence: Evidence) -> Findings:
    """Which ways of computing give the same bits, and how far the others lead.

    Members along the axis of execution are compared to the first of them, step by
    step where every step was kept. All distances are of exact canvases, not clipped.
    """
    axis = next((i for i, p in enumerate(evidence.fields) if _is_execution(p)), None)
    if axis is None or evidence.trajectory is None:
        return Findings()
    arms = evidence.run["axes"][axis]["labels"]
    paths: dict[int, tuple[list[int], list[np.ndarray]]] = {}
    parted: dict[int, list[Divergence]] = {}
    losses: dict[int, list[float]] = {}
    whole = []
    for _, members in evidence.lines(axis):
        there = {
            evidence.run["members"][m]["index"][axis]: m
            for m in members
            if m in evidence.finals
        }
        if 0 not in there:
            continue
        whole.append(there)
        steps, first = paths[there[0]] = evidence.trajectory(there[0])
        for arm, member in there.items():
            if arm:
                own_steps, own = evidence.trajectory(member)
                if steps and own_steps == steps:
                    parted.setdefault(arm, []).append(divergence(steps, first, own))
                    losses.setdefault(arm, []).append(
                        _loss_apart(evidence, there[0], member)
                    )
    if not parted:
        return Findings()
    between = _between(list(paths.values()))
    rows = [_row(arms[arm], own, losses[arm]) for arm, own in sorted(parted.items())]
    return Findings(
        (
            *_said(evidence, arms, parted, between),
            *_shares(evidence, arms, whole),
        ),
        (
            Table(
                f"The same seeds, against {arms[0]} (exact canvases in [0, 1] units; "
                "over all seeds the earliest step, the largest maximum, the means)",
                (
                    *("arm", "seeds", "same bits", "part at step"),
                    *("max |Δ|", "mean |Δ|", "max ulps", "RMS at the end"),
                    *("loss, relative", "e-folds every … steps"),
                ),
                (*rows, *_last_row(between)),
            ),
            _costs(evidence, arms, whole),
        ),
        _growth(arms, parted, between),
    )


def _costs(evidence: Evidence, arms: list[str], whole: list[dict[int, int]]) -> Table:
    """What a member's step takes, also of those that only fill a batch up."""
    groups = evidence.run.get("groups", [])
    seconds: dict[int, float] = {}
    for arm, member in (item for line in whole for item in line.items()):
        number = evidence.run["members"][member].get("group")
        if number is None or not groups[number]["member_steps"]:
            continue
        group, size = groups[number], groups[number]["batch_size"] or 1
        filled = min(group["count"], size) / size
        seconds[arm] = filled * group["run_s"] / group["member_steps"]
    return Table(
        "What a member's step costs, with all that is kept of it",
        ("arm", "milliseconds", f"times {arms[0]}"),
        tuple(
            (
                arms[arm],
                rounded(1000 * s),
                rounded(s / seconds[0]) if 0 in seconds else None,
            )
            for arm, s in sorted(seconds.items())
        ),
    )


def _is_execution(paths: tuple[str, ...]) -> bool:
    return all(path.startswith(WAYS) or path == PLANTED for path in paths)


def _planted(evidence: Evidence, member: int) -> bool:
    return bool(evidence.run["members"][member]["varies"].get(PLANTED))


def _loss_apart(evidence: Evidence, a: int, b: int) -> float:
    """By what share the last losses of two members differ."""
    first, other = (evidence.run["members"][m]["loss"] for m in (a, b))
    return abs(other - first) / abs(first) if first else abs(other)


def _between(paths: list[tuple[list[int], list[np.ndarray]]]) -> list[Divergence]:
    """How two seeds part that are computed in the same way."""
    steps, first = paths[0]
    return [divergence(steps, first, own) for s, own in paths[1:] if s == steps]


def _row(name: str, own: list[Divergence], losses: list[float]) -> tuple[Any, ...]:
    steps = [d.parted for d in own if d.parted is not None]
    ulps = [d.ulps for d in own if d.ulps is not None]
    folds = _folds(own)
    return (
        name,
        len(own),
        "yes" if not steps else "no",
        min(steps, default=None),
        rounded(max(d.max for d in own)),
        rounded(statistics.fmean(d.mean for d in own)),
        max(ulps, default=None),
        rounded(statistics.fmean(d.rms for d in own)),
        rounded(max(losses)),
        rounded(statistics.median(folds)) if folds else None,
    )


def _last_row(between: list[Divergence]) -> tuple[tuple[Any, ...], ...]:
    if not between:
        return ()
    row = _row("another seed", between, [float("nan")])
    return ((*row[:6], None, *row[7:]),)


def _folds(own: list[Divergence]) -> list[float]:
    """Steps in which distances grow e-fold, of those that grow."""
    rates = [d.growth for d in own if d.growth is not None]
    return [growth.e_folding for growth in rates if growth.rate > 0]


def _said(
    evidence: Evidence,
    arms: list[str],
    parted: dict[int, list[Divergence]],
    between: list[Divergence],
) -> list[str]:
    device = evidence.run.get("device", {}).get("platform", "device")
    equal = [arm for arm, own in parted.items() if all(d.equal for d in own)]
    said = []
    if equal:
        steps = parted[equal[0]][0].steps
        looks = f"at all of {len(steps)} steps" if len(steps) > 1 else "at the end"
        names = "; ".join(arms[arm] for arm in equal)
        said.append(
            f"On this {device} a seed is the same to the last bit, {looks}, "
            f"{arms[0]} and: {names}."
        )
    against = ""
    if between:
        apart = statistics.fmean(d.rms for d in between)
        against = f", against {apart:.2g} between seeds"
    for arm, own in parted.items():
        if arm in equal:
            continue
        first = min(d.parted for d in own if d.parted is not None)
        end = statistics.fmean(d.rms for d in own)
        folds = _folds(own)
        grows = (
            f"; the difference grows e-fold in {statistics.median(folds):.2g} steps"
            if folds
            else ""
        )
        said.append(
            f"A seed {arms[arm]} is not the seed {arms[0]}: they part at step {first} "
            f"and end {end:.2g} apart (RMS, of 1){against}{grows}."
        )
    return said


def _shares(
    evidence: Evidence, arms: list[str], whole: list[dict[int, int]]
) -> list[str]:
    """How much of the variance is start noise, how much arithmetic."""
    if len(whole) < 2 or "seed" not in [a["name"] for a in evidence.run["axes"]]:
        return []
    shared = set.intersection(*map(set, whole))
    planted = {arm for arm in shared if _planted(evidence, whole[0][arm])}
    said = []
    for chosen, what in (
        (shared - planted, "the way of computing"),
        ({0, *planted} & shared, "one unit in the last place of one starting value"),
    ):
        if len(chosen) < 2:
            continue
        pictures = np.stack(
            [
                np.stack([evidence.finals[line[arm]] for arm in sorted(chosen)])
                for line in whole
            ]
        )
        share = variance_components(pictures).share
        percent = 100 * share.value
        bars = (
            f" (95 %: {100 * share.low:.2g} to {100 * share.high:.2g})"
            if share.low is not None and share.high is not None
            else ""
        )
        said.append(
            f"Of the variance among the pictures {percent:.2g} %{bars} is due to "
            f"{what}, the rest to the noise that a seed starts from."
        )
    return said


def _growth(
    arms: list[str], parted: dict[int, list[Divergence]], between: list[Divergence]
) -> tuple[Plot, ...]:
    """Distance against step, of the arms that part."""
    kinds = [
        (arms[a], own) for a, own in parted.items() if not all(d.equal for d in own)
    ]
    if between:
        kinds.append(("another seed", between))
    if len(kinds) < 1 or len(kinds[0][1][0].steps) < 2:
        return ()
    series = []
    for name, own in kinds:
        squares = np.square([d.distances for d in own])
        mean = np.sqrt(squares.mean(0))
        series.append(
            Series(
                name,
                own[0].steps,
                tuple(float(y) if y > 0 else None for y in mean),
            )
        )
    title = f"How a difference from {arms[0]} grows"
    return (Plot(title, tuple(series), "step", "RMS distance"),)
