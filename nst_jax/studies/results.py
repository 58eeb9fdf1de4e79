"""What a study says, in sentences, tables, plots and pictures, and from what."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nst_jax.metrics.dispersion import SSIM_WINDOW, Dispersion, dispersion
from nst_jax.metrics.distances import CUTOFF
from nst_jax.metrics.statistics import MIN_MEMBERS
from nst_jax.models.vgg import Network

Rows = Sequence[Mapping[str, Any]]

#: Seeds that are compared with each other: what that takes grows with their square,
#: and the intervals of so many are narrow.
MAX_SEEDS = 64


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows under their columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclasses.dataclass(frozen=True)
class Series:
    """One curve of a plot.

    Attributes:
      label: what it is called; "" where it is the only one.
      x: numbers, or words.
      y: one each; None is a gap.
      low: ends of the error bars, if there are any.
      high: likewise.
    """

    label: str
    x: tuple[Any, ...]
    y: tuple[float | None, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()


@dataclasses.dataclass(frozen=True)
class Plot:
    """Curves on one pair of axes; a scale is "linear" or "log"."""

    title: str
    series: tuple[Series, ...]
    x_label: str
    y_label: str
    x_scale: str = "linear"
    y_scale: str = "log"
    lines: bool = True


@dataclasses.dataclass(frozen=True)
class Matrix:
    """Numbers [N, N] to be shown as shades, from 0."""

    title: str
    labels: tuple[str, ...]
    values: np.ndarray


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture [H, W, 3] in [0, 1] to look at."""

    title: str
    picture: np.ndarray


@dataclasses.dataclass(frozen=True)
class Clip:
    """A film to look at: frames [T, H, W, 3] in [0, 1]."""

    title: str
    frames: np.ndarray


@dataclasses.dataclass(frozen=True)
class StudyResult:
    """What there is to say.

    Attributes:
      summary: one sentence a fact.
      tables: the numbers behind them.
      plots: curves that are not losses.
      matrices: of distances.
      pictures: what shows a fact better than a number.
      clips: likewise.
    """

    summary: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    matrices: tuple[Matrix, ...] = ()
    pictures: tuple[Picture, ...] = ()
    clips: tuple[Clip, ...] = ()

    def __add__(self, other: "StudyResult") -> "StudyResult":
        names = [field.name for field in dataclasses.fields(self)]
        return StudyResult(*(getattr(self, n) + getattr(other, n) for n in names))


class Line(NamedTuple):
    """The seeds at one place on the other axes.

    Attributes:
      label: where that is.
      members: those that are finished, at least `MIN_MEMBERS`.
      pictures: theirs, [N, H, W, 3].
      dispersion: of these.
    """

    label: str
    members: list[int]
    pictures: np.ndarray
    dispersion: Dispersion


@dataclasses.dataclass(frozen=True)
class RunData:
    """What a run has left, finished or not.

    Attributes:
      run: what run.json holds.
      finals: member -> its picture [H, W, 3], finite; those that there are.
      rows: member -> its rows of metrics, of the last stage and in their order.
      contents: member -> the content picture that it was given, [H, W, 3].
      styles: member -> the style pictures that it was given.
      trajectory: member -> the steps at which its exact canvas was kept, and the
        canvases float32 [H, W, 3]; at least the last one of a finished member.
      network: what to see features with; gives None where the weights are not there.
    """

    run: Mapping[str, Any]
    finals: Mapping[int, np.ndarray]
    rows: Mapping[int, Rows] = dataclasses.field(default_factory=dict)
    contents: Mapping[int, np.ndarray] = dataclasses.field(default_factory=dict)
    styles: Mapping[int, Sequence[np.ndarray]] = dataclasses.field(default_factory=dict)
    trajectory: Callable[[int], tuple[list[int], list[np.ndarray]]] | None = None
    network: Callable[[], Network | None] = lambda: None

    @property
    def fields(self) -> list[tuple[str, ...]]:
        """The paths that each axis varies."""
        return [tuple(axis["field"].split(", ")) for axis in self.run["axes"]]

    def axis(self, *paths: str) -> int | None:
        """The first axis that varies one of these paths."""
        found = (i for i, own in enumerate(self.fields) if set(own) & set(paths))
        return next(found, None)

    def other_axes(self, axis: int) -> list[int]:
        """The axes that are neither this one nor of nothing but seeds."""
        paths = enumerate(self.fields)
        return [i for i, own in paths if i != axis and own != ("seeds",)]

    def lines(self, axis: int) -> list[tuple[str, list[int]]]:
        """(label, members along one axis), for each place on the other ones."""
        lines: dict[tuple[int, ...], list[int]] = {}
        for entry in self.run["members"]:
            place = tuple(i for a, i in enumerate(entry["index"]) if a != axis)
            lines.setdefault(place, []).append(entry["member"])
        others = [a for i, a in enumerate(self.run["axes"]) if i != axis]
        return [
            (
                ", ".join(a["labels"][i] for a, i in zip(others, place, strict=True))
                or "all",
                members,
            )
            for place, members in lines.items()
        ]

    @functools.cached_property
    def seed_lines(self) -> list[Line]:
        """The lines along an axis of nothing but seeds, if wide enough for SSIM.

        Of more than `MAX_SEEDS` the first so many, which the label says.
        """
        if ("seeds",) not in self.fields:
            return []
        lines = []
        for label, members in self.lines(self.fields.index(("seeds",))):
            label, there = few_seeds(label, [m for m in members if m in self.finals])
            if (
                len(there) < MIN_MEMBERS
                or min(self.finals[there[0]].shape[:2]) < SSIM_WINDOW
            ):
                continue
            pictures = np.stack([self.finals[m] for m in there])
            lines.append(Line(label, there, pictures, dispersion(pictures, CUTOFF)))
        return lines

    def other_names(self, axis: int) -> str:
        """What the other axes are called, for the head of a table of lines."""
        names = [a["name"] for i, a in enumerate(self.run["axes"]) if i != axis]
        return ", ".join(names) or "member"


def few_seeds(label: str, members: list[int]) -> tuple[str, list[int]]:
    """Return the first `MAX_SEEDS` of a line's members, and a label that says so."""
    if len(members) <= MAX_SEEDS:
        return label, members
    label = f"{label} (the first {MAX_SEEDS} of {len(members)} seeds)"
    return label, members[:MAX_SEEDS]


def rounded(number: float | None, digits: int = 3) -> float | None:
    """To so many digits; None for what is no finite number."""
    if number is None or not np.isfinite(number):
        return None
    return float(f"{number:.{digits}g}")


def percent(share: float) -> str:
    """A share in per cent, to two digits: "9.9", "100"."""
    return f"{float(f'{100 * share:.2g}'):g}"


def levels(distance: float | None) -> float | None:
    """A distance of pictures in [0, 1] in levels of 255, to three digits."""
    return None if distance is None else rounded(255 * distance)
