"""Distance of colours in a space of even perceived differences."""

import numpy as np
from numpy.typing import ArrayLike

from nst_jax.metrics.sliced import sliced_wasserstein
from nst_jax.metrics.validation import as_displayed, check_array

#: Linear sRGB to cone responses, and their cube roots to Oklab.
_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def oklab(image: ArrayLike) -> np.ndarray:
    """Return the Oklab colours L, a, b, float64 [..., 3], of sRGB values in [0, 1].

    Ottosson 2020, "A perceptual color space for image processing", with the constants
    of 25 January 2021. L is 0 for black and 1 for white, a and b are 0 for grey.
    Differences of about 0.02 are just visible. Values are clipped to [0, 1] first.
    """
    values = as_displayed(np.asarray(image))
    linear = np.where(
        values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4
    )
    return np.cbrt(linear @ _CONES.T) @ _LAB.T


def palette_distance(image: ArrayLike, style: ArrayLike) -> float:
    """Return the sliced Wasserstein distance of the colours of two images [H, W, 3].

    It is the mean amount, in Oklab, by which colours move along one random direction to
    turn one palette into the other. A shift of all colours by a vector of length d is
    at distance d / 2 on average over directions. Sizes may differ; positions do not
    count.
    """
    ours, theirs = (
        oklab(check_array(pixels, name))
        for name, pixels in (("image", image), ("style", style))
    )
    return sliced_wasserstein(ours, theirs, power=1)
