"""Pictures that a person gives as arrays: their checks, and a name for each."""

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.core.errors import RequestError

#: Value of white, for the integer types that pictures are stored in.
WHITE = {"uint8": 255, "uint16": 65535}
#: How far a float picture may leave [0, 1]: a rounding or a resampling filter's ripple.
TOLERANCE = 0.01
#: A result whose median is above this is on a scale of 0 to 255, and no result.
MAX_MEDIAN = 2.0

Array = np.ndarray | jax.Array

#: Of a config's field that takes a path or an array. It holds a string: an array is
#: kept as an `ArrayInput`. Flags read annotations as the program runs.
if TYPE_CHECKING:
    PictureSource = Any
else:
    PictureSource = str
#: The names of these fields.
SOURCES = (
    *("content", "styles", "canvas.path"),
    *("masks.content", "masks.styles", "masks.freeze"),
)


def as_floats(values: Any, argument: str) -> Array:
    """Return an array of pictures of any shape as floats in which white is 1.

    uint8 and uint16 are divided by their largest value. float32 and float64 are
    returned as they are, other floats as float32.

    Args:
      values: the array; a tracer of JAX is converted likewise.
      argument: what it was given for, to name in the error.

    Raises:
      RequestError: the array is of another type.
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
    """Return a picture as floats [H, W, 3] in which white is 1.

    Args:
      values: floats, uint8 or uint16 [H, W, 3]; see `as_floats`.
      argument: what it was given for, to name in the error.
      optimised: whether it may be the result of an optimisation or a starting canvas,
        which may leave [0, 1] by any amount.
      nan: whether it may hold NaN and infinity.

    Raises:
      RequestError: the array is of another type or shape, holds NaN, or is not in
        [0, 1]. The values of a tracer of JAX are not known, and not checked.
    """
    array = as_floats(values, argument)
    _check_shape(array.shape, argument)
    if not isinstance(array, jax.core.Tracer):
        check_values(array, argument, optimised=optimised, nan=nan)
    return array


def as_pictures(values: Any, argument: str) -> np.ndarray:
    """Return optimised pictures of one shape as float32 [N, H, W, 3].

    Args:
      values: an array [N, H, W, 3], or a sequence of arrays [H, W, 3].
      argument: what they were given for, to name in the error.

    Raises:
      RequestError: there are none, their shapes differ, or one is no picture.
    """
    if isinstance(values, Iterable) and not isinstance(values, np.ndarray | jax.Array):
        values = [
            as_picture(x, f"{argument}[{i}]", optimised=True)
            for i, x in enumerate(values)
        ]
        shapes = {str(list(x.shape)): None for x in values}
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
    check_values(array, argument, optimised=True)
    return array


def check_sequence(values: Any, argument: str) -> None:
    """Raise RequestError where one picture is given in place of a sequence of them."""
    one = isinstance(values, np.ndarray | jax.Array) and values.ndim < 4
    if isinstance(values, str) or one or not isinstance(values, Iterable):
        raise RequestError(f"{argument} must be a sequence of pictures, got one")


def check_values(
    array: Array, argument: str, *, optimised: bool = False, nan: bool = False
) -> None:
    """Raise RequestError for values that no picture has; arguments as `as_picture`."""
    found = np.asarray(array)
    finite = np.isfinite(found)
    if not nan and not finite.all():
        raise RequestError(f"{argument} holds NaN or infinity, wanted finite values")
    hint = "divide it by its value of white, such as 255, or give uint8 or uint16"
    if optimised:
        median = float(np.median(found[finite])) if finite.any() else 0.0
        if median > MAX_MEDIAN:
            raise RequestError(
                f"{argument} must be on a scale where white is 1, and half of its "
                f"values are above {median:g}: {hint}"
            )
        return
    low, high = float(found.min()), float(found.max())
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        hint = hint if high > MAX_MEDIAN else "clip it to [0, 1]"
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
            ": composite RGBA over a colour, or write a PNG and give its path, whose "
            "transparent pixels are left out of the losses"
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
    """A picture or mask that is given as an array where a path may stand.

    As a string it is the array's dtype, shape and SHA-256, which is what a record of
    the run says in place of a path; two that are equal hold the same array.

    Attributes:
      array: a copy of what was given, read-only.
      sha256: of its dtype, shape and bytes.
    """

    array: np.ndarray
    sha256: str

    def __new__(cls, values: Any) -> "ArrayInput":
        array = np.array(values, order="C")
        array.flags.writeable = False
        kind = f"{array.dtype.name} {list(array.shape)}"
        digest = hashlib.sha256(f"{kind}\n".encode())
        digest.update(array.tobytes())  # bfloat16 has no buffer of its own type.
        self = super().__new__(cls, f"array {kind}, SHA-256 {digest.hexdigest()}")
        self.array, self.sha256 = array, digest.hexdigest()
        return self

    def __getnewargs__(self) -> tuple[np.ndarray]:  # type: ignore[override]
        return (self.array,)  # Of what is unpickled.

    def __copy__(self) -> "ArrayInput":
        return self

    def __deepcopy__(self, memo: Any) -> "ArrayInput":
        return self
