"""Frames of a film: a folder, a video, an animation, or a still made to move."""

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
from nst_jax.images.io import read_image, resize_image, to_rgb

#: What is opened as a video; all else is a picture, or several of them.
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm")
#: Frames of one swing of "brightness".
_PERIOD = 8


@dataclasses.dataclass
class Film(ConfigRecord, path="film"):
    """Motion that is added to the content from frame to frame.

    The content may be a film: a video file, an animated GIF, WebP, APNG or AVIF, or a
    folder of pictures in the natural order of their names. "still" leaves it unchanged.
    A single picture repeats in every frame, and the other motions make it a film.

    Attributes:
      motion: "still"; "shift" to the right by `amount` pixels a frame, with reflected
        edges; "sensor" noise of standard deviation `amount`, new in each frame; or
        "brightness", which swings by the share `amount` with a period of 8 frames. A
        shift also moves the content's transparency and masks.
      amount: strength of the motion. Pixels are those of the last stage's size; coarser
        stages scale a shift down.
    """

    motion: Literal["still", "shift", "sensor", "brightness"] = "still"
    amount: Annotated[float, Range(0, 10_000)] = 0.0

    def check_relations(self) -> None:
        if (self.motion == "still") != (self.amount == 0):
            raise RequestError(
                "film.amount goes with a motion that is not 'still', got motion "
                f"{self.motion!r} and amount {self.amount}"
            )

    def displacement(self, frame: int) -> tuple[int, int]:
        """By how many pixels (down, right) a frame shows frame 0 displaced."""
        return (0, round(self.amount * frame)) if self.motion == "shift" else (0, 0)

    def rescaled(self, ratio: float) -> "Film":
        """The same motion of pictures whose size is `ratio` times as large."""
        if self.motion != "shift":
            return self
        return dataclasses.replace(self, amount=self.amount * ratio)

    def moved(self, array: np.ndarray, frame: int, axis: int = 1) -> np.ndarray:
        """An array of the picture's pixels, displaced as the picture is in a frame.

        Args:
          array: the picture, its alpha, a mask or regions.
          frame: from 0.
          axis: of the array, along which the picture's width is.
        """
        _, right = self.displacement(frame)
        if not right:
            return array
        last = array.shape[axis] - 1
        # Reflected at both edges: there and back is a period.
        place = np.abs(np.arange(last + 1) - right) % max(2 * last, 1)
        return np.take(array, np.minimum(place, 2 * last - place), axis)

    def frame(self, picture: np.ndarray, frame: int) -> np.ndarray:
        """A frame of the film that a picture [H, W, 3] in [0, 1] becomes.

        Clipped to [0, 1], as a camera would.
        """
        if self.motion == "shift":
            return self.moved(picture, frame)
        if self.motion == "sensor":
            draw = np.random.default_rng(frame).normal(0, self.amount, picture.shape)
            return np.clip(picture + draw, 0, 1).astype(np.float32)
        if self.motion == "brightness":
            gain = 1 + self.amount * np.sin(2 * np.pi * frame / _PERIOD)
            return np.clip(picture * gain, 0, 1).astype(np.float32)
        return picture


def locate_frame(path: str, frame: int) -> tuple[str, int | None]:
    """The file that holds a frame, and the frame's place in it if it is a film.

    Args:
      path: of a picture, a video, an animation or a folder of pictures.
      frame: from 0.

    Raises:
      RequestError: the folder has no such picture.
    """
    if isinstance(path, ArrayInput):
        return path, None
    folder = find_folder(path)
    if folder is None:
        return path, frame if is_film(path) else None
    pictures = list_pictures(folder)
    if frame >= len(pictures):
        raise RequestError(
            f"content: the folder {path!r} holds {len(pictures)} pictures, and frame "
            f"{frame} was asked for (they are counted from 0)"
        )
    return str(pathlib.PurePath(path) / pictures[frame]), None


def find_folder(path: str) -> pathlib.Path | None:
    """Return the first of a path's candidates that is a folder; None if none is."""
    if not isinstance(path, str) or isinstance(path, ArrayInput) or not path:
        return None
    return next((folder for folder in candidates(path) if folder.is_dir()), None)


