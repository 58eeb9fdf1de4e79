"""The folder of a run: whether it can be written to, and whose it is."""

import contextlib
import datetime
import json
import os
import pathlib
import re
import socket
import tempfile
from collections.abc import Iterator

import filelock
from absl import logging

from nst_jax.core.atomic import PARTIAL, write_atomically
from nst_jax.core.errors import RequestError
from nst_jax.workdir.strict_json import from_json


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


#: Names that a run writes into its folder. Lock and note come before there is a run.
_WRITTEN = (
    *("metrics.jsonl", "checkpoint.safetensors", "members", "inputs", "study"),
    *("report.html", "sheet.png", "curves.svg", "study.json", "tensorboard"),
)
#: Folders of processes that share a run, or compute a group of it.
_PART = re.compile(r"\d{3,}(of\d{3,})?")


def check_free(workdir: pathlib.Path) -> None:
    """Raises RequestError if a folder without a run holds what a run would overwrite.

    Files with other names may be there. A folder that is not empty and that the process
    runs in, or in a folder of, is refused too: `/` and `.` are given by mistake.
    """
    if os.path.lexists(workdir / "run.json") or not workdir.is_dir():
        return
    _refuse_misplaced(workdir, workdir / "processes")
    names = sorted(path.name for path in workdir.iterdir())
    written = [name for name in names if name in _WRITTEN]
    if "running.json" in names and ".lock" not in names:
        written.append("running.json")
    if "processes" in names:
        parts = (path.name for path in (workdir / "processes").iterdir())
        foreign = sorted(name for name in parts if not _PART.fullmatch(name))
        written += [f"processes/{name}" for name in foreign]
    if written:
        raise RequestError(
            f"workdir {str(workdir)!r} is no run directory (it holds no run.json), and "
            f"a run would overwrite {written[0]!r} in it; give a new or empty folder"
        )
    here, folder = pathlib.Path.cwd(), workdir.resolve()
    if names and here.is_relative_to(folder):
        place = "is" if here == folder else "contains"
        raise RequestError(
            f"workdir {str(workdir)!r} is no run directory (it holds no run.json), and "
            f"{place} the current folder; give a new folder, such as 'runs/NAME'"
        )


#: What is a folder in a run directory; all else that has a name in it is a file.
_FOLDERS = re.compile(r"inputs|study|(members|processes)(/\w+)?|members/\d+/frames")
_FILES = re.compile(
    r"(members/\d+/)?[\w-]+\.(json|jsonl|npy|png|safetensors|html|svg)|\.lock"
)


def check_contents(workdir: pathlib.Path) -> None:
    """Raises RequestError for what no run leaves: links, files in folders' places.

    Whatever a link leads to, what is written by one name would be there by another.
    A folder without run.json is not looked through: it may be any folder, such as `/`.
    """
    if os.path.lexists(workdir / "run.json"):
        _refuse_misplaced(workdir, workdir)


def _refuse_misplaced(workdir: pathlib.Path, top: pathlib.Path) -> None:
    """Raises RequestError for links and misplaced files from `top` on downwards."""
    notes = [workdir / ".lock", workdir / "running.json", top]
    # What vanishes meanwhile, which another process's may, is no error to `os.walk`.
    inside = (
        pathlib.Path(folder, name)
        for folder, folders, files in os.walk(top)
        for name in (*folders, *files)
    )
    for path in (*([] if top == workdir else notes), *inside):
        name = path.relative_to(workdir).as_posix()
        found = wanted = ""
        if path.is_symlink():
            found, wanted = "a link", "none"
        elif path.is_dir() and _FILES.fullmatch(name):
            found, wanted = "a folder", "a file"
        elif path.is_file() and _FOLDERS.fullmatch(name):
            found, wanted = "a file", "a folder"
        if found:
            raise RequestError(
                f"workdir {str(workdir)!r} holds {found} where {wanted} belongs: "
                f"{name!r}; take it away, and what is missing is computed again"
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
            write_atomically(self._note, lambda part: part.write_text(text))
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
