"""metrics.jsonl: one row for each member and recorded step."""

import collections
import contextlib
import functools
import os
import pathlib
from collections.abc import Callable, Iterable

from nst_jax.core.atomic import naming_file, write_atomically
from nst_jax.workdir.schema import Row, decode, encode


class MetricsLog:
    """A metrics.jsonl that is written to."""

    def __init__(self, path: pathlib.Path):
        self.path = path

    @functools.cached_property
    def counts(self) -> collections.Counter[int]:
        """Number of rows of each member."""
        return collections.Counter(row["member"] for row in read_metrics(self.path))

    def append(self, rows: Iterable[Row]) -> None:
        rows = list(rows)
        self.counts.update(row["member"] for row in rows)
        with naming_file(self.path), self.path.open("a") as file:
            file.writelines(encode(row) + "\n" for row in rows)

    def sync(self) -> None:
        """Return when all rows are on disk, safe from a power cut."""
        if self.path.exists():
            with naming_file(self.path), self.path.open("ab") as file:
                os.fsync(file.fileno())

    def filter(self, is_kept: Callable[[Row], bool]) -> list[Row]:
        """Drop all other rows and broken lines; return the rows that are left."""
        rows = [row for row in read_metrics(self.path) if is_kept(row)]
        text = "".join(encode(row) + "\n" for row in rows)
        write_atomically(self.path, lambda partial: partial.write_text(text))
        self.counts = collections.Counter(row["member"] for row in rows)
        return rows


def read_metrics(path: str | pathlib.Path) -> list[Row]:
    """Return the rows of a metrics.jsonl; broken lines are left out."""
    path = pathlib.Path(path)
    rows: list[Row] = []
    lines = path.read_bytes().splitlines() if path.is_file() else ()
    for line in lines:
        with contextlib.suppress(ValueError):
            rows.append(decode(line, Row))
    return rows
