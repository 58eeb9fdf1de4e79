"""What eight seeds cost in one program, beside eight runs of one seed.

    python -m benchmarks.seeds

The launch command is run on configs/seeds.py: once for all seeds, which are a batch of
one program, and then once for each seed alone. The first ratio is of whole commands, as
a person waits for them; the second leaves out the start of the process, compiling and
the report, and is of the optimisations alone.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

from absl import app, flags

from benchmarks.table import Table

_SIZE = flags.DEFINE_integer("size", 128, "The longer side in pixels.", lower_bound=32)
_STEPS = flags.DEFINE_integer("steps", 40, "Steps of the solver.", lower_bound=1)
_SEEDS = flags.DEFINE_integer("seeds", 8, "How many, from 0.", lower_bound=1)


def main(_: list[str]) -> None:
    seeds = list(range(_SEEDS.value))
    together, optimising = _run(seeds)
    alone = [_run([seed]) for seed in seeds]
    whole = sum(seconds for seconds, _ in alone)
    steps = sum(seconds for _, seconds in alone)
    Table(
        "seeds",
        f"{len(seeds)} seeds, {_SIZE.value} px, {_STEPS.value} steps",
        ("", "one program, s", f"{len(seeds)} runs, s", "ratio"),
        [
            ("whole commands", together, whole, together / whole),
            ("optimising alone", optimising, steps, optimising / steps),
        ],
    ).publish()


def _run(seeds: list[int]) -> tuple[float, float]:
    """Seconds of the command and of its optimisation."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "launch.py", "--config=configs/seeds.py"),
            f"--workdir={folder}/run",
            f"--config.size={_SIZE.value}",
            f"--config.steps={_STEPS.value}",
            f"--config.seeds=({','.join(map(str, seeds))},)",
        ]
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - began
        run = json.loads((pathlib.Path(folder) / "run" / "run.json").read_text())
    return seconds, run["timings"]["run_s"]


if __name__ == "__main__":
    app.run(main)