def is_film(path: str) -> bool:
    """Whether a file is a video or an animated picture; false for one that is missing.

    Pages of a TIFF and pictures of an MPO are no frames.
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


class Video:
    """A video that is read from its beginning, once where frames are in their order.

    Frames are turned and stretched as a player shows them, by the file's display
    matrix and its sample aspect ratio.
    """

    def __init__(self, path: str, argument: str, max_pixels: int = MAX_PIXELS):
        """Finds the file; `argument` is what messages call it.

        Raises:
          RequestError: there is none.
        """
        self._name = f"{argument}: {path!r}"
        self._file = find_file(argument, path)
        self._max_pixels = max_pixels
        self._count = 0
        self._last: Any = None
        self._aspect: Fraction | int = 1
        self._frames = self._decoded()

    def picture(self, frame: int) -> Image.Image:
        """A frame, counted from 0, in RGB.

        Raises:
          RequestError: the video is broken or has no such frame.
        """
        if frame < self._count - 1:  # It is behind.
            self._count, self._frames = 0, self._decoded()
        try:
            for picture in self._frames if self._count <= frame else ():
                self._count, self._last = self._count + 1, picture
                if self._count > frame:
                    break
        except (OSError, ValueError, LookupError, EOFError) as error:  # FFmpeg's.
            reason = getattr(error, "strerror", None) or error
            raise RequestError(
                f"{self._name} is not a video that can be read ({reason})"
            ) from None
        if self._count <= frame:
            raise RequestError(_no_frame(self._name, self._count, frame))
        height, width = self._last.height, self._last.width
        shown = max(1, round(width * self._aspect))
        check_pixels(self._name, height, max(width, shown), self._max_pixels)
        picture = self._last.to_image()
        if shown != width:
            picture = picture.resize((shown, height), Image.Resampling.LANCZOS)
        return _turned(picture, self._last)

    def _decoded(self) -> Iterator[Any]:
        require_extra("video", self._name)
        import av  # A slow import.

        with av.open(str(self._file)) as container:
            if container.streams.video:
                # None or 0 where the file does not say.
                self._aspect = container.streams.video[0].sample_aspect_ratio or 1
                yield from container.decode(video=0)


def _turned(picture: Image.Image, frame: Any) -> Image.Image:
    """The picture of a video frame, turned by the frame's display matrix if any.

    A point (x, y) goes to (a·x + c·y, b·x + d·y), y downwards. Quarter turns and
    mirrors alone are made, as they are all that cameras write.
    """
    matrix = [m for m in frame.side_data if m.type.name == "DISPLAYMATRIX"]
    if not matrix:
        return picture
    a, b, _, c, d, *_ = map(int, np.frombuffer(bytes(matrix[0]), np.int32))
    if abs(b) + abs(c) > abs(a) + abs(d):
        picture, a, d = picture.transpose(Image.Transpose.TRANSPOSE), c, b
    if a < 0:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if d < 0:
        picture = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return picture


class Animation:
    """An animated GIF, WebP, APNG or AVIF, decoded as `Video` is."""

    def __init__(self, path: str, argument: str, max_pixels: int = MAX_PIXELS):
        """Opens the file; `argument` is what messages call it.

        Raises:
          RequestError: there is none, or its pictures are too large.
        """
        self._name = f"{argument}: {path!r}"
        self._decoding = find_file(argument, path), argument, max_pixels
        self._image = open_animation(*self._decoding)

    def picture(self, frame: int) -> Image.Image:
        """A frame, counted from 0, with an alpha channel if the file has one.

        Raises:
          RequestError: the file is broken or has no such frame.
        """
        with decoding(*self._decoding):
            # A picture for programs that show no animation is no frame of it.
            first = int(self._image.info.get("default_image", False))
            count: int = getattr(self._image, "n_frames", 1) - first
            if frame >= count:
                raise RequestError(_no_frame(self._name, count, frame))
            self._image.seek(first + frame)
            return decode_upright(self._image)


def _no_frame(name: str, count: int, frame: int) -> str:
    return (
        f"{name} has {count} frames, and frame {frame} was asked for (they are counted "
        "from 0)"
    )


def open_film(
    path: str, argument: str, max_pixels: int = MAX_PIXELS
) -> Video | Animation:
    """Open a file that `is_film`.

    Raises:
      RequestError: it is missing or broken.
    """
    return (Video if _is_video(path) else Animation)(path, argument, max_pixels)


def read_frame(
    path: str,
    frame: int | None,
    size: int,
    *,
    fit: str,
    resample: str,
    argument: str,
    video: Video | Animation | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """A frame of a film, or a picture, as `io.read_image` with `fill` gives it.

    Args:
      path: of the file.
      frame: counted from 0; None for a picture.
      size: as for `io.read_image`, with the next two.
      fit: likewise.
      resample: likewise.
      argument: what messages call it.
      video: the file, if it was opened already.
      max_pixels: as for `io.read_image`.

    Raises:
      RequestError: the file is missing, broken or has no such frame.
    """
    kept: dict[str, Any] = {"fit": fit, "resample": resample, "max_pixels": max_pixels}
    if frame is None:
        return read_image(path, size, argument=argument, fill=True, **kept)
    film = video or open_film(path, argument, max_pixels)
    subject = f"{argument}: {path!r}"
    image = to_rgb(film.picture(frame), subject, fill=True)
    if size:
        subject = f"{argument}: at size {size}, {path!r}"
        image = resize_image(image, size, subject=subject, **kept)
    return np.asarray(image, np.float32) / 255
