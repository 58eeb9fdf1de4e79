"""The guided filter: a picture smoothed, but for the edges of another.

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
    picture: jax.Array, guide: jax.Array, radius: int, eps: float | jax.Array
) -> jax.Array:
    """The picture as an affine map of the guide's colours, from window to window.

    In each window of 2 radius + 1 pixels a side, a and b make a·I + b fit the picture
    by least squares, with eps |a|² to pay; a pixel takes the mean of the maps of
    all windows that it is in. At the border windows are cut, and means are of the
    pixels that there are.

    Args:
      picture: [H, W, C], what is smoothed.
      guide: [H, W, 3] in [0, 1], where the edges are.
      radius: in pixels, from 1.
      eps: a variance, positive: where the guide varies by less, the picture is
        smoothed. In float32 below 1e-6 or so rounding has a say.

    Returns:
      [H, W, C].

    Raises:
      RequestError: the shapes do not go together, or radius or eps is out of range.
    """
    if picture.ndim != 3 or guide.shape != (*picture.shape[:2], 3):
        raise RequestError(
            f"picture [H, W, C] and guide [H, W, 3] must be of one size, got "
            f"{list(picture.shape)} and {list(guide.shape)}"
        )
    if radius < 1:
        raise RequestError(f"radius must be at least 1, got {radius}")
    if isinstance(eps, numbers.Real) and not 0 < eps < math.inf:
        raise RequestError(f"eps must be positive and finite, got {eps}")
    # A constant moves no covariance, and leaves less to cancel.
    offset = picture.mean((0, 1), keepdims=True)
    p = picture - offset
    i = guide - guide.mean((0, 1), keepdims=True)
    mean_i, mean_p = _box_mean(i, radius), _box_mean(p, radius)
    covariance = _box_mean(_outer(i, i), radius) - _outer(mean_i, mean_i)
    with_p = _box_mean(_outer(i, p), radius) - _outer(mean_i, mean_p)
    ridge = jnp.broadcast_to(eps * jnp.eye(3, dtype=guide.dtype), covariance.shape)
    a = jnp.linalg.solve(covariance + ridge, with_p)
    b = mean_p - _applied(a, mean_i)
    return _applied(_box_mean(a, radius), i) + _box_mean(b, radius) + offset


def _outer(x: jax.Array, y: jax.Array) -> jax.Array:
    """[H, W, C] and [H, W, D] to [H, W, C, D]."""
    return x[:, :, :, None] * y[:, :, None, :]


def _applied(a: jax.Array, x: jax.Array) -> jax.Array:
    """Σ_i a_ic x_i [H, W, C], of a [H, W, 3, C] and x [H, W, 3]."""
    return (a * x[..., None]).sum(2)


def _box_mean(x: jax.Array, radius: int) -> jax.Array:
    """The mean over the window around each pixel, of [H, W, ...], cut at the border."""
    for axis in (0, 1):
        window, padding = [1] * x.ndim, [(0, 0)] * x.ndim
        window[axis], padding[axis] = 2 * radius + 1, (radius, radius)
        x = lax.reduce_window(x, 0.0, lax.add, window, [1] * x.ndim, padding)
        at = np.arange(x.shape[axis])
        count = 1 + np.minimum(at, radius) + np.minimum(at[::-1], radius)
        shape = np.ones(x.ndim, int)
        shape[axis] = -1
        x = x / count.reshape(shape).astype(x.dtype)
    return x
