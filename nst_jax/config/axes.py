"""Axes: what varies among the members of an experiment.

An axis names a field of the config and the values that it takes; several axes are a
grid. Whether a field is batched into one program or selects a program of its own is
not said here: the engine sees it from the members.
"""

import collections
import dataclasses
import itertools
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
import optax

from nst_jax.config.jsonable import to_jsonable
from nst_jax.core.config_record import Fields, normalised
from nst_jax.core.draft import undraft
from nst_jax.core.errors import RequestError, check_integer, nearest
from nst_jax.core.image_array import SOURCES, ArrayInput
from nst_jax.images.decoder import list_pictures
from nst_jax.images.video import find_folder
from nst_jax.losses.base import unique_names


@dataclasses.dataclass
class Vary:
    """One axis of a grid.

        Vary("terms.style.weight", (1e2, 1e3, 1e4))
        Vary("terms.content.layers", (("relu1_1",), ("relu4_2",)))
        Vary(("solver.name", "steps"), (("adam", 300), ("lbfgs", 100)))

    Attributes:
      fields: the path of a field in the config, with a term called by its number or
        by its name as metrics have it, a second `style` being `style_2`; several
        paths if they change together, each value then being a tuple with an entry
        for each.
      values: what the field takes, in order.
      labels: how the values are called in panels; empty for the values themselves.
      name: how the axis is called; empty for the field's own name.
    """

    fields: str | tuple[str, ...]
    values: tuple[Any, ...]
    labels: tuple[str, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.fields, list):
            self.fields = tuple(self.fields)
        if isinstance(self.labels, list):
            self.labels = tuple(self.labels)
        if getattr(self.values, "ndim", 0) > 2:  # A batch of pictures.
            self.values = tuple(self.values)
        elif hasattr(self.values, "tolist"):  # NumPy's numbers become Python's.
            self.values = tuple(self.values.tolist())
        elif isinstance(self.values, list | range):
            self.values = tuple(self.values)
        if isinstance(self.values, tuple):
            self.values = tuple(map(self._normalised, self.values))

    def _normalised(self, value: Any) -> Any:
        """A value with tuples for lists; a picture given as an array by its name."""
        if isinstance(self.fields, str):
            return _field_value(self.fields, value)
        if not isinstance(value, list | tuple) or len(value) != len(self.fields):
            return value
        return tuple(map(_field_value, self.fields, value))

    def check(self, axis: str) -> None:
        """Raises RequestError, in which the axis is called `axis`, if it is none."""
        several = isinstance(self.fields, tuple | list)
        if not isinstance(self.fields, str) and not several:
            paths: tuple[Any, ...] = ()
        else:
            paths = self.paths
        if not paths or not all(isinstance(p, str) and _parts(p) for p in paths):
            raise RequestError(
                f"{axis}.fields must be the path of a field or a tuple of such, "
                f"got {self.fields!r}"
            )
        if not isinstance(self.values, tuple):
            raise RequestError(f"{axis}.values must be a tuple, got {self.values!r}")
        if not self.values:
            raise RequestError(f"{axis}.values is empty; give {self.title} a value")
        labels = self.labels if isinstance(self.labels, tuple | list) else (None,)
        if not all(isinstance(text, str) for text in (*labels, self.name)):
            raise RequestError(
                f"{axis}.labels and name must be strings, got {self.labels!r} and "
                f"{self.name!r}"
            )
        if self.labels and len(self.labels) != len(self.values):
            raise RequestError(
                f"{axis}.labels has {len(self.labels)} entries for "
                f"{len(self.values)} values"
            )
        twice = [t for t, n in collections.Counter(self.texts).items() if n > 1]
        if twice and self.paths != ("seeds",):
            raise RequestError(
                f"{axis}: two values are called {twice[0]!r}; make them differ, or "
                "give each a label"
            )
        if len(self.paths) > 1:
            for value in self.values:
                if not isinstance(value, tuple) or len(value) != len(self.paths):
                    raise RequestError(
                        f"{axis}.values must be tuples with one entry for each of "
                        f"{', '.join(self.paths)}; got {value!r}"
                    )

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.fields,) if isinstance(self.fields, str) else tuple(self.fields)

    @property
    def title(self) -> str:
        """What the axis is called: `terms.style.weight` is "style weight"."""
        if self.name:
            return self.name
        return ", ".join(_title(path) for path in self.paths)

    @property
    def texts(self) -> tuple[str, ...]:
        """The labels, or the values in words; unequal values have different words."""
        return tuple(self.labels) or _texts(self.values)

    def settings(self, position: int) -> dict[str, Any]:
        """Path -> value, at a position along the axis."""
        value = self.values[position]
        values = (value,) if len(self.paths) == 1 else value
        return dict(zip(self.paths, values, strict=True))


