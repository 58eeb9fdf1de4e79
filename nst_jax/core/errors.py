"""Exceptions with a message of one sentence for the user."""

import difflib
from collections.abc import Iterable


class RequestError(ValueError):
    """An invalid request: the message says in one sentence what is allowed.

    Raised before any long work starts. The launch script prints the message and exits
    with status 2.
    """


class OutOfMemoryError(RuntimeError):
    """A device has too little memory for a batch of one.

    Finished members are kept. The launch script prints the message and exits with
    status 1.
    """


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the most similar name, "" if none is similar."""
    matches = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""
