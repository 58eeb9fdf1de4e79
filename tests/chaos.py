"""Kills a run at random moments and goes on with it, again and again.

    python -m tests.chaos --kills=100

A sweep of two weights and two seeds by a ladder of two sizes, in batches of two, is run
undisturbed. Then, for each kill, the same command starts in a new folder and gets
SIGKILL at a moment drawn evenly over the time that the undisturbed one took; where it
had ended by then, once more with another moment. What is there under a final name must
be whole, and the same command must end with the same bits: of every result and frame,
and of every row of metrics but for its seconds, in each member's order.
"""

import argparse
import collections
import concurrent.futures
import functools
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

from nst_jax.images.io import is_complete_png
from nst_jax.workdir.checkpoint import Checkpoint

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = """
import nst_jax
from configs import transfer

def get_config():
    config = transfer.get_config()
    config.size, config.steps, config.seeds = 64, 30, (0, 1)
    config.terms = (
        nst_jax.Content(weight=1000.0, layers=("relu2_1",)),
        nst_jax.Gram(layers=("relu1_1", "relu2_1")),
    )
    config.canvas = nst_jax.Canvas("noise")
    config.axes = (nst_jax.Vary("terms.style.weight", (1.0, 4.0)),)
    config.ladder = nst_jax.Ladder(start=45, steps=(30,))
    config.solver.name = "SOLVER"
    config.numerics = nst_jax.Numerics(convolution="direct")  # Starts sooner.
    config.ensemble.batch_size = 2
    config.output.log_every, config.output.checkpoint_every = 2, 0.0
    config.output.snapshot_every = 20
    return config
"""


class Chaos:
    """A request, what it comes to undisturbed, and the time that takes.

    Attributes:
      seconds: of the undisturbed command, with programs kept and as many others beside
        it as there will be.
      wanted: the hashes that it ends with.
    """

    def __init__(self, folder: pathlib.Path, solver: str, workers: int = 1):
        self.folder = folder
        config = folder / "config.py"
        config.write_text(CONFIG.replace("SOLVER", solver))
        self._command = [
            *(sys.executable, "-W", "ignore", "launch.py", f"--config={config}"),
            f"--jax_compilation_cache_dir={folder / 'cache'}",
        ]
        self._finish(folder / "first")  # Compiles.
        self.wanted = hashes(folder / "first")
        began = time.perf_counter()
        whole = [folder / f"whole{i}" for i in range(workers)]
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            list(pool.map(self._finish, whole))
        self.seconds = time.perf_counter() - began
        assert all(hashes(path) == self.wanted for path in whole), "they differ alone"

    def kill(self, name: str, due: Callable[[float, pathlib.Path], bool]) -> str:
        """Kills one when it is due, and goes on with it.

        Args:
          name: of its folder.
          due: asked again and again, with its seconds so far and its folder.

        Returns:
          Where that was; "" if it ended before.
        """
        workdir = self.folder / name
        process, began = self._start(workdir), time.perf_counter()
        while process.poll() is None:
            if due(time.perf_counter() - began, workdir):
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        _, err = process.communicate()
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0, err
            shutil.rmtree(workdir)
            return ""
        where = state(workdir)
        self._finish(workdir)
        found = hashes(workdir)
        assert found == self.wanted, f"{name}, killed {where}: {found}"
        return where

    def kill_somewhere(self, number: int) -> str:
        """Kills one at a moment drawn evenly over the time that it takes."""
        generator = random.Random(number)
        for _ in range(9):
            moment = generator.uniform(0, self.seconds)
            due = functools.partial(_is_past, moment)
            if where := self.kill(f"{number:03d}", due):
                return where
        raise AssertionError(f"{number}: it ended before all of nine moments")

    def _start(self, workdir: pathlib.Path) -> subprocess.Popen:
        return subprocess.Popen(
            [*self._command, f"--workdir={workdir}"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _finish(self, workdir: pathlib.Path) -> None:
        process = self._start(workdir)
        _, err = process.communicate(timeout=600)
        assert process.returncode == 0, err


def _is_past(moment: float, since: float, _: pathlib.Path) -> bool:
    return since >= moment


def state(workdir: pathlib.Path) -> str:
    """How far a killed run had come; all that stands under a final name is whole."""
    for path in workdir.rglob("[!.]*"):
        if path.suffix == ".npy":
            assert np.load(path).ndim == 3
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".png":
            assert is_complete_png(path), path
        elif path.suffix == ".safetensors":
            assert Checkpoint.load(path) is not None
    if not (workdir / "run.json").exists():
        return "before it began"
    run = json.loads((workdir / "run.json").read_text())
    done = sum(entry["status"] == "done" for entry in run["members"])
    kept = any(workdir.glob("members/*/state.safetensors"))
    ended = " (and the run)" if run["status"] == "done" else ""
    return f"{done} of 4 done{ended}, {'a' if kept else 'no'} checkpoint"


def hashes(workdir: pathlib.Path) -> dict[str, str]:
    """SHA-256 of each result and frame, and of each member's rows in their order."""
    members = workdir / "members"
    paths = *members.rglob("final.*"), *members.rglob("frames/*.png")
    texts = {str(path.relative_to(workdir)): path.read_bytes() for path in paths}
    for line in (workdir / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        del row["seconds"]
        own = f"rows of {row['member']}"
        kept = json.dumps(row, sort_keys=True).encode() + b"\n"
        texts[own] = texts.get(own, b"") + kept
    run = json.loads((workdir / "run.json").read_text())
    texts["members"] = json.dumps(run["members"], sort_keys=True).encode()
    return {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2, help="trials at a time")
    parser.add_argument("--solver", default="lbfgs_fixed")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        chaos = Chaos(pathlib.Path(name), asked.solver, asked.workers)
        with concurrent.futures.ThreadPoolExecutor(asked.workers) as pool:
            places = list(pool.map(chaos.kill_somewhere, range(asked.kills)))
    for where, times in sorted(collections.Counter(places).items()):
        print(f"{times:4d} killed {where}")
    print(f"{len(places)} of {asked.kills} ended with the bits of the undisturbed run")


if __name__ == "__main__":
    main()
