"""Command lines: a config file and what overrides it, or one sentence why not."""

import ast
import contextlib
import dataclasses
import os
import pathlib
import re
import runpy
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags
from ml_collections.config_flags import config_flags, config_path, tuple_parser

from nst_jax.config.axes import Vary, check_apart
from nst_jax.config.experiment import Experiment
from nst_jax.config.jsonable import to_jsonable
from nst_jax.core.draft import undraft
from nst_jax.core.errors import RequestError, nearest
from nst_jax.core.paths import candidates, find_file, search_beside

DEFAULT_CONFIG = "configs/transfer.py"
#: A flag for one entry of a tuple, such as --config.styles[0]=a.jpg.
_ENTRY = re.compile(r"--?config\.([^=]*\[-?\d+\])(=|$)(.*)", re.DOTALL)
_WORDS = {"int": "an integer", "float": "a number", "bool": "true or false"}


def _last_of_each(argv: Sequence[str]) -> list[str]:
    """Drop a flag for a field of the config where a later one sets the same field.

    ml_collections would add the values of a tuple's flags up.
    """
    names = [re.match(r"--?(config\.[^=]+)=", arg) for arg in argv]
    last = {name[1]: i for i, name in enumerate(names) if name}
    pairs = enumerate(zip(argv, names, strict=True))
    return [arg for i, (arg, name) in pairs if not name or last[name[1]] == i]


def parse_flags(argv: Sequence[str]) -> list[str]:
    """For `absl.app.run(flags_parser=…)`: what is wrong exits with status 2.

    absl and ml_collections answer a wrong flag with a usage page, a traceback or
    status 1, each in another case. The flag --config is to be defined without a
    default, which would be loaded, and could fail, as early as that.
    """
    try:
        flags.FLAGS["config"].parser = _ConfigParser(argv)
        whole, entries = _split_entries(argv)
        whole = _last_of_each(whole)
        with _as_sys_argv(whole):
            flags.FLAGS.set_default("config", DEFAULT_CONFIG)
            rest = flags.FLAGS(whole)
        if len(rest) > 1:
            raise RequestError(
                f"unexpected argument {rest[1]!r}; options are written --name=value"
            )
        for path, text in entries:
            _set_entry(flags.FLAGS["config"].value, path, text)
        return rest
    except SystemExit:
        sys.exit(0)  # Help was asked for, and given.
    except flags.UnrecognizedFlagError as error:
        known = [*flags.FLAGS, *(f"config.{name}" for name in _names(Experiment))]
        suggestion = nearest(f"--{error.flagname}", [f"--{name}" for name in known])
        message = f"unknown flag --{error.flagname}{suggestion}"
    except flags.IllegalFlagValueError as error:
        message = _illegal(error)
    except (RequestError, flags.Error, TypeError) as error:
        message = str(error)
    print(f"{program_name(argv)}: {message}", file=sys.stderr)
    sys.exit(2)


def program_name(argv: Sequence[str]) -> str:
    """Return the command as the user typed it, to stand before an error."""
    name = pathlib.Path(argv[0]).name
    return "python -m nst_jax" if name == "__main__.py" else name


