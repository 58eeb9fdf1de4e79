"""Checks of the arrays that metrics receive."""

import numpy as np
from numpy.typing import ArrayLike

from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import as_floats


def check_array(
    values: ArrayLike,
    name: str,
    shape: str = "H, W, 3",
    *,
    min_count: int = 1,
    min_side: int = 1,
) -> np.ndarray:
    """Return finite floats of a given shape.

    Args:
      values: floats, or uint8 and uint16, which become floats in [0, 1].
      name: argument name for the error.
      shape: axes, such as "N, H, W, 3". A number is an exact length, equal letters
        are equal lengths, and a final "..." stands for any further axes.
      min_count: least length of the first axis.
      min_side: least length of the axes H and W.

    Raises:
      RequestError: wrong type or shape, or a value is NaN or infinite.
    """
    array = np.asarray(as_floats(values, name))
    axes = shape.removesuffix(", ...").split(", ")
    minima = {axes[0]: min_count} | {"H": min_side, "W": min_side}
    fits = array.ndim == len(axes) or (shape.endswith("...") and array.ndim > len(axes))
    lengths = {axis: int(axis) for axis in axes if axis.isdigit()}
    for axis, length in zip(axes, array.shape, strict=False):
        fits &= length == lengths.setdefault(axis, max(length, minima.get(axis, 1)))
    if not fits or array.size == 0:
        bounds = [
            f"{axis} at least {minima[axis]}"
            for axis in dict.fromkeys(axes)
            if minima.get(axis, 1) > 1
        ]
        raise RequestError(
            f"{name} must be of shape [{shape}]{' with ' if bounds else ''}"
            f"{' and '.join(bounds)}, got {list(array.shape)}"
        )
    for i, item in enumerate([array] if axes[0] == "H" else array):
        if not np.isfinite(item).all():
            item_name = name if axes[0] == "H" else f"{name}[{i}]"
            raise RequestError(f"{item_name} holds NaN or infinity, must be finite")
    return array


def check_same_shape(
    shape: str = "H, W, 3",
    *,
    min_count: int = 1,
    min_side: int = 1,
    **arrays: ArrayLike,
) -> list[np.ndarray]:
    """Return named arrays of one shape, each checked by `check_array`.

    Raises:
      RequestError: as for `check_array`, or the shapes differ.
    """
    checked = [
        check_array(values, name, shape, min_count=min_count, min_side=min_side)
        for name, values in arrays.items()
    ]
    shapes = [str(list(array.shape)) for array in checked]
    if len(set(shapes)) > 1:
        raise RequestError(
            f"{' and '.join(arrays)} must be of one shape, got {' and '.join(shapes)}"
        )
    return checked


def as_displayed(image: np.ndarray) -> np.ndarray:
    """Return an image as a screen shows it: float64, clipped to [0, 1]."""
    return np.clip(np.asarray(image, np.float64), 0, 1)
