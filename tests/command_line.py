"""Calls of launch.py and of modules, forked from a process that has imported JAX."""

import atexit
import contextlib
import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[1]

#: Configs whose run directories tests/launch/test_launch.py checks in full;
#: tests/configs/test_configs.py runs the others.
LAUNCHED_CONFIGS = ("transfer", "seeds", "pastiche")

#: Flag that halves the time to compile; Winograd's form has many operations.
DIRECT_CONVOLUTION = "--config.numerics.convolution=direct"

#: Status of a call that compiled although it must not.
COMPILED = 99

_SERVER = """
import gc, json, os, pathlib, runpy, signal, sys
import jax, nst_jax, nst_jax.config.flags
# Slow imports of a report, once for all calls.
import jinja2, matplotlib.backends.backend_svg, matplotlib.figure, pytest
from nst_jax.report import page

sys.path.append(os.path.abspath("tests"))
from narrow_weights import use_narrow_weights

page._plotly_script(), page._template()
gc.set_threshold(50_000, 20, 50)

def compiled(event, _seconds, **_):
    if "backend_compile" in event:
        os._exit(99)

sys.path.insert(0, os.getcwd())
for line in sys.stdin:
    pid = os.fork()
    if pid:
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        continue
    request = json.loads(line)
    sys.argv = ["launch.py", *request["flags"]]
    for stream, path in ((1, request["out"]), (2, request["err"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    if not request["draw_curves"]:
        write = lambda path, *_, **options: path.write_text("<svg/>")
        pytest.MonkeyPatch().setattr("nst_jax.report.report.write_figure", write)
    if request["narrow"]:
        folder = pathlib.Path(request["out"]).parent
        weights = use_narrow_weights(pytest.MonkeyPatch(), folder)
        sys.argv.append(f"--config.weights={weights}")
    if not request["may_compile"]:
        jax.monitoring.register_event_duration_secs_listener(compiled)
    signal.alarm(request["timeout"])
    try:
        if request["module"]:
            runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path("launch.py", run_name="__main__")
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(end.code or 0)  # Python's own end takes half a second.
"""


class Outcome(NamedTuple):
    """Exit status and output of a call; a negative status is a signal's number."""

    status: int
    out: str
    err: str


class _Server:
    """A process that forks one launch.py per request; its environment is fixed."""

    def __init__(self):
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore:os.fork", "-c", _SERVER],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self._close)

    def _close(self):
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()

    def call(self, flags, **options):
        out, err = (pathlib.Path(self._folder.name) / name for name in ("out", "err"))
        request = {"flags": flags, "out": str(out), "err": str(err), **options}
        with self._lock:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            status = int(self._process.stdout.readline())
            return Outcome(status, out.read_text(), err.read_text())


@functools.cache
def _server(quick_compile: str) -> _Server:
    """Return the server of one JAX_DISABLE_MOST_OPTIMIZATIONS; JAX reads it once."""
    return _Server()


def launch(
    *flags,
    timeout=300,
    may_compile=True,
    draw_curves=False,
    narrow=False,
    module=None,
) -> Outcome:
    """Run `python launch.py` with flags.

    Args:
      timeout: seconds until the call is ended by SIGALRM.
      may_compile: whether XLA may compile; a call that compiles nevertheless ends
        with status `COMPILED`.
      draw_curves: whether curves.svg is drawn; else it is a placeholder, because
        drawing takes as long as a small run.
      narrow: whether the network has an eighth of the channels, with random weights.
      module: name of a module to run with `python -m` in place of launch.py.
    """
    server = _server(os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"])
    return server.call(
        list(map(str, flags)),
        timeout=timeout,
        may_compile=may_compile,
        draw_curves=draw_curves,
        narrow=narrow,
        module=module,
    )
