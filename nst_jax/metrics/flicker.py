"""How a film flickers: what changes from frame to frame, and how fast.

A film is [T, H, W, 3], at least two frames, taken as a person sees it: clipped to
[0, 1], as in `spread`. All sums are float64, of a frame or a row of pixels at a time.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from nst_jax.core.errors import RequestError

#: The share of all changes that the gain of `side_by_side` keeps in the gamut.
QUANTILE = 0.999


@dataclasses.dataclass(frozen=True)
class Flicker:
    """How much a film changes, beside the one that it was made from.

    Attributes:
      change: mean absolute difference of consecutive frames, 0 to 1.
      content_change: that of the contents.
      ratio: the first by the second, None if the contents do not change.
      std: root mean square of the temporal standard deviation.
      spectrum: (frequencies, power) of the frames, as from `spectrum`.
    """

    change: float
    content_change: float
    ratio: float | None
    std: float
    spectrum: tuple[tuple[float, ...], tuple[float, ...]]


def flicker(
    frames: ArrayLike, contents: ArrayLike, motion: ArrayLike | None = None
) -> Flicker:
    """Measures a film against its contents.

    Args:
      frames: [T, H, W, 3].
      contents: [T, H, W, 3], what each frame was made from.
      motion: [T, 2] integers as for `align_frames`, taken back from both; None for a
        camera that stands still.

    Raises:
      RequestError: the shapes differ, one is no film, or as `align_frames`.
    """
    frames, contents = _pair(frames, contents)
    if motion is not None:
        frames, contents = align_frames(frames, motion), align_frames(contents, motion)
    ours, theirs = change(frames), change(contents)
    frequencies, power = spectrum(frames)
    return Flicker(
        change=ours,
        content_change=theirs,
        ratio=ours / theirs if theirs else None,
        std=math.sqrt(np.mean(temporal_std(frames) ** 2)),
        spectrum=(tuple(frequencies.tolist()), tuple(power.tolist())),
    )


def change(frames: ArrayLike) -> float:
    """Mean absolute difference of consecutive frames, 0 to 1.

    Raises:
      RequestError: `frames` is no film [T, H, W, 3].
    """
    film = _film("frames", frames)
    return float(np.mean([difference.mean() for difference in _differences(film)]))


def flicker_map(frames: ArrayLike) -> np.ndarray:
    """Where a film [T, H, W, 3] changes: [H, W], the mean of which is `change`.

    Raises:
      RequestError: `frames` is no film [T, H, W, 3].
    """
    film = _film("frames", frames)
    total = sum(_differences(film), np.zeros(film.shape[1:]))
    return total.mean(2) / (len(film) - 1)


def temporal_std(frames: ArrayLike) -> np.ndarray:
    """Standard deviation over time [H, W, 3] of a film [T, H, W, 3].

    Of the T frames themselves (ddof 0): the mean of its square is the sum of
    `spectrum`.

    Raises:
      RequestError: `frames` is no film [T, H, W, 3].
    """
    return np.stack([row.std(0) for row in _rows(_film("frames", frames))])


def spectrum(frames: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The temporal power spectrum of a film [T, H, W, 3].

    One-sided, mean over pixels and channels: a sinusoid of amplitude a that fits T
    has a²/2 at its frequency, and by Parseval the sum is the mean temporal variance.
    There is no window: what does not come back to where it was after T frames, a pan
    for instance, counts at all frequencies.

    Returns:
      (frequencies [T // 2 + 1] in cycles per frame from 0 to at most ½, power), that
      of frequency 0, the mean, left out: 0.

    Raises:
      RequestError: `frames` is no film [T, H, W, 3].
    """
    film = _film("frames", frames)
    count, height = film.shape[:2]
    power = np.zeros(count // 2 + 1)
    for row in _rows(film):
        coefficients = np.fft.rfft(row, axis=0)
        power += (np.abs(coefficients) ** 2).mean((1, 2)) / (count**2 * height)
    power[1 : (count + 1) // 2] *= 2  # Each stands for −f too; ½ is its own.
    power[0] = 0
    return np.fft.rfftfreq(count), power


def align_frames(frames: ArrayLike, motion: ArrayLike) -> np.ndarray:
    """A film with its motion taken back, cut to what all frames show.

    Args:
      frames: [T, H, W, 3].
      motion: [T, 2] integers (dy, dx): frames[t][y + dy, x + dx] shows what
        frames[0][y, x] does; (0, 0) for the first.

    Returns:
      [T, h, w, 3] of the same type, h = H − (largest dy − least dy), w likewise.

    Raises:
      RequestError: `frames` is no film, `motion` is not such an array, or no pixel is
        in all frames.
    """
    film, moves = _film("frames", frames), np.asarray(motion)
    if moves.shape != (len(film), 2) or moves.dtype.kind not in "iu":
        raise RequestError(
            f"motion must be integers [{len(film)}, 2], a pair a frame, got "
            f"{moves.dtype} {list(moves.shape)}"
        )
    if moves[0].any():
        raise RequestError(
            f"motion is counted from frame 0, whose own must be (0, 0), got "
            f"{tuple(moves[0].tolist())}"
        )
    moves = moves.astype(np.int64)
    corners = moves - moves.min(0)
    height, width = np.array(film.shape[1:3]) - corners.max(0)
    if min(height, width) <= 0:
        raise RequestError(
            f"motion must leave a part that all frames show, got a range of "
            f"{tuple(corners.max(0).tolist())} for {list(film.shape[1:3])} pixels"
        )
    return np.stack(
        [
            frame[y : y + height, x : x + width]
            for frame, (y, x) in zip(film, corners, strict=True)
        ]
    )


def side_by_side(
    contents: ArrayLike, frames: ArrayLike, gain: float | None = None
) -> tuple[np.ndarray, float]:
    """A film to look at: content, result, and what changed in the result.

    Args:
      contents: [T, H, W, 3].
      frames: [T, H, W, 3].
      gain: of the absolute difference to the frame before; None for the largest that
        keeps `QUANTILE` of all of them in the gamut, or if that quantile is 0 then the
        largest of them; 1 if nothing changes.

    Returns:
      (float32 [T, H, 3W, 3] within [0, 1], the gain). The first frame has none before
      it: black.

    Raises:
      RequestError: the shapes differ, one is no film, or the gain is not positive and
        finite.
    """
    frames, contents = _pair(frames, contents)
    differences = np.zeros(frames.shape, np.float32)
    for t, difference in enumerate(_differences(frames), start=1):
        differences[t] = difference
    if gain is None:
        fit = np.quantile(differences[1:], QUANTILE) or differences.max()
        gain = 1 / float(fit) if fit else 1.0
    if not 0 < gain < math.inf:
        raise RequestError(f"gain must be positive and finite, got {gain}")
    panels = np.concatenate([contents, frames, gain * differences], axis=2)
    return np.clip(panels, 0, 1).astype(np.float32), gain


def _seen(picture: np.ndarray) -> np.ndarray:
    return np.clip(picture.astype(np.float64), 0, 1)


def _differences(film: np.ndarray) -> Iterator[np.ndarray]:
    """|Δ| [H, W, 3] of each frame and the one before it."""
    for before, after in itertools.pairwise(map(_seen, film)):
        yield np.abs(after - before)


def _rows(film: np.ndarray) -> Iterator[np.ndarray]:
    """Each row of pixels over time [T, W, 3], from where it starts.

    To count from the first frame moves no variance, and what stands still is 0.
    """
    for y in range(film.shape[1]):
        row = _seen(film[:, y])
        yield row - row[0]


def _pair(frames: ArrayLike, contents: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    film, other = _film("frames", frames), _film("contents", contents)
    if film.shape != other.shape:
        raise RequestError(
            f"frames and contents must be of one shape, got {list(film.shape)} and "
            f"{list(other.shape)}"
        )
    return film, other


def _film(name: str, frames: ArrayLike) -> np.ndarray:
    film = np.asarray(frames)
    if film.ndim != 4 or film.shape[3] != 3 or len(film) < 2 or 0 in film.shape:
        raise RequestError(
            f"{name} must be of shape [T, H, W, 3] with 2 frames or more, got "
            f"{list(film.shape)}"
        )
    if film.dtype.kind != "f":
        raise RequestError(f"{name} must be floats in [0, 1], got {film.dtype}")
    if not np.isfinite(film).all():
        raise RequestError(f"{name} holds NaN or infinity, wanted finite pictures")
    return film