def Seeds(count: int) -> Vary:  # It reads like the axis it makes.
    """The axis of seeds 0 to `count` − 1.

    Where no axis varies the seed, `Experiment.seeds` is the last one.

    Raises:
      RequestError: there would be none.
    """
    check_integer("Seeds(count)", count, 1)
    return Vary("seeds", tuple(range(count)), name="seed")


def Frames(count: int) -> Vary:
    """The axis of a film's frames 0 to `count` − 1.

    Raises:
      RequestError: there would be none.
    """
    check_integer("Frames(count)", count, 1)
    return Vary("frame", tuple(range(count)))


def Contents(folder: str) -> Vary:
    """The axis of a folder's pictures: one content each, in natural order.

    A film, whose frames the pictures are, is `content=folder` with `Frames` instead.

    Raises:
      RequestError: there is no such folder, or no picture in it.
    """
    found = find_folder(folder)
    if found is None:
        raise RequestError(f"Contents(folder) needs a folder, got {folder!r}")
    names = list_pictures(found)
    if not names:
        raise RequestError(f"content: the folder {folder!r} holds no pictures")
    stems = [pathlib.PurePath(name).stem for name in names]
    return Vary(
        "content",
        tuple(str(pathlib.PurePath(folder) / name) for name in names),
        tuple(stems if len(set(stems)) == len(stems) else names),
    )


def complete_axes(
    axes: tuple[Vary, ...], content: str, frame: int, seeds: tuple[int, ...]
) -> tuple[Vary, ...]:
    """Add the axes that an experiment's fields stand for.

    Args:
      axes: those that are given.
      content: a folder stands for the axis of its pictures, unless `frame` is not 0 or
        an axis varies it: then the folder is a film.
      frame: the frame that is asked for.
      seeds: the last axis, unless one of `axes` varies them.

    Raises:
      RequestError: the folder has no pictures.
    """
    varied = {path for axis in axes for path in axis.paths}
    if not frame and not varied & {"content", "frame"} and find_folder(content):
        axes = (Contents(content), *axes)
    return axes if "seeds" in varied else (*axes, Vary("seeds", seeds, name="seed"))


def grid(axes: Sequence[Vary]) -> Iterator[tuple[int, ...]]:
    """Every position on the axes; the last axis runs fastest."""
    return itertools.product(*(range(len(axis.values)) for axis in axes))


def check_apart(axes: Sequence[Vary], config: Any) -> None:
    """Raises RequestError where two axes set one field, or a field and a part of it."""
    seen: list[tuple[str, tuple[str, ...]]] = []
    for path in (path for axis in axes for path in axis.paths):
        parts = _parts(path)
        if parts[:1] == ("terms",) and len(parts) > 1:
            names = _names(config.terms)
            if parts[1] in names:
                parts = ("terms", str(names.index(parts[1])), *parts[2:])
        for other, known in seen:
            shorter = min(len(parts), len(known))
            if parts[:shorter] == known[:shorter]:
                raise RequestError(f"axes: {other!r} and {path!r} set the same field")
        seen.append((path, parts))


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in re.split(r"[.\[\]]", path) if part)


def assigned(config: Any, path: str, value: Any) -> Any:
    """A copy of a config in which the field at `path` is `value`.

    Raises:
      RequestError: there is no such field.
    """
    return _assigned(config, _parts(path), value, path)


def value_at(config: Any, path: str) -> Any:
    """What the field at `path` is."""
    node = config
    for part in _parts(path):
        node = undraft(node)
        if isinstance(node, tuple):
            names = _names(node)
            node = node[names.index(part) if part in names else int(part)]
        else:
            node = getattr(node, part)
    return node


