"""The base of a config's records: what may be assigned, and of which types."""

from typing import Any

import jax
import numpy as np

from nst_jax.core.draft import typed_fields
from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import ArrayInput


class Fields:
    """A record of a config, whose fields code and flags may assign.

    Lists, ranges and rows of numbers become tuples, NumPy's numbers Python's, and
    pictures given as arrays an `ArrayInput`.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, normalised(value))

    def with_unchecked(self, name: str, value: Any) -> Any:
        """Return a copy with one field changed, which need not go with the others."""
        copy = object.__new__(type(self))
        for key, kept in (*vars(self).items(), (name, value)):
            setattr(copy, key, kept)
        return copy


def normalised(value: Any) -> Any:
    """Return a value as a field of a config holds it; see `Fields`."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray | jax.Array):
        if value.ndim > 1:
            return ArrayInput(value)
        value = np.asarray(value).tolist()
    if type(value) in (list, tuple, range):
        return tuple(map(normalised, value))
    return value


def check_types(tree: Any, prefix: str = "") -> None:
    """Raise RequestError if a field of a config tree is of a wrong type.

    Args:
      prefix: what stands before the fields' names in the error.
    """
    for name, value, kind in typed_fields(tree, prefix):
        number = kind not in (bool, bool | None)
        if not isinstance(value, kind) or (number and isinstance(value, bool)):
            wanted = getattr(kind, "__name__", str(kind))
            raise RequestError(f"{name} must be of type {wanted}, got {value!r}")


def check_items(name: str, items: tuple, kind: type, wanted: str) -> None:
    """Raise RequestError for an item of a field that is of another type."""
    for item in items:
        if not isinstance(item, kind) or isinstance(item, bool):
            raise RequestError(f"{name} holds {item!r}, which is not {wanted}")
