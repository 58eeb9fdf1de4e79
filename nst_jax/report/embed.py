"""Images and videos as data URLs, within the size budget of a page."""

import base64
import io
import math
import pathlib
from collections.abc import Sequence

from PIL import Image

from nst_jax.images.io import composite_on_white

#: Limits of the longer side of an embedded image in pixels.
LARGEST, SMALLEST = 1024, 48
#: Budget of a page for the images of all members: pixels, and characters.
_PIXELS, _CHARACTERS = 16_000_000, 11_000_000
_QUALITY = 92


def jpeg(path: pathlib.Path, side: int = LARGEST) -> str:
    """Return a PNG file as a JPEG data URL, its longer side at most `side`."""
    with Image.open(path, formats=("PNG",)) as image:
        picture = composite_on_white(image)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    # Chroma in full resolution: the page compares images pixel by pixel.
    picture.save(file, "JPEG", quality=_QUALITY, subsampling=0)
    return _data_url("image/jpeg", file.getvalue())


def jpegs(paths: Sequence[pathlib.Path]) -> list[str]:
    """Return PNG files as JPEG data URLs, as large as the budget allows."""
    side = min(LARGEST, math.isqrt(_PIXELS // max(len(paths), 1)))
    while True:
        urls = [jpeg(path, side) for path in paths]
        excess = sum(map(len, urls)) / _CHARACTERS
        if excess <= 1 or side == SMALLEST:
            return urls
        side = max(SMALLEST, int(0.95 * side / math.sqrt(excess)))


def mp4(path: pathlib.Path) -> str:
    """Return a video file as a data URL."""
    return _data_url("video/mp4", path.read_bytes())


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64," + base64.b64encode(content).decode()