def _split_entries(argv: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Separate the flags that set one entry of a tuple, which ml_collections cannot.

    Returns:
      The other arguments, with flag files read in, and (path, text) of each such flag.
    """
    arguments = flags.FLAGS.read_flags_from_files(list(argv), force_gnu=False)
    whole, entries = [], []
    rest = iter(arguments)
    for argument in rest:
        match = _ENTRY.match(argument)
        if match is None:
            whole.append(argument)
        else:
            path, equals, text = match.groups()
            entries.append((path, text if equals else next(rest, "")))
    return whole, entries


@contextlib.contextmanager
def _as_sys_argv(argv: list[str]) -> Iterator[None]:
    """A context in which ml_collections finds these arguments where it looks."""
    given, sys.argv = sys.argv, argv
    try:
        yield
    finally:
        sys.argv = given


def _set_entry(experiment: Experiment, path: str, text: str) -> None:
    """Set one entry of a tuple, after all flags that set a whole field.

    Args:
      path: of the entry, such as styles[0].
      text: its value; that of a text is taken as it is.

    Raises:
      RequestError: there is no such entry, or it is no number or text.
    """
    _check_field(experiment, path)
    *parts, field, place = config_path.split(path)
    node: Any = experiment
    for part in parts:
        node = node[part] if isinstance(part, int) else getattr(node, part)
    entries = list(getattr(node, field))
    value = text if isinstance(entries[place], str) else _literal(text)
    entries[place] = value
    setattr(node, field, tuple(entries))


def _illegal(error: flags.IllegalFlagValueError) -> str:
    reason = error.__context__  # What the flag's parser raised.
    if isinstance(reason, RequestError):
        return str(reason)
    given = str(error).removeprefix("flag --").removesuffix(f": {reason}")
    name, _, value = given.partition("=")
    wanted = _WORDS.get(flags.FLAGS[name].flag_type())
    if wanted is None:
        return " ".join(str(error).split())
    return f"{name} must be {wanted}, got {value!r}"


class _ConfigParser(flags.ArgumentParser):
    """In place of ml_collections' own: every refusal is a `RequestError`."""

    def __init__(self, argv: Sequence[str]):
        self.argv = flags.FLAGS.read_flags_from_files(list(argv), force_gnu=False)

    def parse(self, argument: str) -> Experiment:
        experiment = _load(argument)
        for arg in self.argv:
            if match := re.match(r"--?(?:no)?config\.([^=]*)", arg):
                if not _ENTRY.match(arg):  # There may be more entries by then.
                    _check_field(experiment, match[1])
                _check_effect(experiment, match[1])
        return experiment

    def flag_type(self) -> str:
        return "path of a config file"


class _TupleParser(tuple_parser.TupleParser):
    """`(1, 2)`, `1,2`, and without quotes `a.jpg,b.jpg` or `a photo.jpg`.

    A text that names a file as a whole is one path, commas or not. Otherwise a comma
    separates, unless it is within quotes: `'one, two.jpg',b.jpg`.
    """

    def parse(self, argument: Any) -> tuple:
        if not isinstance(argument, str):
            return super().parse(argument)
        value = _literal(argument)
        if value is argument and not any(map(os.path.isfile, candidates(argument))):
            reader = re.finditer(r"""\s*('[^']*'|"[^"]*"|[^,]*)\s*(?:,|$)""", argument)
            parts = [_literal(part[1].strip()) for part in reader if part[0]]
            value = tuple(parts) or ("",)
        return tuple(value) if isinstance(value, tuple | list) else (value,)


config_flags.register_flag_parser_for_type(tuple, _TupleParser())


def _literal(text: str) -> Any:
    """What Python makes of the text; the text itself if that is nothing."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return text


def _load(config: str) -> Experiment:
    """What `get_config` returns, for `configs/NAME.py` or `configs/NAME.py:arg`."""
    path, colon, argument = config.partition(":")
    file = find_file("config", path)
    search_beside(file)
    try:
        with _importing_beside(file):
            module = runpy.run_path(str(file), run_name="config_file")
            if "get_config" not in module:
                raise RequestError("it defines no get_config()")
            experiment = module["get_config"](*[argument] if colon else [])
            if not isinstance(experiment, Experiment):
                raise RequestError(
                    f"get_config() returned {type(experiment).__name__}, "
                    "wanted nst_jax.Experiment"
                )
            return experiment
    except (Exception, SystemExit) as error:  # A config file is code, and may raise.
        raise RequestError(f"config {_blame(error, file)}") from None


@contextlib.contextmanager
def _importing_beside(file: pathlib.Path) -> Iterator[None]:
    """A context in which a config file imports its neighbours, as a script does.

    They come before installed modules, and are run anew for each config. Afterwards
    their folder stays at the end of the path, for what is imported late.
    """
    folder, before = str(file.resolve().parent), set(sys.modules)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        if folder not in sys.path:
            sys.path.append(folder)
        for name in sys.modules.keys() - before:
            origin = getattr(sys.modules[name], "__file__", None) or ""
            if os.path.dirname(os.path.abspath(origin)) == folder:
                del sys.modules[name]


def _blame(error: BaseException, file: pathlib.Path) -> str:
    """The file and line that raised, and what, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    reason = str(error)
    if isinstance(error, SyntaxError) and error.filename == str(file):
        lines, reason = [error.lineno], error.msg
    if not isinstance(error, RequestError):
        reason = f"{type(error).__name__}: {reason}"
    place = f"{str(file)!r}, line {lines[-1]}" if lines else repr(str(file))
    return f"{place}: {' '.join(reason.split())}"


def _check_field(experiment: Experiment, path: str) -> None:
    """Raises RequestError unless a flag may set `path`, such as terms[1].weight."""
    try:
        parts = config_path.split(path)
    except ValueError:
        raise RequestError(f"--config.{path} does not name a field") from None
    node: Any = experiment
    name = "config"
    for part in parts:
        if isinstance(part, str) and dataclasses.is_dataclass(node):
            fields = [field.name for field in dataclasses.fields(node)]
            if part not in fields:
                suggestion = nearest(part, _names(type(node)))
                raise RequestError(
                    f"{name} has no field {part!r}"
                    f"{suggestion or '; it has ' + ', '.join(fields)}"
                )
            node, name = undraft(getattr(node, part)), f"{name}.{part}"
        elif isinstance(part, int) and isinstance(node, tuple):
            if not 0 <= part < len(node):
                raise RequestError(
                    f"{name} has {len(node)} entries, counted from 0; "
                    f"there is no {name}[{part}]"
                )
            node, name = undraft(node[part]), f"{name}[{part}]"
        else:
            raise RequestError(f"--config.{path} does not name a field")
    if dataclasses.is_dataclass(node):
        fields = [field.name for field in dataclasses.fields(node)]
        raise RequestError(
            f"--{name} is not set as a whole, but by field: --{name}.{fields[0]}=…; "
            f"it has {', '.join(fields)}"
        )
    if isinstance(parts[-1], int) and not isinstance(node, str | int | float):
        whole = name.rpartition("[")[0]
        raise RequestError(f"{name} cannot be set alone; --{whole} sets all entries")


def _check_effect(experiment: Experiment, path: str) -> None:
    """Raises RequestError if something else decides what a flag would set."""
    try:
        check_apart((*experiment.axes, Vary(path, (None,))), experiment)
    except RequestError:
        raise RequestError(
            f"--config.{path} has no effect, for an axis of this config varies it"
        ) from None
    if path.startswith("terms") and _derives_terms(experiment):
        raise RequestError(
            f"--config.{path} has no effect, for the terms of this config follow from "
            "its other fields"
        )


def _derives_terms(experiment: Experiment) -> bool:
    """Whether the terms that are given have no part in those that are used."""
    try:
        without = dataclasses.replace(experiment, terms=()).resolved()
    except RequestError:  # It looks for one among them.
        return False
    return to_jsonable(without.terms) == to_jsonable(experiment.resolved().terms)


def _names(record: type) -> Iterator[str]:
    """The fields of a config tree, dotted."""
    for field in dataclasses.fields(record):
        yield field.name
        if isinstance(field.type, type) and dataclasses.is_dataclass(field.type):
            yield from (f"{field.name}.{name}" for name in _names(field.type))
