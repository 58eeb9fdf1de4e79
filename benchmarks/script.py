"""How a script of this folder begins: what is wrong is one sentence, and status 2."""

import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import app, flags

import nst_jax


def run(main: Callable[[], None]) -> None:
    """Reads the flags, and calls what measures."""

    def measure(_: Sequence[str]) -> None:
        try:
            main()
        except nst_jax.RequestError as error:
            refuse(str(error))

    app.run(measure, flags_parser=_parsed)


def _parsed(argv: Sequence[str]) -> list[str]:
    try:
        words = flags.FLAGS(argv)
    except flags.Error as error:
        refuse(str(error))
    if words[1:]:
        refuse(f"unexpected argument {words[1]!r}; options are written --name=value")
    return words


def refuse(reason: str) -> NoReturn:
    """Ends with a sentence of what is wrong with a command."""
    print(f"{sys.argv[0]}: {reason}", file=sys.stderr)
    sys.exit(2)
