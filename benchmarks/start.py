"""Seconds from the launch command to its first step, cached and not cached.

    python -m benchmarks.start

configs/transfer.py with one step a stage and a new run directory for each command. The
lines of its log are timed from the start of the process.
"""

import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks import script
from benchmarks.table import Table

_SIZE = script.size_flag(256)
_ROUNDS = script.count_flag("rounds", 3, "Cached commands.")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        runs = [measure(pathlib.Path(folder), i) for i in range(_ROUNDS.value + 1)]
    cold, *warm = runs
    rows = [
        (event, seconds, statistics.median(run[event] for run in warm))
        for event, seconds in cold.items()
    ]
    Table(
        "start",
        f"Seconds from the command, {_SIZE.value} px",
        ("event", "not cached", "cached"),
        rows,
    ).publish()


def measure(folder: pathlib.Path, number: int) -> dict[str, float]:
    """Return the seconds from the start of the command to each event."""
    command = [
        *(sys.executable, "launch.py", f"--workdir={folder}/{number}"),
        *(f"--config.size={_SIZE.value}", "--config.steps=1"),
        f"--jax_compilation_cache_dir={folder}/cache",
    ]
    began = time.perf_counter()
    events: dict[str, float] = {}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            seconds = time.perf_counter() - began
            if "compiled in" in line:
                events["programs compiled"] = seconds
            elif re.search(r"\] [1-9]\d*/\d+ it", line):
                events.setdefault("first step", seconds)
    events["end of the command"] = time.perf_counter() - began
    if process.returncode or len(events) < 3:
        sys.exit(f"{' '.join(command)} ended with {process.returncode} after {events}")
    return events


if __name__ == "__main__":
    script.run(main)
