"""Flicker of a film: change from frame to frame, and its temporal spectrum.

A film is [T, H, W, 3] with at least two frames. Frames are clipped to [0, 1] first, as
a screen shows them. Sums are in float64, over one frame or one row of pixels at a time.
Functions raise `RequestError` for NaN, infinity and wrong or unequal shapes.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from nst_jax.core.errors import RequestError
from nst_jax.metrics.validation import as_displayed, check_array, check_same_shape

#: Share of all changes that the gain of `side_by_side` keeps within [0, 1].
QUANTILE = 0.999


@dataclasses.dataclass(frozen=True)
class Flicker:
    """Temporal change of a film and of its content.

    Attributes:
      change: mean absolute difference of consecutive frames, 0 to 1.
      content_change: the same of the content.
      ratio: change / content_change; None for a still content.
      std: root of the mean temporal variance.
      spectrum: (frequencies, power) of the frames, as from `temporal_spectrum`.
    """

    change: float
    content_change: float
    ratio: float | None
    std: float
    spectrum: tuple[tuple[float, ...], tuple[float, ...]]


def flicker(
    frames: ArrayLike, contents: ArrayLike, motion: ArrayLike | None = None
) -> Flicker:
    """Measure the flicker of a film against its content.

    Args:
      frames: [T, H, W, 3], the results.
      contents: [T, H, W, 3], the content image of each frame.
      motion: [T, 2] integers, compensated in both; see `align_frames`. None for a
        static camera.
    """
    frames, contents = check_same_shape(
        "T, H, W, 3", min_count=2, frames=frames, contents=contents
    )
    if motion is not None:
        frames, contents = align_frames(frames, motion), align_frames(contents, motion)
    change, content_change = mean_change(frames), mean_change(contents)
    frequencies, power = temporal_spectrum(frames)
    return Flicker(
        change=change,
        content_change=content_change,
        ratio=change / content_change if content_change else None,
        std=math.sqrt(power.sum()),  # By Parseval's theorem.
        spectrum=(tuple(frequencies.tolist()), tuple(power.tolist())),
    )


def mean_change(frames: ArrayLike) -> float:
    """Return the mean absolute difference, 0 to 1, of consecutive frames."""
    film = check_array(frames, "frames", "T, H, W, 3", min_count=2)
    return float(np.mean([change.mean() for change in _changes(film)]))


def flicker_map(frames: ArrayLike) -> np.ndarray:
    """Return the mean absolute change [H, W] by pixel; its mean is `mean_change`."""
    film = check_array(frames, "frames", "T, H, W, 3", min_count=2)
    total = sum(_changes(film), np.zeros(film.shape[1:]))
    return total.mean(2) / (len(film) - 1)


def temporal_spectrum(frames: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the temporal power spectrum of a film [T, H, W, 3].

    One-sided, without a window, mean over pixels and channels. A sinusoid of amplitude
    a with a period that divides T has power a²/2 at its frequency. By Parseval's
    theorem the sum is the mean temporal variance. A drift, such as a pan, counts at all
    frequencies.

    Returns:
      (frequencies [T // 2 + 1] in cycles per frame, from 0 to at most ½, and power).
      The power at frequency 0, the mean, is set to 0.
    """
    film = check_array(frames, "frames", "T, H, W, 3", min_count=2)
    count, height = film.shape[:2]
    power = np.zeros(count // 2 + 1)
    for y in range(height):
        row = as_displayed(film[:, y])
        # The offset keeps variances, and makes static pixels exactly 0.
        coefficients = np.fft.rfft(row - row[0], axis=0)
        power += (np.abs(coefficients) ** 2).mean((1, 2)) / (count**2 * height)
    power[1 : (count + 1) // 2] *= 2  # Add −f. Frequency ½ is its own mirror.
    power[0] = 0
    return np.fft.rfftfreq(count), power


def align_frames(frames: ArrayLike, motion: ArrayLike) -> np.ndarray:
    """Compensate camera motion and crop a film to the part that all frames show.

    Args:
      frames: [T, H, W, 3].
      motion: [T, 2] integers (dy, dx): frames[t][y + dy, x + dx] shows the point of
        frames[0][y, x]. The first is (0, 0).

    Returns:
      [T, h, w, 3] with h = H − (max dy − min dy) and w = W − (max dx − min dx).

    Raises:
      RequestError: `frames` is no film, `motion` has another shape, type or first
        entry, or no pixel is in all frames.
    """
    film = check_array(frames, "frames", "T, H, W, 3", min_count=2)
    offsets = np.asarray(motion)
    if offsets.shape != (len(film), 2) or offsets.dtype.kind not in "iu":
        raise RequestError(
            f"motion must be integers [{len(film)}, 2], got {offsets.dtype} "
            f"{list(offsets.shape)}"
        )
    if offsets[0].any():
        raise RequestError(
            f"motion must start with (0, 0), got {tuple(offsets[0].tolist())}"
        )
    offsets = offsets.astype(np.int64)
    corners = offsets - offsets.min(0)
    height, width = np.array(film.shape[1:3]) - corners.max(0)
    if min(height, width) <= 0:
        raise RequestError(
            "motion must leave a part that all frames show, got a range of "
            f"{tuple(corners.max(0).tolist())} for {list(film.shape[1:3])} pixels"
        )
    pairs = zip(film, corners, strict=True)
    return np.stack([frame[y : y + height, x : x + width] for frame, (y, x) in pairs])


def side_by_side(contents: ArrayLike, frames: ArrayLike) -> tuple[np.ndarray, float]:
    """Return a film of three panels: content, result, and change of the result.

    The third panel is the absolute difference to the frame before times a gain; its
    first frame is black. The gain is the largest that keeps `QUANTILE` of all
    differences within [0, 1], or all of them if that quantile is 0. It is 1 for a still
    film.

    Args:
      contents: [T, H, W, 3].
      frames: [T, H, W, 3].

    Returns:
      (float32 [T, H, 3W, 3] in [0, 1], the gain).
    """
    frames, contents = check_same_shape(
        "T, H, W, 3", min_count=2, frames=frames, contents=contents
    )
    changes = np.zeros(frames.shape, np.float32)
    for t, change in enumerate(_changes(frames), start=1):
        changes[t] = change
    fit = np.quantile(changes[1:], QUANTILE) or changes.max()
    gain = 1 / float(fit) if fit else 1.0
    panels = np.concatenate([contents, frames, gain * changes], axis=2)
    return np.clip(panels, 0, 1).astype(np.float32), gain


def _changes(film: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the absolute difference [H, W, 3] of each frame to the one before it."""
    for before, after in itertools.pairwise(map(as_displayed, film)):
        yield np.abs(after - before)
