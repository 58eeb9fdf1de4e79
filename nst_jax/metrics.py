"""Rows of metrics.jsonl, and JSON as this project writes it."""

import contextlib
import json
import math
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

from nst_jax.io import write_whole


class Metrics:
    """A metrics.jsonl that is written to."""

    def __init__(self, path: pathlib.Path):
        self.path = path

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        with self.path.open("a") as file:
            file.writelines(to_json(row) + "\n" for row in rows)

    def sync(self) -> None:
        """Returns when all rows so far would outlast a power cut."""
        if self.path.exists():
            with self.path.open("ab") as file:
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
            if isinstance(row, dict) and all(
                isinstance(row.get(key), kind) for key, kind in _ROW.items()
            ):
                rows.append(row)
    return rows


_ROW = {"member": int, "step": int, "loss": float | None, "terms": dict}


def to_json(content: object, indent: int | None = None) -> str:
    """JSON, which has no NaN and no infinity: null stands for them."""

    def finite(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: finite(value) for key, value in node.items()}
        if isinstance(node, list | tuple):
            return [finite(item) for item in node]
        return None if isinstance(node, float) and not math.isfinite(node) else node

    return json.dumps(finite(content), indent=indent, allow_nan=False)
