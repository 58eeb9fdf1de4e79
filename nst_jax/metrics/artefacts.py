"""Artefacts of an image: speckle, weave, seams, flat areas, frames, clipped values.

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
from nst_jax.metrics.palette import oklab
from nst_jax.metrics.validation import as_displayed, check_array

#: Width of the strips of `border_error` in pixels, and the lag between two of them.
STRIP, LAG = 8, 2
#: Least height and width in pixels for `border_error`.
MIN_BORDER_SIDE = (3 * LAG + 1) * STRIP
#: Side of the patches of `flat_share` in pixels, and share of the style's patches that
#: counts as flat.
PATCH_SIDE, FLATTEST = 8, 0.05
#: Difference in Oklab that is seen at once; about 0.02 is just visible.
VISIBLE = 0.03
#: Side of the windows of `weave` in pixels, least ratio of a peak, and frequencies
#: around it.
WINDOW, PEAK, AROUND = 48, 4, 9
#: Power, in Oklab squared, below which a peak is rounding.
_ROUNDING = 1e-12


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


def flat_share(image: ArrayLike, style: ArrayLike) -> float:
    """Return the share, 0 to 1, of an image [H, W, 3] flatter than a style [h, w, 3].

    Such areas were not reached by the style, or lost by the solver. Images are tiled
    from the top left into patches of `PATCH_SIDE` pixels; incomplete patches are left
    out. A patch is flat if its colours deviate less, in Oklab, than those of all but a
    share of `FLATTEST` of the style's patches. That share of the image's is subtracted,
    so a style has none, and an image of one colour has 1.
    """
    deviations, style_deviations = (
        _patch_deviations(check_array(pixels, name, min_side=PATCH_SIDE))
        for name, pixels in (("image", image), ("style", style))
    )
    share = (deviations < np.quantile(style_deviations, FLATTEST)).mean()
    return max(0.0, float(share - FLATTEST) / (1 - FLATTEST))


def _patch_deviations(image: np.ndarray) -> np.ndarray:
    """Return the root mean square distance [n] of a patch's colours from their mean."""
    rows, columns = (side // PATCH_SIDE for side in image.shape[:2])
    tiled = oklab(image)[: rows * PATCH_SIDE, : columns * PATCH_SIDE]
    patches = tiled.reshape(rows, PATCH_SIDE, columns, PATCH_SIDE, 3)
    return np.sqrt(patches.var((1, 3)).sum(-1)).reshape(-1)


def speckle_share(image: ArrayLike) -> float:
    """Return the share, 0 to 1, of pixels of an image [H, W, 3] unlike all around.

    Such a pixel is lighter, darker, or of another chroma than each of its eight
    neighbours, by at least `VISIBLE` in one Oklab coordinate. Edges and lines have
    none: their pixels have like neighbours.
    """
    from scipy import ndimage  # A slow import.

    colours = oklab(check_array(image, "image"))
    around = np.ones((3, 3, 1), bool)
    around[1, 1] = False
    above = colours - ndimage.maximum_filter(colours, footprint=around, mode="mirror")
    below = ndimage.minimum_filter(colours, footprint=around, mode="mirror") - colours
    return float((np.maximum(above, below) >= VISIBLE).any(-1).mean())


def weave(image: ArrayLike) -> float:
    """Return the amplitude, in Oklab, of patterns that repeat every 2 to 4 pixels.

    Power spectra of overlapping windows are averaged (Welch 1967, "The use of fast
    Fourier transform for the estimation of power spectra"), so that patterns in a part
    of the image, and patterns out of step, count too. A pattern is a peak: a frequency
    with more than `PEAK` times the power around it. Power around is the median of
    `AROUND` frequencies along a row or a column of the spectrum, whichever is more, so
    edges and strokes are none. The amplitude is the root mean square of the peaks.
    A checkerboard of ±d in lightness has an amplitude of d.
    """
    from scipy import ndimage  # A slow import.

    colours = oklab(check_array(image, "image", min_side=WINDOW))
    step = WINDOW // 4
    windows = np.lib.stride_tricks.sliding_window_view(
        colours, (WINDOW, WINDOW), axis=(0, 1)
    )[::step, ::step]
    power = np.mean([_power(row) for row in windows], axis=0)
    around = np.maximum(
        *(
            ndimage.median_filter(power, shape, mode="wrap")
            for shape in ((1, AROUND), (AROUND, 1))
        )
    )
    frequencies = np.abs(np.fft.fftfreq(WINDOW))
    # A peak of a period of 4 is three frequencies wide.
    is_fine = np.maximum(frequencies[:, None], frequencies) > 1 / 4 - 2 / WINDOW
    is_peak = is_fine & (power > np.maximum(PEAK * around, _ROUNDING))
    return math.sqrt((power - around)[is_peak].sum())


def _power(windows: np.ndarray) -> np.ndarray:
    """Return the power spectrum [W, W] of windows [n, 3, W, W], mean over n."""
    taper = np.hanning(WINDOW + 1)[:-1]
    taper = taper[:, None] * taper
    centred = windows - windows.mean((-2, -1), keepdims=True)
    spectra = np.abs(np.fft.fft2(centred * taper)) ** 2
    return spectra.mean(0).sum(0) / (WINDOW**2 * (taper**2).sum())


def seam(image: ArrayLike) -> float:
    """Return the strongest step, in Oklab, along a whole row or column of an image.

    The step of a line is the median, over its pixels, of the distance between the
    colours on its two sides, less the distances of the next pixels on either side.
    Tiles that do not fit have a step as high as their difference. A straight edge of
    the content through more than half of the image has one too.
    """
    colours = oklab(check_array(image, "image", min_side=4))
    return max(0.0, *map(_highest_step, (colours, colours.swapaxes(0, 1))))


def _highest_step(colours: np.ndarray) -> float:
    distances = np.linalg.norm(np.diff(colours, axis=0), axis=-1)
    excess = distances[1:-1] - np.maximum(distances[:-2], distances[2:])
    return float(np.median(excess, axis=1).max())


def clipped_share(image: ArrayLike) -> float:
    """Return the share, 0 to 1, of the values of an image [H, W, 3] at 0 or 1."""
    values = as_displayed(check_array(image, "image"))
    return float(((values == 0) | (values == 1)).mean())


def gamut_excess(canvas: ArrayLike) -> GamutExcess:
    """Measure how far an optimised canvas [H, W, 3] leaves [0, 1]."""
    values = np.asarray(check_array(canvas, "canvas"), np.float64)
    outside = np.abs(values - as_displayed(values))
    return GamutExcess(share=float((outside > 0).mean()), excess=float(outside.mean()))
