"""Memory, open files and logs of long runs, from their beginning to their end.

    python -m benchmarks.endurance

One member for ten thousand steps, and a thousand members in batches, each by the launch
script with small pictures. The process is asked twice a second; what it holds in the
first and in the last quarter of the time in which it optimises is compared, for what
grows shows there.
"""

import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import psutil
from absl import flags

from benchmarks import script
from benchmarks.table import Table

_STEPS = flags.DEFINE_integer("steps", 10_000, "Of one member.", lower_bound=1)
_MEMBERS = flags.DEFINE_integer("members", 1000, "Of a short run.", lower_bound=1)
_SIZE = flags.DEFINE_integer("size", 32, "The longer side in pixels.", lower_bound=32)


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
        for number, (name, asked) in enumerate(runs.items()):
            workdir = pathlib.Path(folder) / str(number)
            seen, log = watched(asked, workdir)
            quarter = max(len(seen) // 4, 1)
            early, late = seen[:quarter], seen[-quarter:]
            held = [statistics.median(m for m, _ in part) for part in (early, late)]
            files = [max(n for _, n in part) for part in (early, late)]
            metrics = (workdir / "metrics.jsonl").stat().st_size
            memory = [x / 2**20 for x in held]
            rows.append((name, *memory, *files, log / 2**10, metrics / 2**20))
    Table(
        "endurance",
        f"Long runs at {_SIZE.value} px: the first and the last quarter",
        (
            *("run", "MiB at first", "MiB at last", "open files at first", "at last"),
            *("KiB of log", "MiB of metrics"),
        ),
        rows,
    ).publish()


def watched(
    asked: tuple[str, ...], workdir: pathlib.Path
) -> tuple[list[tuple[int, int]], int]:
    """(bytes, open files) while it optimises, and bytes that it logged in all."""
    command = [
        *(sys.executable, "launch.py", f"--workdir={workdir}", *asked),
        *(f"--config.size={_SIZE.value}", "--config.solver.name=adam"),
        "--config.canvas.kind=noise",
    ]
    seen: list[tuple[int, int]] = []
    with tempfile.TemporaryFile() as log:
        with subprocess.Popen(command, stdout=log, stderr=log) as process:
            watching = psutil.Process(process.pid)
            while process.poll() is None:
                metrics = workdir / "metrics.jsonl"
                begun = metrics.exists() and metrics.stat().st_size > 0
                ended = (workdir / "report.html").exists() and begun and _done(workdir)
                if begun and not ended:
                    held = watching.memory_info().rss
                    seen.append((held, watching.num_fds()))
                time.sleep(0.5)
        if process.returncode:
            sys.exit(f"{' '.join(command)} ended with {process.returncode}")
        return seen, log.seek(0, 2)


def _done(workdir: pathlib.Path) -> bool:
    """Whether only the report is still to be written."""
    return '"status": "running"' not in (workdir / "run.json").read_text()[:200]


if __name__ == "__main__":
    script.run(main)
