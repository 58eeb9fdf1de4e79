"""Frozen records that are pytrees."""

import dataclasses
import functools
from typing import Any, TypeVar, dataclass_transform

import jax

from nst_jax.core.representation import short_repr

_T = TypeVar("_T")

#: A field that selects a compiled program and is never traced, such as a layer.
static = functools.partial(dataclasses.field, metadata={"static": True})


@dataclass_transform(frozen_default=True, field_specifiers=(static, dataclasses.field))
def record(cls: type[_T]) -> type[_T]:
    """Make a class a frozen dataclass and a pytree whose leaves are non-static fields.

    Tree functions rebuild a record without its constructor, whose checks would refuse
    leaves such as tracers, shapes and axes. `repr` shows arrays as dtype and shape.
    """
    if "__repr__" not in vars(cls):
        cls.__repr__ = short_repr  # type: ignore[method-assign]
    cls = dataclasses.dataclass(frozen=True)(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    leaves = [f.name for f in fields if not f.metadata.get("static")]
    statics = [f.name for f in fields if f.metadata.get("static")]

    def flatten(node: Any) -> tuple[list, tuple]:
        return (
            [(jax.tree_util.GetAttrKey(name), getattr(node, name)) for name in leaves],
            tuple(getattr(node, name) for name in statics),
        )

    def unflatten(aux: tuple, children: Any) -> Any:
        node = object.__new__(cls)
        for name, value in (*zip(leaves, children), *zip(statics, aux)):  # noqa: B905
            object.__setattr__(node, name, value)
        return node

    jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)
    return cls
