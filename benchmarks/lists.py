"""Flags that are lists, checked before anything is measured."""

from collections.abc import Iterable

from absl import flags


def numbers(
    name: str, default: Iterable[int], help: str, least: int = 1
) -> flags.FlagHolder[list[str]]:
    """A flag for numbers of at least `least`, such as --sizes=256,512."""
    holder = flags.DEFINE_list(name, list(map(str, default)), help)
    flags.register_validator(
        name,
        lambda given: (
            bool(given) and all(n.isdecimal() and int(n) >= least for n in given)
        ),
        message=f"wanted whole numbers of at least {least}",
    )
    return holder


def names(
    name: str, default: Iterable[str], known: Iterable[str], help: str
) -> flags.FlagHolder[list[str]]:
    """A flag for some of the names that are known."""
    known = tuple(known)
    holder = flags.DEFINE_list(name, list(default), help)
    flags.register_validator(
        name,
        lambda given: bool(given) and set(given) <= set(known),
        message=f"wanted some of {', '.join(known)}",
    )
    return holder
