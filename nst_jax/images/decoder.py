"""Decoders of picture files: which formats, how large, of which depth and mode."""

import contextlib
import functools
import importlib
import io
import pathlib
import re
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageFile, ImageOps

from nst_jax.core.errors import RequestError

#: Default of `max_pixels`: a larger picture is probably a mistake or an attack.
MAX_PIXELS = 100_000_000

#: Kinds of picture that are read. Not all of Pillow's: some hold a picture of any kind,
#: and some are programs, which Pillow would have another program draw.
FORMATS = (
    *("AVIF", "BMP", "DDS", "DIB", "GIF", "ICNS", "ICO", "IM", "JPEG", "JPEG2000"),
    *("MPO", "MSP", "PCX", "PNG", "PPM", "QOI", "SGI", "SPIDER", "SUN", "TGA", "TIFF"),
    *("WEBP", "XBM"),
)

#: Formats that are films where a file holds several pictures. The pages of a TIFF and
#: the pictures of an MPO may be of any sizes and kinds: the first of them is a still.
ANIMATED = ("AVIF", "GIF", "PNG", "WEBP")

#: Names of HEIC files, and the brands by which their first bytes are known.
_HEIC = (".heic", ".heif")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def list_pictures(folder: pathlib.Path) -> list[str]:
    """Return the names of a folder's picture files in natural order, 2 before 10.

    A picture is known by its name's ending. Hidden files (".name") are left out.
    """
    endings = Image.registered_extensions()
    names = [
        file.name
        for file in folder.iterdir()
        if (ending := file.suffix.lower()) in _HEIC or endings.get(ending) in FORMATS
        if not file.name.startswith(".") and file.is_file()
    ]
    return sorted(names, key=_natural_order)


def _natural_order(name: str) -> tuple[list[str | int], str]:
    """A sort key that compares runs of digits as numbers, letters without case."""
    parts = re.split("([0-9]+)", name.casefold())  # Every other part is digits.
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def is_animated(path: pathlib.Path) -> bool:
    """Whether a file is an animated GIF, WebP, APNG or AVIF."""
    try:
        with pillow_limit(None), Image.open(path, formats=ANIMATED) as image:
            return getattr(image, "is_animated", False)
    except Exception:  # Decoders raise what they like; reading the file says it.
        return False


def open_animation(
    path: pathlib.Path, argument: str, max_pixels: int
) -> ImageFile.ImageFile:
    """Open an animated picture, held in memory, for `seek` and `decode_upright`.

    Raises:
      RequestError: it is broken or too large.
    """
    with decoding(path, argument, max_pixels):
        image = Image.open(io.BytesIO(path.read_bytes()), formats=ANIMATED)
        check_pixels(f"{argument}: {str(path)!r}", *image.size[::-1], max_pixels)
        return image


@contextlib.contextmanager
def decoding(path: pathlib.Path, argument: str, max_pixels: int) -> Iterator[None]:
    """A context in which what Pillow raises on a file becomes a `RequestError`."""
    if path.stat().st_size == 0:
        raise RequestError(f"{argument}: {str(path)!r} is empty (0 bytes)")
    try:
        with warnings.catch_warnings(), pillow_limit(max_pixels):
            # Pillow warns of oddities that it can read past, and of large sizes,
            # which are judged here.
            warnings.simplefilter("ignore")
            yield
    except RequestError:
        raise
    except Image.DecompressionBombError:
        raise RequestError(
            f"{argument}: {str(path)!r} has more than max_pixels={max_pixels:,} "
            "pixels: raise it, if the picture is meant"
        ) from None
    except Image.UnidentifiedImageError:
        raise RequestError(
            f"{argument}: {str(path)!r} is {_unidentified(path)}"
        ) from None
    except Exception as error:  # Decoders raise what they like on broken data.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RequestError(
            f"{argument}: {str(path)!r} is a broken picture ({reason})"
        ) from None


@contextlib.contextmanager
def pillow_limit(pixels: int | None) -> Iterator[None]:
    """A context with another limit of Pillow's own, which is a global variable."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = pixels
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _unidentified(path: pathlib.Path) -> str:
    """Describe a file that Pillow cannot read."""
    with path.open("rb") as file:
        start = file.read(12)
    if start[4:8] == b"ftyp" and start[8:] in _HEIC_BRANDS:
        return (
            "HEIC, which needs the plugin pillow-heif: pip install pillow-heif, or "
            "save the picture as JPEG or PNG"
        )
    return "not a picture that Pillow can read"


@functools.cache
def formats() -> list[str]:
    """Return the `FORMATS` that this Pillow reads, and HEIF if its plugin is there."""
    Image.init()
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    return [name for name in (*FORMATS, "HEIF") if name in Image.OPEN]


def check_pixels(
    subject: str, height: int, width: int, max_pixels: int = MAX_PIXELS
) -> None:
    """Raises RequestError, beginning with `subject`, for more than `max_pixels`."""
    if height * width > max_pixels:
        raise RequestError(
            f"{subject} has {width}×{height} pixels, more than "
            f"max_pixels={max_pixels:,}: raise it, if the picture is meant"
        )


def decode_upright(image: ImageFile.ImageFile) -> Image.Image:
    """A decoded copy of an open picture: 8 bits a channel, EXIF orientation applied.

    A transparent colour of a depth other than 8 bits becomes an alpha channel, or is
    scaled as Pillow scales the pixels.
    """
    packed = str(image.tile[0][3]) if image.format == "PNG" and image.tile else ""
    turned = ImageOps.exif_transpose(image)
    key = turned.info.get("transparency")
    if turned.mode.startswith("I;16") or turned.mode in ("I", "F"):
        # Pillow would clip what is above 255 instead of scaling it.
        stored = np.asarray(turned)
        grey = _grey(stored, _whites(turned.mode, image.format))
        if isinstance(key, int):
            alpha = Image.fromarray(np.uint8(255 * (stored != key)))
            return Image.merge("LA", (grey, alpha))
        return grey
    if packed in ("L;2", "L;4") and isinstance(key, int):
        turned.info["transparency"] = key * 255 // (2 ** int(packed[2:]) - 1)
    elif packed == "RGB;16B" and isinstance(key, tuple):
        turned.info["transparency"] = tuple(value >> 8 for value in key)
    return turned


def _whites(mode: str, file_format: str | None) -> tuple[int, ...]:
    """Return the values that may be white in more than 8 bits of grey, ascending."""
    if mode == "F":
        return 1, 255, 65535
    if mode == "I" and file_format == "TIFF":  # 32 bits, of which few may be used.
        return 1, 255, 65535, 2**31 - 1
    return (65535,)


def _grey(stored: np.ndarray, whites: tuple[int, ...]) -> Image.Image:
    """Values as 8-bit grey; white is the least of `whites` that fits them.

    What overshoots white, as a resampling filter does, is clipped.
    """
    if not np.isfinite(stored).any():
        raise ValueError("it holds no finite number")
    values = np.nan_to_num(stored.astype(np.float64))
    brightest = values.max(initial=0)
    white = next((w for w in whites if brightest <= 2 * w), whites[-1])
    levels = np.round(np.clip(values / white, 0, 1) * 255)
    return Image.fromarray(levels.astype(np.uint8))
