"""Fixtures of all tests: real weights, strict arrays, one compile cache."""

import functools
import gc
import itertools
import os
import tempfile

# A program that one test has compiled is loaded by all others: in this process, in the
# processes beside it and in those that tests start. The cache goes when they end.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _CACHE = tempfile.TemporaryDirectory(prefix="nst_jax-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _CACHE.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

import jax
import pytest
from small_runs import write_placeholder

import nst_jax

# A tenth of the CPU time goes to collections that find nothing.
gc.set_threshold(50_000, 20, 50)

#: XLA options that halve the time to compile for a CPU; not every version has them.
QUICK = {
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}

#: Modules that compile with the options that users have.
OPTIMISED = {"test_bits", "test_compilation_cache"}

#: Modules that need real loss curves; elsewhere curves.svg is a placeholder, because
#: drawing takes as long as the rest of a small run.
DRAWN = {"test_report", "test_untrusted_input"}

#: Programs after which a process forgets all: together they take a gigabyte or two.
MAX_PROGRAMS = 1000
_programs: list[float] = []  # Seconds of compiling each program in memory.


def _note_program(event: str, seconds: float, **_: object) -> None:
    if event.endswith("backend_compile_duration"):
        _programs.append(seconds)


jax.monitoring.register_event_duration_secs_listener(_note_program)


def pytest_addoption(parser):
    parser.addoption(
        "--thorough",
        action="store_true",
        help="every combination where the tests otherwise run some, and all programs "
        "compiled with the options that users have",
    )


def pytest_configure(config):
    config.addinivalue_line(
        "markers",
        "combinations(name=values, …): parametrize with each value of each argument at "
        "least once; with all combinations if --thorough is given",
    )


def pytest_generate_tests(metafunc):
    for mark in metafunc.definition.iter_markers("combinations"):
        lists = [list(values) for values in mark.kwargs.values()]
        if metafunc.config.getoption("--thorough"):
            cases = [*itertools.product(*lists)]
        else:
            count = max(map(len, lists))
            cycles = map(itertools.cycle, lists)
            cases = [*itertools.islice(zip(*cycles, strict=False), count)]
        metafunc.parametrize(list(mark.kwargs), cases)


@pytest.fixture(autouse=True)
def _strict_arrays():
    """Raise where array ranks are promoted silently."""
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(scope="module", autouse=True)
def _quick_runs(request):
    """Compile and report quickly, here and in subprocesses.

    Most programs run so briefly that optimising them does not pay. JAX keeps traces
    and programs for later modules until there are too many or the options change.
    """
    thorough = request.config.getoption("--thorough")
    quick = not thorough and request.module.__name__ not in OPTIMISED
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", str(int(quick)))
        changed = jax.config.read("jax_disable_most_optimizations") != quick
        if changed or len(_programs) > MAX_PROGRAMS:
            jax.clear_caches()
            _programs.clear()
        jax.config.update("jax_disable_most_optimizations", quick)
        if quick and jax.default_backend() == "cpu":
            options = _known_options()
            flags = [
                f"--{name}={str(value).lower()}" for name, value in options.items()
            ]
            flags = [os.environ.get("XLA_FLAGS", ""), *flags]
            patch.setenv("XLA_FLAGS", " ".join(flags).strip())
            patch.setattr("jax._src.compiler.get_compile_options", _quick_options)
        if not thorough and request.module.__name__ not in DRAWN:
            patch.setattr("nst_jax.report.report.write_figure", write_placeholder)
        yield


_compile_options = jax._src.compiler.get_compile_options


@functools.cache
def _known_options() -> dict[str, bool | int]:
    """Return those of `QUICK` that this version of XLA knows; it refuses others."""

    def is_known(name: str) -> bool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("jax._src.compiler.get_compile_options", _compile_options)
            try:
                program = jax.jit(lambda: 0, compiler_options={name: QUICK[name]})
                program.lower().compile()
            except jax.errors.JaxRuntimeError:
                return False
        return True

    return {name: value for name, value in QUICK.items() if is_known(name)}


@functools.wraps(_compile_options)
def _quick_options(*args, env_options_overrides=None, **kwargs):
    options = _known_options() | (env_options_overrides or {})
    return _compile_options(*args, env_options_overrides=options, **kwargs)


@pytest.fixture
def x64():
    """Enable arrays of 64 bits."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def network() -> nst_jax.Network:
    """Return VGG-19 with the bundled weights."""
    return nst_jax.load_network()
