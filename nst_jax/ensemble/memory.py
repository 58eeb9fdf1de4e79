"""What members take of a device's memory, and how many it has room for."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import psutil

from nst_jax.models.layers import LAYERS, deepest_layer
from nst_jax.optim import transfer
from nst_jax.optim.problem import Problem


def fitting_batch(
    problem: Problem, shape: Sequence[int], device: jax.Device | None = None
) -> int:
    """How many members of canvases of `shape` [H, W, 3] a device has room for.

    Reckoned before anything is compiled: a member needs its solver's state twice,
    and the features up to the deepest layer twice, once for the values that the
    gradient needs and once for the cotangents and what the compiler sets aside. Half
    of the memory that is free is given to them. `device` is None for JAX's default.
    """
    canvas = jax.ShapeDtypeStruct(tuple(shape), jnp.float32)
    seen = canvas
    if problem.tiling is not None:
        sides = (min(problem.tiling.side, side) for side in shape[:2])
        seen = jax.ShapeDtypeStruct((*sides, 3), jnp.float32)
    layers = problem.objective.layers
    taps = LAYERS[: LAYERS.index(deepest_layer(layers)) + 1] if layers else ()
    features = jax.eval_shape(lambda image: problem.network(image, taps), seen)
    state = jax.eval_shape(transfer.start, problem, canvas)
    needed = 2 * sum(
        leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((features, state))
    )
    return max(1, int(_free_bytes(device) / 2 / needed))


def _free_bytes(device: jax.Device | None) -> int:
    """What a device has left; of a CPU's, what the system could make free."""
    stats = (device or jax.local_devices()[0]).memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    return psutil.virtual_memory().available


def used_bytes(device: jax.Device | None = None) -> int:
    """What this process takes of a device's memory; of a CPU's, all that it takes."""
    stats = (device or jax.local_devices()[0]).memory_stats()
    if stats and "bytes_in_use" in stats:
        return stats["bytes_in_use"]
    return psutil.Process().memory_info().rss


def out_of_memory(error: Exception) -> bool:
    """Whether that is what a computation failed of, on the device or on the host."""
    if isinstance(error, MemoryError):
        return True
    failed = isinstance(error, jax.errors.JaxRuntimeError)
    # On a CPU the latter, behind "INTERNAL", where it is found out by another thread.
    return failed and (
        str(error).startswith("RESOURCE_EXHAUSTED") or "Out of memory" in str(error)
    )
