"""A config in JSON's terms."""

import dataclasses
import hashlib
from typing import Any

import jax
import numpy as np

from nst_jax.draft import undraft
from nst_jax.losses import Term


def plain(node: Any) -> Any:
    """A value of a config in JSON's terms; an array by its hash."""
    node = undraft(node)
    if dataclasses.is_dataclass(node):
        fields = {
            f.name: plain(getattr(node, f.name)) for f in dataclasses.fields(node)
        }
        return (
            {"type": type(node).__name__, **fields}
            if isinstance(node, Term)
            else fields
        )
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items()}
    if isinstance(node, tuple | list):
        return [plain(item) for item in node]
    if isinstance(node, np.ndarray | jax.Array):
        array = np.asarray(node)
        sha256 = hashlib.sha256(array.tobytes()).hexdigest()
        return {"shape": list(array.shape), "dtype": str(array.dtype), "sha256": sha256}
    simple = node is None or isinstance(node, bool | int | float | str)
    return node if simple else repr(node)
