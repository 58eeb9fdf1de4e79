"""Fields of an experiment by path, such as "terms.style.weight" or "styles[0]"."""

import copy
import dataclasses
import re
from typing import Any

from nst_jax.core.config_record import ConfigRecord, check_field_name
from nst_jax.core.errors import RequestError, did_you_mean
from nst_jax.losses.objective import unique_names


def split_path(path: str) -> tuple[str, ...]:
    """Return the parts of a path: ("terms", "0", "weight") for "terms[0].weight"."""
    return tuple(part for part in re.split(r"[.\[\]]", path) if part)


def get_field(config: Any, path: str) -> Any:
    """Return the value at a path.

    Raises:
      RequestError: the path names no field.
    """
    node, node_path = config, "config"
    for part in split_path(path):
        node, node_path = _child(node, part, node_path)
    return node


def with_field(config: Any, path: str, value: Any) -> Any:
    """Return a copy of a config with another value at a path.

    Records of a config are not checked, because another field may be changed next.
    Frozen records, such as terms, are.

    Raises:
      RequestError: the path names no field, or a frozen record refuses the value.
    """
    return _with_field(config, split_path(path), value, "config")


def _with_field(node: Any, parts: tuple[str, ...], value: Any, node_path: str) -> Any:
    if not parts:
        return value
    child, child_path = _child(node, parts[0], node_path)
    changed = _with_field(child, parts[1:], value, child_path)
    if isinstance(node, tuple):
        index = item_index(node, parts[0])
        return (*node[:index], changed, *node[index + 1 :])
    if isinstance(node, ConfigRecord):
        node = copy.copy(node)
        setattr(node, parts[0], changed)
        return node
    return dataclasses.replace(node, **{parts[0]: changed})


def _child(node: Any, part: str, node_path: str) -> tuple[Any, str]:
    """Return (value, path) of a field of a record or an entry of a tuple."""
    if isinstance(node, tuple):
        index = item_index(node, part)
        if index < 0:
            names = list(filter(None, item_names(node)))
            listed = f": {', '.join(names)}" if names else ""
            entries = f"; {node_path} has {len(node)} entries, counted from 0{listed}"
            hint = did_you_mean(part, names) or entries
            raise RequestError(f"{node_path}[{part}] does not exist{hint}")
        return node[index], f"{node_path}[{part}]"
    if not dataclasses.is_dataclass(node) or isinstance(node, type):
        raise RequestError(f"{node_path} is {node!r}, which has no field {part!r}")
    check_field_name(type(node), part, node_path)
    return getattr(node, part), f"{node_path}.{part}"


def item_index(items: tuple[Any, ...], part: str) -> int:
    """Return the index of the item with a name or a number; -1 if there is none."""
    names = item_names(items)
    if part in names:
        return names.index(part)
    return int(part) if part.isdecimal() and int(part) < len(items) else -1


def item_names(items: tuple[Any, ...]) -> list[str]:
    """Return the names that metrics give to terms; "" for other items."""
    names = [getattr(item, "name", "") for item in items]
    unique = iter(unique_names(filter(None, names)))
    return [name and next(unique) for name in names]
