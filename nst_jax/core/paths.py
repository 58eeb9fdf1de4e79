"""Search for the files that relative paths of a request name."""

import glob
import os
import pathlib

from nst_jax.core.errors import RequestError, nearest

_PACKAGE = pathlib.Path(__file__).parents[1]
#: Folder with weights/, samples/ and configs/: the clone, or a copy in the wheel.
PROJECT = _PACKAGE / "data" if (_PACKAGE / "data").is_dir() else _PACKAGE.parent

#: Folders that a relative path is looked for in after the working directory.
_FOLDERS = [PROJECT]


def search_beside(config: pathlib.Path) -> None:
    """Look for relative paths beside a config file too, from here on in this process.

    Its folder comes after the working directory and before the project's.
    """
    _FOLDERS[:] = [config.resolve().parent, PROJECT]


def candidates(path: str | pathlib.Path) -> list[pathlib.Path]:
    """Return the places that a path may mean, in their order.

    A relative one is of the working directory, of the config's folder where a config
    file was loaded, or of the project.
    """
    places: dict[str, pathlib.Path] = {}
    for folder in (pathlib.Path(), *_FOLDERS):
        places.setdefault(os.path.abspath(folder / path), folder / path)
    return list(places.values())


def find_file(argument: str, path: str | pathlib.Path) -> pathlib.Path:
    """Return the first of a path's `candidates` that is a file.

    Args:
      argument: what the path was given for, to name in the error.
      path: relative or absolute.

    Raises:
      RequestError: none is a file; it says where was looked.
    """
    if not str(path):
        raise RequestError(f"{argument} is empty, wanted the path of a file")
    places = candidates(path)
    for place in places:
        if os.path.isfile(place):
            return place
    if any(map(os.path.isdir, places)):
        raise RequestError(f"{argument}: {str(path)!r} is a folder, wanted a file")
    if any(map(os.path.exists, places)):
        raise RequestError(
            f"{argument}: {str(path)!r} is a device or a pipe, wanted a file"
        )
    neighbours = [n for place in places for n in glob.glob("*", root_dir=place.parent)]
    raise RequestError(
        f"{argument}: no file {str(path)!r}{_where(path)}"
        f"{nearest(pathlib.Path(path).name, neighbours)}"
    )


def _where(path: str | pathlib.Path) -> str:
    """The folders in which a relative path was looked for, in words."""
    if os.path.isabs(path):
        return ""
    searched = (pathlib.Path(), *_FOLDERS)
    folders = list(dict.fromkeys(os.path.abspath(folder) for folder in searched))
    *first, last = map(repr, folders)
    return f" in {', '.join(first)} or {last}" if first else f" in {last}"
