"""Every table that this machine can make, or those that are named.

    python -m benchmarks --out=docs/benchmarks
    python -m benchmarks pixels convolution --out=docs/benchmarks

Each is a script of its own, run in a process of its own with its defaults, and ends
what it has to say before the next begins: they are never timed beside one another.
"""

import subprocess
import sys

from absl import app, flags

#: In this order; those of the last line need benchmarks/requirements.txt.
SCRIPTS = (
    *("convolution", "pixels", "batches", "seeds", "strategies", "memory", "start"),
    *("scaling", "endurance", "bfloat16"),
    *("gradient", "command"),
)
_OUT = flags.DEFINE_string("out", "", "A folder that gets the tables.")


def main(argv: list[str]) -> None:
    names = argv[1:] or list(SCRIPTS)
    for name in names:
        if name not in SCRIPTS:
            sys.exit(f"there is no table {name!r}; there are {', '.join(SCRIPTS)}")
    failed = []
    for name in names:
        command = [sys.executable, "-m", f"benchmarks.{name}", f"--out={_OUT.value}"]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"not made: {', '.join(failed)}")


if __name__ == "__main__":
    app.run(main)
