"""Forecast of a dry run compared with the run: peak memory and seconds.

    python -m benchmarks.memory

configs/transfer.py on its own images, with a process for each forecast and each run,
and one compilation cache. The peak is the largest resident set of the process. It is
the memory of the device only on a CPU; the script refuses other devices.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import jax

from benchmarks import script
from benchmarks.table import Table

_STEPS = script.count_flag("steps", 40, "Steps of L-BFGS.")
#: Names and flags of the runs.
_CASES = {
    "one of 256 px": ("--config.size=256",),
    "one of 512 px": ("--config.size=512",),
    "one of 1024 px": ("--config.size=1024",),
    "eight of 192 px": ("--config.size=192", f"--config.seeds={tuple(range(8))}"),
    "four of 320 px": ("--config.size=320", f"--config.seeds={tuple(range(4))}"),
}


def main() -> None:
    if jax.default_backend() != "cpu":
        sys.exit("peak memory is measured on a CPU only")
    rows: list[tuple[str, float, float, float, float, float, float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for number, (case, arguments) in enumerate(_CASES.items()):
            expected_gib, expected_s = forecast(arguments, folder)
            gib, seconds = measure(arguments, folder, folder / str(number))
            memory = (expected_gib, gib, expected_gib / gib)
            rows.append((case, *memory, expected_s, seconds, expected_s / seconds))
    Table(
        "memory",
        f"Dry run compared with the run, {_STEPS.value} steps of L-BFGS",
        ("run", "forecast, GiB", "GiB", "ratio", "forecast, s", "s", "ratio"),
        rows,
        ["Seconds of optimisation, without start, compiling and report."],
    ).publish()


def forecast(arguments: tuple[str, ...], folder: pathlib.Path) -> tuple[float, float]:
    """Return the GiB and seconds that a dry run prints."""
    done = subprocess.run(
        [*_command(arguments, folder, folder / "none"), "--dry_run"],
        check=True,
        capture_output=True,
        text=True,
    )
    match = re.search(r"optimising (\S+) s, at most (\S+) GiB", done.stdout)
    assert match is not None, done.stdout
    return float(match[2]), float(match[1])


def measure(
    arguments: tuple[str, ...], folder: pathlib.Path, workdir: pathlib.Path
) -> tuple[float, float]:
    """Return the GiB at the peak and the seconds of optimisation."""
    process = subprocess.Popen(
        _command(arguments, folder, workdir),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"the run of {arguments} ended with {status}"
    timings = json.loads((workdir / "run.json").read_text())["timings"]
    return usage.ru_maxrss / 2**20, timings["run_s"]


def _command(
    arguments: tuple[str, ...], folder: pathlib.Path, workdir: pathlib.Path
) -> list[str]:
    return [
        *(sys.executable, "launch.py", f"--workdir={workdir}"),
        *(f"--jax_compilation_cache_dir={folder}/cache", *arguments),
        f"--config.steps={_STEPS.value}",
    ]


if __name__ == "__main__":
    script.run(main)
