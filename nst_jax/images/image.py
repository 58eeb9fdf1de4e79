"""Pixel operations on images [H, W, 3] in [0, 1]."""

import math
from collections.abc import Callable

import jax
import numpy as np
from jax.typing import ArrayLike

from nst_jax.core.errors import RequestError, did_you_mean
from nst_jax.core.image_array import as_floats

#: Length of (height, width) that becomes `size` pixels: the longer side, the shorter
#: side, or the side of the square of the same area.
FITS: dict[str, Callable[[int, int], float]] = {
    "long": max,
    "short": min,
    "area": lambda height, width: math.sqrt(height * width),
}

#: Largest alpha of a hidden pixel, relative to the largest alpha of its image. Lossy
#: formats store a little more than 0 for transparent pixels.
HIDDEN = 1 / 32


def fitted_shape(
    height: int, width: int, size: int, fit: str = "long"
) -> tuple[int, int]:
    """Return (height, width), each at least 1, of the same proportions at a size.

    Args:
      height: pixels.
      width: pixels.
      size: pixels, of the length that `fit` names.
      fit: one of `FITS`.

    Raises:
      RequestError: `fit` is not one of `FITS`.
    """
    if fit not in FITS:
        raise RequestError(
            f"fit must be one of {tuple(FITS)}, got {fit!r}{did_you_mean(fit, FITS)}"
        )
    scale = size / FITS[fit](height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize(image: jax.Array, height: int, width: int) -> jax.Array:
    """Return an array [H, W, C] at another size, by an antialiased bilinear filter.

    Files are resized by Pillow as they are read.
    """
    return jax.image.resize(image, (height, width, image.shape[2]), "linear")


def fill_hidden(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Replace the colour of transparent pixels by that of the nearest solid pixel.

    A pixel is hidden if its alpha is at most `HIDDEN` times the largest alpha, and
    solid from half of the largest alpha. The colour of a hidden pixel has no influence.

    Args:
      pixels: [H, W, C].
      alpha: [H, W], not negative; at least one entry is positive.

    Returns:
      [H, W, C] of the dtype of `pixels`.
    """
    from scipy import ndimage  # A slow import.

    largest = float(alpha.max())
    nearest_solid = ndimage.distance_transform_edt(
        alpha < largest / 2, return_distances=False, return_indices=True
    )
    hidden = alpha <= largest * HIDDEN
    filled = pixels.copy()
    filled[hidden] = pixels[tuple(nearest_solid[:, hidden])]
    return filled


def to_bytes(image: ArrayLike) -> np.ndarray:
    """Return an image as uint8, clipped to [0, 1] and black where it is NaN.

    uint8 and uint16 are converted by their range.
    """
    floats = np.asarray(as_floats(image, "image"))
    finite = np.nan_to_num(floats, nan=0.0, posinf=1.0, neginf=0.0)
    return np.round(np.clip(finite, 0, 1) * 255).astype(np.uint8)
