"""A config in JSON's terms."""

import dataclasses
import functools
import hashlib
import inspect
import re
import types
from typing import Any

import jax
import numpy as np
import optax

from nst_jax.core.draft import undraft
from nst_jax.losses import Term
from nst_jax.optim.solvers import Solver


def to_jsonable(node: Any) -> Any:
    """A value of a config in JSON's terms; an array by its hash.

    An optax transformation is named by its functions and what they close over, so
    that two of them are alike if they were made alike, in whatever process.
    """
    node = undraft(node)
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        fields = {
            f.name: to_jsonable(getattr(node, f.name)) for f in dataclasses.fields(node)
        }
        return (
            {"type": type(node).__name__, **fields}
            if isinstance(node, Term | Solver)
            else fields
        )
    if isinstance(node, dict):
        return {key: to_jsonable(value) for key, value in node.items()}
    if isinstance(node, optax.GradientTransformation):
        return {"init": to_jsonable(node.init), "update": to_jsonable(node.update)}
    if isinstance(node, tuple | list):
        return [to_jsonable(item) for item in node]
    if isinstance(node, np.ndarray | jax.Array):
        array = np.asarray(node)
        sha256 = hashlib.sha256(array.tobytes()).hexdigest()
        return {"shape": list(array.shape), "dtype": str(array.dtype), "sha256": sha256}
    if isinstance(node, functools.partial):
        return {
            "partial": to_jsonable(node.func),
            "args": to_jsonable([node.args, node.keywords]),
        }
    if callable(node):
        function = inspect.unwrap(node)
        if inspect.isfunction(function):
            return _function(function)
        # An address is another one in the next process.
        return re.sub(r" at 0x[0-9a-f]+", "", repr(node))
    simple = node is None or isinstance(node, bool | int | float | str)
    return node if simple else repr(node)


def _function(function: types.FunctionType) -> Any:
    """The name of a function; with what it closes over, if anything."""
    name = f"{function.__module__}.{function.__qualname__}"
    values = {}
    for variable, cell in zip(
        function.__code__.co_freevars, function.__closure__ or (), strict=True
    ):
        try:
            value = cell.cell_contents
        except ValueError:  # Not assigned yet.
            continue
        if value is not function:  # It may call itself.
            values[variable] = to_jsonable(value)
    return {"function": name, **values} if values else name
