"""Frames of a film: a folder, a video, an animation, or a still image with motion."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Annotated, Any, Literal

import numpy as np
from PIL import Image

from nst_jax.core.config_record import ConfigRecord
from nst_jax.core.errors import RequestError
from nst_jax.core.extras import require_extra
from nst_jax.core.image_array import ArrayInput
from nst_jax.core.paths import candidates, find_file
from nst_jax.core.validation import Range
from nst_jax.images.decoder import (
    MAX_PIXELS,
    check_pixels,
    decode_upright,
    decoding,
    is_animated,
    list_pictures,
    open_animation,
)
from nst_jax.images.io import Sizing, read_picture, to_arrays

#: Suffixes of videos. Other files are images or animations.
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm")
#: Frames of one period of "brightness".
_PERIOD = 8


@dataclasses.dataclass
class Film(ConfigRecord, path="film"):
    """Motion that is added to the content from frame to frame.

    The content may be a film: a video file, an animated GIF, WebP, APNG or AVIF, or a
    folder of pictures in the natural order of their names. "still" leaves it unchanged.
    A still image repeats in every frame unless `motion` changes it.

    Attributes:
      motion: "still"; "shift" to the right by `amount` pixels a frame, with reflected
        edges; "sensor" noise of standard deviation `amount`, new in each frame; or
        "brightness", a gain of 1 + amount · sin(2πt/8) in frame t. A
        shift also moves the content's transparency and masks.
      amount: strength of the motion. Pixels are those of the last stage's size; coarser
        stages scale a shift down.
    """

    motion: Literal["still", "shift", "sensor", "brightness"] = "still"
    amount: Annotated[float, Range(0, 10_000)] = 0.0

    def check_relations(self) -> None:
        if (self.motion == "still") != (self.amount == 0):
            raise RequestError(
                "film.amount must be 0 for film.motion='still' and above 0 otherwise, "
                f"got motion {self.motion!r} and amount {self.amount}"
            )

    def displacement(self, frame: int) -> tuple[int, int]:
        """Return the displacement (down, right) of a frame from frame 0 in pixels."""
        return (0, round(self.amount * frame)) if self.motion == "shift" else (0, 0)

    def rescaled(self, ratio: float) -> "Film":
        """Return the same motion for images `ratio` times as large."""
        if self.motion != "shift":
            return self
        return dataclasses.replace(self, amount=self.amount * ratio)

    def moved(self, array: np.ndarray, frame: int, axis: int = 1) -> np.ndarray:
        """Return an array displaced as the image is in a frame.

        Args:
          array: the image, its alpha, a mask or regions.
          frame: index from 0.
          axis: axis of the image's width.
        """
        _, right = self.displacement(frame)
        if not right:
            return array
        last = array.shape[axis] - 1
        # Reflection at both edges has a period of twice the distance between them.
        source = np.abs(np.arange(last + 1) - right) % max(2 * last, 1)
        return np.take(array, np.minimum(source, 2 * last - source), axis)

    def frame(self, picture: np.ndarray, frame: int) -> np.ndarray:
        """Return a frame of the film of an image [H, W, 3], clipped to [0, 1]."""
        if self.motion == "shift":
            return self.moved(picture, frame)
        if self.motion == "sensor":
            noise = np.random.default_rng(frame).normal(0, self.amount, picture.shape)
            return np.clip(picture + noise, 0, 1).astype(np.float32)
        if self.motion == "brightness":
            gain = 1 + self.amount * np.sin(2 * np.pi * frame / _PERIOD)
            return np.clip(picture * gain, 0, 1).astype(np.float32)
        return picture


def locate_frame(path: str, frame: int) -> tuple[str, int | None]:
    """Return the file of a frame, and its index in the file if that is a film.

    Args:
      path: an image, a video, an animation or a folder of images.
      frame: index from 0.

    Raises:
      RequestError: the folder has too few images.
    """
    if isinstance(path, ArrayInput):
        return path, None
    folder = find_folder(path)
    if folder is None:
        return path, frame if is_film(path) else None
    files = list_pictures(folder)
    if frame >= len(files):
        raise RequestError(
            f"content: frame {frame} does not exist: the folder {path!r} holds "
            f"{len(files)} pictures, numbered from 0"
        )
    return str(pathlib.PurePath(path) / files[frame]), None


def find_folder(path: str) -> pathlib.Path | None:
    """Return the first of a path's candidates that is a folder; None if none is."""
    if not isinstance(path, str) or isinstance(path, ArrayInput) or not path:
        return None
    return next((folder for folder in candidates(path) if folder.is_dir()), None)


