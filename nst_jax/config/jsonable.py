"""Configs as JSON values."""

import dataclasses
import functools
import hashlib
import inspect
import re
from typing import Any

import jax
import numpy as np
import optax

from nst_jax.losses import Term
from nst_jax.optim.solvers import Solver


def to_jsonable(node: Any) -> Any:
    """Return a config or a part of it as JSON values.

    An array becomes its shape, dtype and SHA-256. An optax transformation becomes the
    names of its functions and the values they close over, so that equal constructions
    compare equal in different processes.
    """
    if node is None or isinstance(node, bool | int | float | str):
        return node
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        name = {"type": type(node).__name__} if isinstance(node, Term | Solver) else {}
        fields = dataclasses.fields(node)
        return name | {f.name: to_jsonable(getattr(node, f.name)) for f in fields}
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
        arguments = to_jsonable([node.args, node.keywords])
        return {"partial": to_jsonable(node.func), "args": arguments}
    if not callable(node):
        return repr(node)
    function = inspect.unwrap(node)
    if inspect.isfunction(function):
        return _function_to_jsonable(function)
    # Remove the address, which differs between processes.
    return re.sub(r" at 0x[0-9a-f]+", "", repr(node))


def _function_to_jsonable(function: Any) -> Any:
    """Return a function's name, with the values that it closes over, if any."""
    name = f"{function.__module__}.{function.__qualname__}"
    values = {}
    cells = function.__closure__ or ()
    for variable, cell in zip(function.__code__.co_freevars, cells, strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # The variable is not assigned yet.
            continue
        if value is not function:  # A recursive function closes over itself.
            values[variable] = to_jsonable(value)
    return {"function": name, **values} if values else name
