"""How two computations of one picture part.

The same seed in two programs, or in one with a unit in the last place planted. The
canvases are taken as they are computed, float32 and not clipped: whether two programs
agree is a question of bits.
"""

import dataclasses
import math
import statistics
from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import ArrayLike

from nst_jax.core.errors import RequestError

#: Points that a rate is fitted to, at least: two make a line, two more its error.
POINTS = 4
#: Standard errors, and share of the slope, by one of which the two halves of a line
#: may differ in theirs.
ERRORS, BEND = 3, 0.2


@dataclasses.dataclass(frozen=True)
class Growth:
    """The exponential that a distance follows until it levels off: see `growth`.

    Attributes:
      rate: of the natural logarithm of the distance, per step.
      error: its standard error, if the residuals were independent. Those of one
        trajectory are not quite: take it for a lower bound.
      first: the first step that it was fitted over.
      last: the last one.
    """

    rate: float
    error: float
    first: int
    last: int

    @property
    def e_folding(self) -> float:
        """Steps in which the distance grows e-fold; negative where it shrinks."""
        return 1 / self.rate if self.rate else math.inf


@dataclasses.dataclass(frozen=True)
class Divergence:
    """How two trajectories compare.

    Attributes:
      equal: whether all canvases that were compared agree in every bit: −0 is not +0,
        and a NaN equals one of the same bits.
      parted: the first step compared at which a bit differs, None if there is none.
      max: largest absolute difference at the last step; NaN, as are `mean`, `rms` and
        a distance, where one of the two canvases holds NaN or infinity.
      mean: of the absolute differences at the last step.
      rms: the root mean square of them.
      ulps: largest at the last step, None where a canvas holds NaN.
      steps: those compared.
      distances: the root mean square difference at each of them.
      growth: of the distances, None where it cannot be told.
    """

    equal: bool
    parted: int | None
    max: float
    mean: float
    rms: float
    ulps: int | None
    steps: tuple[int, ...]
    distances: tuple[float, ...]
    growth: Growth | None


