"""Packages of optional dependency groups, which a plain installation lacks."""

import importlib

from nst_jax.core.errors import RequestError

#: Packages of each group of pyproject.toml that the package itself imports.
EXTRAS = {
    "report": ("av", "jinja2", "matplotlib", "plotly"),
    "video": ("av",),
    "tensorboard": ("tensorboardX",),
}


class MissingExtraError(RequestError):
    """A package of an optional group is not installed."""


def require_extra(extra: str, purpose: str) -> None:
    """Raise MissingExtraError unless the packages of an optional group are installed.

    Args:
      extra: a key of `EXTRAS`.
      purpose: what needs them, such as "a video"; the subject of the error's sentence.
    """
    for package in EXTRAS[extra]:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError:
            raise MissingExtraError(
                f"{purpose} needs the package {package}: pip install 'nst_jax[{extra}]'"
            ) from None
