"""Search for files by relative path."""

import glob
import os
import pathlib

from nst_jax.core.errors import RequestError, did_you_mean

_PACKAGE = pathlib.Path(__file__).parents[1]
#: Folder with weights/, samples/ and configs/: the clone, or a copy in the wheel.
PROJECT = _PACKAGE / "data" if (_PACKAGE / "data").is_dir() else _PACKAGE.parent

#: Folders in which a relative path is looked up after the working directory.
_FOLDERS = [PROJECT]


def search_beside(config: pathlib.Path) -> None:
    """Look up relative paths also in the folder of a config file.

    The folder comes after the working directory and before the project.
    """
    _FOLDERS[:] = [config.resolve().parent, PROJECT]


def candidates(path: str | pathlib.Path) -> list[pathlib.Path]:
    """Return the files that a path may mean, in order of precedence.

    Relative paths are searched in the working directory, the config file's folder and
    the project, in this order.
    """
    files: dict[str, pathlib.Path] = {}
    for folder in (pathlib.Path(), *_FOLDERS):
        files.setdefault(os.path.abspath(folder / path), folder / path)
    return list(files.values())


def find_file(argument: str, path: str | pathlib.Path) -> pathlib.Path:
    """Return the first of a path's `candidates` that is a file.

    Args:
      argument: name in errors.
      path: relative or absolute.

    Raises:
      RequestError: no candidate is a file.
    """
    if not str(path):
        raise RequestError(f"{argument} is empty, wanted the path of a file")
    files = candidates(path)
    for file in files:
        if os.path.isfile(file):
            return file
    if any(map(os.path.isdir, files)):
        raise RequestError(f"{argument}: {str(path)!r} is a folder, wanted a file")
    if any(map(os.path.exists, files)):
        raise RequestError(
            f"{argument}: {str(path)!r} is a device or a pipe, wanted a file"
        )
    neighbours = [
        name for file in files for name in glob.glob("*", root_dir=file.parent)
    ]
    raise RequestError(
        f"{argument}: no file {str(path)!r}{_searched_folders(path)}"
        f"{did_you_mean(pathlib.Path(path).name, neighbours)}"
    )


def _searched_folders(path: str | pathlib.Path) -> str:
    """Return " in A, B or C" for a relative path, "" for an absolute one."""
    if os.path.isabs(path):
        return ""
    folders = dict.fromkeys(map(os.path.abspath, (pathlib.Path(), *_FOLDERS)))
    *first, last = map(repr, folders)
    return f" in {', '.join(first)} or {last}" if first else f" in {last}"
