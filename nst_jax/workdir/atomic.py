"""Files that appear under their names whole, or not at all."""

import contextlib
import errno
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator

#: What the names of files begin with that are not whole yet.
PARTIAL = ".partial-"
#: What the user lets no file be to others; it can only be read by setting it.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


@contextlib.contextmanager
def naming(path: pathlib.Path) -> Iterator[None]:
    """Says in an OSError which file it is of; one of a full disk does not know.

    Libraries that count bytes say how many they could not write, and no more.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise OSError(errno.EIO, str(error), str(path)) from error
        error.filename = str(path)
        raise


def write_whole(path: pathlib.Path, write: Callable[[pathlib.Path], object]) -> None:
    """Calls `write` on a temporary neighbour of `path`, then renames it to `path`.

    What is there under that name is whole at every moment, also after a power cut.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=PARTIAL, suffix=path.suffix
        )
        os.close(handle)
        partial = pathlib.Path(name)
        try:
            write(partial)
            partial.chmod(0o666 & ~_UMASK)  # mkstemp's are for their owner alone.
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
