"""Members along an execution axis, paired with the first arm."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nst_jax.metrics.divergence import Divergence, divergence
from nst_jax.studies.run_data import RunData

#: An axis over these config paths varies the execution, not the request.
EXECUTION_PREFIXES = ("ensemble.", "numerics.")
#: A deliberate perturbation of the start, compared along the same axis.
PERTURBATION = "canvas.ulps"


class ExecutionPair(NamedTuple):
    """One seed in one arm, compared with the first arm.

    Attributes:
      member: member number in this arm.
      divergence: distance of its canvases from those of the first arm.
      loss: relative difference of the last losses.
      ends: last canvas in the first arm and in this one, float32 [H, W, 3].
    """

    member: int
    divergence: Divergence
    loss: float
    ends: tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class ComparisonGroup:
    """Members that differ in nothing but the arm and the seed.

    Attributes:
      labels: labels of the setting, one for each of `RunData.other_axes`.
      setting: the setting in words, " at weight 2"; "" without other axes.
      members: index of the arm -> member, for each seed.
      pairs: index of the arm -> its pairs; without the first arm.
      seeds: divergence of each seed from the first seed, in the first arm.
    """

    labels: tuple[str, ...]
    setting: str
    members: Sequence[Mapping[int, int]]
    pairs: Mapping[int, Sequence[ExecutionPair]]
    seeds: Sequence[Divergence]


def is_execution_axis(paths: Sequence[str]) -> bool:
    """Return whether an axis over these paths varies the execution only."""
    return all(p.startswith(EXECUTION_PREFIXES) or p == PERTURBATION for p in paths)


def start_ulps(run_data: RunData, member: int) -> int:
    """Return the perturbation of a member's start in units in the last place."""
    return run_data.run["members"][member]["varies"].get(PERTURBATION, 0)


def comparison_groups(run_data: RunData, axis: int) -> list[ComparisonGroup]:
    """Return the groups in which the first arm is finished and another one is paired.

    Args:
      run_data: data with exact canvases.
      axis: the execution axis.
    """
    groups = []
    setting_axes = run_data.other_axes(axis)
    for seeds in run_data.seeds_by_setting(axis):
        arms = [
            {run_data.index(m, [axis])[0]: m for m in run_data.finished(members)}
            for members in seeds
        ]
        arms = [members for members in arms if 0 in members]
        pairs, between_seeds = _pair_with_first(run_data, arms)
        if pairs:
            labels = tuple(run_data.labels(arms[0][0], setting_axes))
            words = run_data.describe(arms[0][0], setting_axes)
            setting = f" at {words}" if words else ""
            groups.append(ComparisonGroup(labels, setting, arms, pairs, between_seeds))
    return groups


def _pair_with_first(
    run_data: RunData, seeds: Sequence[Mapping[int, int]]
) -> tuple[dict[int, list[ExecutionPair]], list[Divergence]]:
    """Pairs by arm, and divergences of the seeds in the first arm."""
    assert run_data.trajectory is not None
    pairs: dict[int, list[ExecutionPair]] = {}
    between_seeds = []
    root = None
    for members in seeds:
        steps, reference = run_data.trajectory(members[0])
        if not steps:
            continue
        if root is None:
            root = steps, reference
        elif root[0] == steps:
            between_seeds.append(divergence(steps, root[1], reference))
        for arm, member in members.items():
            recorded, canvases = run_data.trajectory(member) if arm else ([], [])
            if recorded == steps:
                pair = ExecutionPair(
                    member,
                    divergence(steps, reference, canvases),
                    _loss_difference(run_data, members[0], member),
                    (reference[-1], canvases[-1]),
                )
                pairs.setdefault(arm, []).append(pair)
    return dict(sorted(pairs.items())), between_seeds


def _loss_difference(run_data: RunData, first: int, second: int) -> float:
    """Relative difference of the last losses."""
    a, b = (run_data.run["members"][m]["loss"] for m in (first, second))
    return abs(b - a) / abs(a) if a else abs(b)
