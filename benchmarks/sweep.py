"""What the sweep of configs/keras_sweep.py takes, from the command to the report.

    python -m benchmarks.sweep
    python -m benchmarks.sweep --size=64 --steps=3 --members=50

A thousand members of 256 px and 300 steps are minutes for a large GPU and days for two
CPU cores: there, make it smaller.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

from absl import flags

from benchmarks import script
from benchmarks.evaluation import ARITHMETICS
from benchmarks.lists import names
from benchmarks.table import Table

_SIZE = flags.DEFINE_integer("size", 256, "The longer side in pixels.", lower_bound=32)
_STEPS = flags.DEFINE_integer("steps", 300, "Steps of the solver.", lower_bound=1)
_MEMBERS = flags.DEFINE_integer(
    "members", 1000, "How many, from the first.", lower_bound=1, upper_bound=1000
)
_BATCH = flags.DEFINE_integer(
    "batch", 100, "Members of a batch, at most.", lower_bound=1, upper_bound=1000
)
_ARITHMETICS = names(
    "arithmetics", ["float32"], ARITHMETICS, "What products are made of."
)


def main() -> None:
    rows = []
    for arithmetic in _ARITHMETICS.value:
        whole, run = measured(arithmetic)
        optimising = run["timings"]["run_s"]
        rate = run["member_steps"] / optimising
        batch = max(group["batch_size"] for group in run["groups"])
        rows.append((arithmetic, whole / 60, optimising / 60, batch, rate))
    Table(
        "sweep",
        f"{_MEMBERS.value} weightings of {_SIZE.value} px, {_STEPS.value} steps",
        ("arithmetic", "min", "min optimising", "in a batch", "members' steps/s"),
        rows,
    ).publish()


def measured(arithmetic: str) -> tuple[float, dict]:
    """Seconds of the command, and what its run.json says."""
    numerics = ARITHMETICS[arithmetic]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "launch.py", "--config=configs/keras_sweep.py"),
            f"--workdir={folder}/run",
            f"--config.size={_SIZE.value}",
            f"--config.steps={_STEPS.value}",
            f"--config.ensemble.batch_size={_BATCH.value}",
            f"--config.numerics.precision={numerics.precision}",
            f"--config.numerics.feature_dtype={numerics.feature_dtype}",
            "--nojax_enable_compilation_cache",
            f"--members={','.join(map(str, range(_MEMBERS.value)))}",
        ]
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        run = json.loads((pathlib.Path(folder) / "run" / "run.json").read_text())
    return seconds, run


if __name__ == "__main__":
    script.run(main)
