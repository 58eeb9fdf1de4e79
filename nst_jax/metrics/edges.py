"""Agreement of the edges of two images."""

import math

import numpy as np
from numpy.typing import ArrayLike

from nst_jax.metrics.palette import oklab
from nst_jax.metrics.validation import check_same_shape

#: Standard deviation of the blur, in shares of the long side: 2 px of 256.
BLUR = 1 / 128


def edge_agreement(image: ArrayLike, content: ArrayLike) -> float:
    """Return the correlation, −1 to 1, of the coarse edges of two images [H, W, 3].

    Edges are the gradients of the blurred Oklab colours, as vectors of doubled angle: a
    line has the same vector whichever side is lighter (Granlund 1978, "In search of a
    general picture processing operator"). Strong edges count more; recolouring changes
    little, and more contrast nothing. Equal edges give 1, unrelated edges 0 on average,
    and edges at right angles to the content's −1. Without any edge the result is 0.

    Raises:
      RequestError: the shapes differ, a side is below 2 pixels, or an image holds NaN.
    """
    ours, theirs = (
        _edges(pixels)
        for pixels in check_same_shape(min_side=2, image=image, content=content)
    )
    norm = math.sqrt(np.sum(np.abs(ours) ** 2) * np.sum(np.abs(theirs) ** 2))
    return float(np.sum((ours * theirs.conj()).real) / norm) if norm else 0.0


def _edges(image: np.ndarray) -> np.ndarray:
    """Return complex edges [H, W]: strength of the gradient, twice its angle.

    Squared gradients are summed over colours (Di Zenzo 1986, "A note on the gradient of
    a multi-image").
    """
    from scipy import ndimage  # A slow import.

    blur = BLUR * max(image.shape[:2])
    smooth = ndimage.gaussian_filter(oklab(image), blur, axes=(0, 1))
    down, across = np.gradient(smooth, axis=(0, 1))
    squares = ((across + 1j * down) ** 2).sum(-1)
    energy = (across**2 + down**2).sum(-1)
    return squares / np.sqrt(np.where(energy > 0, energy, 1))
