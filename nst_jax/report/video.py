"""The making-of: the frames of a member as a film."""

import fractions
import math
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from nst_jax.core.atomic import write_atomically

_SMALL = 256
#: A GIF is for sending around: its longer side in pixels, and its frames, at most.
GIF_SIDE, GIF_FRAMES = 320, 100


def write_mp4(path: pathlib.Path, frames: Sequence[pathlib.Path], fps: float) -> None:
    """Writes frames as H.264 in 4:2:0, which players and browsers show.

    All take the size of the last. A longer side under 256 pixels is enlarged by the
    least whole factor that reaches it; an odd width or height gets its last column
    or row twice, for 4:2:0 halves both.
    """
    import av  # A slow import, and only needed where there are frames.
    from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

    def write(partial: pathlib.Path) -> None:
        with av.open(
            str(partial), "w", format="mp4", options={"movflags": "faststart"}
        ) as container:
            rate = fractions.Fraction(fps).limit_denominator(1000)
            stream = container.add_stream("libx264", rate=rate)
            stream.options = {"crf": "18"}
            stream.pix_fmt = "yuv420p"
            # Said in the file, for players guess differently where it is not.
            stream.codec_context.colorspace = Colorspace.ITU709
            stream.codec_context.color_range = ColorRange.MPEG
            stream.codec_context.color_primaries = ColorPrimaries.BT709
            stream.codec_context.color_trc = ColorTrc.IEC61966_2_1
            width, height = _size(frames)
            stream.width, stream.height = width + width % 2, height + height % 2
            for pixels in map(_even, _pictures(frames)):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                    format="yuv420p",
                    dst_colorspace=Colorspace.ITU709,
                    dst_color_range=ColorRange.MPEG,
                )
                container.mux(stream.encode(frame))
            container.mux(stream.encode())

    write_atomically(path, write)


def write_gif(path: pathlib.Path, frames: Sequence[pathlib.Path], fps: float) -> None:
    """Writes frames as a GIF that loops, and rests for a second on its last frame.

    Of more than 100 frames it takes 100, evenly, with the first and the last.
    """
    count = min(len(frames), GIF_FRAMES)
    chosen = np.linspace(0, len(frames) - 1, count).round().astype(int)
    pictures = [Image.fromarray(p) for p in _pictures([frames[i] for i in chosen])]
    for picture in pictures:
        picture.thumbnail((GIF_SIDE, GIF_SIDE), Image.Resampling.LANCZOS)
    # Browsers slow down what is faster than 50 frames a second.
    duration = max(20, round(1000 / fps))
    write_atomically(
        path,
        lambda partial: pictures[0].save(
            partial,
            save_all=True,
            append_images=pictures[1:],
            duration=[duration] * (count - 1) + [1000],
            loop=0,
        ),
    )


def _size(frames: Sequence[pathlib.Path]) -> tuple[int, int]:
    """(width, height) of the last frame, or a multiple that is large enough."""
    with Image.open(frames[-1]) as last:
        factor = max(1, math.ceil(_SMALL / max(last.size)))
        return last.width * factor, last.height * factor


def _pictures(frames: Sequence[pathlib.Path]) -> Iterator[np.ndarray]:
    """The frames as uint8 [H, W, 3], all of the size of the film."""
    size = _size(frames)
    for path in frames:
        with Image.open(path) as image:
            yield np.asarray(
                image.convert("RGB").resize(size, Image.Resampling.NEAREST)
            )


def _even(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
