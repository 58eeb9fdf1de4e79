"""3×3 convolution in direct or Winograd form, and ReLU, with gradients of their own."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.models import winograd

#: Least numbers of channels (in and out) and of output pixels in the whole batch for
#: which Winograd's form is used on a CPU. A single convolution gains from 128 channels
#: (`python -m benchmarks.convolution`); a whole evaluation does not, because Winograd's
#: form reads and writes four times as much memory.
_CHANNELS, _PIXELS = 256, 64
_DIMENSIONS = ("NHWC", "HWIO", "NHWC")

#: Winograd transforms of a kernel and of the flipped kernel.
Transformed = tuple[jax.Array, jax.Array]


def flip_kernel(kernel: jax.Array) -> jax.Array:
    """Return the kernel [3, 3, O, I] of the adjoint of a convolution [3, 3, I, O]."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


def transform(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return `Transformed` of a kernel [3, 3, I, O]; None if its channels are few."""
    if min(kernel.shape[2:]) < _CHANNELS:
        return None
    return winograd.transform(kernel), winograd.transform(flip_kernel(kernel))  # type: ignore


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def convolve(
    x: jax.Array,
    kernel: jax.Array,
    flipped: jax.Array,
    transformed: Transformed | None,
    pad: int,
    precision: jax.lax.Precision,
) -> jax.Array:
    """Convolve a batch [B, H, W, I] with a 3×3 kernel.

    The gradient in `x` is a plain convolution with `flipped`. Autodiff would permute
    dimension numbers instead, which XLA's CPU compiler runs three times slower inside
    a `while` loop. There is no forward-mode derivative.

    Args:
      x: batch of images.
      kernel: [3, 3, I, O].
      flipped: `flip_kernel(kernel)`, [3, 3, O, I].
      transformed: `transform(kernel)` to use Winograd's form for batches of enough
        pixels; None for the direct form.
      pad: zeros at each border, 0 to 2.
      precision: of the products.

    Returns:
      [B, H + 2 pad − 2, W + 2 pad − 2, O].
    """
    return _batched_correlate(pad, precision)(x, kernel, transformed)


@functools.cache
def _batched_correlate(pad: int, precision: jax.lax.Precision) -> Callable:
    """Return `_correlate` with a batching rule that merges members into the batch."""

    @jax.custom_batching.custom_vmap
    def correlate(x: jax.Array, *kernels: Any) -> jax.Array:
        kernel, transformed = kernels
        return _correlate(x, kernel, transformed, pad, precision)

    @correlate.def_vmap
    def merge_members(
        size: int, batched: Any, x: jax.Array, *kernels: Any
    ) -> tuple[jax.Array, bool]:
        if batched[0] and not any(jax.tree.leaves(batched[1:])):
            result = correlate(x.reshape(-1, *x.shape[2:]), *kernels)
            return result.reshape(size, -1, *result.shape[1:]), True
        axes = jax.tree.map(lambda is_batched: 0 if is_batched else None, batched)
        return jax.vmap(correlate.fun, tuple(axes), axis_size=size)(x, *kernels), True

    return correlate


def _correlate(
    x: jax.Array,
    kernel: jax.Array,
    transformed: Transformed | None,
    pad: int,
    precision: jax.lax.Precision,
) -> jax.Array:
    batch, *sides, _ = x.shape
    pixels = batch * math.prod(side + 2 * pad - 2 for side in sides)
    if transformed is not None and pixels >= _PIXELS:
        return winograd.correlate(x, transformed[0], pad, precision)
    if pad and min(sides) < 3:
        # XLA has no fast CPU kernel for an image smaller than 3×3, and it merges the
        # padding into the convolution unless a barrier separates the two.
        border = ((0, 0), (pad, pad), (pad, pad), (0, 0))
        x, pad = jax.lax.optimization_barrier(jnp.pad(x, border)), 0
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=((pad, pad), (pad, pad)),
        dimension_numbers=_DIMENSIONS,
        precision=precision,
    )


_Arrays = tuple[jax.Array, jax.Array, jax.Array, Transformed | None]


def _forward(*arguments: Any) -> tuple[jax.Array, _Arrays]:
    return convolve(*arguments), arguments[:4]


def _backward(
    pad: int, precision: jax.lax.Precision, arrays: _Arrays, cotangent: jax.Array
) -> _Arrays:
    x, kernel, flipped, transformed = arrays
    swapped = transformed and transformed[::-1]
    x_cotangent = convolve(cotangent, flipped, kernel, swapped, 2 - pad, precision)
    # Only the image is optimised, so the compiler drops the kernel's gradient.
    patches = jax.lax.conv_general_dilated_patches(
        x,
        filter_shape=(3, 3),
        window_strides=(1, 1),
        padding=((pad, pad), (pad, pad)),
        dimension_numbers=_DIMENSIONS,
        precision=precision,
    )  # [B, H, W, I * 9], the channel slowest
    kernel_cotangent = jnp.einsum(
        "bhwk,bhwo->ko", patches, cotangent, precision=precision
    ).reshape(kernel.shape[2], 3, 3, kernel.shape[3])
    kernel_cotangent = kernel_cotangent.transpose(1, 2, 0, 3)
    zeros = jax.tree.map(jnp.zeros_like, (flipped, transformed))
    return (x_cotangent, kernel_cotangent, *zeros)


convolve.defvjp(_forward, _backward)


@jax.custom_jvp
def relu(x: jax.Array) -> jax.Array:
    """Return max(x, 0), with a gradient of 0 at 0."""
    return jnp.maximum(x, 0)


@relu.defjvp
def _relu_derivative(
    primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Use the sign of the output: nothing but the ReLU then reads the convolution.

    A GPU's convolution can therefore apply the ReLU before it writes to memory. The
    barrier keeps XLA from computing the sign from the input again.
    """
    y = relu(*primals)
    (tangent,) = tangents
    is_active = jax.lax.optimization_barrier(y) > 0
    return y, jnp.where(is_active, tangent, jnp.zeros_like(tangent))
