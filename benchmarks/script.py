"""Shared parts of the scripts: flags, the timed launch command, and errors."""

import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from absl import app, flags

import nst_jax

flags.disclaim_key_flags()  # The scripts' --help lists the flags defined below.


def size_flag(default: int) -> flags.FlagHolder[int]:
    return count_flag("size", default, "Longer side in pixels.", least=32)


def count_flag(
    name: str, default: int, help: str, least: int = 1
) -> flags.FlagHolder[int]:
    return flags.DEFINE_integer(name, default, help, lower_bound=least)


def numbers_flag(
    name: str, default: Iterable[int], help: str, least: int = 1
) -> flags.FlagHolder[list[str]]:
    """Define a flag for a list of numbers, such as --sizes=256,512."""
    holder = flags.DEFINE_list(name, list(map(str, default)), help)
    flags.register_validator(
        name,
        lambda values: (
            bool(values) and all(n.isdecimal() and int(n) >= least for n in values)
        ),
        message=f"must be whole numbers of at least {least}",
    )
    return holder


def names_flag(
    name: str, default: Iterable[str], choices: Iterable[str], help: str
) -> flags.FlagHolder[list[str]]:
    """Define a flag for a list of names from `choices`."""
    choices = tuple(choices)
    holder = flags.DEFINE_list(name, list(default), help)
    flags.register_validator(
        name,
        lambda values: bool(values) and set(values) <= set(choices),
        message=f"must be names from {', '.join(choices)}",
    )
    return holder


def timed_launch(
    workdir: str | pathlib.Path, *arguments: str
) -> tuple[float, dict[str, Any]]:
    """Run the launch script; return its seconds and its run.json."""
    command = [sys.executable, "launch.py", f"--workdir={workdir}", *arguments]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    return seconds, json.loads((pathlib.Path(workdir) / "run.json").read_text())


def run(main: Callable[[], None]) -> None:
    """Parse the flags and call `main`; a wrong request ends with exit status 2."""

    def measure(_: Sequence[str]) -> None:
        try:
            main()
        except nst_jax.RequestError as error:
            refuse(str(error))

    app.run(measure, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        words = flags.FLAGS(argv)
    except flags.Error as error:
        refuse(str(error))
    if words[1:]:
        refuse(f"unexpected argument {words[1]!r}; options are written --name=value")
    return words


def refuse(reason: str) -> NoReturn:
    """Print one sentence and exit with status 2."""
    print(f"{sys.argv[0]}: {reason}", file=sys.stderr)
    sys.exit(2)
