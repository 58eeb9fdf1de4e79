"""A run directory as it stands: what every part of the report is made from."""

import dataclasses
import functools
import math
import pathlib
from typing import Any

from nst_jax.core.errors import RequestError
from nst_jax.images.io import is_complete_png
from nst_jax.workdir.lock import check_contents
from nst_jax.workdir.metrics_log import read_metrics
from nst_jax.workdir.schema import FINISHED, read_manifest
from nst_jax.workdir.strict_json import from_json


@dataclasses.dataclass(frozen=True)
class Axis:
    """Something that varies among the members, and its values in words."""

    name: str
    labels: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Member:
    """One member: `entry` is what run.json says of it."""

    folder: pathlib.Path
    entry: dict[str, Any]

    @property
    def number(self) -> int:
        return self.entry["member"]

    @property
    def index(self) -> tuple[int, ...]:
        """Its place along each axis."""
        return tuple(self.entry["index"])

    @property
    def label(self) -> str:
        return self.entry["label"]

    @property
    def caption(self) -> str:
        """The label, and how it ended or that it has not."""
        if self.entry["status"] == "waiting":
            return f"{self.label} · {'not finished' if self.picture else 'waiting'}"
        loss = self.entry["loss"]
        diverged = " · diverged" if self.entry["status"] == "diverged" else ""
        return f"{self.label}{diverged} · loss " + (
            "not finite" if loss is None else f"{loss:.4g}"
        )

    @functools.cached_property
    def picture(self) -> pathlib.Path | None:
        """`final.png`, and `latest.png` until it is finished; None without one."""
        finished = self.entry["status"] in FINISHED
        path = self.folder / ("final.png" if finished else "latest.png")
        return path if is_complete_png(path) else None

    @functools.cached_property
    def frames(self) -> tuple[pathlib.Path, ...]:
        """The pictures kept on the way, in the order of their steps."""
        return tuple(filter(is_complete_png, self.snapshots(".png")))

    def snapshots(self, suffix: str) -> list[pathlib.Path]:
        """Files in `frames/`, in the order of their steps.

        Those of later steps, which a run of more steps left, are left out.
        """
        most = sum(self.entry.get("steps", ())) or math.inf
        frames = sorted((self.folder / "frames").glob(f"*{suffix}"))
        return [f for f in frames if f.stem.isdecimal() and int(f.stem[:12]) <= most]

    @property
    def start(self) -> pathlib.Path | None:
        """The picture that it started from, if it was kept."""
        first = self.frames[:1]
        return first[0] if first and int(first[0].stem) == 0 else None

    @property
    def film(self) -> pathlib.Path:
        """Where its making-of is, if it has one."""
        return self.folder / "making_of.mp4"


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """A run directory as it stands.

    Attributes:
      workdir: the directory.
      manifest: what run.json holds.
      axes: what varies, outermost first.
      members: in their order.
      rows: member -> its rows of metrics, in the order of their steps.
    """

    workdir: pathlib.Path
    manifest: dict[str, Any]
    axes: tuple[Axis, ...]
    members: tuple[Member, ...]
    rows: dict[int, list[dict[str, Any]]]

    @functools.cached_property
    def at(self) -> dict[tuple[int, ...], Member]:
        """The members by their places."""
        return {member.index: member for member in self.members}

    def pages(self) -> list[tuple[int, ...]]:
        """The places along all axes but the last two that have members, in order."""
        return sorted({member.index[:-2] for member in self.members} or {()})

    def page_title(self, page: tuple[int, ...]) -> str:
        """Such as "seed 1, size 64"; "" if there is but one page."""
        return ", ".join(
            f"{axis.name} {axis.labels[i]}"
            for axis, i in zip(self.axes, page, strict=False)
        )

    @property
    def fps(self) -> float:
        """Frames a second of the making-of."""
        return self.manifest["config"]["output"]["fps"]

    def content_input(self, member: Member) -> int:
        """Which of the inputs is the content picture of a member."""
        return member.entry["content"]

    def input_picture(self, number: int) -> pathlib.Path | None:
        """The file of an input that is a picture, if it was kept."""
        name = self.manifest["inputs"][number]["picture"]
        path = self.workdir / (name or "")
        return path if name and is_complete_png(path) else None


def read_run(workdir: str | pathlib.Path) -> RunDirectory:
    """Reads a run directory; the run need not be finished.

    Raises:
      RequestError: it is no run directory.
    """
    workdir = pathlib.Path(workdir)
    check_contents(workdir)
    if not (workdir / "run.json").exists():
        lack = "it holds no run.json" if workdir.is_dir() else "there is no folder"
        raise RequestError(f"workdir {str(workdir)!r} is no run directory: {lack}")
    try:
        manifest = read_manifest(workdir)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(
            f"workdir {str(workdir)!r} is no run directory of this version: run.json: "
            f"{reason}"
        ) from None
    rows: dict[int, list[dict[str, Any]]] = {}
    for row in read_metrics(workdir / "metrics.jsonl"):
        if row["member"] in range(len(manifest["members"])):
            rows.setdefault(row["member"], []).append(row)
    return RunDirectory(
        workdir,
        manifest,
        tuple(Axis(axis["name"], tuple(axis["labels"])) for axis in manifest["axes"]),
        tuple(
            Member(workdir / "members" / f"{entry['member']:03d}", entry)
            for entry in manifest["members"]
        ),
        rows,
    )


def read_json(path: pathlib.Path, otherwise: str) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
      RequestError: there is none; `otherwise` is the head of its sentence.
    """
    try:
        content = from_json(path.read_text())
    except OSError as error:
        raise RequestError(f"{otherwise}: {path.name}: {error.strerror}") from None
    except ValueError as error:
        raise RequestError(f"{otherwise}: {path.name} is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise RequestError(f"{otherwise}: {path.name} holds no object")
    return content
