"""A run directory as it stands on disk: the input of every part of the report."""

import dataclasses
import functools
import pathlib

from nst_jax.core.errors import RequestError
from nst_jax.images.io import is_complete_png
from nst_jax.workdir.lock import check_contents
from nst_jax.workdir.metrics_log import read_metrics
from nst_jax.workdir.schema import AxisEntry, Manifest, MemberEntry, Row, read_manifest


@dataclasses.dataclass(frozen=True)
class Member:
    """A member's folder and its entry in run.json."""

    folder: pathlib.Path
    entry: MemberEntry

    @property
    def number(self) -> int:
        return self.entry.member

    @property
    def label(self) -> str:
        return self.entry.label

    @property
    def caption(self) -> str:
        """The label with the loss or the status."""
        if not self.entry.is_finished:
            return f"{self.label} · {'not finished' if self.picture else 'waiting'}"
        loss = self.entry.loss
        diverged = " · diverged" if self.entry.status == "diverged" else ""
        number = "not finite" if loss is None else f"{loss:.4g}"
        return f"{self.label}{diverged} · loss {number}"

    @functools.cached_property
    def picture(self) -> pathlib.Path | None:
        """`final.png` if finished, else `latest.png`; None if it does not exist."""
        name = "final.png" if self.entry.is_finished else "latest.png"
        return self.folder / name if is_complete_png(self.folder / name) else None

    @functools.cached_property
    def frames(self) -> tuple[pathlib.Path, ...]:
        """Snapshot images in the order of steps."""
        return tuple(filter(is_complete_png, self.snapshots(".png")))

    def snapshots(self, suffix: str) -> list[pathlib.Path]:
        """Return the files in `frames/` in the order of steps.

        Files of later steps, left by a run with more steps, are ignored.
        """
        last = sum(self.entry.steps)
        files = sorted((self.folder / "frames").glob(f"*{suffix}"))
        return [f for f in files if f.stem.isdecimal() and int(f.stem[:12]) <= last]

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
      members: members in their order.
      rows: member -> its metrics rows in the order of steps.
    """

    workdir: pathlib.Path
    manifest: Manifest
    members: tuple[Member, ...]
    rows: dict[int, list[Row]]

    @property
    def axes(self) -> list[AxisEntry]:
        """Axes of the run, outermost first."""
        return self.manifest.axes

    @functools.cached_property
    def by_index(self) -> dict[tuple[int, ...], Member]:
        """Members by their grid coordinates."""
        return {tuple(member.entry.index): member for member in self.members}

    def pages(self) -> list[tuple[int, ...]]:
        """Return the coordinates along all axes but the last two, in order."""
        return sorted({index[:-2] for index in self.by_index} or {()})

    def page_title(self, page: tuple[int, ...]) -> str:
        """Return a page's coordinates in words: "seed 1, size 64"."""
        axes = zip(self.axes, page, strict=False)
        return ", ".join(f"{axis.name} {axis.labels[i]}" for axis, i in axes)

    @property
    def fps(self) -> float:
        """Frames per second of the making-of video."""
        return self.manifest.config["output"]["fps"]

    @functools.cached_property
    def inputs(self) -> list[pathlib.Path | None]:
        """Copy of each input image; None for an input without one."""
        paths = (self.workdir / (item.picture or "") for item in self.manifest.inputs)
        return [path if is_complete_png(path) else None for path in paths]


def read_run(workdir: str | pathlib.Path) -> RunDirectory:
    """Read a run directory; the run need not be finished.

    Raises:
      RequestError: the folder is no run directory of this version.
    """
    workdir = pathlib.Path(workdir)
    check_contents(workdir)
    subject = f"workdir {str(workdir)!r} is no run directory"
    if not (workdir / "run.json").exists():
        reason = "it holds no run.json" if workdir.is_dir() else "there is no folder"
        raise RequestError(f"{subject}: {reason}")
    try:
        manifest = read_manifest(workdir)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RequestError(f"{subject} of this version: run.json: {reason}") from None
    rows: dict[int, list[Row]] = {}
    for row in read_metrics(workdir / "metrics.jsonl"):
        if row["member"] < len(manifest.members):
            rows.setdefault(row["member"], []).append(row)
    members = (
        Member(workdir / "members" / f"{entry.member:03d}", entry)
        for entry in manifest.members
    )
    return RunDirectory(workdir, manifest, tuple(members), rows)
