"""Frames of a film: a folder, a video file, or a still that is made to move."""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from nst_jax.errors import RequestError, nearest
from nst_jax.io import PROJECT, check_pixels, find_file, read_image, resized

#: Pixels a frame, and far more than any other motion can use.
MAX_AMOUNT = 10_000
MOTIONS = ("still", "shift", "sensor", "brightness")
#: What is opened as a video; all else is a picture.
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm")
#: Frames of one swing of "brightness".
_PERIOD = 8


@dataclasses.dataclass
class Film:
    """What is added to the content from frame to frame.

    The content may be a film of its own, a video file or a folder of pictures in the
    order of their names; it is left as it is by "still". A single picture is the same
    in every frame, and becomes a film by one of the other motions.

    Attributes:
      motion: "still"; "shift" to the right, by `amount` pixels a frame, the edge
        filled by reflection; "sensor" noise of standard deviation `amount`, new in
        each frame; "brightness" that swings by the share `amount` within 8 frames.
      amount: how much of it.
    """

    motion: str = "still"
    amount: float = 0.0

    def check(self) -> None:
        """Raises RequestError if a field is outside what it allows."""
        if self.motion not in MOTIONS:
            raise RequestError(
                f"film.motion must be one of {MOTIONS}, got {self.motion!r}"
                f"{nearest(self.motion, MOTIONS)}"
            )
        if not 0 <= self.amount <= MAX_AMOUNT:
            raise RequestError(
                f"film.amount must be from 0 to {MAX_AMOUNT}, got {self.amount}"
            )
        if (self.motion == "still") != (self.amount == 0):
            raise RequestError(
                "film.amount goes with a motion that is not 'still', got motion "
                f"{self.motion!r} and amount {self.amount}"
            )

    def displacement(self, frame: int) -> tuple[int, int]:
        """By how many pixels (down, right) a frame shows frame 0 displaced."""
        return (0, round(self.amount * frame)) if self.motion == "shift" else (0, 0)

    def frame(self, picture: np.ndarray, frame: int) -> np.ndarray:
        """A frame of the film that a picture [H, W, 3] in [0, 1] becomes.

        Clipped to [0, 1], as a camera would.
        """
        if self.motion == "shift":
            _, right = self.displacement(frame)
            last = picture.shape[1] - 1
            # Reflected at both edges: there and back is a period.
            place = np.abs(np.arange(last + 1) - right) % max(2 * last, 1)
            return picture[:, np.minimum(place, 2 * last - place)]
        if self.motion == "sensor":
            draw = np.random.default_rng(frame).normal(0, self.amount, picture.shape)
            return np.clip(picture + draw, 0, 1).astype(np.float32)
        if self.motion == "brightness":
            gain = 1 + self.amount * np.sin(2 * np.pi * frame / _PERIOD)
            return np.clip(picture * gain, 0, 1).astype(np.float32)
        return picture


def source(path: str, frame: int) -> tuple[str, int | None]:
    """The file that holds a frame, and the frame's place in it if it is a video.

    Args:
      path: of a picture, a video or a folder of pictures.
      frame: from 0.

    Raises:
      RequestError: the folder has no such picture.
    """
    folders = [p for p in (pathlib.Path(path), PROJECT / path) if path and p.is_dir()]
    if not folders:
        video = pathlib.PurePath(path).suffix.lower() in VIDEOS
        return path, frame if video else None
    endings = Image.registered_extensions()
    pictures = sorted(
        file.name
        for file in folders[0].iterdir()
        if file.suffix.lower() in endings and file.is_file()
    )
    if frame >= len(pictures):
        raise RequestError(
            f"content: the folder {path!r} holds {len(pictures)} pictures, and frame "
            f"{frame} was asked for (they are counted from 0)"
        )
    return str(pathlib.PurePath(path) / pictures[frame]), None


class Video:
    """A video that is read from its beginning, once where frames are in their order."""

    def __init__(self, path: str, argument: str):
        """Finds the file; `argument` is what messages call it.

        Raises:
          RequestError: there is none.
        """
        self._name = f"{argument}: {path!r}"
        self._file = find_file(argument, path)
        self._count = 0
        self._last: Any = None
        self._frames = self._decoded()

    def picture(self, frame: int) -> Image.Image:
        """A frame, counted from 0.

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
            raise RequestError(
                f"{self._name} has {self._count} frames, and frame {frame} was asked "
                "for (they are counted from 0)"
            )
        check_pixels(self._name, self._last.height, self._last.width)
        return self._last.to_image()

    def _decoded(self) -> Iterator[Any]:
        import av  # A slow import, and needed for videos alone.

        with av.open(str(self._file)) as container:
            if container.streams.video:
                yield from container.decode(video=0)


def read_frame(
    path: str,
    frame: int | None,
    size: int,
    *,
    fit: str,
    resample: str,
    argument: str,
    video: Video | None = None,
) -> np.ndarray:
    """A frame of a video, or a picture, as `io.read_image` with `fill` gives it.

    Args:
      path: of the file.
      frame: counted from 0; None for a picture.
      size: as for `io.read_image`, with the next two.
      fit: likewise.
      resample: likewise.
      argument: what messages call it.
      video: the file, if it was opened already.

    Raises:
      RequestError: the file is missing, broken or has no such frame.
    """
    if frame is None:
        options: dict[str, Any] = {"fit": fit, "resample": resample, "fill": True}
        return read_image(path, size, argument=argument, **options)
    picture = (video or Video(path, argument)).picture(frame)
    subject = f"{argument}: at size {size}, {path!r}"
    image = resized(picture, size, fit=fit, resample=resample, subject=subject)
    return np.asarray(image, np.float32) / 255