def is_film(path: str) -> bool:
    """Return whether a file is a video or an animation; False if it is missing.

    A TIFF of several pages and an MPO are no films.
    """
    if not isinstance(path, str) or isinstance(path, ArrayInput):
        return False
    if _is_video(path):
        return True
    try:
        return is_animated(find_file("content", path))
    except RequestError:
        return False


def _is_video(path: str) -> bool:
    return pathlib.PurePath(path).suffix.lower() in VIDEOS


class FilmFile:
    """A video or an animation, decoded from its beginning, once if read in order.

    A video's display matrix and sample aspect ratio are applied, as players do. The
    frames of an animated GIF, WebP, APNG or AVIF keep their alpha.
    """

    def __init__(self, path: str, argument: str, max_pixels: int = MAX_PIXELS):
        """Find the file, which messages call `argument`."""
        self._name = f"{argument}: {path!r}"
        self._decoding = find_file(argument, path), argument, max_pixels
        self._is_video = _is_video(path)
        self._count = 0
        self._last: Any = None
        self._aspect: Fraction | int = 1
        self._frames = self._decode()

    def picture(self, frame: int) -> Image.Image:
        """Return the frame of an index from 0.

        Raises:
          RequestError: the file is broken or has no such frame.
        """
        if frame < self._count - 1:  # Decode again from the beginning.
            self._count, self._frames = 0, self._decode()
        errors = self._video_errors() if self._is_video else decoding(*self._decoding)
        with errors:
            while self._count <= frame:
                decoded = next(self._frames, None)
                if decoded is None:
                    raise RequestError(
                        f"{self._name}: frame {frame} does not exist: there are "
                        f"{self._count} frames, numbered from 0"
                    )
                self._last = decoded
                self._count += 1
            return self._video_image() if self._is_video else decode_upright(self._last)

    def _decode(self) -> Iterator[Any]:
        if not self._is_video:
            image = open_animation(*self._decoding)
            # The image for programs without animation is not a frame.
            first = int(image.info.get("default_image", False))
            for i in range(first, getattr(image, "n_frames", 1)):
                image.seek(i)
                yield image
            return
        require_extra("video", self._name)
        import av  # A slow import that only videos need.

        with av.open(str(self._decoding[0])) as container:
            if container.streams.video:
                # None or 0 if the file does not say.
                self._aspect = container.streams.video[0].sample_aspect_ratio or 1
                yield from container.decode(video=0)

    @contextlib.contextmanager
    def _video_errors(self) -> Iterator[None]:
        """Turn exceptions of FFmpeg into a `RequestError`."""
        try:
            yield
        except RequestError:
            raise
        except (OSError, ValueError, LookupError, EOFError) as error:
            reason = getattr(error, "strerror", None) or error
            raise RequestError(
                f"{self._name} is not a video that can be read ({reason})"
            ) from None

    def _video_image(self) -> Image.Image:
        """Return the last decoded frame of a video in RGB, as displayed."""
        height, width = self._last.height, self._last.width
        display_width = max(1, round(width * self._aspect))
        *_, max_pixels = self._decoding
        check_pixels(self._name, height, max(width, display_width), max_pixels)
        image = self._last.to_image()
        if display_width != width:
            image = image.resize((display_width, height), Image.Resampling.LANCZOS)
        return _apply_display_matrix(image, self._last)


def _apply_display_matrix(image: Image.Image, frame: Any) -> Image.Image:
    """Turn and mirror a video frame by its display matrix, if it has one.

    The matrix maps (x, y) to (a·x + c·y, b·x + d·y), y downwards. Only quarter turns
    and mirrors are supported; cameras write no others.
    """
    matrix = [m for m in frame.side_data if m.type.name == "DISPLAYMATRIX"]
    if not matrix:
        return image
    a, b, _, c, d, *_ = map(int, np.frombuffer(bytes(matrix[0]), np.int32))
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, a, d = image.transpose(Image.Transpose.TRANSPOSE), c, b
    if a < 0:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if d < 0:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return image


def read_frame(
    path: str,
    frame: int | None,
    sizing: Sizing,
    argument: str,
    film: FilmFile | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return a frame of a film, or an image, as `read_picture` does.

    Args:
      path: a film or an image, or an image given as an array.
      frame: index from 0; None for an image.
      sizing: size of the result.
      argument: name of the image in errors.
      film: the opened film; None to open it.

    Raises:
      RequestError: as for `read_image`, or the film has no such frame.
    """
    if frame is None:
        return read_picture(path, sizing, argument)
    film = film or FilmFile(path, argument, sizing.max_pixels)
    at_size = f"{argument}: at size {sizing.size}, {path!r}"
    image = film.picture(frame)
    return to_arrays(image, sizing, f"{argument}: {path!r}", at_size, fill=True)
