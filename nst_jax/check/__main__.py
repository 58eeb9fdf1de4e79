"""Check loss terms: python -m nst_jax.check FILE.py:CLASS [package.module:CLASS …].

Each term is created with its defaults. Exit status: 0 if all checks pass, perhaps with
remarks; 1 if a check failed; 2 if the request is invalid.
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
from nst_jax.check.sample_inputs import FAILED
from nst_jax.core.errors import RequestError, did_you_mean
from nst_jax.core.paths import find_file
from nst_jax.losses.trace_errors import describe_exception
from nst_jax.models.weights import load_network


def make_term(argument: str) -> object:
    """Create the term that FILE.py:CLASS or package.module:CLASS names.

    A file may import modules from its own folder.

    Raises:
      RequestError: there is no such class, it needs arguments, or its code raises.
    """
    source, _, name = argument.rpartition(":")
    if not source or not name.isidentifier():
        raise RequestError(
            f"a term must be FILE.py:CLASS or package.module:CLASS, got {argument!r}"
        )
    members = _run_user_code(source, lambda: _load_members(source))
    classes = [key for key, value in members.items() if inspect.isclass(value)]
    if name not in classes:
        hint = did_you_mean(name, classes) or f"; it has {', '.join(classes) or 'none'}"
        raise RequestError(f"{source!r} has no class {name!r}{hint}")
    try:
        inspect.signature(members[name]).bind()
    except TypeError as error:
        raise RequestError(
            f"{argument!r} cannot be created with its defaults ({error}); give each "
            "field a default, or check a subclass that has them"
        ) from None
    return _run_user_code(argument, members[name])


def _load_members(source: str) -> dict[str, Any]:
    """Return what a file or a module defines."""
    if source.endswith(".py"):
        file = find_file("term", source)
        sys.path.insert(0, str(file.resolve().parent))
        return runpy.run_path(str(file), run_name="term_file")
    sys.path.insert(0, os.getcwd())
    return vars(importlib.import_module(source))


def _run_user_code(source: str, run: Callable[[], Any]) -> Any:
    """Call a user's code, and raise its exceptions as RequestError."""
    try:
        return run()
    except RequestError:
        raise
    except (Exception, SystemExit) as error:
        raise RequestError(f"{source!r}: {describe_exception(error)}") from None


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parse flags for `absl.app.run`; a wrong flag exits with status 2."""
    try:
        return flags.FLAGS(list(argv))
    except flags.Error as error:
        print(f"nst_jax.check: {error}", file=sys.stderr)
        sys.exit(2)


def main(argv: list[str]) -> int:
    try:
        if not argv[1:]:
            raise RequestError("name a term: FILE.py:CLASS or package.module:CLASS")
        terms = {argument: make_term(argument) for argument in argv[1:]}
    except RequestError as error:
        print(f"nst_jax.check: {error}", file=sys.stderr)
        return 2
    network = functools.cache(load_network)
    failed = False
    for argument, term in terms.items():
        print(argument)
        for name, result in check(term, network):
            print(f"  {result.verdict:<6} {name}: {result.text}", flush=True)
            failed |= result.verdict == FAILED
    return int(failed)


if __name__ == "__main__":
    logging.getLogger("jax").setLevel(logging.WARNING)
    app.run(main, flags_parser=parse_flags)
