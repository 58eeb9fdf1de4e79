"""Atomic writes: a file appears under its name whole, or not at all."""

import contextlib
import errno
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator

#: Prefix of the names of unfinished files.
PARTIAL = ".partial-"
#: The process's umask, which can only be read by setting it.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


@contextlib.contextmanager
def naming_file(path: pathlib.Path) -> Iterator[None]:
    """Add the file's name to an OSError; libraries omit it when a disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise OSError(errno.EIO, str(error), str(path)) from error
        error.filename = str(path)
        raise


def write_atomically(
    path: pathlib.Path, write: Callable[[pathlib.Path], object]
) -> None:
    """Call `write` on a temporary file beside `path`, sync it and rename it to `path`.

    The file named `path` is complete at every moment, even after a power cut.
    """
    with naming_file(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=PARTIAL, suffix=path.suffix
        )
        os.close(handle)
        partial = pathlib.Path(name)
        try:
            write(partial)
            partial.chmod(0o666 & ~_UMASK)  # mkstemp grants access to the owner alone.
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
