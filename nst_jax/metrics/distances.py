"""Distances between images: RMS, SSIM, frequency bands and grid axes.

Images are clipped to [0, 1] first, as a screen shows them. Functions raise
`RequestError` for NaN, infinity and shapes or values out of range.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nst_jax.core.errors import RequestError
from nst_jax.metrics.validation import as_displayed, check_array, check_same_shape

#: `AxisDistances.axis` of the record of all pairs.
ALL = "all pairs"
#: Cycles per pixel. Structure coarser than 8 pixels is shape, finer structure is grain.
CUTOFF = 1 / 8
#: Side of the window of `pairwise_ssim` in pixels, and its standard deviation.
SSIM_WINDOW, _SIGMA = 11, 1.5

#: (K1 L)² and (K2 L)² of SSIM, for images of range L = 1.
_C1, _C2 = 0.01**2, 0.03**2
#: Values of all arrays that `squared_distances` holds at a time in float64: 8 MB.
_BLOCK = 2**20


@dataclasses.dataclass(frozen=True)
class AxisDistances:
    """RMS distances of pairs of members; None where there is no pair.

    Attributes:
      axis: the only axis that the members of a pair differ in, or `ALL`.
      pairs: number of pairs.
      mean: mean of the distances.
      median: median of the distances.
      max: largest distance.
      neighbours: mean over the pairs that are one grid step apart.
    """

    axis: str
    pairs: int
    mean: float | None
    median: float | None
    max: float | None
    neighbours: float | None


def rms(a: ArrayLike, b: ArrayLike) -> float:
    """Return the root mean square difference, 0 to 1, of two images [H, W, 3]."""
    return math.sqrt(np.mean(_difference(a, b) ** 2))


def pairwise_rms(images: ArrayLike) -> np.ndarray:
    """Return the RMS distances [N, N] of images [N, H, W, 3]."""
    images = check_array(images, "images", "N, H, W, 3")
    return np.sqrt(squared_distances(images, clip=True) / images[0].size)


def squared_distances(arrays: np.ndarray, *, clip: bool = False) -> np.ndarray:
    """Return |a − b|² [N, N] of finite arrays [N, ...] in float64.

    Computed as |a|² + |b|² − 2ab by matrix products over blocks of values, so memory
    stays small. Cancellation limits the resolution: RMS distances below about 1e-8, for
    values up to 1, become 0.

    Args:
      arrays: the arrays.
      clip: clip the values to [0, 1] first.
    """
    count = len(arrays)
    rows = arrays.reshape(count, -1)
    width = max(1, _BLOCK // count)
    products = np.zeros((count, count))
    for start in range(0, rows.shape[1], width):
        block = rows[:, start : start + width].astype(np.float64)
        if clip:
            np.clip(block, 0, 1, out=block)
        block -= block.mean(0)  # Distances stay, cancellation shrinks.
        products += block @ block.T
    squares = np.diag(products)
    sums = squares[:, None] + squares
    squared = sums - 2 * products
    return np.where(squared > 16 * np.finfo(np.float64).eps * sums, squared, 0)


def shifted_squared_distances(arrays: np.ndarray) -> np.ndarray:
    """Return the mean of |a − b|² [N, N] over all circular shifts of b.

    It is the distance of unrelated arrays of the same contrast and spectrum. The mean
    over the H W shifts of the product of a and b is the product of their means. Per
    channel, the sum over positions is therefore H W times
    var(a) + var(b) + (mean a − mean b)².

    Args:
      arrays: finite [N, H, W, C].
    """
    positions = math.prod(arrays.shape[1:3])
    means = np.stack([array.mean((0, 1), dtype=np.float64) for array in arrays])
    energies = np.array(
        [
            np.square(array - mean, dtype=np.float64).sum()
            for array, mean in zip(arrays, means, strict=True)
        ]
    )
    return energies[:, None] + energies + positions * squared_distances(means)


def pairwise_ssim(images: ArrayLike) -> np.ndarray:
    """Return the structural similarity [N, N], at most 1, of images [N, H, W, 3].

    Wang et al. 2004, "Image quality assessment: from error visibility to structural
    similarity", equation 13 with the paper's constants: an 11×11 Gaussian window of
    standard deviation 1.5, K1 = 0.01, K2 = 0.03, range 1. The mean is over channels and
    over positions where the window lies inside the image.
    """
    images = check_array(images, "images", "N, H, W, 3", min_side=SSIM_WINDOW)
    moments = [_local_moments(as_displayed(image)) for image in images]
    similarities = np.eye(len(images))
    for i, j in itertools.combinations(range(len(images)), 2):
        similarities[i, j] = similarities[j, i] = _ssim(moments[i], moments[j])
    return similarities


class _LocalMoments(NamedTuple):
    """An image, and its mean and variance in the window around each position."""

    image: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


def _local_moments(image: np.ndarray) -> _LocalMoments:
    mean = _window_mean(image)
    return _LocalMoments(image, mean, _window_mean(image**2) - mean**2)


def _ssim(a: _LocalMoments, b: _LocalMoments) -> float:
    product = a.mean * b.mean
    covariance = _window_mean(a.image * b.image) - product
    luminance = (2 * product + _C1) / (a.mean**2 + b.mean**2 + _C1)
    structure = (2 * covariance + _C2) / (a.variance + b.variance + _C2)
    return float((luminance * structure).mean())


def _window_mean(field: np.ndarray) -> np.ndarray:
    """Return Gaussian-weighted means [H − 10, W − 10, 3] of a field [H, W, 3]."""
    from scipy import ndimage  # A slow import.

    edge = SSIM_WINDOW // 2
    smooth = ndimage.gaussian_filter(field, _SIGMA, radius=edge, axes=(0, 1))
    return smooth[edge:-edge, edge:-edge]


def distances_by_axis(
    distances: np.ndarray, index: np.ndarray, axes: Sequence[str]
) -> tuple[AxisDistances, ...]:
    """Return the distances of members that differ in one axis only.

    Args:
      distances: [N, N], from `pairwise_rms`.
      index: [N, A] integers, the grid coordinates of the members. Grid points may be
        missing.
      axes: A names.

    Returns:
      A record for each axis, in their order, and one for all pairs.
    """
    first, second = np.triu_indices(len(distances), 1)
    values = distances[first, second]
    strides = np.abs(index[first] - index[second])
    is_single_axis = np.count_nonzero(strides, axis=1) == 1
    is_neighbour = strides.sum(1) == 1
    selections = [
        (axis, is_single_axis & (strides[:, a] > 0)) for a, axis in enumerate(axes)
    ]
    selections.append((ALL, np.full(len(values), True)))
    return tuple(
        _summarise(axis, values[pairs], values[pairs & is_neighbour])
        for axis, pairs in selections
    )


def _summarise(axis: str, values: np.ndarray, neighbours: np.ndarray) -> AxisDistances:
    if not len(values):
        return AxisDistances(axis, 0, None, None, None, None)
    return AxisDistances(
        axis,
        len(values),
        float(values.mean()),
        float(np.median(values)),
        float(values.max()),
        float(neighbours.mean()) if len(neighbours) else None,
    )


def band_energies(difference: np.ndarray, cutoff: float) -> tuple[float, float]:
    """Return the energy of a difference below and above a spatial frequency.

    The discrete Fourier transform is split sharply at a radius. By Parseval's theorem
    the energies add up to the mean square. The transform is periodic: a step between
    opposite edges counts in both bands.

    Args:
      difference: [H, W, C].
      cutoff: cycles per pixel; belongs to the low band. 1/16 keeps structure coarser
        than 16 pixels there, 0 the mean of each channel alone.

    Returns:
      (low, high), mean squares.
    """
    check_cutoff(cutoff)
    height, width, _ = difference.shape
    spectrum = np.fft.fft2(np.asarray(difference, np.float64), axes=(0, 1))
    power = (np.abs(spectrum) ** 2).mean(2) / (height * width) ** 2
    low = _frequencies(height, width) <= cutoff
    return float(power[low].sum()), float(power[~low].sum())


def low_pass(image: np.ndarray, cutoff: float) -> np.ndarray:
    """Return the part of an image [H, W, C] in the low band of `band_energies`."""
    height, width, _ = image.shape
    spectrum = np.fft.fft2(np.asarray(image, np.float64), axes=(0, 1))
    spectrum[_frequencies(height, width) > cutoff] = 0
    return np.fft.ifft2(spectrum, axes=(0, 1)).real


def band_rms(a: ArrayLike, b: ArrayLike, cutoff: float) -> tuple[float, float]:
    """Return the RMS of two images below and above a cutoff; see `band_energies`."""
    low, high = band_energies(_difference(a, b), cutoff)
    return math.sqrt(low), math.sqrt(high)


def check_cutoff(cutoff: float) -> None:
    """Raise RequestError if a cutoff is negative or not finite."""
    if not 0 <= cutoff < math.inf:
        raise RequestError(f"cutoff must be finite and not negative, got {cutoff}")


def _frequencies(height: int, width: int) -> np.ndarray:
    """Return the frequency [H, W] of each coefficient in cycles per pixel."""
    return np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))


def difference_image(a: ArrayLike, b: ArrayLike) -> tuple[np.ndarray, float]:
    """Return mid-grey plus a gain times a − b, for display.

    The largest difference just fits [0, 1]. The gain of equal images is 1.

    Args:
      a: image [H, W, 3].
      b: image [H, W, 3].

    Returns:
      (float32 [H, W, 3], the gain).
    """
    difference = _difference(a, b)
    largest = float(np.abs(difference).max())
    gain = 0.5 / largest if largest else 1.0
    return (0.5 + gain * difference).astype(np.float32), gain


def _difference(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Return a − b of two images as displayed."""
    a, b = map(as_displayed, check_same_shape(a=a, b=b))
    return a - b


def steps_to_loss(losses: ArrayLike, steps: ArrayLike, target: float) -> float | None:
    """Return the first step at which a loss is reached, None if it never is.

    The logarithm of the loss is interpolated linearly between records. The later record
    counts where one of the two has no finite logarithm.

    Args:
      losses: [n]; NaN reaches no target.
      steps: [n], ascending.
      target: positive loss.
    """
    losses, steps = np.asarray(losses, np.float64), np.asarray(steps, np.float64)
    reached = np.flatnonzero(losses <= target)
    if not len(reached):
        return None
    k = int(reached[0])
    if k == 0 or not math.isfinite(losses[k - 1]) or losses[k] <= 0:
        return float(steps[k])
    before, after = np.log(losses[k - 1 : k + 1])
    share = (before - math.log(target)) / (before - after)
    return float(steps[k - 1] + share * (steps[k] - steps[k - 1]))
