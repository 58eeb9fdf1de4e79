"""Guided filter: smoothing that keeps the edges of a guide image.

He, Sun & Tang 2013, "Guided image filtering" (PAMI), equations 19 to 21.
"""

import math
import numbers

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nst_jax.core.errors import RequestError


def guided_filter(
    image: jax.Array, guide: jax.Array, radius: int, eps: float | jax.Array
) -> jax.Array:
    """Return an image as a locally affine map of a guide's colours.

    In each window, a·I + b is fitted to the image by least squares with the penalty
    eps |a|². A pixel gets the mean of the maps of all windows that contain it. Windows
    are cut at the border.

    Args:
      image: [H, W, C], to smooth.
      guide: [H, W, 3] in [0, 1], with the edges to keep.
      radius: pixels, from 1; a window has sides of 2 radius + 1 pixels.
      eps: positive variance. The image is smoothed where the guide varies less. Values
        below about 1e-6 are affected by float32 rounding.

    Returns:
      [H, W, C].

    Raises:
      RequestError: the shapes do not fit, or radius or eps is out of range.
    """
    if image.ndim != 3 or guide.shape != (*image.shape[:2], 3):
        raise RequestError(
            "image [H, W, C] and guide [H, W, 3] must be of one size, got "
            f"{list(image.shape)} and {list(guide.shape)}"
        )
    if radius < 1:
        raise RequestError(f"radius must be at least 1, got {radius}")
    if isinstance(eps, numbers.Real) and not 0 < eps < math.inf:
        raise RequestError(f"eps must be positive and finite, got {eps}")
    # Centring keeps covariances and reduces cancellation.
    offset = image.mean((0, 1), keepdims=True)
    p = image - offset
    i = guide - guide.mean((0, 1), keepdims=True)
    mean_i, mean_p = _box_mean(i, radius), _box_mean(p, radius)
    covariance = _box_mean(_outer(i, i), radius) - _outer(mean_i, mean_i)
    with_p = _box_mean(_outer(i, p), radius) - _outer(mean_i, mean_p)
    ridge = jnp.broadcast_to(eps * jnp.eye(3, dtype=guide.dtype), covariance.shape)
    a = jnp.linalg.solve(covariance + ridge, with_p)
    b = mean_p - _apply(a, mean_i)
    return _apply(_box_mean(a, radius), i) + _box_mean(b, radius) + offset


def _outer(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the products [H, W, C, D] of [H, W, C] and [H, W, D]."""
    return x[:, :, :, None] * y[:, :, None, :]


def _apply(a: jax.Array, x: jax.Array) -> jax.Array:
    """Return Σ_i a_ic x_i [H, W, C] of a [H, W, 3, C] and x [H, W, 3]."""
    return (a * x[..., None]).sum(2)


def _box_mean(x: jax.Array, radius: int) -> jax.Array:
    """Return the mean of [H, W, ...] over the window of each pixel, cut at borders."""
    for axis in (0, 1):
        window, padding = [1] * x.ndim, [(0, 0)] * x.ndim
        window[axis], padding[axis] = 2 * radius + 1, (radius, radius)
        x = lax.reduce_window(x, 0.0, lax.add, window, [1] * x.ndim, padding)
        index = np.arange(x.shape[axis])
        count = 1 + np.minimum(index, radius) + np.minimum(index[::-1], radius)
        shape = np.ones(x.ndim, int)
        shape[axis] = -1
        x = x / count.reshape(shape).astype(x.dtype)
    return x
