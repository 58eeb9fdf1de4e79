"""Device memory: its use by members, and the batch size that fits."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import psutil

from nst_jax.models.layers import computed_layers
from nst_jax.optim import transfer
from nst_jax.optim.problem import Problem


def fitting_batch(
    problem: Problem, shape: Sequence[int], device: jax.Device | None = None
) -> int:
    """Estimate the number of members that fit in half of the free device memory.

    The estimate needs no compilation. A member takes its state twice, and its features
    up to the deepest layer twice: for the forward pass, and for the cotangents and the
    temporary buffers of the compiler.

    Args:
      problem: the problem of one member.
      shape: shape [H, W, 3] of a canvas.
      device: None for JAX's default device.
    """
    canvas = jax.ShapeDtypeStruct(tuple(shape), jnp.float32)
    network_input = canvas
    if problem.tiling is not None:
        sides = (min(problem.tiling.side, side) for side in shape[:2])
        network_input = jax.ShapeDtypeStruct((*sides, 3), jnp.float32)
    layers = problem.objective.layers
    computed = computed_layers(layers, problem.network.trunk) if layers else ()
    features = jax.eval_shape(lambda x: problem.network(x, computed), network_input)
    state = jax.eval_shape(transfer.start, problem, canvas)
    needed = 2 * sum(
        leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((features, state))
    )
    return max(1, int(_free_bytes(device) / 2 / needed))


def _free_bytes(device: jax.Device | None) -> int:
    """Return the free memory of a device; of a CPU, the available system memory."""
    stats = _memory_stats(device)
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    return psutil.virtual_memory().available


def used_bytes(device: jax.Device | None = None) -> int:
    """Return the device memory of this process; of a CPU, its resident memory."""
    return _memory_stats(device).get("bytes_in_use", psutil.Process().memory_info().rss)


def _memory_stats(device: jax.Device | None) -> dict[str, int]:
    return (device or jax.local_devices()[0]).memory_stats() or {}


def out_of_memory(error: Exception) -> bool:
    """Return whether a computation failed for lack of device or host memory."""
    if isinstance(error, MemoryError):
        return True
    # On a CPU the message may begin with "INTERNAL", if another thread failed.
    text = str(error)
    return isinstance(error, jax.errors.JaxRuntimeError) and (
        text.startswith("RESOURCE_EXHAUSTED") or "Out of memory" in text
    )
