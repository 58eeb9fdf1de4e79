"""Records of what a study reports: sentences, tables, plots and pictures."""

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import astuple

#: Curves of a plot, at most: matplotlib has as many colours.
MAX_CURVES = 10


class Table(Struct, frozen=True):
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


class Series(Struct, frozen=True):
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


class Plot(Struct, frozen=True):
    """Curves on one pair of axes; a scale is "linear" or "log"."""

    title: str
    series: tuple[Series, ...]
    x_label: str
    y_label: str
    x_scale: str = "linear"
    y_scale: str = "log"
    lines: bool = True


class Matrix(Struct, frozen=True):
    """Non-negative values [N, N], drawn as shades from 0."""

    title: str
    labels: tuple[str, ...]
    values: list[list[float]]


class Picture(Struct, frozen=True):
    """An image [H, W, 3] in [0, 1]."""

    title: str
    picture: np.ndarray


class Clip(Struct, frozen=True):
    """A video: frames [T, H, W, 3] in [0, 1]."""

    title: str
    frames: np.ndarray


class StudyResult(Struct, frozen=True):
    """Sentences (`summary`) and the tables, plots and images behind them."""

    summary: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    matrices: tuple[Matrix, ...] = ()
    pictures: tuple[Picture, ...] = ()
    clips: tuple[Clip, ...] = ()

    def __add__(self, result: "StudyResult") -> "StudyResult":
        return StudyResult(*map(operator.add, astuple(self), astuple(result)))
