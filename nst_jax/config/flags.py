"""Command lines: a config file and flags that override its fields."""

import ast
import collections
import contextlib
import dataclasses
import os
import pathlib
import re
import runpy
import sys
import traceback
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags

from nst_jax.config.axes import check_disjoint
from nst_jax.config.experiment import Experiment
from nst_jax.config.field_path import get_field, split_path
from nst_jax.config.jsonable import to_jsonable
from nst_jax.core.config_record import field_paths
from nst_jax.core.errors import RequestError, did_you_mean
from nst_jax.core.paths import candidates, find_file, search_beside
from nst_jax.core.validation import field_types

DEFAULT_CONFIG = "configs/transfer.py"
#: A flag for a field: its "no", its path, its "=" and its value.
_OVERRIDE = re.compile(r"--?(no)?config\.([^=]*)(=?)(.*)", re.DOTALL)
#: Annotation -> (absl's parser of the text, description).
_PARSERS: dict[Any, tuple[flags.ArgumentParser, str]] = {
    int: (flags.IntegerParser(), "an integer"),
    float: (flags.FloatParser(), "a number"),
    bool: (flags.BooleanParser(), "true or false"),
}


def parse_flags(argv: Sequence[str]) -> Experiment:
    """Return the experiment of a command line, and parse its other flags with absl.

    For `absl.app.run(main, flags_parser=parse_flags)`: `main` receives the experiment.
    A wrong flag or config exits with status 2 and one sentence.
    """
    try:
        arguments = flags.FLAGS.read_flags_from_files(list(argv), force_gnu=False)
        other_arguments, overrides = split_overrides(arguments)
        rest = flags.FLAGS(other_arguments)
        if len(rest) > 1:
            raise RequestError(
                f"unexpected argument {rest[1]!r}; options are written --name=value"
            )
        return with_overrides(load_config(flags.FLAGS.config), overrides)
    except SystemExit:
        sys.exit(0)  # After --help.
    except flags.UnrecognizedFlagError as error:
        names = [*flags.FLAGS, *(f"config.{path}" for path in field_paths(Experiment))]
        suggestion = did_you_mean(
            f"--{error.flagname}", [f"--{name}" for name in names]
        )
        message = f"unknown flag --{error.flagname}{suggestion}"
    except flags.IllegalFlagValueError as error:
        reason = f": {error.__context__}"
        assignment = str(error).removeprefix("flag --").removesuffix(reason)
        name, _, text = assignment.partition("=")
        message = (
            f"{name} must be of type {flags.FLAGS[name].flag_type()}, got {text!r}"
        )
    except (RequestError, flags.Error) as error:
        message = " ".join(str(error).split())
    print(f"{program_name(argv)}: {message}", file=sys.stderr)
    sys.exit(2)


def program_name(argv: Sequence[str]) -> str:
    """Return the command as the user typed it, to stand before an error."""
    name = pathlib.Path(argv[0]).name
    return "python -m nst_jax" if name == "__main__.py" else name


