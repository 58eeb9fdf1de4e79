"""The whole command, as a person waits for it, beside the package pastiche's.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.command

configs/pastiche.py on two pictures, which is pastiche's own loss, sizes and solver:
ours with an empty cache of compiled programs, then pastiche's and ours with that cache,
in turn for so many rounds.
"""

import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

from absl import flags

import nst_jax
from benchmarks import script
from benchmarks.table import Table

_CONTENT = flags.DEFINE_string("content", "samples/chelsea.png", "Content picture.")
_STYLE = flags.DEFINE_string("style", "samples/swirls.jpg", "Style picture.")
_SIZE = flags.DEFINE_integer("size", 256, "The longer side in pixels.", lower_bound=32)
_STEPS = flags.DEFINE_integer("steps", 150, "Steps of L-BFGS.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer(
    "rounds", 3, "Of pastiche's command and ours.", lower_bound=1
)


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
    ratios = [mine / other for (other, _), (mine, _) in rounds]
    Table(
        "command",
        f"Whole command, {_SIZE.value} px, {_STEPS.value} steps of L-BFGS",
        ("command", "s", "of pastiche", "loss at the end"),
        [
            ("nst_jax, nothing compiled before", cold, cold / peer, loss),
            ("pastiche", peer, 1.0, rounds[0][0][1]),
            ("nst_jax, programs kept", warm, statistics.median(ratios), loss),
        ],
        [
            f"{_CONTENT.value}, {_STYLE.value}; medians of {len(rounds)} rounds, the "
            f"last ratio of pairs, which were {min(ratios):.2f} to {max(ratios):.2f}."
        ],
    ).publish()


def ours(workdir: pathlib.Path, cache: pathlib.Path) -> tuple[float, float]:
    """Seconds of the launch command, and its loss."""
    command = [
        *(sys.executable, "launch.py", "--config=configs/pastiche.py"),
        *(f"--workdir={workdir}", f"--jax_compilation_cache_dir={cache}"),
        f"--config.content={_CONTENT.value}",
        f"--config.styles=('{_STYLE.value}',)",
        *(f"--config.size={_SIZE.value}", f"--config.steps={_STEPS.value}"),
    ]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    (member,) = json.loads((workdir / "run.json").read_text())["members"]
    return seconds, member["loss"]


def theirs(folder: pathlib.Path) -> tuple[float, float]:
    """Seconds of pastiche's command, and its loss."""
    paths: list[str] = []
    for picture in (_CONTENT.value, _STYLE.value):
        image = nst_jax.read_image(picture, _SIZE.value, resample="bilinear")
        paths.append(str(folder / f"{len(paths)}.png"))
        nst_jax.write_image(paths[-1], image)
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
