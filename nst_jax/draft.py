"""Frozen records inside a config that can be edited."""

import dataclasses
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