def ulps(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """How many float32 numbers two arrays are apart, int64 of their shape.

    The bits of floating point numbers of one sign ascend with the size, so that they
    count the numbers in between. +0 and −0 are 0 apart, and infinity is next to the
    largest finite number.

    Raises:
      RequestError: the shapes differ, an array is not float32, or it holds NaN.
    """
    a, b = _float32("a", a), _float32("b", b)
    if a.shape != b.shape:
        raise RequestError(f"a and b must be of one shape, got {a.shape} and {b.shape}")
    for name, array in (("a", a), ("b", b)):
        if np.isnan(array).any():
            raise RequestError(f"{name} holds NaN, which no number is next to")
    return np.abs(_ordered(a) - _ordered(b))


def divergence(
    steps: ArrayLike, a: Sequence[ArrayLike], b: Sequence[ArrayLike]
) -> Divergence:
    """Compares two trajectories bit by bit, and by their distances.

    Args:
      steps: T integers, ascending; the canvases between them are not looked at.
      a: T canvases, float32 [H, W, 3] as they were computed; or an array [T, H, W, 3].
        NaN and infinity are allowed.
      b: those of the other computation.

    Raises:
      RequestError: the steps do not ascend, a canvas is not float32, or the numbers
        or shapes of the canvases do not go together.
    """
    times = _check_steps(steps)
    if not len(times) == len(a) == len(b):
        raise RequestError(
            f"steps, a and b must be of one length, got {len(times)}, {len(a)} and "
            f"{len(b)}"
        )
    parted = None
    shape = np.shape(a[0])
    distances = []
    for t, step in enumerate(times.tolist()):
        here = _canvas(f"a[{t}]", a[t], shape)
        there = _canvas(f"b[{t}]", b[t], shape)
        if parted is None and (here.view(np.uint32) != there.view(np.uint32)).any():
            parted = step
        difference = _difference(here, there)
        distances.append(math.sqrt(np.mean(difference**2)))
    countable = not (np.isnan(here).any() or np.isnan(there).any())
    return Divergence(
        equal=parted is None,
        parted=parted,
        max=float(difference.max()),
        mean=float(difference.mean()),
        rms=distances[-1],
        ulps=int(ulps(here, there).max()) if countable else None,
        steps=tuple(times.tolist()),
        distances=tuple(distances),
        growth=growth(times, distances),
    )


def growth(steps: ArrayLike, distances: ArrayLike) -> Growth | None:
    """The rate at which a distance grows or shrinks, None where it cannot be told.

    What starts close parts as d(t) = d(0) exp(λt), until it is as far apart as it
    gets; λ is the largest Lyapunov exponent (Wolf et al., "Determining Lyapunov
    exponents from a time series", Physica D 16, 1985, eq. 1), here of one path and of
    as many steps as there are, for an optimisation does not go on for ever. It is the
    slope of a least squares line through log d, over the phase in which that is one:

    - from the first distance that is not zero, which has no logarithm. One that is
      zero or not finite later ends the record before it;
    - to the last step before the distance comes within a factor of 2 of its plateau,
      where it bends: by then a logistic curve has lost half of its rate. Any larger
      factor would bend less and leave fewer points;
    - the plateau is the median of the distances in the last quarter of the steps, so
      that no single look decides. If they are still growing there, only the end of
      the line is left out;
    - if that is not one line, its longest initial stretch that is: whose two halves
      have slopes within `ERRORS` standard errors or the share `BEND` of each other.
      So of a quick growth and a slow one after it, or of a rise and a fall, there is
      the rate of the first, with a point or two of the second, and a few percent off.

    A distance above its plateau shrinks: the phase ends at twice the plateau, for
    instance the rounding that two computations of one minimum keep.

    Noise ends the phase early where it points to the plateau, never where it points
    away, and so shades the rate towards 0: with 30 % a look by some fifth of the error.

    Args:
      steps: [n] integers, ascending.
      distances: [n], not negative; NaN and infinity are allowed.

    Returns:
      None if no `POINTS` points of the phase are on one line: too few looks, or a
      distance that is near its plateau from the start.

    Raises:
      RequestError: the steps do not ascend, the lengths differ, or a distance is
        negative.
    """
    times, sizes = _check_steps(steps), np.asarray(distances, np.float64)
    if sizes.shape != times.shape:
        raise RequestError(
            f"steps and distances must be two rows of one length, got shapes "
            f"{times.shape} and {sizes.shape}"
        )
    if (sizes < 0).any():
        raise RequestError(f"distances must not be negative, got {sizes.min()}")
    start = _first(sizes != 0)
    usable = np.isfinite(sizes[start:]) & (sizes[start:] > 0)
    stretch = slice(start, start + _first(~usable))
    times, sizes = times[stretch], sizes[stretch]
    if len(times) < POINTS:
        return None
    quarter = times >= times[0] + 0.75 * (times[-1] - times[0])
    heights = np.log(sizes)
    if heights[0] > np.median(heights[quarter]):
        heights = -heights  # Shrinking is growth, upside down.
    end = _first(heights >= np.median(heights[quarter]) - math.log(2))
    while end >= POINTS and not _straight(times[:end], heights[:end]):
        end -= 1
    if end < POINTS:
        return None
    (rate, _), covariance = np.polyfit(times[:end], np.log(sizes[:end]), 1, cov=True)
    return Growth(
        rate=float(rate),
        error=math.sqrt(covariance[0, 0]),
        first=int(times[0]),
        last=int(times[end - 1]),
    )


def _straight(times: np.ndarray, heights: np.ndarray) -> bool:
    """Whether points are on one line, by a fit of two that meet in the middle.

    The noise is told from how far points are off the line through their neighbours:
    by the median, which a kink does not move.
    """
    after = times - (times[0] + times[-1]) / 2
    broken = np.stack([np.ones(len(times)), after, np.maximum(after, 0)], axis=1)
    (_, _, bend), *_ = np.linalg.lstsq(broken, heights)
    share = (times[2:] - times[1:-1]) / (times[2:] - times[:-2])
    off = share * heights[:-2] + (1 - share) * heights[2:] - heights[1:-1]
    squares = off**2 / (1 + share**2 + (1 - share) ** 2)
    noise = statistics.median_low(squares) / scipy.stats.chi2.median(1)
    error = math.sqrt(noise * np.linalg.inv(broken.T @ broken)[2, 2])
    slope, _ = np.polyfit(times, heights, 1)
    return abs(bend) <= max(ERRORS * error, BEND * abs(slope))


def _first(condition: np.ndarray) -> int:
    """Where a condition [n] first holds, n if nowhere."""
    return int(np.append(condition, True).argmax())


def _ordered(x: np.ndarray) -> np.ndarray:
    """int64 that ascend with float32 numbers, by 1 from each to the next."""
    bits = x.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(2**31) - bits, bits)


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a − b| in float64; NaN everywhere if either is not finite."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return np.full(a.shape, np.nan)
    return np.abs(a.astype(np.float64) - b)


def _check_steps(steps: ArrayLike) -> np.ndarray:
    times = np.asarray(steps)
    whole = times.ndim == 1 and len(times) and times.dtype.kind in "iu"
    if not (whole and (times[1:] > times[:-1]).all()):
        raise RequestError(f"steps must be ascending integers, got {times.tolist()}")
    return times.astype(np.int64)


def _canvas(name: str, x: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    canvas = _float32(name, x)
    if canvas.shape != shape or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise RequestError(
            f"canvases must be of one shape [H, W, 3], got {name} of shape "
            f"{list(canvas.shape)}"
        )
    return canvas


def _float32(name: str, x: ArrayLike) -> np.ndarray:
    array = np.asarray(x)
    if array.dtype != np.float32:
        raise RequestError(f"{name} must be float32, got {array.dtype}")
    return array
