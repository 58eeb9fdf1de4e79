"""Compiled programs that outlive the process that compiled them."""

import hashlib
import pathlib
import platform

import jax
import platformdirs

#: The seconds of compiling from which JAX keeps a program, if it is told of no others.
_JAXS_LEAST = 1.0


def enable_compilation_cache() -> None:
    """Keeps what JAX compiles from now on, for this process and those to come.

    In the user's cache folder, unless JAX has been told of another one; not at all
    under `--nojax_enable_compilation_cache`. A folder that cannot be written to is no
    error: JAX warns, and compiles.
    """
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", str(_folder()))
    # The small ones too, unless one says otherwise: a start has a dozen of them.
    least = "jax_persistent_cache_min_compile_time_secs"
    if getattr(jax.config, least) == _JAXS_LEAST:
        jax.config.update(least, 0.1)


def _folder() -> pathlib.Path:
    """One for each kind of processor that shares the user's home.

    A program for a CPU uses the instructions of the one it was compiled on, which JAX
    does not tell apart by its kind, "cpu".
    """
    processor = hashlib.sha256(_processor().encode()).hexdigest()[:12]
    return platformdirs.user_cache_path("nst_jax") / "programs" / processor


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # Not a Linux.
        lines = []
    names = "flags", "Features", "model name"
    told = sorted({line for line in lines if line.startswith(names)})
    return "\n".join((platform.machine(), platform.processor(), *told))
