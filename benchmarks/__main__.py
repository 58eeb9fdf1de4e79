"""Make every table that this machine can make, or the named tables.

    python -m benchmarks --out=docs/benchmarks
    python -m benchmarks pixels convolution --out=docs/benchmarks
    python -m benchmarks accelerator --out=docs/benchmarks/gpu

The scripts run one after the other, each in its own process with its defaults.
"accelerator" selects the tables for a GPU, at the sizes it is used for.
"""

import subprocess
import sys

from absl import app, flags

from benchmarks import script

_WIDE = "--arithmetics=float32,tf32,bfloat16"
#: In this order; the last line needs benchmarks/requirements.txt.
SCRIPTS = (
    *("convolution", "pixels", "batches", "seeds", "strategies", "memory", "start"),
    *("scaling", "endurance", "bfloat16", "sweep"),
    *("gradient", "command"),
)
#: Flags that differ from a script's defaults.
FLAGS = {
    "default": {"sweep": ("--size=64", "--steps=3"), "bfloat16": ("--size=64",)},
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
_OUT = flags.DEFINE_string("out", "", "Folder for the tables.")


def main(argv: list[str]) -> None:
    names = argv[1:]
    mode = "accelerator" if names[:1] == ["accelerator"] else "default"
    tables = list(SCRIPTS if mode == "default" else FLAGS[mode])
    names = names[mode == "accelerator" :] or tables
    for name in names:
        if name not in tables:
            script.refuse(
                f"unknown table {name!r}; the tables are {', '.join(tables)}, and "
                "'accelerator' may stand before their names"
            )
    failed = []
    for name in names:
        command = [sys.executable, "-m", f"benchmarks.{name}", f"--out={_OUT.value}"]
        command += FLAGS[mode].get(name, ())
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    app.run(main)
