"""Pure pixel maths on pictures [H, W, 3] in [0, 1]."""

import jax
import numpy as np
from jax.typing import ArrayLike


def fitted_shape(height: int, width: int, long_side: int) -> tuple[int, int]:
    """(height, width) whose longer one is `long_side`, of the same shape.

    Rounded to whole pixels and at least 1, so a strip keeps a row.
    """
    scale = long_side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize(image: jax.Array, height: int, width: int) -> jax.Array:
    """The picture at another size, by an antialiased bilinear filter.

    For arrays already at hand, such as a style as a canvas; files are resized by
    Pillow as they are read.
    """
    return jax.image.resize(image, (height, width, image.shape[2]), "linear")


def to_bytes(image: ArrayLike) -> np.ndarray:
    """uint8 [H, W, 3] for looking at: clipped to the gamut, black where it is NaN."""
    finite = np.nan_to_num(np.asarray(image), nan=0.0, posinf=1.0, neginf=0.0)
    return np.round(np.clip(finite, 0, 1) * 255).astype(np.uint8)
