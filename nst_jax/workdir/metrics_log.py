"""Rows of metrics.jsonl."""

import collections
import contextlib
import functools
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
from msgspec import Meta

from nst_jax.core.atomic import naming_file, write_atomically
from nst_jax.workdir.strict_json import from_json, to_json

#: Of 64 bits, as all that counts here.
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Row(TypedDict):
    """A look at a member."""

    member: Count
    seed: int
    stage: Count
    step: Count
    loss: float | None
    terms: dict[str, float | None]
    grad_norm: float | None
    step_length: float | None
    evaluations: Count
    failed_line_searches: Count
    rollbacks: NotRequired[Count]
    seconds: Annotated[float, Meta(ge=0)]


class Metrics:
    """A metrics.jsonl that is written to."""

    def __init__(self, path: pathlib.Path):
        self.path = path

    @functools.cached_property
    def counts(self) -> collections.Counter[int]:
        """How many rows each member has."""
        return collections.Counter(row["member"] for row in read_metrics(self.path))

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        rows = list(rows)
        self.counts.update(row["member"] for row in rows)
        with naming_file(self.path), self.path.open("a") as file:
            file.writelines(to_json(row) + "\n" for row in rows)

    def sync(self) -> None:
        """Returns when all rows so far would outlast a power cut."""
        if self.path.exists():
            with naming_file(self.path), self.path.open("ab") as file:
                os.fsync(file.fileno())

    def keep(self, kept: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Drops all other rows, and what is no row; returns those that are left."""
        rows = [row for row in read_metrics(self.path) if kept(row)]
        text = "".join(to_json(row) + "\n" for row in rows)
        write_atomically(self.path, lambda partial: partial.write_text(text))
        self.counts = collections.Counter(row["member"] for row in rows)
        return rows


def read_metrics(path: str | pathlib.Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; what is no row of one is left out."""
    path = pathlib.Path(path)
    rows = []
    lines = path.read_bytes().splitlines() if path.is_file() else ()
    for line in lines:
        with contextlib.suppress(ValueError):
            row = from_json(line)
            msgspec.convert(row, Row)
            rows.append(row)
    return rows
