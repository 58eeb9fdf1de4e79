"""Memory, open files and logs over long runs.

    python -m benchmarks.endurance

One member for ten thousand steps, and a thousand members in batches, with small images.
The process is sampled twice a second. The first and the last quarter of the samples
during optimisation are compared, which reveals growth.
"""

import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import psutil

from benchmarks import script
from benchmarks.table import Table

_STEPS = script.count_flag("steps", 10_000, "Steps of the one member.")
_MEMBERS = script.count_flag("members", 1000, "Members of the short run.")
_SIZE = script.size_flag(32)


def main() -> None:
    runs = {
        f"one member, {_STEPS.value:,} steps": (f"--config.steps={_STEPS.value}",),
        f"{_MEMBERS.value:,} members, 10 steps": (
            "--config.steps=10",
            f"--config.seeds={tuple(range(_MEMBERS.value))}",
            "--config.ensemble.batch_size=20",
        ),
    }
    rows: list[tuple] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, arguments) in enumerate(runs.items()):
            workdir = pathlib.Path(folder) / str(number)
            samples, log = sample_run(arguments, workdir)
            quarter = max(len(samples) // 4, 1)
            parts = samples[:quarter], samples[-quarter:]
            memory = [statistics.median(m for m, _ in part) / 2**20 for part in parts]
            files = [max(n for _, n in part) for part in parts]
            metrics = (workdir / "metrics.jsonl").stat().st_size
            rows.append((name, *memory, *files, log / 2**10, metrics / 2**20))
    Table(
        "endurance",
        f"Long runs at {_SIZE.value} px: first and last quarter",
        (
            *("run", "MiB, first", "MiB, last", "open files, first"),
            *("open files, last", "KiB of log", "MiB of metrics"),
        ),
        rows,
    ).publish()


def sample_run(
    arguments: tuple[str, ...], workdir: pathlib.Path
) -> tuple[list[tuple[int, int]], int]:
    """Return (bytes, open files) during optimisation, and the bytes of the log."""
    command = [
        *(sys.executable, "launch.py", f"--workdir={workdir}", *arguments),
        *(f"--config.size={_SIZE.value}", "--config.solver.name=adam"),
        "--config.canvas.kind=noise",
    ]
    samples: list[tuple[int, int]] = []
    with tempfile.TemporaryFile() as log:
        with subprocess.Popen(command, stdout=log, stderr=log) as process:
            observed = psutil.Process(process.pid)
            while process.poll() is None:
                metrics = workdir / "metrics.jsonl"
                begun = metrics.exists() and metrics.stat().st_size > 0
                reported = (workdir / "report.html").exists()
                if begun and not (reported and _is_optimised(workdir)):
                    memory = observed.memory_info().rss
                    samples.append((memory, observed.num_fds()))
                time.sleep(0.5)
        if process.returncode:
            sys.exit(f"{' '.join(command)} ended with {process.returncode}")
        return samples, log.seek(0, 2)


def _is_optimised(workdir: pathlib.Path) -> bool:
    """Return whether only the report remains to be written."""
    return '"status": "running"' not in (workdir / "run.json").read_text()[:200]


if __name__ == "__main__":
    script.run(main)