def split_overrides(argv: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the arguments other than --config.PATH, and (path, text) of each of these.

    Raises:
      RequestError: an override stands before --config.
    """
    other_arguments: list[str] = []
    overrides: list[tuple[str, str]] = []
    rest = collections.deque(argv)
    while rest:
        argument = rest.popleft()
        match = _OVERRIDE.fullmatch(argument)
        if match is None:
            if overrides and re.match(r"--?config(=|$)", argument):
                path, text = overrides[0]
                raise RequestError(f"--config.{path}={text} must come after --config")
            other_arguments.append(argument)
            continue
        negation, path, equals, text = match.groups()
        if negation:
            text = "false"
        elif not equals and rest and not re.match("--?[a-zA-Z]", rest[0]):
            text = rest.popleft()
        overrides.append((path, text))
    return other_arguments, overrides


def with_overrides(
    experiment: Experiment, overrides: Sequence[tuple[str, str]]
) -> Experiment:
    """Return an experiment with fields set from text, entries of tuples last.

    Args:
      experiment: a config file's experiment.
      overrides: (path, text) of each flag, such as ("terms[0].weight", "9").

    Raises:
      RequestError: a path names no field, its field cannot be set, or a text does not
        suit its field's type.
    """
    original = experiment
    for path, text in sorted(overrides, key=lambda override: override[0][-1:] == "]"):
        value = _parse_field(experiment, path, text)
        _check_effect(original, path)
        experiment = experiment.with_field(path, value)
    return experiment


def _parse_field(experiment: Experiment, path: str, text: str) -> Any:
    """Return the value that a flag's text means for the field at a path."""
    if not split_path(path):
        raise RequestError(f"--config.{path} names no field")
    *parents, name = split_path(path)
    record = get_field(experiment, ".".join(parents))
    value = get_field(experiment, path)
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        raise RequestError(
            f"--config.{path} is a record: set its fields, such as "
            f"--config.{path}.{names[0]}=…; it has {', '.join(names)}"
        )
    if isinstance(record, tuple):
        return text if isinstance(value, str) else _literal(text)
    record_type: Any = type(record)
    return parse_text(f"config.{path}", text, field_types(record_type)[name])


def parse_text(name: str, text: str, annotation: Any) -> Any:
    """Return the value that a flag's text means for a field of a type.

    Raises:
      RequestError: the text is no number or switch, but the field is.
    """
    kind = typing.get_origin(annotation) or annotation
    if kind in (typing.Annotated, typing.Union, types.UnionType):
        return parse_text(name, text, typing.get_args(annotation)[0])
    if kind is tuple:
        return parse_tuple(text)
    if kind in _PARSERS:
        parser, words = _PARSERS[kind]
        try:
            return parser.parse(text or "true" if kind is bool else text)
        except (ValueError, TypeError):
            raise RequestError(f"{name} must be {words}, got {text!r}") from None
    return text if kind in (str, typing.Literal) else _literal(text)


def parse_tuple(text: str) -> tuple[Any, ...]:
    """Return the tuple of `(1, 2)`, `1,2`, `a.jpg,b.jpg` or `'one, two.jpg',b.jpg`.

    A text that is the path of a file is one entry. Otherwise commas outside quotes
    separate entries.
    """
    value = _literal(text)
    if value is text and not any(map(os.path.isfile, candidates(text))):
        entries = re.finditer(r"""\s*('[^']*'|"[^"]*"|[^,]*)\s*(?:,|$)""", text)
        value = tuple(_literal(entry[1].strip()) for entry in entries if entry[0])
        return value or ("",)
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _literal(text: str) -> Any:
    """Return the value of a Python literal; other text unchanged."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return text


def _check_effect(experiment: Experiment, path: str) -> None:
    """Raise RequestError if an axis or `resolved` would overwrite a flag's field."""
    for varied_path in (p for axis in experiment.axes for p in axis.paths):
        try:
            check_disjoint((varied_path, path), experiment)
        except RequestError:
            raise RequestError(
                f"--config.{path} has no effect because an axis of this config sets it"
            ) from None
    if split_path(path)[0] == "terms" and _derives_terms(experiment):
        raise RequestError(
            f"--config.{path} has no effect because this config derives its terms from "
            "other fields"
        )


def _derives_terms(experiment: Experiment) -> bool:
    """Return whether the resolved terms do not depend on `terms`."""
    try:
        without_terms = dataclasses.replace(experiment, terms=()).resolved()
    except RequestError:  # `resolved` needs one of the terms.
        return False
    resolved = experiment.resolved()
    return to_jsonable(without_terms.terms) == to_jsonable(resolved.terms)


def load_config(config: str) -> Experiment:
    """Return the experiment of `configs/NAME.py` or `configs/NAME.py:argument`.

    Raises:
      RequestError: the file is missing, raises, or returns no experiment.
    """
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
    except (Exception, SystemExit) as error:  # A config file may raise anything.
        raise RequestError(f"config {_format_error(error, file)}") from None


@contextlib.contextmanager
def _importing_beside(file: pathlib.Path) -> Iterator[None]:
    """Let a config file import modules of its folder, as a script can.

    They come before installed modules and are loaded anew for each config. Afterwards
    the folder stays at the end of the path for late imports.
    """
    folder, modules = str(file.resolve().parent), set(sys.modules)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        if folder not in sys.path:
            sys.path.append(folder)
        for name in sys.modules.keys() - modules:
            origin = getattr(sys.modules[name], "__file__", None) or ""
            if os.path.dirname(os.path.abspath(origin)) == folder:
                del sys.modules[name]


def _format_error(error: BaseException, file: pathlib.Path) -> str:
    """Return a config's file, line and error as one line."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, RequestError):
        reason = str(error)
    elif isinstance(error, SyntaxError) and error.filename == str(file):
        lines, reason = [error.lineno], f"{type(error).__name__}: {error.msg}"
    elif isinstance(error, dataclasses.FrozenInstanceError):
        reason = (
            f"{error} of a frozen record, such as a term; use config = "
            "config.with_field('terms[0].weight', value)"
        )
    location = f"{str(file)!r}, line {lines[-1]}" if lines else repr(str(file))
    return f"{location}: {' '.join(reason.split())}"
