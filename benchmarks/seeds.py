"""Cost of eight seeds in one command, compared with eight commands of one seed.

    python -m benchmarks.seeds

The launch command runs configs/seeds.py once for all seeds, as one batch, and once for
each seed. Ratios are of whole commands, with and without the compilation cache, and of
the optimisations without start, compiling and report.
"""

import tempfile

from benchmarks import script
from benchmarks.table import Table

_SIZE = script.size_flag(128)
_STEPS = script.count_flag("steps", 40, "Steps of the solver.")
_SEEDS = script.count_flag("seeds", 8, "Number of seeds, from 0.")


def main() -> None:
    seeds = list(range(_SEEDS.value))
    with tempfile.TemporaryDirectory() as cache:
        cold = "--nojax_enable_compilation_cache"
        warm = f"--jax_compilation_cache_dir={cache}"
        for batch in (seeds, seeds[:1]):
            _run(batch, warm)  # Fills the cache with both programs.
        measured = {flag: _compare(seeds, flag) for flag in (cold, warm)}
    rows = [
        ("whole command, cached", *measured[warm][0]),
        ("whole command, not cached", *measured[cold][0]),
        ("optimisation alone", *measured[warm][1]),
    ]
    Table(
        "seeds",
        f"{len(seeds)} seeds, {_SIZE.value} px, {_STEPS.value} steps",
        ("", "one command, s", f"{len(seeds)} commands, s", "ratio"),
        [(name, one, many, one / many) for name, one, many in rows],
    ).publish()


def _compare(
    seeds: list[int], flag: str
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return (one, many) seconds of the commands, and of their optimisations.

    Half of the single seeds run before the batch and half after, against drift.
    """
    half = len(seeds) // 2
    before = [_run([seed], flag) for seed in seeds[:half]]
    together = _run(seeds, flag)
    after = [_run([seed], flag) for seed in seeds[half:]]
    alone = [sum(seconds) for seconds in zip(*before, *after, strict=True)]
    return (together[0], alone[0]), (together[1], alone[1])


def _run(seeds: list[int], flag: str) -> tuple[float, float]:
    """Return the seconds of the command and of its optimisation."""
    with tempfile.TemporaryDirectory() as folder:
        seconds, run = script.timed_launch(
            f"{folder}/run",
            "--config=configs/seeds.py",
            flag,
            f"--config.size={_SIZE.value}",
            f"--config.steps={_STEPS.value}",
            f"--config.seeds=({','.join(map(str, seeds))},)",
        )
    return seconds, run["timings"]["run_s"]


if __name__ == "__main__":
    script.run(main)
