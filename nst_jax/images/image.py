"""Pure pixel maths on pictures [H, W, 3] in [0, 1]."""

import math
from collections.abc import Callable

import jax
import numpy as np
from jax.typing import ArrayLike
from scipy import ndimage

from nst_jax.core.errors import RequestError, nearest
from nst_jax.core.image_array import as_floats

#: What is to be `size` pixels long, of (height, width): the longer side, the shorter
#: one, or the side of the square of the same area (0.25 megapixels are size 500).
FITS: dict[str, Callable[[int, int], float]] = {
    "long": max,
    "short": min,
    "area": lambda height, width: math.sqrt(height * width),
}


#: Largest alpha of a hidden pixel, relative to the largest alpha of its picture.
#: Lossy formats store a little more than 0 where nothing is meant to be seen.
HIDDEN = 1 / 32


def fitted_shape(
    height: int, width: int, size: int, fit: str = "long"
) -> tuple[int, int]:
    """(height, width) of the same proportions that have the size which `fit` names.

    Rounded to whole pixels and at least 1, so a strip keeps a row.

    Raises:
      RequestError: `fit` is not one of `FITS`.
    """
    if fit not in FITS:
        raise RequestError(
            f"fit must be one of {tuple(FITS)}, got {fit!r}{nearest(fit, FITS)}"
        )
    scale = size / FITS[fit](height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize(image: jax.Array, height: int, width: int) -> jax.Array:
    """The picture at another size, by an antialiased bilinear filter.

    For arrays already at hand, such as a style as a canvas; files are resized by
    Pillow as they are read.
    """
    return jax.image.resize(image, (height, width, image.shape[2]), "linear")


def fill_hidden(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Replace the colour of transparent pixels by that of the nearest solid pixel.

    A pixel is hidden if its alpha is at most 1/32 of the largest alpha, and solid if
    it is at least half of it. The colour of a hidden pixel has no influence.

    Args:
      pixels: [H, W, C].
      alpha: [H, W], not negative; at least one entry is positive.

    Returns:
      [H, W, C] of the dtype of `pixels`.
    """
    largest = float(alpha.max())
    nearest_solid = ndimage.distance_transform_edt(
        alpha < largest / 2, return_distances=False, return_indices=True
    )
    hidden = alpha <= largest * HIDDEN
    filled = pixels.copy()
    filled[hidden] = pixels[tuple(nearest_solid[:, hidden])]
    return filled


def to_bytes(image: ArrayLike) -> np.ndarray:
    """uint8 [H, W, 3] for looking at: clipped to the gamut, black where it is NaN.

    uint8 and uint16 are converted by their range.
    """
    floats = np.asarray(as_floats(image, "image"))
    finite = np.nan_to_num(floats, nan=0.0, posinf=1.0, neginf=0.0)
    return np.round(np.clip(finite, 0, 1) * 255).astype(np.uint8)
