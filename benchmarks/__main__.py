"""Every table that this machine can make, or those that are named.

    python -m benchmarks --out=docs/benchmarks
    python -m benchmarks pixels convolution --out=docs/benchmarks
    python -m benchmarks accelerator --out=docs/benchmarks/gpu

Each is a script of its own, run in a process of its own with its defaults, and ends
what it has to say before the next begins: they are never timed beside one another.
"accelerator" are those that a GPU is asked for, at the sizes it is used for.
"""

import subprocess
import sys

from absl import app, flags

from benchmarks import script

_WIDE = "--arithmetics=float32,tf32,bfloat16"
#: In this order; those of the last line need benchmarks/requirements.txt.
SCRIPTS = (
    *("convolution", "pixels", "batches", "seeds", "strategies", "memory", "start"),
    *("scaling", "endurance", "bfloat16", "sweep"),
    *("gradient", "command"),
)
#: Where they are asked for other than with their defaults.
FLAGS = {
    "here": {"sweep": ("--size=64", "--steps=3"), "bfloat16": ("--size=64",)},
    "accelerator": {
        "gradient": (_WIDE, "--members=1,8"),
        "batches": ("--size=256", "--batches=1,4,16,64", "--arithmetic=bfloat16"),
        "seeds": ("--size=256", "--steps=300"),
        "pixels": (),
        "start": (),
        "bfloat16": ("--size=256",),
        "sweep": (_WIDE,),
    },
}
_OUT = flags.DEFINE_string("out", "", "A folder that gets the tables.")


def main(argv: list[str]) -> None:
    asked = argv[1:]
    where = "accelerator" if asked[:1] == ["accelerator"] else "here"
    every = list(SCRIPTS if where == "here" else FLAGS[where])
    names = asked[where == "accelerator" :] or every
    for name in names:
        if name not in every:
            script.refuse(
                f"there is no table {name!r}; there are {', '.join(every)}, and before "
                "a name 'accelerator' may stand"
            )
    failed = []
    for name in names:
        command = [sys.executable, "-m", f"benchmarks.{name}", f"--out={_OUT.value}"]
        command += FLAGS[where].get(name, ())
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"not made: {', '.join(failed)}")


if __name__ == "__main__":
    app.run(main)
