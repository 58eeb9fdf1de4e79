"""Calls of launch.py in a subprocess."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]

#: Configs whose run directories tests/launch/test_launch.py checks in full;
#: tests/configs/test_configs.py runs the others.
LAUNCHED_CONFIGS = ("transfer", "seeds", "pastiche")


def launch(*flags, timeout=300):
    """Return (exit status, stdout, stderr) of the script."""
    result = subprocess.run(
        [sys.executable, "launch.py", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return result.returncode, result.stdout, result.stderr