def _assigned(node: Any, parts: tuple[str, ...], value: Any, path: str) -> Any:
    if not parts:
        return value
    node, (head, *rest) = undraft(node), parts
    if isinstance(node, tuple):
        names = _names(node)
        i = names.index(head) if head in names else _number(head, len(node))
        if i is None:
            raise RequestError(_no_field(path, head, names))
        changed = _assigned(node[i], tuple(rest), value, path)
        return (*node[:i], changed, *node[i + 1 :])
    if not dataclasses.is_dataclass(node) or isinstance(node, type):
        raise RequestError(f"axes: {path!r} names no field, for {node!r} has none")
    names = [field.name for field in dataclasses.fields(node)]
    if head not in names:
        raise RequestError(_no_field(path, head, names))
    changed = _assigned(getattr(node, head), tuple(rest), value, path)
    if isinstance(node, Fields):  # Another axis may set what goes with it.
        return node.with_unchecked(head, changed)
    return dataclasses.replace(node, **{head: changed})


def _names(items: tuple[Any, ...]) -> list[str]:
    """Return the names that metrics have for a tuple's terms; "" for other items."""
    names = [getattr(undraft(item), "name", "") for item in items]
    unique = iter(unique_names(filter(None, names)))
    return [name and next(unique) for name in names]


def _number(text: str, count: int) -> int | None:
    return int(text) if text.isdecimal() and int(text) < count else None


def _no_field(path: str, part: str, names: Sequence[str]) -> str:
    known = [name for name in names if name]
    return (
        f"axes: {path!r} names no field: there is no {part!r}"
        f"{nearest(part, known) or ', but ' + (', '.join(known) or 'nothing')}"
    )


def _title(path: str) -> str:
    if path == "seeds":
        return "seed"
    parts = _parts(path)
    known = [p for p in parts if p not in ("terms", "name", "kind")]
    return " ".join(known or parts).replace("_", " ")


def _field_value(field: str, value: Any) -> Any:
    """The value of one field: arrays are of pictures where it takes pictures."""
    if field in SOURCES or not isinstance(value, np.ndarray | jax.Array):
        return normalised(value)
    return value


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    """One text a value: short; in full, or else numbered, where two are alike."""
    arrays: dict[str, str] = {}  # Their names, by the order in which they come.
    texts = [_text(value, arrays) for value in values]
    for place in _ambiguous(values, texts):
        texts[place] = _text(values[place], arrays, in_full=True)
    for place in _ambiguous(values, texts):
        texts[place] += f" (value {place})"
    return tuple(texts)


def _ambiguous(values: Sequence[Any], texts: Sequence[str]) -> list[int]:
    """The places of values that have the text of another, unequal value."""
    places: dict[str, list[int]] = {}
    for place, text in enumerate(texts):
        places.setdefault(text, []).append(place)
    ambiguous = []
    for first, *others in places.values():
        if any(to_jsonable(values[i]) != to_jsonable(values[first]) for i in others):
            ambiguous += [first, *others]
    return ambiguous


def _text(value: Any, arrays: dict[str, str], in_full: bool = False) -> str:
    """A value of an axis in words.

    Args:
      value: a number, a path, a record, a tuple of such, or anything else.
      arrays: names of pictures given as arrays so far; a new one is added.
      in_full: all digits, the whole path, and of a record the fields that are not at
        their defaults.
    """
    value = undraft(value)
    if isinstance(value, optax.GradientTransformation):  # A named tuple.
        return "an optax transformation"
    if isinstance(value, tuple | list):
        return " ".join(_text(item, arrays, in_full) for item in value) or "none"
    if isinstance(value, ArrayInput):
        return arrays.setdefault(value, f"array {len(arrays) + 1}")
    if isinstance(value, float):
        return str(value) if in_full else f"{value:.4g}"
    if isinstance(value, str):
        path = pathlib.PurePath(value)
        short = path.suffix and len(path.suffix) <= 5 and not in_full
        return path.stem if short else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = str(getattr(value, "name", type(value).__name__))
        return ", ".join([name, *_changed_fields(value)]) if in_full else name
    return str(value)


def _changed_fields(record: Any) -> list[str]:
    """The fields of a record that are not at their defaults, in words."""
    return [
        f"{field.name} {_text(content, {}, in_full=True)}"
        for field in dataclasses.fields(record)
        if to_jsonable(content := getattr(record, field.name))
        != to_jsonable(field.default)
    ]
