"""What eight seeds cost in one program, beside eight runs of one seed.

    python -m benchmarks.seeds

The launch command is run on configs/seeds.py: once for all seeds, which are a batch of
one program, and once for each seed alone. Ratios are of whole commands, as a person
waits for them, with the programs of earlier commands and without, and of the
optimisations, without the start of the process, compiling and the report.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

from absl import flags

from benchmarks import script
from benchmarks.table import Table

_SIZE = flags.DEFINE_integer("size", 128, "The longer side in pixels.", lower_bound=32)
_STEPS = flags.DEFINE_integer("steps", 40, "Steps of the solver.", lower_bound=1)
_SEEDS = flags.DEFINE_integer("seeds", 8, "How many, from 0.", lower_bound=1)


def main() -> None:
    seeds = list(range(_SEEDS.value))
    with tempfile.TemporaryDirectory() as cache:
        cold = "--nojax_enable_compilation_cache"
        kept = f"--jax_compilation_cache_dir={cache}"
        for group in (seeds, seeds[:1]):
            _run(group, kept)  # One program for eight, one for each alone.
        measured = {flag: _beside(seeds, flag) for flag in (cold, kept)}
    rows = [
        ("whole commands, programs kept", *measured[kept][0]),
        ("whole commands, nothing kept", *measured[cold][0]),
        ("optimising alone", *measured[kept][1]),
    ]
    Table(
        "seeds",
        f"{len(seeds)} seeds, {_SIZE.value} px, {_STEPS.value} steps",
        ("", "one program, s", f"{len(seeds)} runs, s", "ratio"),
        [(name, one, many, one / many) for name, one, many in rows],
    ).publish()


def _beside(
    seeds: list[int], flag: str
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Seconds of commands, and of their optimisations: of one program, and of many.

    Half of the many before the one and half after, for a machine drifts.
    """
    half = len(seeds) // 2
    before = [_run([seed], flag) for seed in seeds[:half]]
    together = _run(seeds, flag)
    after = [_run([seed], flag) for seed in seeds[half:]]
    alone = [sum(seconds) for seconds in zip(*before, *after, strict=True)]
    return (together[0], alone[0]), (together[1], alone[1])


def _run(seeds: list[int], flag: str) -> tuple[float, float]:
    """Seconds of the command and of its optimisation."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "launch.py", "--config=configs/seeds.py", flag),
            f"--workdir={folder}/run",
            f"--config.size={_SIZE.value}",
            f"--config.steps={_STEPS.value}",
            f"--config.seeds=({','.join(map(str, seeds))},)",
        ]
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        run = json.loads((pathlib.Path(folder) / "run" / "run.json").read_text())
    return seconds, run["timings"]["run_s"]


if __name__ == "__main__":
    script.run(main)
