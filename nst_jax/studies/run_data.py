"""The data of a run that the studies read."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nst_jax.metrics.dispersion import Dispersion, dispersion, twin_deviation
from nst_jax.metrics.distances import CUTOFF, SSIM_WINDOW, rms
from nst_jax.metrics.statistics import MIN_MEMBERS, Estimate
from nst_jax.models.vgg import Network
from nst_jax.workdir.schema import Manifest

Rows = Sequence[Mapping[str, Any]]
#: Steps, and the canvas float32 [H, W, 3] at each of them.
Trajectory = tuple[list[int], list[np.ndarray]]

#: Seeds of a group that are compared, at most: the cost grows with their square.
MAX_SEEDS = 64
#: Config path of a perturbation of the start by units in the last place.
ULPS = "canvas.ulps"


class SeedGroup(NamedTuple):
    """Finished members that differ in nothing but the seed.

    Attributes:
      label: their values on the other axes.
      members: member numbers, at least `MIN_MEMBERS`.
      pictures: their results, [N, H, W, 3].
      dispersion: dispersion of these results.
      floor: `twin_deviation` of the members that have a twin; None if none has.
    """

    label: str
    members: list[int]
    pictures: np.ndarray
    dispersion: Dispersion
    floor: Estimate | None


@dataclasses.dataclass(frozen=True)
class RunData:
    """The results of a run, finished or not.

    Attributes:
      run: content of run.json.
      finals: member -> result [H, W, 3], finite; finished members only.
      rows: member -> its metrics rows of the last stage, in the order of steps.
      contents: member -> content image [H, W, 3].
      styles: member -> style images.
      trajectory: member -> (recorded steps, exact canvases float32 [H, W, 3]); for a
        finished member at least the last step, if its files are there.
      network: loads the network of the run; returns None without its weights.
    """

    run: Manifest
    finals: Mapping[int, np.ndarray]
    rows: Mapping[int, Rows] = dataclasses.field(default_factory=dict)
    contents: Mapping[int, np.ndarray] = dataclasses.field(default_factory=dict)
    styles: Mapping[int, Sequence[np.ndarray]] = dataclasses.field(default_factory=dict)
    trajectory: Callable[[int], Trajectory] = lambda member: ([], [])
    network: Callable[[], Network | None] = lambda: None

    @property
    def terms(self) -> Sequence[Mapping[str, Any]]:
        """The terms of the config."""
        return self.run.config["terms"]

    @property
    def fields(self) -> list[tuple[str, ...]]:
        """Config paths that each axis varies."""
        return [tuple(axis.field.split(", ")) for axis in self.run.axes]

    @property
    def seed_axis(self) -> int | None:
        """The axis that varies nothing but seeds."""
        return self.fields.index(("seeds",)) if ("seeds",) in self.fields else None

    @functools.cached_property
    def twin_axis(self) -> int | None:
        """The axis that varies nothing but `canvas.ulps`, from 0.

        Its members with added ulps are twins of the member without. Twins have the
        floor of any difference, and belong to no setting.
        """
        if not any(member.varies.get(ULPS) == 0 for member in self.run.members):
            return None
        return self.fields.index((ULPS,)) if (ULPS,) in self.fields else None

    @functools.cached_property
    def twins(self) -> dict[int, list[int]]:
        """Finished member without added ulps -> its finished twins, if it has any."""
        if self.twin_axis is None:
            return {}
        axes = [i for i in range(len(self.run.axes)) if i != self.twin_axis]
        twins = {}
        for group in self.group_by(axes, self.finals):
            originals = self.without_twins(group)
            if originals and len(group) > len(originals):
                twins[originals[0]] = [m for m in group if m not in originals]
        return twins

    def without_twins(
        self, members: Iterable[int], axis: int | None = None
    ) -> list[int]:
        """Return the members without added ulps; all members along the twin axis."""
        if self.twin_axis in (None, axis):
            return list(members)
        return [m for m in members if not self.run.members[m].varies[ULPS]]

    def find_axis(self, *paths: str) -> int | None:
        """Return the first axis that varies one of these config paths."""
        axes = (i for i, fields in enumerate(self.fields) if set(fields) & set(paths))
        return next(axes, None)

    def other_axes(self, axis: int | None) -> list[int]:
        """Return the axes other than `axis` that vary more than seeds and twins."""
        ignored = axis, self.seed_axis, self.twin_axis
        return [i for i in range(len(self.fields)) if i not in ignored]

    def other_names(self, axis: int | None) -> str:
        """Return the names of all axes but one and that of twins, as a column title."""
        axes = enumerate(self.run.axes)
        names = [a.name for i, a in axes if i not in (axis, self.twin_axis)]
        return ", ".join(names) or "member"

    def index(self, member: int, axes: Sequence[int]) -> tuple[int, ...]:
        """Return a member's grid coordinates along some axes."""
        return tuple(self.run.members[member].index[axis] for axis in axes)

    def labels(self, member: int, axes: Sequence[int]) -> list[str]:
        """Return a member's labels along some axes."""
        index = zip(axes, self.index(member, axes), strict=True)
        return [self.run.axes[axis].labels[i] for axis, i in index]

    def describe(self, member: int, axes: Sequence[int]) -> str:
        """Return a member's values along some axes in words: "weight 2, size 64"."""
        pairs = zip(axes, self.labels(member, axes), strict=True)
        return ", ".join(f"{self.run.axes[a].name} {label}" for a, label in pairs)

    def canvases(self, members: Sequence[int]) -> dict[int, np.ndarray]:
        """Return step -> exact canvases [N, H, W, 3] of some members.

        It is empty unless all have recorded the same steps and are finite.
        """
        trajectories = [self.trajectory(member) for member in members]
        steps = trajectories[0][0] if trajectories else []
        if any(recorded != steps for recorded, _ in trajectories):
            return {}
        by_step = zip(*(recorded for _, recorded in trajectories), strict=True)
        ensembles = [np.stack(ensemble) for ensemble in by_step]
        if not all(np.isfinite(ensemble).all() for ensemble in ensembles):
            return {}
        return dict(zip(steps, ensembles, strict=True))

    def group_by(self, axes: Sequence[int], members: Iterable[int]) -> list[list[int]]:
        """Return the members at each point of some axes, in the order of the grid."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for member in sorted(members):
            groups.setdefault(self.index(member, axes), []).append(member)
        return [groups[index] for index in sorted(groups)]

    def groups_along(
        self, axis: int | None, members: Iterable[int]
    ) -> list[tuple[str, list[int]]]:
        """Return (label, members along one axis) for each setting of the others."""
        ignored = axis, self.twin_axis
        axes = [i for i in range(len(self.run.axes)) if i not in ignored]
        return [
            (", ".join(self.labels(group[0], axes)) or "all", group)
            for group in self.group_by(axes, self.without_twins(members, axis))
        ]

    def seeds_by_setting(
        self, axis: int, members: Iterable[int]
    ) -> list[list[list[int]]]:
        """Return the members along an axis, by setting of `other_axes` and by seed."""
        axes = [i for i in range(len(self.run.axes)) if i != axis]
        members = self.without_twins(members, axis)
        settings = self.group_by(self.other_axes(axis), members)
        return [self.group_by(axes, setting) for setting in settings]

    @functools.cached_property
    def seed_groups(self) -> list[SeedGroup]:
        """The groups along `seed_axis` whose images are large enough for SSIM.

        A group has at most `MAX_SEEDS` members; its label says if there are more.
        """
        if self.seed_axis is None:
            return []
        groups = []
        for label, members in map(
            limit_seeds, self.groups_along(self.seed_axis, self.finals)
        ):
            side = min(self.finals[members[0]].shape[:2])
            if len(members) >= MIN_MEMBERS and side >= SSIM_WINDOW:
                images = np.stack([self.finals[m] for m in members])
                spread, floor = dispersion(images, CUTOFF), self._twin_floor(members)
                groups.append(SeedGroup(label, members, images, spread, floor))
        return groups

    def _twin_floor(self, members: Sequence[int]) -> Estimate | None:
        """Deviation of the twins of some members; several twins of one count as one."""
        distances = [
            np.hypot.reduce([rms(self.finals[m], self.finals[t]) for t in twins])
            / len(twins) ** 0.5
            for m in members
            if (twins := self.twins.get(m))
        ]
        return twin_deviation(distances) if distances else None


def limit_seeds(group: tuple[str, list[int]]) -> tuple[str, list[int]]:
    """Return the first `MAX_SEEDS` members of a group, and a label that says so."""
    label, members = group
    if len(members) <= MAX_SEEDS:
        return group
    label = f"{label} (the first {MAX_SEEDS} of {len(members)} seeds)"
    return label, members[:MAX_SEEDS]
