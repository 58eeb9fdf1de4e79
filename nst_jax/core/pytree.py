"""Frozen records that are pytrees."""

import dataclasses
import functools
from typing import Any, TypeVar, dataclass_transform

import jax

from nst_jax.core.representation import short_repr

_T = TypeVar("_T")

#: A field that selects a program and is never traced: a layer, a switch, a size.
static = functools.partial(dataclasses.field, metadata={"static": True})


@dataclass_transform(frozen_default=True, field_specifiers=(static, dataclasses.field))
def record(cls: type[_T]) -> type[_T]:
    """Makes a class a frozen dataclass whose fields, but for static ones, are children.

    A record that is put together again by a tree function is taken as it comes:
    its leaves may be tracers, shapes or axes, which no check of the constructor
    would let pass. Its `repr` shows arrays as dtype and shape.
    """
    if "__repr__" not in vars(cls):
        cls.__repr__ = short_repr  # type: ignore[method-assign]
    cls = dataclasses.dataclass(frozen=True)(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    leaves = [f.name for f in fields if not f.metadata.get("static")]
    fixed = [f.name for f in fields if f.metadata.get("static")]

    def flatten(node: Any) -> tuple[list, tuple]:
        return (
            [(jax.tree_util.GetAttrKey(name), getattr(node, name)) for name in leaves],
            tuple(getattr(node, name) for name in fixed),
        )

    def unflatten(aux: tuple, children: Any) -> Any:
        node = object.__new__(cls)
        for name, value in (*zip(leaves, children), *zip(fixed, aux)):  # noqa: B905
            object.__setattr__(node, name, value)
        return node

    jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)
    return cls
