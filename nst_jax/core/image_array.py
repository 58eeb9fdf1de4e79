"""Pictures given as arrays: conversion, checks and a name for each."""

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.core.errors import RequestError

#: Integer type of pictures -> its value of white.
WHITE = {"uint8": 255, "uint16": 65535}
#: Largest overshoot of [0, 1] by rounding or by the ripple of a resampling filter.
TOLERANCE = 0.01
#: A result with a larger median is on a scale of 0 to 255.
MAX_MEDIAN = 2.0
_DIVIDE = "divide it by its value of white, such as 255, or give uint8 or uint16"

Array = np.ndarray | jax.Array

#: Type of a config's field that takes a path or an array, and stores the array as an
#: `ArrayInput`.
if TYPE_CHECKING:
    PictureSource = Any
else:
    PictureSource = str
#: Paths of these fields.
SOURCES = (
    *("content", "styles", "canvas.path"),
    *("masks.content", "masks.styles", "masks.freeze"),
)


def as_floats(values: Any, argument: str) -> Array:
    """Return an array of pictures of any shape as floats with white at 1.

    uint8 and uint16 are divided by their largest value. float32 and float64 stay;
    other floats become float32.

    Args:
      values: an array, a tracer, or nested sequences of numbers.
      argument: name in errors.

    Raises:
      RequestError: the array has another type.
    """
    array = values
    if not isinstance(array, jax.Array | np.ndarray):
        try:
            array = np.asarray(values)
        except ValueError as error:  # Rows of different lengths.
            raise RequestError(f"{argument} is no array ({error})") from None
    name = array.dtype.name
    if name in WHITE:
        if isinstance(array, jax.core.Tracer):
            return array.astype(jnp.float32) / WHITE[name]
        return np.asarray(array).astype(np.float32) / np.float32(WHITE[name])
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise RequestError(
            f"{argument} must be floats in [0, 1], uint8 or uint16, got an array of "
            f"{name}"
        )
    return array if name in ("float32", "float64") else array.astype(np.float32)


def as_picture(
    values: Any, argument: str, *, optimised: bool = False, nan: bool = False
) -> Array:
    """Return a picture as floats [H, W, 3] with white at 1.

    Args:
      values: floats, uint8 or uint16 [H, W, 3]; see `as_floats`.
      argument: name in errors.
      optimised: allow values outside [0, 1], as in a result or a starting canvas.
      nan: allow NaN and infinity.

    Raises:
      RequestError: the array has another type or shape, holds NaN, or is not in [0, 1].
        The values of a tracer are not checked.
    """
    array = as_floats(values, argument)
    _check_shape(array.shape, argument)
    if not isinstance(array, jax.core.Tracer):
        _check_values(np.asarray(array), argument, optimised=optimised, nan=nan)
    return array


def as_pictures(values: Any, argument: str) -> np.ndarray:
    """Return optimised pictures of one shape as float32 [N, H, W, 3].

    Args:
      values: an array [N, H, W, 3], or a sequence of arrays [H, W, 3].
      argument: name in errors.

    Raises:
      RequestError: there is no picture, the shapes differ, or one is not a picture.
    """
    if isinstance(values, Iterable) and not isinstance(values, np.ndarray | jax.Array):
        values = [
            as_picture(x, f"{argument}[{i}]", optimised=True)
            for i, x in enumerate(values)
        ]
        shapes = dict.fromkeys(str(list(x.shape)) for x in values)
        if len(shapes) > 1:
            raise RequestError(
                f"{argument} must be pictures of one shape, got {' and '.join(shapes)}"
            )
    array = np.asarray(as_floats(np.asarray(values), argument), np.float32)
    if array.ndim != 4 or array.shape[3] != 3 or 0 in array.shape:
        raise RequestError(
            f"{argument} must be one or more pictures [N, H, W, 3], got an array of "
            f"shape {list(array.shape)}"
        )
    _check_values(array, argument, optimised=True)
    return array


def check_sequence(values: Any, argument: str) -> None:
    """Raise RequestError for one picture in place of a sequence of pictures."""
    is_picture = isinstance(values, np.ndarray | jax.Array) and values.ndim < 4
    if isinstance(values, str) or is_picture or not isinstance(values, Iterable):
        raise RequestError(f"{argument} must be a sequence of pictures, got one")


def _check_values(
    array: np.ndarray, argument: str, *, optimised: bool, nan: bool = False
) -> None:
    finite = np.isfinite(array)
    if not nan and not finite.all():
        raise RequestError(f"{argument} holds NaN or infinity, wanted finite values")
    if optimised:
        median = float(np.median(array[finite])) if finite.any() else 0.0
        if median > MAX_MEDIAN:
            raise RequestError(
                f"{argument} must be on a scale where white is 1, but half of its "
                f"values are above {median:g}: {_DIVIDE}"
            )
        return
    low, high = float(array.min()), float(array.max())
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        hint = _DIVIDE if high > MAX_MEDIAN else "clip it to [0, 1]"
        raise RequestError(
            f"{argument} must be in [0, 1], got values from {low:g} to {high:g}: {hint}"
        )


def _check_shape(shape: tuple[int, ...], argument: str) -> None:
    if len(shape) == 3 and shape[2] == 3 and 0 not in shape:
        return
    hint = ""
    if len(shape) == 2 or (len(shape) == 3 and shape[2] == 1):
        hint = ": repeat a grey picture three times along a last axis"
    elif len(shape) == 3 and shape[2] == 4:
        hint = (
            ": composite RGBA over a colour, or give the path of a PNG to exclude its "
            "transparent pixels from the losses"
        )
    elif len(shape) == 3 and shape[0] == 3:
        hint = ": move the channels of [3, H, W] to the last axis"
    elif len(shape) == 4:
        hint = ": give one picture of a batch at a time"
    raise RequestError(
        f"{argument} must be a picture [H, W, 3], got an array of shape "
        f"{list(shape)}{hint}"
    )


class ArrayInput(str):
    """A picture or mask given as an array in place of a path.

    The string is the array's dtype, shape and SHA-256, which run.json records in place
    of a path. Equal strings hold equal arrays.

    Attributes:
      array: read-only copy of the array.
      sha256: hash of the dtype, shape and bytes.
    """

    array: np.ndarray
    sha256: str

    def __new__(cls, values: Any) -> "ArrayInput":
        array = np.array(values, order="C")
        array.flags.writeable = False
        kind = f"{array.dtype.name} {list(array.shape)}"
        digest = hashlib.sha256(f"{kind}\n".encode())
        digest.update(array.tobytes())  # bfloat16 does not support the buffer protocol.
        self = super().__new__(cls, f"array {kind}, SHA-256 {digest.hexdigest()}")
        self.array, self.sha256 = array, digest.hexdigest()
        return self

    def __getnewargs__(self) -> tuple[np.ndarray]:  # type: ignore[override]
        return (self.array,)  # For pickle.

    def __copy__(self) -> "ArrayInput":
        return self

    def __deepcopy__(self, memo: Any) -> "ArrayInput":
        return self
