"""Command lines: flags parsed, or refused in one sentence."""

import dataclasses
import re
import sys
from collections.abc import Iterator, Sequence

from absl import flags

from nst_jax.errors import RequestError, nearest
from nst_jax.experiment import Experiment


def parse_flags(argv: Sequence[str]) -> list[str]:
    """For `absl.app.run(flags_parser=…)`: a wrong flag exits with status 2.

    absl and ml_collections answer a wrong flag with a usage page, a traceback or
    status 1, each in another case.
    """
    try:
        rest = flags.FLAGS(list(argv))
        if len(rest) > 1:
            raise RequestError(
                f"unexpected argument {rest[1]!r}; options are written --name=value"
            )
        # A config file that did not load says so when it is first read.
        _ = flags.FLAGS["config"].value.steps
        return rest
    except IndexError:
        message = "config: an index in brackets is past the end of its list"
    except (RequestError, flags.Error) as error:
        message = _last_line(error)
    except (KeyError, AttributeError) as error:
        message = _unknown_field(_last_line(error))
    except Exception as error:  # A config file is code, and may raise what it likes.
        message = f"config: {_last_line(error)}"
    print(f"{argv[0]}: {message}", file=sys.stderr)
    sys.exit(2)


def _unknown_field(message: str) -> str:
    """The sentence for ml_collections' word on a field that is not there."""
    match = re.search(r"(?:Field |Attribute .*?>\.|attribute ')(\w+)", message)
    if match is None:
        return f"config: {message}"
    name = match[1]
    return f"config has no field {name!r}{nearest(name, _field_names(Experiment))}"


def _field_names(record: type) -> Iterator[str]:
    for field in dataclasses.fields(record):
        yield field.name
        if isinstance(field.type, type) and dataclasses.is_dataclass(field.type):
            yield from _field_names(field.type)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
