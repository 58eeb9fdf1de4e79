"""Axes along which the members of an experiment vary.

An axis names a field of the config and its values; several axes form a grid. The engine
derives from the members which fields it can batch into one compiled program.
"""

import collections
import dataclasses
import itertools
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import optax

from nst_jax.config.field_path import item_index, split_path
from nst_jax.config.jsonable import to_jsonable
from nst_jax.core.config_record import normalise
from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import SOURCES, ArrayInput
from nst_jax.core.validation import check_fields, check_integer
from nst_jax.images.decoder import list_pictures
from nst_jax.images.video import find_folder


@dataclasses.dataclass
class Vary:
    """One axis of a grid.

        Vary("terms.style.weight", (1e2, 1e3, 1e4))
        Vary("terms.content.layers", (("relu1_1",), ("relu4_2",)))
        Vary(("solver.name", "steps"), (("adam", 300), ("lbfgs", 100)))

    Attributes:
      fields: path of a field in the config, or a tuple of paths of fields that change
        together. A term is addressed by its index or by its name in the metrics, where
        a second `style` is `style_2`.
      values: values of the field, in order; with several paths, tuples of one entry for
        each path.
      labels: names of the values in panels; empty for the values themselves.
      name: name of the axis; empty for the name of the field.
    """

    fields: str | tuple[str, ...]
    values: tuple[Any, ...]
    labels: tuple[str, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        self.fields = normalise(self.fields)
        self.labels = normalise(self.labels)
        if isinstance(self.values, np.ndarray | jax.Array) and self.values.ndim < 3:
            self.values = tuple(self.values.tolist())
        elif isinstance(self.values, np.ndarray | jax.Array | list | range):
            self.values = tuple(self.values)
        if isinstance(self.values, tuple):
            self.values = tuple(map(self._normalise, self.values))

    def _normalise(self, value: Any) -> Any:
        if isinstance(self.fields, str):
            return _normalise_field(self.fields, value)
        if not isinstance(value, list | tuple) or len(value) != len(self.fields):
            return value
        return tuple(map(_normalise_field, self.fields, value))

    def check(self, axis: str) -> None:
        """Raise RequestError, with `axis` as the name of the axis, if it is invalid."""
        check_fields(self, f"{axis}.")
        if not self.paths or not all(map(split_path, self.paths)):
            raise RequestError(
                f"{axis}.fields must be the path of a field or a tuple of paths, "
                f"got {self.fields!r}"
            )
        if not self.values:
            raise RequestError(f"{axis}.values is empty; give {self.title} a value")
        if self.labels and len(self.labels) != len(self.values):
            raise RequestError(
                f"{axis}.labels has {len(self.labels)} entries for "
                f"{len(self.values)} values"
            )
        (text, count), *_ = collections.Counter(self.texts).most_common(1)
        if count > 1 and self.paths != ("seeds",):
            raise RequestError(
                f"{axis}: two values are called {text!r}; make them differ, or give "
                "each a label"
            )
        for value in self.values if len(self.paths) > 1 else ():
            if not isinstance(value, tuple) or len(value) != len(self.paths):
                raise RequestError(
                    f"{axis}.values must be tuples with one entry for each of "
                    f"{', '.join(self.paths)}; got {value!r}"
                )

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the fields."""
        return (self.fields,) if isinstance(self.fields, str) else self.fields

    @property
    def title(self) -> str:
        """The name, or the path in words: "style weight" for `terms.style.weight`."""
        return self.name or ", ".join(map(_title, self.paths))

    @property
    def texts(self) -> tuple[str, ...]:
        """The labels, or a text for each value; unequal values have different texts."""
        return self.labels or _texts(self.values)

    def settings(self, position: int) -> dict[str, Any]:
        """Return path -> value at a position along the axis."""
        value = self.values[position]
        values = (value,) if len(self.paths) == 1 else value
        return dict(zip(self.paths, values, strict=True))


def Seeds(count: int) -> Vary:  # Named like the axis that it returns.
    """Return the axis of the seeds 0 to `count` − 1.

    Without an axis of seeds, `Experiment.seeds` is the last axis.

    Raises:
      RequestError: `count` is not an integer from 1.
    """
    check_integer("Seeds(count)", count, 1)
    return Vary("seeds", tuple(range(count)), name="seed")


def Frames(count: int) -> Vary:
    """Return the axis of a film's frames 0 to `count` − 1.

    Raises:
      RequestError: `count` is not an integer from 1.
    """
    check_integer("Frames(count)", count, 1)
    return Vary("frame", tuple(range(count)))


def Contents(folder: str) -> Vary:
    """Return the axis of a folder's pictures as contents, in natural order.

    For a folder of a film's frames use `content=folder` with `Frames` instead.

    Raises:
      RequestError: the folder does not exist or holds no pictures.
    """
    directory = find_folder(folder)
    if directory is None:
        raise RequestError(f"Contents(folder) needs a folder, got {folder!r}")
    names = list_pictures(directory)
    if not names:
        raise RequestError(f"content: the folder {folder!r} holds no pictures")
    stems = [pathlib.PurePath(name).stem for name in names]
    return Vary(
        "content",
        tuple(str(pathlib.PurePath(folder) / name) for name in names),
        tuple(stems if len(set(stems)) == len(stems) else names),
    )


def check_axes(axes: Sequence[Vary], config: Any) -> None:
    """Raise RequestError if an axis is invalid or contradicts another or the config."""
    for i, axis in enumerate(axes):
        axis.check(f"axes[{i}]")
        for path in axis.paths:
            if split_path(path)[0] in ("axes", "output"):
                raise RequestError(f"axes: {path!r} cannot be varied")
        if "seeds" in axis.paths and len(config.seeds) > 1:
            raise RequestError(
                f"seeds is {config.seeds} and an axis varies the seed too: give one"
            )
        if axis.paths == ("seeds",) and len({*axis.values}) < len(axis.values):
            raise RequestError(f"seeds must differ, got {axis.values}")
    check_disjoint([path for axis in axes for path in axis.paths], config)


def check_disjoint(paths: Sequence[str], config: Any) -> None:
    """Raise RequestError if two paths name one field, or a field and a part of it."""
    for (path, parts), (path_2, parts_2) in itertools.combinations(
        [(path, _canonical(path, config)) for path in paths], 2
    ):
        length = min(len(parts), len(parts_2))
        if parts[:length] == parts_2[:length]:
            raise RequestError(f"axes: {path!r} and {path_2!r} set the same field")


def _canonical(path: str, config: Any) -> tuple[str, ...]:
    """Return a path's parts with a term's name replaced by its index."""
    parts = split_path(path)
    if parts[0] != "terms" or len(parts) == 1:
        return parts
    index = item_index(config.terms, parts[1])
    return ("terms", parts[1] if index < 0 else str(index), *parts[2:])


def _title(path: str) -> str:
    if path == "seeds":
        return "seed"
    parts = split_path(path)
    telling = [part for part in parts if part not in ("terms", "name", "kind")]
    return " ".join(telling or parts).replace("_", " ")


def _normalise_field(path: str, value: Any) -> Any:
    """Return a field's value; arrays become pictures where the field takes pictures."""
    if path in SOURCES or not isinstance(value, np.ndarray | jax.Array):
        return normalise(value)
    return value


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    """Return short texts; ambiguous ones are written in full, then numbered."""
    array_names: dict[str, str] = {}
    texts = [_text(value, array_names) for value in values]
    for i in _ambiguous(values, texts):
        texts[i] = _text(values[i], array_names, in_full=True)
    for i in _ambiguous(values, texts):
        texts[i] += f" (value {i})"
    return tuple(texts)


def _ambiguous(values: Sequence[Any], texts: Sequence[str]) -> list[int]:
    """Return the indices of values that share their text with an unequal value."""
    indices: dict[str, list[int]] = collections.defaultdict(list)
    for i, text in enumerate(texts):
        indices[text].append(i)
    return [
        i
        for same_text in indices.values()
        if len(same_text) > 1
        and any(
            to_jsonable(values[i]) != to_jsonable(values[same_text[0]])
            for i in same_text
        )
        for i in same_text
    ]


def _text(value: Any, array_names: dict[str, str], in_full: bool = False) -> str:
    """Return a value of an axis in words.

    Args:
      value: a number, a path, a record, a tuple of these, or anything else.
      array_names: names of the arrays so far; a new array is added.
      in_full: write all digits, the whole path, and a record's changed fields.
    """
    if isinstance(value, optax.GradientTransformation):  # A named tuple.
        return "an optax transformation"
    if isinstance(value, tuple | list):
        return " ".join(_text(item, array_names, in_full) for item in value) or "none"
    if isinstance(value, ArrayInput):
        return array_names.setdefault(value, f"array {len(array_names) + 1}")
    if isinstance(value, float):
        return str(value) if in_full else f"{value:.4g}"
    if isinstance(value, str):
        path = pathlib.PurePath(value)
        has_extension = 0 < len(path.suffix) <= 5
        return path.stem if has_extension and not in_full else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = str(getattr(value, "name", type(value).__name__))
        return ", ".join([name, *_changed_fields(value)]) if in_full else name
    return str(value)


def _changed_fields(record: Any) -> list[str]:
    """Return a record's fields that are not at their defaults, in words."""
    return [
        f"{field.name} {_text(value, {}, in_full=True)}"
        for field in dataclasses.fields(record)
        if to_jsonable(value := getattr(record, field.name))
        != to_jsonable(field.default)
    ]
