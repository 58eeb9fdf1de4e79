"""Fields of a config tree, and frozen records inside it that can be edited."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any


class Draft:
    """A frozen record that flags may edit: setting a field replaces the record."""

    def __init__(self, record: Any):
        self.__dict__["record"] = record

    def __getattr__(self, name: str) -> Any:
        if name == "record" or name.startswith("__"):
            raise AttributeError(name)  # Copies ask before there is a record.
        return getattr(self.record, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__["record"] = dataclasses.replace(self.record, **{name: value})

    def __eq__(self, other: object) -> bool:
        return self.record == undraft(other)

    __hash__ = None  # type: ignore[assignment]  # A draft may change.

    def __repr__(self) -> str:
        return repr(self.record)


def draft(record: Any) -> Any:
    """A draft of a record; anything else as it is."""
    record = undraft(record)
    return Draft(record) if dataclasses.is_dataclass(record) else record


def undraft(record: Any) -> Any:
    """The frozen record behind a draft."""
    return record.record if isinstance(record, Draft) else record


def typed_fields(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted name, value, allowed type) of the plain fields of a config tree."""
    tree_type: Any = type(tree)
    for name, kind, is_tree in _fields(tree_type):
        value = getattr(tree, name)
        if isinstance(value, Draft):
            continue  # A record checks itself.
        if is_tree and isinstance(value, kind):
            yield from typed_fields(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value, kind


@functools.cache
def _fields(tree: type[Any]) -> tuple[tuple[str, Any, bool], ...]:
    """Return (name, allowed type, whether that is a config tree) of each field."""
    fields = []
    for field in dataclasses.fields(tree):
        kind = getattr(field.type, "__origin__", field.type)
        if kind is float:
            kind = int | float
        elif kind == float | None:
            kind = int | float | None
        fields.append((field.name, kind, dataclasses.is_dataclass(kind)))
    return tuple(fields)
