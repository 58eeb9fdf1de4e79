"""Base class of the records that a config consists of."""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import jax
import numpy as np

from nst_jax.core.errors import RequestError, did_you_mean
from nst_jax.core.image_array import ArrayInput
from nst_jax.core.validation import check_fields, field_types


class ConfigRecord:
    """Base class of a dataclass whose fields config files and flags may assign.

    An assigned value is normalised (see `normalise`); an unknown field is refused. The
    record is checked when it is made and when the experiment is built, but not at an
    assignment, because fields that depend on each other are assigned in turn.

        @dataclasses.dataclass
        class Film(ConfigRecord, path="film"):
            motion: Literal["still", "shift"] = "still"

    Class arguments:
      path: path of the record in an experiment; "" for the experiment.
      renamed: former names of fields or values -> new names, such as
        {"new": "per_frame", "process='own'": "process='inline'"}.
    """

    record_path: ClassVar[str] = "config"
    prefix: ClassVar[str] = ""
    renamed: ClassVar[dict[str, str]] = {}

    def __init_subclass__(
        cls, path: str = "", renamed: dict[str, str] | None = None
    ) -> None:
        if path:
            cls.record_path, cls.prefix = path, f"{path}."
        cls.renamed = cls.renamed | (renamed or {})

    def __new__(cls, *_: Any, **fields: Any) -> Self:
        for name in fields:
            check_field_name(cls, name, cls.record_path)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        self.check()

    def __setattr__(self, name: str, value: Any) -> None:
        check_field_name(type(self), name, self.record_path)
        if self.renamed:
            _check_renamed(type(self), f"{name}={value!r}", self.record_path)
        super().__setattr__(name, normalise(value))

    def check(self) -> None:
        """Raise RequestError if a field, or a combination of fields, is not allowed."""
        check_fields(self, self.prefix)
        self.check_relations()

    def check_relations(self) -> None:
        """Raise RequestError if fields of allowed values contradict each other."""


def check_field_name(record: type, name: str, record_path: str) -> None:
    """Raise RequestError, with the nearest or the new name, for an unknown field.

    Args:
      record: a dataclass.
      name: name of the field.
      record_path: path of the record, to name in the error.
    """
    fields: dict[str, Any] = record.__dataclass_fields__  # type: ignore[attr-defined]
    if name not in fields:
        _check_renamed(record, name, record_path)
        suggestion = did_you_mean(name, field_paths(record))
        raise RequestError(
            f"{record_path} has no field {name!r}"
            f"{suggestion or '; it has ' + ', '.join(fields)}"
        )


def field_paths(record: type) -> Iterator[str]:
    """Yield the dotted paths of a record's fields and of the records in them."""
    for name, kind in field_types(record).items():
        yield name
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            yield from (f"{name}.{path}" for path in field_paths(kind))


def _check_renamed(record: type, name: str, record_path: str) -> None:
    new_name = getattr(record, "renamed", {}).get(name)
    if new_name is not None:
        raise RequestError(
            f"{record_path}.{name} is now called {record_path}.{new_name}"
        )


def normalise(value: Any) -> Any:
    """Return a value as a config stores it.

    NumPy scalars become Python numbers; lists, ranges and vectors become tuples; arrays
    of more dimensions become an `ArrayInput`.
    """
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray | jax.Array):
        if value.ndim > 1:
            return ArrayInput(value)
        value = np.asarray(value).tolist()
    if type(value) in (list, tuple, range):
        return tuple(map(normalise, value))
    return value
