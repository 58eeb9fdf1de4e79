"""How different pictures are.

All distances are of pictures as a person sees them: clipped to [0, 1], as they are
written. What lies beyond the gamut is no difference on a screen.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import as_floats

#: The name of the record of all pairs.
ALL = "all pairs"
#: Cycles per pixel: what is coarser than 8 pixels is shape, what is finer is grain.
CUTOFF = 1 / 8

#: Values of all arrays that `squared_distances` holds at a time in float64: 8 MB.
_BLOCK = 2**20


@dataclasses.dataclass(frozen=True)
class AxisDistances:
    """The RMS distances of some pairs of members; None where there is no pair.

    Attributes:
      axis: the only axis that the two of a pair differ in, or `ALL`.
      pairs: how many there are.
      mean: of their distances.
      median: of their distances.
      max: of their distances.
      neighbours: mean of those pairs that are one grid step apart.
    """

    axis: str
    pairs: int
    mean: float | None
    median: float | None
    max: float | None
    neighbours: float | None


def rms(a: ArrayLike, b: ArrayLike) -> float:
    """Root mean square difference of two pictures [H, W, 3], clipped to [0, 1].

    Raises:
      RequestError: the shapes differ, or a picture holds NaN.
    """
    return math.sqrt(np.mean(_difference(a, b) ** 2))


def pairwise_rms(pictures: np.ndarray) -> np.ndarray:
    """RMS distances [N, N] of pictures [N, H, W, 3], clipped to [0, 1].

    Raises:
      RequestError: no such array, or a picture holds NaN.
    """
    pictures = np.asarray(as_floats(pictures, "pictures"))
    if pictures.ndim != 4 or 0 in pictures.shape:
        raise RequestError(
            f"pictures must be of shape [N, H, W, 3], got {list(pictures.shape)}"
        )
    for i, picture in enumerate(pictures):
        _check_finite(f"pictures[{i}]", picture)
    return np.sqrt(squared_distances(pictures, clip=True) / pictures[0].size)


def squared_distances(arrays: np.ndarray, *, clip: bool = False) -> np.ndarray:
    """|a − b|² [N, N] of finite arrays [N, ...], float64.

    As |a|² + |b|² − 2ab, by matrix products of some values of all arrays at a time:
    nothing has N² arrays, nor N in float64. The cancellation costs half of the digits
    at distance 0: what it cannot tell from 0, some 1e-8 (RMS) for values up to 1, is 0.
    With `clip` the values are clipped to [0, 1] first.
    """
    count = len(arrays)
    rows = arrays.reshape(count, -1)
    width = max(1, _BLOCK // count)
    products = np.zeros((count, count))
    for start in range(0, rows.shape[1], width):
        block = rows[:, start : start + width].astype(np.float64)
        if clip:
            np.clip(block, 0, 1, out=block)
        block -= block.mean(0)  # Moves no distance, and leaves less to cancel.
        products += block @ block.T
    squares = np.diag(products)
    sums = squares[:, None] + squares
    apart = sums - 2 * products
    return np.where(apart > 16 * np.finfo(np.float64).eps * sums, apart, 0)


def distances_by_axis(
    distances: np.ndarray, index: np.ndarray, axes: Sequence[str]
) -> tuple[AxisDistances, ...]:
    """How far apart members are that differ in one axis only.

    Args:
      distances: [N, N], from `pairwise_rms`.
      index: [N, A] integers, the grid coordinates of the N members that there are;
        a grid need not be full.
      axes: A names.

    Returns:
      A record for each axis, in their order, and one for all pairs.

    Raises:
      RequestError: the shapes do not go together, or two members share a place.
    """
    index = np.asarray(index, np.int64)
    count = len(distances)
    if distances.shape != (count, count) or index.shape != (count, len(axes)):
        raise RequestError(
            f"distances [N, N], index [N, A] and A axes must go together, got "
            f"{list(distances.shape)}, {list(index.shape)} and {len(axes)} axes"
        )
    if len(set(map(tuple, index.tolist()))) < count:
        raise RequestError("index must give each member a place of its own")
    first, second = np.triu_indices(count, 1)
    values = distances[first, second]
    strides = np.abs(index[first] - index[second])
    alone = np.count_nonzero(strides, axis=1) == 1
    next_to = strides.sum(1) == 1
    chosen = [alone & (strides[:, a] > 0) for a in range(len(axes))]
    return (
        *(
            _spread(axis, values[pairs], next_to[pairs])
            for axis, pairs in zip(axes, chosen, strict=True)
        ),
        _spread(ALL, values, next_to),
    )


def bands(difference: np.ndarray, cutoff: float) -> tuple[float, float]:
    """The energy of a difference below and above a spatial frequency.

    A sharp split of the discrete Fourier transform at a radius, so by Parseval the
    two add up to the mean square. The transform takes a picture for periodic: a step
    from one edge to the opposite one counts in both bands.

    Args:
      difference: [H, W, C].
      cutoff: in cycles per pixel, itself in the low band; 1/16 puts what is coarser
        than 16 pixels there, 0 the mean of each channel alone.

    Returns:
      (low, high), in mean squares.

    Raises:
      RequestError: the cutoff is negative or not finite.
    """
    if not 0 <= cutoff < math.inf:
        raise RequestError(f"cutoff must be finite and not negative, got {cutoff}")
    height, width, _ = difference.shape
    spectrum = np.fft.fft2(np.asarray(difference, np.float64), axes=(0, 1))
    power = (np.abs(spectrum) ** 2).mean(2) / (height * width) ** 2
    low = _radius(height, width) <= cutoff
    return float(power[low].sum()), float(power[~low].sum())


def low_pass(picture: np.ndarray, cutoff: float) -> np.ndarray:
    """The part of a picture [H, W, C] that `bands` counts as low."""
    height, width, _ = picture.shape
    spectrum = np.fft.fft2(np.asarray(picture, np.float64), axes=(0, 1))
    spectrum[_radius(height, width) > cutoff] = 0
    return np.fft.ifft2(spectrum, axes=(0, 1)).real


def band_rms(a: ArrayLike, b: ArrayLike, cutoff: float) -> tuple[float, float]:
    """`rms` of two pictures, split by `bands`: the squares of both add up to its."""
    low, high = bands(_difference(a, b), cutoff)
    return math.sqrt(low), math.sqrt(high)


def difference_image(
    a: ArrayLike, b: ArrayLike, gain: float | None = None
) -> tuple[np.ndarray, float]:
    """A difference to look at: mid-grey plus `gain` times a − b.

    Args:
      a: a picture [H, W, 3]; clipped to [0, 1], as is `b`.
      b: another.
      gain: None for the one by which the largest difference just fits the gamut; 1
        if there is no difference.

    Returns:
      (float32 [H, W, 3], the gain). A given gain may lead out of [0, 1].

    Raises:
      RequestError: the shapes differ, a picture holds NaN, or the gain is not
        positive and finite.
    """
    difference = _difference(a, b)
    if gain is None:
        largest = float(np.abs(difference).max())
        gain = 0.5 / largest if largest else 1.0
    if not 0 < gain < math.inf:
        raise RequestError(f"gain must be positive and finite, got {gain}")
    return (0.5 + gain * difference).astype(np.float32), gain


def steps_to_loss(losses: ArrayLike, steps: ArrayLike, target: float) -> float | None:
    """The first step at which a loss is reached, None if it never is.

    Between two looks the logarithm of the loss is taken for a straight line; from a
    loss that has none, or to one, the later look is the answer.

    Args:
      losses: [n], as they were logged; one that is NaN reaches nothing.
      steps: [n] ascending, where they were.
      target: the loss to reach, positive.

    Raises:
      RequestError: the lengths differ, the steps do not ascend, or the target is not
        positive.
    """
    losses, steps = np.asarray(losses, np.float64), np.asarray(steps, np.float64)
    if losses.ndim != 1 or losses.shape != steps.shape:
        raise RequestError(
            f"losses and steps must be two rows of one length, got shapes "
            f"{losses.shape} and {steps.shape}"
        )
    if not (np.diff(steps) > 0).all():
        raise RequestError(f"steps must ascend, got {steps.tolist()}")
    if not 0 < target < math.inf:
        raise RequestError(f"target must be positive and finite, got {target}")
    reached = np.flatnonzero(losses <= target)
    if not len(reached):
        return None
    k = int(reached[0])
    if k == 0 or not math.isfinite(losses[k - 1]) or losses[k] <= 0:
        return float(steps[k])
    before, after = np.log(losses[k - 1 : k + 1])
    share = (before - math.log(target)) / (before - after)
    return float(steps[k - 1] + share * (steps[k] - steps[k - 1]))


def _radius(height: int, width: int) -> np.ndarray:
    """The frequency [H, W] of each coefficient, in cycles per pixel."""
    return np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))


def _spread(axis: str, values: np.ndarray, next_to: np.ndarray) -> AxisDistances:
    if not len(values):
        return AxisDistances(axis, 0, None, None, None, None)
    near = values[next_to]
    return AxisDistances(
        axis,
        len(values),
        float(values.mean()),
        float(np.median(values)),
        float(values.max()),
        float(near.mean()) if len(near) else None,
    )


def _difference(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """a − b in float64, both as they are seen."""
    a, b = (
        np.asarray(as_floats(x, name), np.float64) for name, x in (("a", a), ("b", b))
    )
    if a.shape != b.shape:
        raise RequestError(
            f"pictures must be of one shape to be compared, got {a.shape} and {b.shape}"
        )
    _check_finite("a", a)
    _check_finite("b", b)
    return np.clip(a, 0, 1) - np.clip(b, 0, 1)


def _check_finite(name: str, picture: np.ndarray) -> None:
    if not np.isfinite(picture).all():
        raise RequestError(f"{name} holds NaN or infinity, wanted a finite picture")
