"""JAX's persistent compilation cache, in the user's cache folder."""

import hashlib
import pathlib
import platform

import jax
import platformdirs

#: JAX's default: programs that compile faster than this are not cached.
_DEFAULT_MIN_SECONDS = 1.0


def enable_compilation_cache() -> None:
    """Cache compiled programs on disk.

    JAX's own flags take precedence. If the folder cannot be written to, JAX warns and
    compiles.
    """
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", str(_folder()))
    # A run starts with a dozen small programs, which are cached too.
    min_seconds = "jax_persistent_cache_min_compile_time_secs"
    if getattr(jax.config, min_seconds) == _DEFAULT_MIN_SECONDS:
        jax.config.update(min_seconds, 0.1)


def _folder() -> pathlib.Path:
    """Return the cache folder of this machine's processor model.

    Machines that share a home folder may have different CPU instructions, which JAX's
    cache keys do not include.
    """
    processor = hashlib.sha256(_processor().encode()).hexdigest()[:12]
    return platformdirs.user_cache_path("nst_jax") / "programs" / processor


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # Not Linux.
        lines = []
    names = "flags", "Features", "model name"
    described = sorted({line for line in lines if line.startswith(names)})
    return "\n".join((platform.machine(), platform.processor(), *described))
