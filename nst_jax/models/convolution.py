"""3×3 convolutions of pictures, and their gradient as what it is: another one."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.models import winograd

#: From how many channels in and out, and from how many pixels of all pictures
#: together, Winograd's form is taken on a CPU. One convolution alone gains with 128
#: channels too (`python -m benchmarks.convolution`), a whole evaluation does not: there
#: most of its time goes to reading and writing what is four times the size.
_CHANNELS, _PIXELS = 256, 64

#: A kernel and its turned one, each as `winograd.transform` gives it.
Transformed = tuple[jax.Array, jax.Array]


def flip_kernel(kernel: jax.Array) -> jax.Array:
    """The kernel [3, 3, O, I] of the adjoint of convolving with [3, 3, I, O]."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


def transform(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """`Transformed` of a kernel [3, 3, I, O]; None if its channels are too few."""
    if min(kernel.shape[2:]) < _CHANNELS:
        return None
    return winograd.transform(kernel), winograd.transform(flip_kernel(kernel))  # type: ignore


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def convolve(
    x: jax.Array,
    kernel: jax.Array,
    turned: jax.Array,
    transformed: Transformed | None,
    pad: int,
    precision: jax.lax.Precision,
) -> jax.Array:
    """3×3 convolution [B, H, W, I] * [3, 3, I, O] with `pad` zeros at each border.

    Its gradient in `x` is written as what it is, a plain convolution with
    `turned`, which is `flip_kernel(kernel)`. Autodiff says the same with permuted
    dimension numbers, which XLA's CPU compiler brings into its fast form only
    outside of loops: inside the `while` of an optimisation that gradient ran
    three times slower. The price is forward-mode differentiation, which this has not.

    Args:
      x: pictures.
      kernel: what they are convolved with.
      turned: `flip_kernel(kernel)`, [3, 3, O, I].
      transformed: `transform(kernel)`, if pictures that are not too small, or that are
        many, are to be convolved in Winograd's form.
      pad: 0 or 1.
      precision: of the products.

    Returns:
      [B, H + 2 pad − 2, W + 2 pad − 2, O].
    """
    return _of_pictures(pad, precision)(x, kernel, transformed)


@functools.cache
def _of_pictures(pad: int, precision: jax.lax.Precision) -> Callable:
    """`_correlate`, for which the members of a `vmap` are so many more pictures."""

    @jax.custom_batching.custom_vmap
    def correlate(x: jax.Array, *kernels: Any) -> jax.Array:
        kernel, transformed = kernels
        return _correlate(x, kernel, transformed, pad, precision)

    @correlate.def_vmap
    def over_members(
        size: int, batched: Any, x: jax.Array, *kernels: Any
    ) -> tuple[jax.Array, bool]:
        if batched[0] and not any(jax.tree.leaves(batched[1:])):
            result = correlate(x.reshape(-1, *x.shape[2:]), *kernels)
            return result.reshape(size, -1, *result.shape[1:]), True
        axes = jax.tree.map(lambda along: 0 if along else None, tuple(batched))
        return jax.vmap(correlate.fun, axes, axis_size=size)(x, *kernels), True

    return correlate


def _correlate(
    x: jax.Array,
    kernel: jax.Array,
    transformed: Transformed | None,
    pad: int,
    precision: jax.lax.Precision,
) -> jax.Array:
    pictures, *sides, _ = x.shape
    pixels = pictures * math.prod(side + 2 * pad - 2 for side in sides)
    if transformed is not None and pixels >= _PIXELS:
        return winograd.correlate(x, transformed[0], pad, precision)
    if pad and min(sides) < 3:
        # XLA has no fast form for a picture smaller than the kernel on a CPU, and it
        # takes padding for a part of the convolution unless the two are kept apart.
        border = ((0, 0), (pad, pad), (pad, pad), (0, 0))
        x, pad = jax.lax.optimization_barrier(jnp.pad(x, border)), 0
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
    )


_Residuals = tuple[jax.Array, jax.Array, jax.Array, Transformed | None]


def _forward(
    x: jax.Array,
    kernel: jax.Array,
    turned: jax.Array,
    transformed: Transformed | None,
    pad: int,
    precision: jax.lax.Precision,
) -> tuple[jax.Array, _Residuals]:
    result = convolve(x, kernel, turned, transformed, pad, precision)
    return result, (x, kernel, turned, transformed)


def _backward(
    pad: int,
    precision: jax.lax.Precision,
    residuals: _Residuals,
    cotangent: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array, Transformed | None]:
    x, kernel, turned, transformed = residuals
    back = transformed and transformed[::-1]
    x_cotangent = convolve(cotangent, turned, kernel, back, 2 - pad, precision)
    # The picture is what is optimised, so the compiler drops the rest as dead
    # code; it is here because a wrong gradient would be worse than a slow one.
    patches = jax.lax.conv_general_dilated_patches(
        x,
        filter_shape=(3, 3),
        window_strides=(1, 1),
        padding=((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
    )  # [B, H, W, I * 9], the channel slowest
    kernel_cotangent = jnp.einsum(
        "bhwk,bhwo->ko", patches, cotangent, precision=precision
    ).reshape(kernel.shape[2], 3, 3, kernel.shape[3])
    return (
        x_cotangent,
        kernel_cotangent.transpose(1, 2, 0, 3),
        jnp.zeros_like(turned),
        jax.tree.map(jnp.zeros_like, transformed),
    )


convolve.defvjp(_forward, _backward)
