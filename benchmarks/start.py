"""From the launch command to its first step, with programs kept and without.

    python -m benchmarks.start

configs/transfer.py with one step, each command with a fresh run directory. What it logs
is stamped with the seconds since the process began.
"""

import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from absl import flags

from benchmarks import script
from benchmarks.table import Table

_SIZE = flags.DEFINE_integer("size", 256, "The longer side in pixels.", lower_bound=32)
_ROUNDS = flags.DEFINE_integer(
    "rounds", 3, "Commands with programs kept.", lower_bound=1
)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        runs = [moments(pathlib.Path(folder), i) for i in range(_ROUNDS.value + 1)]
    cold, *warm = runs
    rows = [
        (what, cold[what], statistics.median(run[what] for run in warm))
        for what in cold
    ]
    Table(
        "start",
        f"Seconds from the command, {_SIZE.value} px",
        ("until", "nothing kept", "programs kept"),
        rows,
    ).publish()


def moments(folder: pathlib.Path, number: int) -> dict[str, float]:
    """Seconds from the command until what it says of itself."""
    command = [
        *(sys.executable, "launch.py", f"--workdir={folder}/{number}"),
        *(f"--config.size={_SIZE.value}", "--config.steps=1"),
        f"--jax_compilation_cache_dir={folder}/cache",
    ]
    began = time.perf_counter()
    found = {}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            since = time.perf_counter() - began
            if "compiled in" in line:
                found["programs are ready"] = since
            elif "] 1/1 it" in line:
                found.setdefault("the first step is made", since)
    found["the command has ended"] = time.perf_counter() - began
    if process.returncode or len(found) < 3:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}, saying {found}")
    return found


if __name__ == "__main__":
    script.run(main)
