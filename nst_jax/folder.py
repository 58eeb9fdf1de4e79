"""The folder of a run: whether it can be written to, and whose it is."""

import contextlib
import datetime
import json
import os
import pathlib
import socket
import tempfile
from collections.abc import Iterator

import filelock
from absl import logging

from nst_jax.atomic import PARTIAL, write_whole
from nst_jax.errors import RequestError
from nst_jax.strict_json import from_json


def check_writable(workdir: pathlib.Path) -> None:
    """Raises RequestError unless the folder, or where it will be, can be written."""
    if workdir.is_symlink() and not workdir.exists():
        raise RequestError(f"workdir: {str(workdir)!r} is a link to nothing")
    try:
        existing = workdir
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        if not existing.is_dir():
            raise RequestError(f"workdir: {str(existing)!r} is a file, wanted a folder")
        tempfile.TemporaryFile(dir=existing).close()
    except (OSError, ValueError) as error:
        if isinstance(error, RequestError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise RequestError(
            f"workdir: cannot write to {str(workdir)!r} ({reason})"
        ) from None


def check_links(workdir: pathlib.Path) -> None:
    """Raises RequestError if something in a folder is a link to what is not in it."""
    home = workdir.resolve()
    for path in workdir.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(home):
            raise RequestError(
                f"workdir {str(workdir)!r} holds a link that leads out of it: "
                f"{str(path.relative_to(workdir))!r}"
            )


class Lock:
    """A folder that one process writes to at a time.

    The operating system keeps it, and ends it with the process, however that ends; a
    note beside it says whose it is. On a file system that has no locks there is none.
    """

    def __init__(self, workdir: pathlib.Path):
        self._workdir = workdir
        self._note = workdir / "running.json"
        self._lock = filelock.FileLock(workdir / ".lock")

    def acquire(self) -> None:
        """Takes the folder, and clears what a process that was killed left half done.

        Raises:
          RequestError: another process has it.
        """
        self._workdir.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(blocking=False)
        except filelock.Timeout:
            raise RequestError(
                f"workdir {str(self._workdir)!r} is in use by {self._holder()}; wait "
                "for it, or give this run a new --workdir"
            ) from None
        except NotImplementedError:
            logging.warning(
                "%s is on a file system without locks: nothing keeps a second run out",
                self._workdir,
            )
        if self._note.exists():
            logging.info(
                "%s was left by %s, which is gone", self._workdir, self._holder()
            )
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        note = {"process": os.getpid(), "host": socket.gethostname(), "since": now}
        text = json.dumps(note) + "\n"
        try:
            for partial in self._partials():
                partial.unlink(missing_ok=True)
            write_whole(self._note, lambda part: part.write_text(text))
        except OSError:
            self.release()
            raise

    def release(self) -> None:
        """Gives the folder back, if it is this process's."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):
                self._note.unlink(missing_ok=True)
            self._lock.release()

    def _partials(self) -> Iterator[pathlib.Path]:
        """Files of this folder that are not whole; processes' folders are their own."""
        yield from self._workdir.glob(f"{PARTIAL}*")
        for name in ("inputs", "members"):
            yield from (self._workdir / name).rglob(f"{PARTIAL}*")

    def _holder(self) -> str:
        try:
            note = from_json(self._note.read_text())
            return f"process {note['process']} on {note['host']} since {note['since']}"
        except (OSError, ValueError, LookupError, TypeError):
            return "another process"
