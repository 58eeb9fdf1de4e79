"""What a dry run predicts, beside the run: memory at its peak, and seconds.

    python -m benchmarks.memory

configs/transfer.py on its own pictures, each prediction and each run in a process of
its own, with the same cache of compiled programs. The peak is the most that the
operating system saw of the process (its resident set), which on a CPU is the memory of
the device; on another device it is not, and this script says so and stops.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import jax
from absl import flags

from benchmarks import script
from benchmarks.table import Table

_STEPS = flags.DEFINE_integer("steps", 40, "Steps of L-BFGS.", lower_bound=1)
#: Flags of the runs, and what they are called.
_CASES = {
    "one of 256 px": ("--config.size=256",),
    "one of 512 px": ("--config.size=512",),
    "one of 1024 px": ("--config.size=1024",),
    "eight of 192 px": ("--config.size=192", f"--config.seeds={tuple(range(8))}"),
    "four of 320 px": ("--config.size=320", f"--config.seeds={tuple(range(4))}"),
}


def main() -> None:
    if jax.default_backend() != "cpu":
        sys.exit("the peak of a device's memory is measured for a CPU alone")
    rows: list[tuple[str, float, float, float, float, float, float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for number, (case, asked) in enumerate(_CASES.items()):
            told_bytes, told_s = predicted(asked, folder)
            peak_bytes, seconds = measured(asked, folder, folder / str(number))
            memory = (told_bytes / 2**30, peak_bytes / 2**30, told_bytes / peak_bytes)
            rows.append((case, *memory, told_s, seconds, told_s / seconds))
    Table(
        "memory",
        f"A dry run beside the run, {_STEPS.value} steps of L-BFGS",
        ("run", "GiB said", "GiB", "ratio", "s said", "s", "ratio"),
        rows,
        ["Seconds are of optimising, without start, compiling and report."],
    ).publish()


def predicted(asked: tuple[str, ...], folder: pathlib.Path) -> tuple[float, float]:
    """Bytes and seconds that a dry run says."""
    done = subprocess.run(
        [*_command(asked, folder, folder / "none"), "--dry_run"],
        check=True,
        capture_output=True,
        text=True,
    )
    found = re.search(r"optimising (\S+) s, at most (\S+) GiB", done.stdout)
    assert found is not None, done.stdout
    return float(found[2]) * 2**30, float(found[1])


def measured(
    asked: tuple[str, ...], folder: pathlib.Path, workdir: pathlib.Path
) -> tuple[float, float]:
    """Bytes at the peak and seconds of optimising."""
    process = subprocess.Popen(
        _command(asked, folder, workdir),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"the run of {asked} ended with {status}"
    spent = json.loads((workdir / "run.json").read_text())["timings"]["run_s"]
    return usage.ru_maxrss * 1024, spent


def _command(
    asked: tuple[str, ...], folder: pathlib.Path, workdir: pathlib.Path
) -> list[str]:
    return [
        *(sys.executable, "launch.py", f"--workdir={workdir}"),
        *(f"--jax_compilation_cache_dir={folder}/cache", *asked),
        f"--config.steps={_STEPS.value}",
    ]


if __name__ == "__main__":
    script.run(main)
