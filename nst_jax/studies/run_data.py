"""The data of a run that the studies read."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nst_jax.metrics.dispersion import Dispersion, dispersion
from nst_jax.metrics.distances import CUTOFF, SSIM_WINDOW
from nst_jax.metrics.statistics import MIN_MEMBERS
from nst_jax.models.vgg import Network
from nst_jax.workdir.schema import Manifest

Rows = Sequence[Mapping[str, Any]]
#: Steps, and the canvas float32 [H, W, 3] at each of them.
Trajectory = tuple[list[int], list[np.ndarray]]

#: Seeds of a group that are compared, at most: the cost grows with their square.
MAX_SEEDS = 64


class SeedGroup(NamedTuple):
    """Finished members that differ in nothing but the seed.

    Attributes:
      label: their values on the other axes.
      members: member numbers, at least `MIN_MEMBERS`.
      pictures: their results, [N, H, W, 3].
      dispersion: dispersion of these results.
    """

    label: str
    members: list[int]
    pictures: np.ndarray
    dispersion: Dispersion


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

    def find_axis(self, *paths: str) -> int | None:
        """Return the first axis that varies one of these config paths."""
        axes = (i for i, fields in enumerate(self.fields) if set(fields) & set(paths))
        return next(axes, None)

    def other_axes(self, axis: int | None) -> list[int]:
        """Return the axes other than `axis` that vary more than seeds."""
        return [
            i
            for i, paths in enumerate(self.fields)
            if i != axis and paths != ("seeds",)
        ]

    def other_names(self, axis: int | None) -> str:
        """Return the names of all axes but one, as a column title."""
        names = [a.name for i, a in enumerate(self.run.axes) if i != axis]
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
        axes = [i for i in range(len(self.run.axes)) if i != axis]
        return [
            (", ".join(self.labels(group[0], axes)) or "all", group)
            for group in self.group_by(axes, members)
        ]

    def seeds_by_setting(
        self, axis: int, members: Iterable[int]
    ) -> list[list[list[int]]]:
        """Return the members along an axis, by setting of `other_axes` and by seed."""
        axes = [i for i in range(len(self.run.axes)) if i != axis]
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
                spread = dispersion(images, CUTOFF)
                groups.append(SeedGroup(label, members, images, spread))
        return groups


def limit_seeds(group: tuple[str, list[int]]) -> tuple[str, list[int]]:
    """Return the first `MAX_SEEDS` members of a group, and a label that says so."""
    label, members = group
    if len(members) <= MAX_SEEDS:
        return group
    label = f"{label} (the first {MAX_SEEDS} of {len(members)} seeds)"
    return label, members[:MAX_SEEDS]
