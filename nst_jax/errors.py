"""The exceptions that are one sentence to a person."""

import difflib
from collections.abc import Iterable


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


def nearest(name: str, known: Iterable[str]) -> str:
    """The clause "; did you mean 'x'?" for the likeliest `known` name, or ""."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""
