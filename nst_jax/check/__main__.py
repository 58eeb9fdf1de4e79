"""Checks terms: python -m nst_jax.check FILE.py:CLASS [package.module:CLASS …].

Each is made with its defaults. Exit status: 0 all is well, remarks included; 1 a check
failed; 2 the request is wrong.
"""

import functools
import importlib
import inspect
import logging
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags

from nst_jax.check.check import check
from nst_jax.check.result import FAILED
from nst_jax.core.errors import RequestError, nearest
from nst_jax.core.paths import find_file
from nst_jax.losses.trace_errors import raised
from nst_jax.models.weights import load_network


def made(argument: str) -> object:
    """The term that FILE.py:CLASS or package.module:CLASS names, with its defaults.

    A file may import what stands beside it.

    Raises:
      RequestError: there is no such class, it needs arguments, or its code raises.
    """
    place, _, name = argument.rpartition(":")
    if not place or not name.isidentifier():
        raise RequestError(
            "a term is given as FILE.py:CLASS or package.module:CLASS, "
            f"got {argument!r}"
        )
    names = _attempt(place, lambda: _names(place))
    classes = [k for k, v in names.items() if inspect.isclass(v)]
    if name not in classes:
        raise RequestError(
            f"{place!r} has no class {name!r}"
            f"{nearest(name, classes) or '; it has ' + (', '.join(classes) or 'none')}"
        )
    try:
        inspect.signature(names[name]).bind()
    except TypeError as error:
        raise RequestError(
            f"{argument!r} is made with its defaults alone, and is {error}: give each "
            "field a default, or check a subclass that has them"
        ) from None
    return _attempt(argument, names[name])


def _names(place: str) -> dict[str, Any]:
    """What a file or a module defines."""
    if place.endswith(".py"):
        file = find_file("term", place)
        sys.path.insert(0, str(file.resolve().parent))
        return runpy.run_path(str(file), run_name="term_file")
    sys.path.insert(0, os.getcwd())
    return vars(importlib.import_module(place))


def _attempt(what: str, run: Callable[[], Any]) -> Any:
    """What somebody's code returns; what it raises, in one sentence."""
    try:
        return run()
    except RequestError:
        raise
    except (Exception, SystemExit) as error:
        raise RequestError(f"{what!r}: {raised(error)}") from None


def parse(argv: Sequence[str]) -> list[str]:
    """For `absl.app.run(flags_parser=…)`: what is wrong exits with status 2."""
    try:
        return flags.FLAGS(list(argv))
    except flags.Error as error:
        print(f"nst_jax.check: {error}", file=sys.stderr)
        sys.exit(2)


def main(argv: list[str]) -> int:
    try:
        if not argv[1:]:
            raise RequestError("name a term: FILE.py:CLASS or package.module:CLASS")
        terms = {argument: made(argument) for argument in argv[1:]}
    except RequestError as error:
        print(f"nst_jax.check: {error}", file=sys.stderr)
        return 2
    network = functools.cache(load_network)
    failed = False
    for argument, term in terms.items():
        print(argument)
        for line in check(term, network):
            print(f"  {line}", flush=True)
            failed |= line.verdict == FAILED
    return int(failed)


if __name__ == "__main__":
    logging.getLogger("jax").setLevel(logging.WARNING)
    app.run(main, flags_parser=parse)
