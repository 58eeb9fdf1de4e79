"""Artefacts of an image: frames, grey patches, clipped values, other scales.

Images are clipped to [0, 1] first, as a screen shows them. Exception: `gamut_excess`
measures the clipped part. Functions raise `RequestError` for NaN, infinity, wrong
shapes and images that are too small.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nst_jax.core.errors import RequestError
from nst_jax.metrics.distances import pairwise_ssim, rms
from nst_jax.metrics.validation import as_displayed, check_array

#: Width of the strips of `border_error` in pixels, and the lag between two of them.
STRIP, LAG = 8, 2
#: Least height and width in pixels for `border_error`.
MIN_BORDER_SIDE = (3 * LAG + 1) * STRIP
#: Side of the patches of `grey_patch_share` in pixels.
PATCH_SIDE = 8
#: Largest standard deviation of a flat patch, and largest chroma of a grey one.
FLAT, GREY = 0.02, 0.05


class BorderError(NamedTuple):
    """Distance of the border from the inside, and the same between strips inside."""

    error: float
    floor: float


class ScaleConsistency(NamedTuple):
    """RMS difference, 0 to 1, and structural similarity, at most 1, of two sizes."""

    rms: float
    ssim: float


class GamutExcess(NamedTuple):
    """Share of the values outside [0, 1], and mean distance from it over all values."""

    share: float
    excess: float


def border_error(image: ArrayLike) -> BorderError:
    """Measure how far the border of an image [H, W, 3] is from its inside.

    Each side is cut into strips of `STRIP` pixels parallel to it. The `LAG` · `STRIP`
    pixels at both ends belong to other sides and are left out. A strip has three
    statistics of each colour, in units of the image: mean, standard deviation, and root
    mean square gradient of neighbours. The squared distance of two strips is the sum of
    the squared differences of the three, mean over colours.

    The error is the root mean square over the four sides of the distance between the
    outermost strip and the strip `LAG` further in. The floor is the same over all pairs
    of inner strips `LAG` apart. In stationary noise and in a linear gradient,
    error² − floor² is 0 on average. A flat image with a frame lighter by d, `STRIP` to
    `LAG` · `STRIP` pixels wide, has an error of d and a floor of 0.
    """
    image = as_displayed(check_array(image, "image", min_side=MIN_BORDER_SIDE))
    transposed = image.swapaxes(0, 1)
    sides = (image, image[::-1], transposed, transposed[::-1])
    distances = [_strip_distances(side) for side in sides]
    return BorderError(
        error=math.sqrt(np.mean([squared[0] for squared in distances])),
        floor=math.sqrt(np.mean([squared[LAG:].mean() for squared in distances])),
    )


def _strip_distances(side: np.ndarray) -> np.ndarray:
    """Return squared distances of strips k and k + `LAG` from the top, k ascending."""
    margin = LAG * STRIP
    count = (len(side) - margin) // STRIP
    strips = side[: count * STRIP, margin:-margin].reshape(count, STRIP, -1, 3)
    down, across = np.diff(strips, axis=1), np.diff(strips, axis=2)
    gradient = np.sqrt((down**2).mean((1, 2)) + (across**2).mean((1, 2)))
    statistics = np.stack([strips.mean((1, 2)), strips.std((1, 2)), gradient])
    difference = statistics[:, LAG:] - statistics[:, :-LAG]
    return (difference**2).mean(-1).sum(0)


def scale_consistency(large: ArrayLike, small: ArrayLike) -> ScaleConsistency:
    """Compare a large result [H, W, 3] with a small one [h, w, 3].

    The large image is reduced by exact area averages, also where H is no multiple of h.
    """
    large, small = (
        as_displayed(check_array(image, name))
        for name, image in (("large", large), ("small", small))
    )
    height, width, _ = small.shape
    if large.shape[0] < height or large.shape[1] < width:
        raise RequestError(
            "large must have at least as many rows and columns as small, "
            f"got {list(large.shape)} and {list(small.shape)}"
        )
    rows = _area_weights(large.shape[0], height)
    columns = _area_weights(large.shape[1], width)
    reduced = np.einsum("hH,HWc,wW->hwc", rows, large, columns, optimize=True)
    ssim = float(pairwise_ssim(np.stack([reduced, small]))[0, 1])
    return ScaleConsistency(rms(reduced, small), ssim)


def _area_weights(source: int, target: int) -> np.ndarray:
    """Return the share [target, source] of each source pixel in each target pixel."""
    edges, pixels = np.arange(target + 1) * source / target, np.arange(source)
    ends = np.minimum(edges[1:, None], pixels + 1)
    starts = np.maximum(edges[:-1, None], pixels)
    return np.maximum(ends - starts, 0) * target / source


def grey_patch_share(image: ArrayLike) -> float:
    """Return the share, 0 to 1, of an image [H, W, 3] that is flat and colourless.

    Such areas were not reached by the style, or lost by the solver. The image is tiled
    from the top left into patches of `PATCH_SIDE` pixels; incomplete patches are left
    out. A patch is flat if the root of its mean variance over colours is below `FLAT`.
    It is grey if its three mean colours are within `GREY`; black and white count too.
    """
    image = as_displayed(check_array(image, "image", min_side=PATCH_SIDE))
    rows, columns = (side // PATCH_SIDE for side in image.shape[:2])
    tiled = image[: rows * PATCH_SIDE, : columns * PATCH_SIDE]
    patches = tiled.reshape(rows, PATCH_SIDE, columns, PATCH_SIDE, 3)
    deviation = np.sqrt(patches.var((1, 3)).mean(-1))
    chroma = np.ptp(patches.mean((1, 3)), axis=-1)
    return float(((deviation < FLAT) & (chroma < GREY)).mean())


def gamut_excess(canvas: ArrayLike) -> GamutExcess:
    """Measure how far an optimised canvas [H, W, 3] leaves [0, 1]."""
    values = np.asarray(check_array(canvas, "canvas"), np.float64)
    outside = np.abs(values - as_displayed(values))
    return GamutExcess(share=float((outside > 0).mean()), excess=float(outside.mean()))
