"""Members along an execution axis, compared with the first arm."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from nst_jax.metrics.divergence import Divergence, divergence
from nst_jax.studies.run_data import RunData

#: An axis over these config paths varies the execution, not the request.
EXECUTION_PREFIXES = ("ensemble.", "numerics.")
#: A deliberate perturbation of the start, compared along the same axis.
PERTURBATION = "canvas.ulps"


@dataclasses.dataclass(frozen=True)
class ArmComparison:
    """One arm against the first arm; each list has a value for each seed.

    Attributes:
      name: name of the arm.
      ulps: perturbation of the start relative to the first arm, in ulps.
      divergences: distances of the canvases from those of the first arm.
      losses: relative differences of the last losses.
      ends: last canvas in the first arm and in this one, float32 [H, W, 3] each.
    """

    name: str
    ulps: int
    divergences: list[Divergence] = dataclasses.field(default_factory=list)
    losses: list[float] = dataclasses.field(default_factory=list)
    ends: list[tuple[np.ndarray, np.ndarray]] = dataclasses.field(default_factory=list)

    @property
    def is_identical(self) -> bool:
        return all(d.equal for d in self.divergences)


@dataclasses.dataclass(frozen=True)
class ComparisonGroup:
    """Members that differ in nothing but the arm and the seed.

    Attributes:
      names: names of all arms; the first is the reference.
      labels: labels of the setting, one for each of `RunData.other_axes`.
      setting: the setting in words, " at weight 2"; "" without other axes.
      members: index of the arm -> member, for each seed.
      arms: the arms other than the reference.
      seeds: divergence of each seed from the first seed, in the reference arm.
    """

    names: Sequence[str]
    labels: Sequence[str]
    setting: str
    members: Sequence[Mapping[int, int]]
    arms: Sequence[ArmComparison]
    seeds: Sequence[Divergence]


def is_execution_axis(paths: Sequence[str]) -> bool:
    """Return whether an axis over these paths varies the execution only."""
    return all(p.startswith(EXECUTION_PREFIXES) or p == PERTURBATION for p in paths)


def comparison_groups(run_data: RunData, axis: int) -> list[ComparisonGroup]:
    """Return the groups in which the first arm and another one are finished.

    Args:
      run_data: data with exact canvases.
      axis: the execution axis.
    """
    names = _arm_names(run_data, axis)
    setting_axes = run_data.other_axes(axis)
    groups = []
    for seeds in run_data.seeds_by_setting(axis):
        by_arm = [
            {run_data.index(m, [axis])[0]: m for m in run_data.finished(members)}
            for members in seeds
        ]
        by_arm = [members for members in by_arm if 0 in members]
        arms, between_seeds = _compare_arms(run_data, names, by_arm)
        if arms:
            labels = run_data.labels(by_arm[0][0], setting_axes)
            words = run_data.describe(by_arm[0][0], setting_axes)
            setting = f" at {words}" if words else ""
            groups.append(
                ComparisonGroup(names, labels, setting, by_arm, arms, between_seeds)
            )
    return groups


def _arm_names(run_data: RunData, axis: int) -> list[str]:
    """Labels of the axis; a number or a boolean has the axis name before it."""
    name, labels = (run_data.run["axes"][axis][key] for key in ("name", "labels"))
    return [f"{name} {label}" if _is_value(label) else label for label in labels]


def _is_value(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return label in ("True", "False")
    return True


def _compare_arms(
    run_data: RunData, names: Sequence[str], seeds: Sequence[Mapping[int, int]]
) -> tuple[list[ArmComparison], list[Divergence]]:
    """Comparisons with the first arm, and divergences of the seeds within it."""
    assert run_data.trajectory is not None
    entries = run_data.run["members"]
    arms: dict[int, ArmComparison] = {}
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
            if recorded != steps:
                continue
            start, reference_start = (
                entries[m]["varies"].get(PERTURBATION, 0) for m in (member, seeds[0][0])
            )
            new = ArmComparison(names[arm], abs(start - reference_start))
            comparison = arms.setdefault(arm, new)
            comparison.divergences.append(divergence(steps, reference, canvases))
            loss, reference_loss = (entries[m]["loss"] for m in (member, members[0]))
            difference = abs(loss - reference_loss)
            comparison.losses.append(difference / (abs(reference_loss) or 1))
            comparison.ends.append((reference[-1], canvases[-1]))
    return [arms[arm] for arm in sorted(arms)], between_seeds
