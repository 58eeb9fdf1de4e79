"""A run directory as it stands on disk: the input of every part of the report."""

import dataclasses
import functools
import pathlib
from typing import Any, NamedTuple

import msgspec

from nst_jax.core.errors import RequestError
from nst_jax.images.io import is_complete_png
from nst_jax.workdir.lock import check_contents
from nst_jax.workdir.metrics_log import read_metrics
from nst_jax.workdir.schema import FINISHED, read_manifest


class Axis(NamedTuple):
    """An axis of the run, with the labels of its values."""

    name: str
    labels: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Member:
    """A member's folder and its entry in run.json."""

    folder: pathlib.Path
    entry: dict[str, Any]

    @property
    def number(self) -> int:
        return self.entry["member"]

    @property
    def index(self) -> tuple[int, ...]:
        """Grid coordinates."""
        return tuple(self.entry["index"])

    @property
    def label(self) -> str:
        return self.entry["label"]

    @property
    def caption(self) -> str:
        """The label with the loss or the status."""
        if self.entry["status"] == "waiting":
            return f"{self.label} · {'not finished' if self.picture else 'waiting'}"
        loss = self.entry["loss"]
        diverged = " · diverged" if self.entry["status"] == "diverged" else ""
        number = "not finite" if loss is None else f"{loss:.4g}"
        return f"{self.label}{diverged} · loss {number}"

    @functools.cached_property
    def picture(self) -> pathlib.Path | None:
        """`final.png` if finished, else `latest.png`; None if it does not exist."""
        finished = self.entry["status"] in FINISHED
        path = self.folder / ("final.png" if finished else "latest.png")
        return path if is_complete_png(path) else None

    @functools.cached_property
    def frames(self) -> tuple[pathlib.Path, ...]:
        """Snapshot images in the order of steps."""
        return tuple(filter(is_complete_png, self.snapshots(".png")))

    def snapshots(self, suffix: str) -> list[pathlib.Path]:
        """Return the files in `frames/` in the order of steps.

        Files of later steps, left by a run with more steps, are ignored.
        """
        last = sum(self.entry["steps"])
        files = sorted((self.folder / "frames").glob(f"*{suffix}"))
        return [f for f in files if f.stem.isdecimal() and int(f.stem[:12]) <= last]

    @property
    def start(self) -> pathlib.Path | None:
        """The starting image, if it was recorded."""
        first = self.frames[:1]
        return first[0] if first and int(first[0].stem) == 0 else None

    @property
    def film(self) -> pathlib.Path:
        """Path of the making-of video, which need not exist."""
        return self.folder / "making_of.mp4"


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """A run directory, finished or not.

    Attributes:
      workdir: the directory.
      manifest: content of run.json.
      axes: axes of the run, outermost first.
      members: members in their order.
      rows: member -> its metrics rows in the order of steps.
    """

    workdir: pathlib.Path
    manifest: dict[str, Any]
    axes: tuple[Axis, ...]
    members: tuple[Member, ...]
    rows: dict[int, list[dict[str, Any]]]

    @functools.cached_property
    def by_index(self) -> dict[tuple[int, ...], Member]:
        """Members by their grid coordinates."""
        return {member.index: member for member in self.members}

    def pages(self) -> list[tuple[int, ...]]:
        """Return the coordinates along all axes but the last two, in order."""
        return sorted({member.index[:-2] for member in self.members} or {()})

    def page_title(self, page: tuple[int, ...]) -> str:
        """Return a page's coordinates in words: "seed 1, size 64"."""
        axes = zip(self.axes, page, strict=False)
        return ", ".join(f"{axis.name} {axis.labels[i]}" for axis, i in axes)

    @property
    def fps(self) -> float:
        """Frames per second of the making-of video."""
        return self.manifest["config"]["output"]["fps"]

    def input_picture(self, number: int) -> pathlib.Path | None:
        """Return the copy of an input image, if the run has one."""
        name = self.manifest["inputs"][number]["picture"]
        path = self.workdir / (name or "")
        return path if name and is_complete_png(path) else None


def read_run(workdir: str | pathlib.Path) -> RunDirectory:
    """Read a run directory; the run need not be finished.

    Raises:
      RequestError: the folder is no run directory of this version.
    """
    workdir = pathlib.Path(workdir)
    check_contents(workdir)
    if not (workdir / "run.json").exists():
        reason = "it holds no run.json" if workdir.is_dir() else "there is no folder"
        raise RequestError(f"workdir {str(workdir)!r} is no run directory: {reason}")
    try:
        manifest = msgspec.to_builtins(read_manifest(workdir))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RequestError(
            f"workdir {str(workdir)!r} is no run directory of this version: run.json: "
            f"{reason}"
        ) from None
    rows: dict[int, list[Any]] = {}
    for row in read_metrics(workdir / "metrics.jsonl"):
        if row["member"] in range(len(manifest["members"])):
            rows.setdefault(row["member"], []).append(row)
    members = (
        Member(workdir / "members" / f"{entry['member']:03d}", entry)
        for entry in manifest["members"]
    )
    axes = (Axis(axis["name"], tuple(axis["labels"])) for axis in manifest["axes"])
    return RunDirectory(workdir, manifest, tuple(axes), tuple(members), rows)
