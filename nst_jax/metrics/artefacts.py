"""What can be wrong with a picture: frames, grey patches, lost values, other scales.

Pictures are taken as a person sees them, clipped to [0, 1], but for `gamut_share`,
which is of what the clipping takes away.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import as_floats
from nst_jax.metrics.dispersion import pairwise_ssim
from nst_jax.metrics.distances import rms

#: Width of the frame of `border_error` in pixels, and the strips that it is set off by.
FRAME, LAG = 8, 2
#: Side of the windows of `grey_patch_share` in pixels, and what is flat and what grey.
PATCH_SIDE, FLAT, GREY = 8, 0.02, 0.05


class Border(NamedTuple):
    """How far the border of a picture is from its inside, pictures being in [0, 1].

    Attributes:
      error: between the frame and what is inside of it.
      floor: the same between two places as far apart that are both inside.
    """

    error: float
    floor: float


class Consistency(NamedTuple):
    """How like a result at one size is to that at another.

    Attributes:
      rms: root mean square difference of pictures in [0, 1].
      ssim: structural similarity, at most 1.
    """

    rms: float
    ssim: float


class Gamut(NamedTuple):
    """What of a canvas no screen shows.

    Attributes:
      share: of its values that are outside [0, 1].
      excess: by how much, mean over all values.
    """

    share: float
    excess: float


def border_error(picture: ArrayLike, width: int = FRAME) -> Border:
    """How far the border of a picture [H, W, 3] is from its inside.

    From each side the picture is cut into strips of `width` pixels that run along it,
    without the `LAG` · `width` pixels at either end, which are other sides' borders.
    Each strip has three statistics of each colour, all in the unit of the picture: the
    mean, the standard deviation, and the root mean square gradient, taken of
    differences between neighbours in the strip. The squared distance of two strips is
    the sum of the squared differences of the three, mean over the colours.

    The error is the root mean square over the four sides of the distance between the
    outermost strip and the one `LAG` strips further in. The floor is that over all
    pairs of strips `LAG` apart of which neither is among the `LAG` outermost. So where
    the border is like the inside, error² − floor² is 0 on average: in stationary noise,
    and in a gradation from one side to the other as well. A flat picture with a frame
    that is lighter by d has an error of d and a floor of 0, as long as the frame is at
    least `width` and at most `LAG` · `width` pixels wide.

    Args:
      picture: clipped to [0, 1].
      width: of the strips in pixels, at least 2.

    Raises:
      RequestError: the width is less than 2, a side is less than 3 · `LAG` + 1 widths,
        or the picture is none.
    """
    values = _clipped(picture)
    if width < 2:
        raise RequestError(f"width must be at least 2 pixels, got {width}")
    if min(values.shape[:2]) < min_border_side(width):
        raise RequestError(
            f"picture must have sides of {min_border_side(width)} pixels or more for a "
            f"frame of {width}, got {values.shape[0]}×{values.shape[1]}"
        )
    turned = values.swapaxes(0, 1)
    sides = (values, values[::-1], turned, turned[::-1])
    changes = [_changes(side, width) for side in sides]
    return Border(
        error=math.sqrt(np.mean([change[0] for change in changes])),
        floor=math.sqrt(np.mean([change[LAG:].mean() for change in changes])),
    )


def min_border_side(width: int = FRAME) -> int:
    """The least height and width in pixels that `border_error` can be told of."""
    return (3 * LAG + 1) * width


def scale_consistency(large: ArrayLike, small: ArrayLike) -> Consistency:
    """How like a large result, seen from afar, is to a small one.

    The large picture [H, W, 3] is brought to the small one's size [h, w, 3] by the mean
    over the area of each pixel: exactly, also where H is no multiple of h.

    Raises:
      RequestError: the large one has fewer rows or columns, a side of the small one is
        less than the window of SSIM, or either is no picture.
    """
    big, little = _clipped(large), _clipped(small)
    height, width, _ = little.shape
    if big.shape[0] < height or big.shape[1] < width:
        raise RequestError(
            "large must have as many rows and columns as small or more, "
            f"got {list(big.shape)} and {list(little.shape)}"
        )
    rows, columns = _overlaps(big.shape[0], height), _overlaps(big.shape[1], width)
    reduced = np.einsum("hH,HWc,wW->hwc", rows, big, columns, optimize=True)
    alike = float(pairwise_ssim(np.stack([reduced, little]))[0, 1])
    return Consistency(rms(reduced, little), alike)


def grey_patch_share(
    picture: ArrayLike, flat: float = FLAT, grey: float = GREY
) -> float:
    """The share of a picture [H, W, 3] that is flat and without colour.

    What a style did not reach, or a solver lost. Counted are windows of `PATCH_SIDE` by
    `PATCH_SIDE` pixels side by side from the top left; what is left at the right and at the
    bottom is not looked at. Black and white ones count as well.

    Args:
      picture: clipped to [0, 1].
      flat: the root mean variance of the colours in a window is below this.
      grey: the largest less the smallest of its three mean colours is below this.

    Raises:
      RequestError: a side is less than `PATCH_SIDE`, or the picture is none.
    """
    values = _clipped(picture)
    rows, columns = (side // PATCH_SIDE for side in values.shape[:2])
    if not rows or not columns:
        raise RequestError(
            f"picture must have sides of {PATCH_SIDE} pixels or more, "
            f"got {values.shape[0]}×{values.shape[1]}"
        )
    whole = values[: rows * PATCH_SIDE, : columns * PATCH_SIDE]
    windows = whole.reshape(rows, PATCH_SIDE, columns, PATCH_SIDE, 3)
    deviation = np.sqrt(windows.var((1, 3)).mean(-1))
    chroma = np.ptp(windows.mean((1, 3)), axis=-1)
    return float(((deviation < flat) & (chroma < grey)).mean())


def gamut_share(canvas: ArrayLike) -> Gamut:
    """How much of a canvas [H, W, 3], as it was optimised, is outside [0, 1].

    Raises:
      RequestError: it is no canvas.
    """
    values = _picture(canvas)
    beyond = np.abs(values - np.clip(values, 0, 1))
    return Gamut(share=float((beyond > 0).mean()), excess=float(beyond.mean()))


def _changes(side: np.ndarray, width: int) -> np.ndarray:
    """Squared distances of strips k and k + `LAG` from the top, that of k = 0 first."""
    margin = LAG * width
    count = (len(side) - margin) // width
    strips = side[: count * width, margin:-margin].reshape(count, width, -1, 3)
    down, across = np.diff(strips, axis=1), np.diff(strips, axis=2)
    gradient = np.sqrt((down**2).mean((1, 2)) + (across**2).mean((1, 2)))
    statistics = np.stack([strips.mean((1, 2)), strips.std((1, 2)), gradient])
    apart = statistics[:, LAG:] - statistics[:, :-LAG]
    return (apart**2).mean(-1).sum(0)


def _overlaps(source: int, target: int) -> np.ndarray:
    """[target, source]: what part of a larger pixel each of the smaller ones is."""
    edges, pixels = np.arange(target + 1) * source / target, np.arange(source)
    ends = np.minimum(edges[1:, None], pixels + 1)
    starts = np.maximum(edges[:-1, None], pixels)
    return np.maximum(ends - starts, 0) * target / source


def _clipped(picture: ArrayLike) -> np.ndarray:
    return np.clip(_picture(picture), 0, 1)


def _picture(picture: ArrayLike) -> np.ndarray:
    """A picture in float64, refused if it is none."""
    values = np.asarray(as_floats(picture, "picture"), np.float64)
    if values.ndim != 3 or values.shape[2] != 3 or not values.size:
        raise RequestError(
            f"picture must be of shape [H, W, 3], got {list(values.shape)}"
        )
    if not np.isfinite(values).all():
        raise RequestError("picture holds NaN or infinity, wanted finite values")
    return values
