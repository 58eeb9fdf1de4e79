"""Records of what a study reports: sentences, tables, plots and pictures."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of cells under named columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    @classmethod
    def from_records(
        cls,
        title: str,
        index: Sequence[str],
        records: Iterable[tuple[Sequence[Any], Mapping[str, Any]]],
    ) -> "Table":
        """Return a table of records; a cell that a record lacks is None.

        Args:
          title: printed above the table.
          index: names of the first columns.
          records: (cells of the first columns, column -> cell) for each row.
        """
        records = list(records)
        columns = dict.fromkeys(name for _, record in records for name in record)
        rows = (
            (*labels, *(record.get(name) for name in columns))
            for labels, record in records
        )
        return cls(title, (*index, *columns), tuple(rows))


@dataclasses.dataclass(frozen=True)
class Series:
    """One curve of a plot.

    Attributes:
      label: name in the legend; "" for the only curve.
      x: numbers or strings.
      y: one number for each x; None leaves a gap.
      low: lower ends of the error bars, or ().
      high: upper ends of the error bars, or ().
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
    """Non-negative values [N, N], drawn as shades from 0."""

    title: str
    labels: tuple[str, ...]
    values: np.ndarray


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image [H, W, 3] in [0, 1]."""

    title: str
    picture: np.ndarray


@dataclasses.dataclass(frozen=True)
class Clip:
    """A video: frames [T, H, W, 3] in [0, 1]."""

    title: str
    frames: np.ndarray


@dataclasses.dataclass(frozen=True)
class StudyResult:
    """Sentences (`summary`) and the tables, plots and images behind them."""

    summary: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    matrices: tuple[Matrix, ...] = ()
    pictures: tuple[Picture, ...] = ()
    clips: tuple[Clip, ...] = ()

    def __add__(self, result: "StudyResult") -> "StudyResult":
        names = [field.name for field in dataclasses.fields(self)]
        return StudyResult(*(getattr(self, n) + getattr(result, n) for n in names))
