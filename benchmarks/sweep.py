"""Time of the sweep of configs/keras_sweep.py, from the command to the report.

    python -m benchmarks.sweep
    python -m benchmarks.sweep --size=64 --steps=3 --members=50

A thousand members of 256 px and 300 steps take minutes on a large GPU and days on two
CPU cores. Use a smaller sweep there.
"""

import tempfile
from typing import Any

from absl import flags

from benchmarks import script
from benchmarks.evaluation import ARITHMETICS
from benchmarks.table import Table

_SIZE = script.size_flag(256)
_STEPS = script.count_flag("steps", 300, "Steps of the solver.")
_MEMBERS = flags.DEFINE_integer(
    "members",
    1000,
    "Number of members, from the first.",
    lower_bound=1,
    upper_bound=1000,
)
_BATCH = flags.DEFINE_integer(
    "batch", 100, "Largest batch.", lower_bound=1, upper_bound=1000
)
_ARITHMETICS = script.names_flag(
    "arithmetics", ["float32"], ARITHMETICS, "Precisions of products."
)


def main() -> None:
    rows = []
    for arithmetic in _ARITHMETICS.value:
        seconds, run = measure(arithmetic)
        run_s = run["timings"]["run_s"]
        rate = run["member_steps"] / run_s
        batch = max(group["batch_size"] for group in run["groups"])
        rows.append((arithmetic, seconds / 60, run_s / 60, batch, rate))
    Table(
        "sweep",
        f"{_MEMBERS.value} weightings of {_SIZE.value} px, {_STEPS.value} steps",
        ("arithmetic", "min", "min optimising", "batch", "member steps/s"),
        rows,
    ).publish()


def measure(arithmetic: str) -> tuple[float, dict[str, Any]]:
    """Return the seconds of the command, and its run.json."""
    numerics = ARITHMETICS[arithmetic]
    with tempfile.TemporaryDirectory() as folder:
        return script.timed_launch(
            f"{folder}/run",
            "--config=configs/keras_sweep.py",
            f"--config.size={_SIZE.value}",
            f"--config.steps={_STEPS.value}",
            f"--config.ensemble.batch_size={_BATCH.value}",
            f"--config.numerics.precision={numerics.precision}",
            f"--config.numerics.feature_dtype={numerics.feature_dtype}",
            "--nojax_enable_compilation_cache",
            f"--members={','.join(map(str, range(_MEMBERS.value)))}",
        )


if __name__ == "__main__":
    script.run(main)
