"""Time of the whole command, compared with the package pastiche.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.command

configs/pastiche.py (pastiche's loss, sizes and solver) on two images. First the command
with an empty compilation cache, then pastiche's command and the cached command in turn.
"""

import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

from absl import flags

from benchmarks import script
from benchmarks.evaluation import write_resized
from benchmarks.table import Table

_CONTENT = flags.DEFINE_string("content", "samples/chelsea.png", "Content image.")
_STYLE = flags.DEFINE_string("style", "samples/swirls.jpg", "Style image.")
_SIZE = script.size_flag(256)
_STEPS = script.count_flag("steps", 150, "Steps of L-BFGS.")
_ROUNDS = script.count_flag("rounds", 3, "Rounds of both commands.")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        cache = folder / "cache"
        cold, loss = ours(folder / "cold", cache)
        rounds = [
            (theirs(folder), ours(folder / f"warm{i}", cache))
            for i in range(_ROUNDS.value)
        ]
    peer = statistics.median(seconds for (seconds, _), _ in rounds)
    warm = statistics.median(seconds for _, (seconds, _) in rounds)
    ratios = [our_s / their_s for (their_s, _), (our_s, _) in rounds]
    Table(
        "command",
        f"Whole command, {_SIZE.value} px, {_STEPS.value} steps of L-BFGS",
        ("command", "s", "relative to pastiche", "final loss"),
        [
            ("nst_jax, not cached", cold, cold / peer, loss),
            ("pastiche", peer, 1.0, rounds[0][0][1]),
            ("nst_jax, cached", warm, statistics.median(ratios), loss),
        ],
        [
            f"{_CONTENT.value}, {_STYLE.value}; medians of {len(rounds)} rounds. The "
            f"last ratio is of pairs, from {min(ratios):.2f} to {max(ratios):.2f}."
        ],
    ).publish()


def ours(workdir: pathlib.Path, cache: pathlib.Path) -> tuple[float, float]:
    """Return the seconds and the final loss of the launch command."""
    seconds, run = script.timed_launch(
        workdir,
        "--config=configs/pastiche.py",
        f"--jax_compilation_cache_dir={cache}",
        f"--config.content={_CONTENT.value}",
        f"--config.styles=('{_STYLE.value}',)",
        f"--config.size={_SIZE.value}",
        f"--config.steps={_STEPS.value}",
    )
    (member,) = run["members"]
    return seconds, member["loss"]


def theirs(folder: pathlib.Path) -> tuple[float, float]:
    """Return the seconds and the final loss of pastiche's command."""
    paths, _ = write_resized((_CONTENT.value, _STYLE.value), _SIZE.value, folder)
    size = str(_SIZE.value)
    command = [
        *(sys.executable, "-m", "pastiche"),
        *("--content", paths[0], "--styles", paths[1]),
        *("--output", str(folder / "out.png"), "--size", size, "--style-size", size),
        *("--num-steps", str(_STEPS.value), "--info-step", str(_STEPS.value)),
    ]
    began = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    # Lines of step, seconds and loss.
    losses = re.findall(rf"^{_STEPS.value}\s+\S+\s+(\S+)", done.stdout, re.MULTILINE)
    return seconds, float(losses[-1])


if __name__ == "__main__":
    script.run(main)
