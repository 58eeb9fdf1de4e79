"""Making-of videos: the snapshots of a member as MP4 and GIF."""

import fractions
import math
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from nst_jax.core.atomic import write_atomically
from nst_jax.studies.formatting import evenly_spaced

#: Longer side of a video in pixels, at least.
_SMALLEST = 256
#: Longer side of a GIF in pixels, and its frames, at most.
GIF_SIDE, GIF_FRAMES = 320, 100


def write_mp4(path: pathlib.Path, frames: Sequence[pathlib.Path], fps: float) -> None:
    """Write image files as H.264 in 4:2:0, which players and browsers support.

    All frames take the size of the last one. A longer side below 256 pixels is enlarged
    by the least sufficient integer factor. 4:2:0 needs even sides, so the last row or
    column of an odd side is repeated.
    """
    import av  # A slow import.
    from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

    def write(partial: pathlib.Path) -> None:
        options = {"movflags": "faststart"}
        with av.open(str(partial), "w", format="mp4", options=options) as container:
            rate = fractions.Fraction(fps).limit_denominator(1000)
            stream = container.add_stream("libx264", rate=rate)
            stream.options = {"crf": "18"}
            stream.pix_fmt = "yuv420p"
            # Players guess differently without these.
            stream.codec_context.colorspace = Colorspace.ITU709
            stream.codec_context.color_range = ColorRange.MPEG
            stream.codec_context.color_primaries = ColorPrimaries.BT709
            stream.codec_context.color_trc = ColorTrc.IEC61966_2_1
            width, height = _frame_size(frames)
            stream.width, stream.height = width + width % 2, height + height % 2
            padding = (0, height % 2), (0, width % 2), (0, 0)
            for pixels in _read_frames(frames):
                even = np.pad(pixels, padding, mode="edge")
                frame = av.VideoFrame.from_ndarray(even, format="rgb24").reformat(
                    format="yuv420p",
                    dst_colorspace=Colorspace.ITU709,
                    dst_color_range=ColorRange.MPEG,
                )
                container.mux(stream.encode(frame))
            container.mux(stream.encode())

    write_atomically(path, write)


def write_gif(path: pathlib.Path, frames: Sequence[pathlib.Path], fps: float) -> None:
    """Write image files as a GIF that loops and shows its last frame for a second.

    At most 100 frames are written, evenly spaced, with the first and the last.
    """
    selected = evenly_spaced(frames, GIF_FRAMES)
    images = [Image.fromarray(pixels) for pixels in _read_frames(selected)]
    for image in images:
        image.thumbnail((GIF_SIDE, GIF_SIDE), Image.Resampling.LANCZOS)
    duration = max(20, round(1000 / fps))  # Browsers slow down shorter frames.
    write_atomically(
        path,
        lambda partial: images[0].save(
            partial,
            save_all=True,
            append_images=images[1:],
            duration=[duration] * (len(images) - 1) + [1000],
            loop=0,
        ),
    )


def _frame_size(frames: Sequence[pathlib.Path]) -> tuple[int, int]:
    """(width, height) of the last frame times the integer factor of `write_mp4`."""
    with Image.open(frames[-1]) as last:
        factor = max(1, math.ceil(_SMALLEST / max(last.size)))
        return last.width * factor, last.height * factor


def _read_frames(frames: Sequence[pathlib.Path]) -> Iterator[np.ndarray]:
    """Frames as uint8 [H, W, 3], all of `_frame_size`."""
    size = _frame_size(frames)
    for path in frames:
        with Image.open(path) as image:
            rgb = image.convert("RGB")
            yield np.asarray(rgb.resize(size, Image.Resampling.NEAREST))
