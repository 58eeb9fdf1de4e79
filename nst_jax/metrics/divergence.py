"""Divergence of two computations of one image.

The computations are the same seed in two programs, or in one program after a change of
one unit in the last place. Canvases are compared as computed, in float32 and without
clipping, because equality is a question of bits.
"""

import dataclasses
import math
import statistics
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from nst_jax.core.errors import RequestError

#: Least number of points for a rate: two define a line, two more its error.
MIN_POINTS = 4
#: Two halves of one line may differ in slope by this many standard errors, or by this
#: share of the slope.
MAX_ERRORS, MAX_BEND = 3, 0.2


@dataclasses.dataclass(frozen=True)
class Growth:
    """Exponential growth of a distance before it saturates; see `growth`.

    Attributes:
      rate: growth of the natural logarithm of the distance per step.
      error: standard error of the rate for independent residuals. Residuals of one
        trajectory correlate, so it is a lower bound.
      first: first step of the fit.
      last: last step of the fit.
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
    """Comparison of two trajectories.

    `max`, `mean`, `rms` and `distances` are NaN where a canvas holds NaN or infinity.

    Attributes:
      equal: all compared canvases agree in every bit. −0 differs from +0, and NaNs of
        the same bits are equal.
      first_difference: first compared step at which a bit differs, or None.
      max: largest absolute difference at the last step.
      mean: mean absolute difference at the last step.
      rms: root mean square difference at the last step.
      ulps: largest difference at the last step in units in the last place; None where a
        canvas holds NaN.
      steps: compared steps.
      distances: root mean square difference at each step.
      growth: growth of the distances, None if undetermined.
    """

    equal: bool
    first_difference: int | None
    max: float
    mean: float
    rms: float
    ulps: int | None
    steps: tuple[int, ...]
    distances: tuple[float, ...]
    growth: Growth | None


def ulp_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the int64 distances of float32 arrays in units in the last place.

    The distance counts the representable numbers between two values: +0 and −0 are 0
    apart, and infinity follows the largest finite number. NaN is not allowed.
    """
    return np.abs(_ordinals(a) - _ordinals(b))


def _ordinals(x: np.ndarray) -> np.ndarray:
    """Return int64 that increase by 1 from each float32 number to the next."""
    bits = x.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(2**31) - bits, bits)


def divergence(
    steps: ArrayLike, a: Sequence[ArrayLike], b: Sequence[ArrayLike]
) -> Divergence:
    """Compare two trajectories by their bits and distances.

    Args:
      steps: T ascending integers.
      a: T canvases, float32 [H, W, 3] as computed. NaN and infinity are allowed.
      b: T canvases of the other computation.

    Raises:
      RequestError: the steps do not ascend, a canvas is not float32, or the numbers or
        shapes of the canvases differ.
    """
    times = np.asarray(steps)
    is_row = times.ndim == 1 and len(times) and times.dtype.kind in "iu"
    if not is_row or (times[1:] <= times[:-1]).any():
        raise RequestError(f"steps must be ascending integers, got {times.tolist()}")
    if not len(times) == len(a) == len(b):
        raise RequestError(
            f"steps, a and b must be of one length, got {len(times)}, {len(a)} and "
            f"{len(b)}"
        )
    first_difference = None
    shape = np.shape(a[0])
    distances = []
    for t, step in enumerate(times.tolist()):
        x = _check_canvas(f"a[{t}]", a[t], shape)
        y = _check_canvas(f"b[{t}]", b[t], shape)
        if first_difference is None and (x.view(np.uint32) != y.view(np.uint32)).any():
            first_difference = step
        difference = np.full(shape, np.nan)
        if np.isfinite(x).all() and np.isfinite(y).all():
            difference = np.abs(x.astype(np.float64) - y)
        distances.append(math.sqrt(np.mean(difference**2)))
    has_nan = np.isnan(x).any() or np.isnan(y).any()
    return Divergence(
        equal=first_difference is None,
        first_difference=first_difference,
        max=float(difference.max()),
        mean=float(difference.mean()),
        rms=distances[-1],
        ulps=None if has_nan else int(ulp_distances(x, y).max()),
        steps=tuple(times.tolist()),
        distances=tuple(distances),
        growth=growth(times, distances),
    )


