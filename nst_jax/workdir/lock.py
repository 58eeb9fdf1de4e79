"""Checks of the folder of a run, and the lock of the process that writes to it."""

import contextlib
import datetime
import os
import pathlib
import re
import socket
import tempfile
from collections.abc import Iterator

import filelock
import msgspec
from absl import logging

from nst_jax.core.atomic import PARTIAL, write_atomically
from nst_jax.core.errors import RequestError
from nst_jax.workdir.schema import decode, encode

#: Names that a run writes into its folder; the lock and its note precede the run.
_WRITTEN = (
    *("metrics.jsonl", "members", "inputs", "study"),
    *("report.html", "sheet.png", "curves.svg", "study.json", "tensorboard"),
)
#: Names in `processes`: of a group, or of a process that shares the run.
_PART = re.compile(r"\d{3,}(of\d{3,})?")
#: Names of folders in a run directory, and of files.
_FOLDERS = re.compile(r"inputs|study|(members|processes)(/\w+)?|members/\d+/frames")
_FILES = re.compile(
    r"(members/\d+/)?[\w-]+\.(json|jsonl|npy|png|safetensors|html|svg)|\.lock"
)


def check_folder(workdir: pathlib.Path) -> None:
    """Raise RequestError unless a folder can hold a run."""
    check_writable(workdir)
    check_contents(workdir)
    _check_unoccupied(workdir)


def check_writable(workdir: pathlib.Path) -> None:
    """Raise RequestError unless a folder can be written to, or created."""
    if workdir.is_symlink() and not workdir.exists():
        raise RequestError(f"workdir: {str(workdir)!r} is a link to nothing")
    try:
        existing = workdir
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        if not existing.is_dir():
            raise RequestError(f"workdir: {str(existing)!r} is a file, wanted a folder")
        tempfile.TemporaryFile(dir=existing).close()
    except RequestError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(
            f"workdir: cannot write to {str(workdir)!r} ({reason})"
        ) from None


def _check_unoccupied(workdir: pathlib.Path) -> None:
    """Raise RequestError if a folder without a run must not become a run directory.

    It must not hold files that a run would overwrite; other files may stay. The current
    folder and its parents, such as "." and "/", must be empty.
    """
    if os.path.lexists(workdir / "run.json") or not workdir.is_dir():
        return
    _check_kinds(workdir, workdir / "processes")
    names = sorted(path.name for path in workdir.iterdir())
    overwritten = [name for name in names if name in _WRITTEN]
    if "running.json" in names and ".lock" not in names:
        overwritten.append("running.json")
    if "processes" in names:
        parts = sorted(path.name for path in (workdir / "processes").iterdir())
        overwritten += [f"processes/{p}" for p in parts if not _PART.fullmatch(p)]
    no_run = f"workdir {str(workdir)!r} is no run directory (it holds no run.json), and"
    if overwritten:
        raise RequestError(
            f"{no_run} a run would overwrite {overwritten[0]!r} in it; give a new or "
            "empty folder"
        )
    current, folder = pathlib.Path.cwd(), workdir.resolve()
    if names and current.is_relative_to(folder):
        relation = "is" if current == folder else "contains"
        raise RequestError(
            f"{no_run} {relation} the current folder; give a new folder, such as "
            "'runs/NAME'"
        )


def check_contents(workdir: pathlib.Path) -> None:
    """Raise RequestError for links, and for files where a run has folders.

    A link could lead a write outside the run directory. A folder without run.json is
    not searched: it may be any folder, such as "/".
    """
    if os.path.lexists(workdir / "run.json"):
        _check_kinds(workdir, workdir)


def _check_kinds(workdir: pathlib.Path, top: pathlib.Path) -> None:
    """Raise RequestError for links and misplaced files at or below `top`."""
    paths = [workdir / ".lock", workdir / "running.json", top]
    if top == workdir:
        paths = []
    # `os.walk` ignores files that another process deletes meanwhile.
    for folder, folders, files in os.walk(top):
        paths += [pathlib.Path(folder, name) for name in (*folders, *files)]
    for path in paths:
        name = path.relative_to(workdir).as_posix()
        if path.is_symlink():
            kind, wanted = "a link", "none"
        elif path.is_dir() and _FILES.fullmatch(name):
            kind, wanted = "a folder", "a file"
        elif path.is_file() and _FOLDERS.fullmatch(name):
            kind, wanted = "a file", "a folder"
        else:
            continue
        raise RequestError(
            f"workdir {str(workdir)!r} holds {kind} where {wanted} belongs: {name!r}; "
            "remove it, and the run computes it again"
        )


class _Note(msgspec.Struct):
    """The content of running.json: the process that holds the lock."""

    process: int
    host: str
    since: str


class Lock:
    """A lock on a folder, held by one process at a time.

    The operating system releases it when the process ends. A file system without locks
    has none.
    """

    def __init__(self, workdir: pathlib.Path):
        self._workdir = workdir
        self._note = workdir / "running.json"
        self._lock = filelock.FileLock(workdir / ".lock")

    def acquire(self) -> None:
        """Take the lock, and remove partial files of a process that was killed.

        Raises:
          RequestError: another process holds the lock.
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
                "%s is on a file system without locks: a second run is not prevented",
                self._workdir,
            )
        if self._note.exists():
            logging.info(
                "%s was left by %s, which is gone", self._workdir, self._holder()
            )
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        text = encode(_Note(os.getpid(), socket.gethostname(), now)) + "\n"
        try:
            for partial in self._partial_files():
                partial.unlink(missing_ok=True)
            write_atomically(self._note, lambda partial: partial.write_text(text))
        except OSError:
            self.release()
            raise

    def release(self) -> None:
        """Release the lock if this process holds it."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):
                self._note.unlink(missing_ok=True)
            self._lock.release()

    def _partial_files(self) -> Iterator[pathlib.Path]:
        """Yield partial files, except those of other processes in `processes`."""
        yield from self._workdir.glob(f"{PARTIAL}*")
        for name in ("inputs", "members"):
            yield from (self._workdir / name).rglob(f"{PARTIAL}*")

    def _holder(self) -> str:
        try:
            note = decode(self._note.read_text(), _Note)
        except (OSError, ValueError):
            return "another process"
        return f"process {note.process} on {note.host} since {note.since}"
