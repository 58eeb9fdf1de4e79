"""Short representations of records that hold arrays."""

import dataclasses
import reprlib
from typing import Any

import jax
import numpy as np


class _Short(reprlib.Repr):
    """Python's abridged `repr` with arrays as dtype and shape."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxtuple, self.maxlist = 4, 2, 6, 2
        self.maxstring = self.maxother = 120

    def repr1(self, x: Any, level: int) -> str:
        if isinstance(x, np.ndarray | jax.Array):
            return f"{x.dtype}{list(x.shape)}"
        if dataclasses.is_dataclass(x) and not isinstance(x, type):
            names = [f.name for f in dataclasses.fields(x) if f.repr]
            return self._record(x, names, level)
        if isinstance(x, tuple) and hasattr(x, "_fields"):
            return self._record(x, x._fields, level)
        return super().repr1(x, level)

    def _record(self, x: Any, names: Any, level: int) -> str:
        if level <= 0:
            return f"{type(x).__name__}(…)"
        fields = (f"{name}={self.repr1(getattr(x, name), level - 1)}" for name in names)
        return f"{type(x).__name__}({', '.join(fields)})"


_SHORT = _Short()


def short_repr(record: Any) -> str:
    """Return the `repr` of a dataclass or named tuple, with arrays as dtype and shape.

    Long collections are abridged.
    """
    return _SHORT.repr(record)