def growth(steps: ArrayLike, distances: ArrayLike) -> Growth | None:
    """Fit the exponential growth or decay of a distance, None if undetermined.

    Close trajectories diverge as d(t) = d(0) exp(λt) until the distance saturates. λ is
    the largest Lyapunov exponent (Wolf et al., "Determining Lyapunov exponents from a
    time series", Physica D 16, 1985, eq. 1), here of one trajectory and finitely many
    steps. It is the slope of a least squares line through log d over the linear phase:

    - The phase starts at the first distance that is not zero. A later distance that is
      zero or not finite ends the record.
    - The plateau is the median distance in the last quarter of the steps. The phase
      ends at the last step before the distance is within a factor of 2 of the plateau,
      where a logistic curve has lost half of its rate.
    - A phase that is not one line is cut to its longest initial part that is. Two
      halves of one line differ in slope by at most `MAX_ERRORS` standard errors or the
      share `MAX_BEND`.

    A distance above its plateau decays, and its phase ends at twice the plateau. Noise
    towards the plateau ends the phase early and biases the rate towards 0: by about a
    fifth of the error for noise of 30 % per record.

    Args:
      steps: [n] ascending integers.
      distances: [n], not negative. NaN and infinity are allowed.

    Returns:
      The growth; None if fewer than `MIN_POINTS` points of the phase are on one line.
    """
    times, sizes = np.asarray(steps), np.asarray(distances, np.float64)
    start = _first_true(sizes != 0)
    usable = np.isfinite(sizes[start:]) & (sizes[start:] > 0)
    record = slice(start, start + _first_true(~usable))
    times, sizes = times[record], sizes[record]
    if len(times) < MIN_POINTS:
        return None
    quarter = times >= times[0] + 0.75 * (times[-1] - times[0])
    heights = np.log(sizes)
    if heights[0] > np.median(heights[quarter]):
        heights = -heights  # Decay is growth upside down.
    end = _first_true(heights >= np.median(heights[quarter]) - math.log(2))
    while end >= MIN_POINTS and not _is_line(times[:end], heights[:end]):
        end -= 1
    if end < MIN_POINTS:
        return None
    (rate, _), covariance = np.polyfit(times[:end], np.log(sizes[:end]), 1, cov=True)
    return Growth(
        rate=float(rate),
        error=math.sqrt(covariance[0, 0]),
        first=int(times[0]),
        last=int(times[end - 1]),
    )


def _is_line(times: np.ndarray, heights: np.ndarray) -> bool:
    """Return whether points are on one line, by a fit of two lines that meet halfway.

    The noise is the median distance of a point from the line through its neighbours. A
    median is robust to the kink.
    """
    from scipy import stats  # A slow import.

    after = times - (times[0] + times[-1]) / 2
    broken = np.stack([np.ones(len(times)), after, np.maximum(after, 0)], axis=1)
    (_, _, bend), *_ = np.linalg.lstsq(broken, heights)
    share = (times[2:] - times[1:-1]) / (times[2:] - times[:-2])
    residuals = share * heights[:-2] + (1 - share) * heights[2:] - heights[1:-1]
    squares = residuals**2 / (1 + share**2 + (1 - share) ** 2)
    noise = statistics.median_low(squares) / stats.chi2.median(1)
    error = math.sqrt(noise * np.linalg.inv(broken.T @ broken)[2, 2])
    slope, _ = np.polyfit(times, heights, 1)
    return abs(bend) <= max(MAX_ERRORS * error, MAX_BEND * abs(slope))


def _first_true(condition: np.ndarray) -> int:
    """Return the first index at which a condition [n] holds, n if there is none."""
    return int(np.append(condition, True).argmax())


def _check_canvas(name: str, x: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    canvas = np.asarray(x)
    if canvas.dtype != np.float32:
        raise RequestError(f"{name} must be float32, got {canvas.dtype}")
    if canvas.shape != shape or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise RequestError(
            f"canvases must be of one shape [H, W, 3], got {name} of shape "
            f"{list(canvas.shape)}"
        )
    return canvas
