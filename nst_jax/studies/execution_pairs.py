"""One request computed in several ways: members along an axis of execution."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nst_jax.metrics.divergence import Divergence, divergence
from nst_jax.studies.results import RunData

#: An axis over nothing but these says how, not what.
WAYS = ("ensemble.", "numerics.")
#: A difference that is planted, and no way of computing.
PLANTED = "canvas.ulps"


class Compared(NamedTuple):
    """One seed, computed in one way, beside the first way.

    Attributes:
      member: which it is.
      path: how its canvases compare to those of the first way.
      loss: by what share the last losses differ.
      ends: the last canvas of the first way and its own, float32 [H, W, 3].
    """

    member: int
    path: Divergence
    loss: float
    ends: tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class ComparisonGroup:
    """Members that differ in nothing but the way of computing and the seed.

    Attributes:
      labels: where that is, one for each of `RunData.other_axes`.
      where: the same in words; "" if there are no other axes.
      lines: for each seed, the way's place on its axis -> the member.
      ways: the way's place -> its seeds; without the first way.
      between: how the seeds part from the first of them, all computed in the first
        way.
    """

    labels: tuple[str, ...]
    where: str
    lines: Sequence[Mapping[int, int]]
    ways: Mapping[int, Sequence[Compared]]
    between: Sequence[Divergence]


def is_execution(paths: Sequence[str]) -> bool:
    """Whether an axis over these paths is one of execution."""
    return all(path.startswith(WAYS) or path == PLANTED for path in paths)


def planted(evidence: RunData, member: int) -> int:
    """By how many units in the last place a member's start was moved."""
    return evidence.run["members"][member]["varies"].get(PLANTED, 0)


def places(evidence: RunData, axis: int) -> list[ComparisonGroup]:
    """The places at which the first way was computed, in their order.

    Args:
      evidence: with exact canvases.
      axis: that of execution.
    """
    axes, members = evidence.run["axes"], evidence.run["members"]
    others = evidence.other_axes(axis)
    together: dict[tuple[int, ...], list[dict[int, int]]] = {}
    for _, line in evidence.lines(axis):
        there = {members[m]["index"][axis]: m for m in line if m in evidence.finals}
        if 0 in there:
            index = members[there[0]]["index"]
            own = together.setdefault(tuple(index[i] for i in others), [])
            own.append(there)
    found = []
    for place, lines in sorted(together.items()):
        labels = [axes[a]["labels"][i] for a, i in zip(others, place, strict=True)]
        words = (f"{axes[a]['name']} {x}" for a, x in zip(others, labels, strict=True))
        ways, between = _compared(evidence, lines)
        found.append(
            ComparisonGroup(tuple(labels), ", ".join(words), lines, ways, between)
        )
    return found


def _compared(
    evidence: RunData, lines: Sequence[Mapping[int, int]]
) -> tuple[dict[int, list[Compared]], list[Divergence]]:
    """The ways of a place, and its seeds."""
    assert evidence.trajectory is not None
    ways: dict[int, list[Compared]] = {}
    between = []
    root = None
    for line in lines:
        steps, first = evidence.trajectory(line[0])
        if not steps:
            continue
        if root is None:
            root = steps, first
        elif root[0] == steps:
            between.append(divergence(steps, root[1], first))
        for way, member in line.items():
            own_steps, own = evidence.trajectory(member) if way else ([], [])
            if own_steps == steps:
                path = divergence(steps, first, own)
                loss = _loss_apart(evidence, line[0], member)
                entry = Compared(member, path, loss, (first[-1], own[-1]))
                ways.setdefault(way, []).append(entry)
    return dict(sorted(ways.items())), between


def _loss_apart(evidence: RunData, a: int, b: int) -> float:
    """By what share the last losses of two members differ."""
    first, other = (evidence.run["members"][m]["loss"] for m in (a, b))
    return abs(other - first) / abs(first) if first else abs(other)
