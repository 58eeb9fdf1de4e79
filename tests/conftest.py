"""Fixtures of all tests: real weights, strict arrays, one compile cache."""

import os
import tempfile

# What one test has compiled, no other needs to: in this process, in those that run
# tests beside it and in those that tests start. Gone when the tests are.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _COMPILED = tempfile.TemporaryDirectory(prefix="nst_jax-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _COMPILED.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

import jax
import pytest

import nst_jax


def pytest_addoption(parser):
    parser.addoption(
        "--thorough",
        action="store_true",
        help="every combination where the tests otherwise run some, and all programs "
        "compiled as people run them",
    )


@pytest.fixture(autouse=True)
def _strict_arrays():
    """Ranks are not promoted silently inside the package."""
    with jax.numpy_rank_promotion("raise"):
        yield


#: What is said of bits is said of programs as people run them.
_AS_THEY_ARE = {
    "test_ensemble",
    "test_execution",
    "test_compilation_cache",
    "test_resume",
}


@pytest.fixture(scope="module", autouse=True)
def _programs_of_one_module(request):
    """Compiled quickly, in this process and in those that tests start.

    Most tests are over before optimisations by the compiler have paid for themselves.
    Afterwards they are forgotten: thousands would not fit into memory.
    """
    quickly = request.module.__name__ not in _AS_THEY_ARE
    quickly = quickly and not request.config.getoption("--thorough")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", str(int(quickly)))
        jax.config.update("jax_disable_most_optimizations", quickly)
        yield
    jax.clear_caches()


@pytest.fixture
def x64():
    """Arrays of 64 bits."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def network() -> nst_jax.Network:
    """VGG-19 with the bundled weights."""
    return nst_jax.load_network()
