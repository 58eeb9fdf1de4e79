"""The exceptions that are one sentence to a person."""

import difflib
import numbers
from collections.abc import Iterable
from typing import Any


class RequestError(ValueError):
    """What was asked for cannot be done: one sentence that says what is allowed.

    Raised before any long work starts. The launch script prints the sentence
    and exits with status 2.
    """


class OutOfMemory(RuntimeError):
    """A device has no room for the least there is to compute.

    What is finished is kept. The launch script prints the sentence and exits with
    status 1.
    """


def check_integer(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Raise RequestError unless a value is an integer from `least` to `most`."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        upper = "" if most is None else f" to {most}"
        raise RequestError(
            f"{name} must be an integer from {least}{upper}, got {value!r}"
        )


def nearest(name: str, known: Iterable[str]) -> str:
    """The clause "; did you mean 'x'?" for the likeliest `known` name, or ""."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""
