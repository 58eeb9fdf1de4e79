"""Rows of metrics.jsonl, and JSON as this project writes it."""

import contextlib
import json
import math
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
from msgspec import Meta

from nst_jax.io import naming, write_whole

Count = Annotated[int, Meta(ge=0)]


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

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        with naming(self.path), self.path.open("a") as file:
            file.writelines(to_json(row) + "\n" for row in rows)

    def sync(self) -> None:
        """Returns when all rows so far would outlast a power cut."""
        if self.path.exists():
            with naming(self.path), self.path.open("ab") as file:
                os.fsync(file.fileno())

    def keep(self, kept: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Drops all other rows, and what is no row; returns those that are left."""
        rows = [row for row in read_metrics(self.path) if kept(row)]
        text = "".join(to_json(row) + "\n" for row in rows)
        write_whole(self.path, lambda partial: partial.write_text(text))
        return rows


def read_metrics(path: str | pathlib.Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; what is no row of one is left out."""
    path = pathlib.Path(path)
    rows = []
    lines = path.read_bytes().splitlines() if path.is_file() else ()
    for line in lines:
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            msgspec.convert(row, Row)
            rows.append(row)
    return rows


def to_json(content: object, indent: int | None = None) -> str:
    """JSON, which has no NaN and no infinity: null stands for them."""

    def finite(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: finite(value) for key, value in node.items()}
        if isinstance(node, list | tuple):
            return [finite(item) for item in node]
        return None if isinstance(node, float) and not math.isfinite(node) else node

    return json.dumps(finite(content), indent=indent, allow_nan=False)
