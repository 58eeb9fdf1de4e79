"""Check values against type annotations.

    class Adam:
        learning_rate: Annotated[float, Range(above=0, below=math.inf)] = 0.02
        schedule: Literal["constant", "cosine"] = "constant"

`check_fields(adam, "solver.")` refuses `schedule="cosin"` with the sentence
"solver.schedule must be one of ('constant', 'cosine'), got 'cosin'; did you mean
'cosine'?".
"""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

import jax
import numpy as np

from nst_jax.core.errors import RequestError, did_you_mean

#: (name, value) -> the sentence that refuses the value; None if it is allowed.
_Rule = Callable[[str, Any], str | None]

_ARRAYS = (np.ndarray, jax.Array)
#: Annotation -> (classes of allowed values, their description).
_TYPES: dict[Any, tuple[Any, str]] = {
    int: ((int, np.integer), "an integer"),
    float: ((float, int, np.floating, np.integer, *_ARRAYS), "a number"),
    bool: (bool, "True or False"),
    str: (str, "a string"),
    tuple: (tuple, "a tuple"),
    types.NoneType: (types.NoneType, "None"),
}


@dataclasses.dataclass(frozen=True)
class Range:
    """Bounds of a number, as in `Annotated[float, Range(0, 1)]`.

    Attributes:
      at_least: smallest allowed value.
      at_most: largest allowed value.
      above: exclusive lower bound.
      below: exclusive upper bound; infinity allows every finite number.
    """

    at_least: float = -math.inf
    at_most: float = math.inf
    above: float | None = None
    below: float | None = None

    def fault(self, name: str, value: Any) -> str | None:
        """Return the sentence that refuses a number outside the range, or None."""
        if isinstance(value, (types.NoneType, *_ARRAYS)) or (
            self.at_least <= value <= self.at_most
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        ):
            return None
        return f"{name} must be {self}, got {value}"

    def __str__(self) -> str:
        if math.isfinite(self.at_least) and math.isfinite(self.at_most):
            return f"from {self.at_least:,} to {self.at_most:,}"
        words = []
        if self.at_least > -math.inf:
            words.append(f"at least {self.at_least:g}")
        if self.above is not None:
            words.append(f"above {self.above:g}")
        if self.at_most < math.inf:
            words.append(f"at most {self.at_most:g}")
        if self.below is not None:
            words.append(f"below {self.below:g}" if self.below < math.inf else "finite")
        return " and ".join(words)


def check_fields(record: Any, prefix: str = "") -> None:
    """Check every field of a dataclass against its annotation.

    An annotation is `int`, `float`, `bool`, `str`, `Literal`, `tuple[X, ...]`, a
    dataclass, a union of these, or `Annotated[X, Range(…)]`. Any other annotation
    allows all values. Arrays pass as numbers: their values may be traced.

    Args:
      record: a dataclass instance.
      prefix: text before a field's name in the error, such as "solver.".

    Raises:
      RequestError: a value has another type, is out of range, or is not a choice.
    """
    record_type: Any = type(record)
    for name, rule in _field_rules(record_type):
        fault = rule(prefix + name, getattr(record, name))
        if fault is not None:
            raise RequestError(fault)


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Raise RequestError, with the nearest choice, unless a value is a choice."""
    fault = _choice_rule(tuple(choices))(name, value)
    if fault is not None:
        raise RequestError(fault)


def check_integer(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Raise RequestError unless a value is an integer from `least` to `most`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        upper = "" if most is None else f" to {most}"
        raise RequestError(
            f"{name} must be an integer from {least}{upper}, got {value!r}"
        )


@functools.cache
def field_types(record_type: Any) -> dict[str, Any]:
    """Return the annotation of each field of a dataclass."""
    try:
        hints = typing.get_type_hints(record_type, include_extras=True)
    except NameError:  # Imported for type checkers alone: allow all values.
        hints = {}
    return {f.name: hints.get(f.name, Any) for f in dataclasses.fields(record_type)}


@functools.cache
def _field_rules(record_type: Any) -> list[tuple[str, _Rule]]:
    return [(name, _rule(kind)) for name, kind in field_types(record_type).items()]


def _rule(annotation: Any) -> _Rule:
    """Return the check that an annotation describes."""
    origin = typing.get_origin(annotation) or annotation
    arguments = typing.get_args(annotation)
    if origin is Annotated:
        return _all_of(_rule(arguments[0]), *(item.fault for item in arguments[1:]))
    if origin is Literal:
        return _choice_rule(arguments)
    if origin in (typing.Union, types.UnionType):
        return _any_of(*map(_rule, arguments))
    if origin is tuple and arguments[1:] == (...,):
        return _all_of(_type_rule(tuple), _item_rule(_rule(arguments[0])))
    if origin in _TYPES or dataclasses.is_dataclass(origin):
        return _type_rule(origin)
    return lambda name, value: None


def _type_rule(kind: Any) -> _Rule:
    classes, words = _TYPES.get(kind, (kind, f"of type {kind.__name__}"))
    is_number = kind in (int, float)

    def rule(name: str, value: Any) -> str | None:
        if isinstance(value, classes) and not (is_number and isinstance(value, bool)):
            return None
        return f"{name} must be {words}, got {value!r}"

    return rule


def _choice_rule(choices: tuple[Any, ...]) -> _Rule:
    def rule(name: str, value: Any) -> str | None:
        if value in choices:
            return None
        suggestion = did_you_mean(value, choices) if isinstance(value, str) else ""
        return f"{name} must be one of {choices}, got {value!r}{suggestion}"

    return rule


def _item_rule(item_rule: _Rule) -> _Rule:
    def rule(name: str, value: Any) -> str | None:
        for i, item in enumerate(value):
            if fault := item_rule(f"{name}[{i}]", item):
                return fault
        return None

    return rule


def _all_of(*rules: _Rule) -> _Rule:
    def rule(name: str, value: Any) -> str | None:
        for check in rules:
            if fault := check(name, value):
                return fault
        return None

    return rule


def _any_of(*rules: _Rule) -> _Rule:
    def rule(name: str, value: Any) -> str | None:
        faults = [check(name, value) for check in rules]
        return None if None in faults else faults[0]

    return rule
