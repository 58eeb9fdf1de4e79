"""Decoding of image files: formats, size limits, bit depths and modes."""

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

#: Default of `max_pixels`: a larger image is probably a mistake or an attack.
MAX_PIXELS = 100_000_000

#: Accepted formats. Left out of Pillow's are containers of other formats, and formats
#: that Pillow passes to another program.
FORMATS = (
    *("AVIF", "BMP", "DDS", "DIB", "GIF", "ICNS", "ICO", "IM", "JPEG", "JPEG2000"),
    *("MPO", "MSP", "PCX", "PNG", "PPM", "QOI", "SGI", "SPIDER", "SUN", "TGA", "TIFF"),
    *("WEBP", "XBM"),
)

#: Formats that are films if a file holds several images. The pages of a TIFF and the
#: images of an MPO may differ in size and mode, so only their first one is read.
ANIMATED = ("AVIF", "GIF", "PNG", "WEBP")

#: Suffixes of HEIC files, and the brands in their first bytes.
_HEIC = (".heic", ".heif")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def list_pictures(folder: pathlib.Path) -> list[str]:
    """Return the names of a folder's image files in natural order, 2 before 10.

    Images are recognised by their suffix. Hidden files (".name") are left out.
    """
    suffixes = Image.registered_extensions()
    names = [
        file.name
        for file in folder.iterdir()
        if (suffix := file.suffix.lower()) in _HEIC or suffixes.get(suffix) in FORMATS
        if not file.name.startswith(".") and file.is_file()
    ]
    return sorted(names, key=_natural_order)


def _natural_order(name: str) -> tuple[list[str | int], str]:
    """Return a sort key that compares runs of digits as numbers, and ignores case."""
    parts = re.split("([0-9]+)", name.casefold())  # Digits are at odd indices.
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def is_animated(path: pathlib.Path) -> bool:
    """Return whether a file is an animated GIF, WebP, APNG or AVIF."""
    try:
        with pillow_limit(None), Image.open(path, formats=ANIMATED) as image:
            return getattr(image, "is_animated", False)
    except Exception:  # Decoders raise any exception; reading the file reports it.
        return False


def open_animation(
    path: pathlib.Path, argument: str, max_pixels: int
) -> ImageFile.ImageFile:
    """Open an animation in memory, for `seek` and `decode_upright`.

    Raises:
      RequestError: it is broken or too large.
    """
    with decoding(path, argument, max_pixels):
        image = Image.open(io.BytesIO(path.read_bytes()), formats=ANIMATED)
        check_pixels(f"{argument}: {str(path)!r}", *image.size[::-1], max_pixels)
        return image


@contextlib.contextmanager
def decoding(path: pathlib.Path, argument: str, max_pixels: int) -> Iterator[None]:
    """Turn exceptions of Pillow on a file into a `RequestError`."""
    subject = f"{argument}: {str(path)!r}"
    if path.stat().st_size == 0:
        raise RequestError(f"{subject} is empty (0 bytes)")
    try:
        with warnings.catch_warnings(), pillow_limit(max_pixels):
            # Pillow warns of recoverable defects and of sizes, which are checked here.
            warnings.simplefilter("ignore")
            yield
    except RequestError:
        raise
    except Image.DecompressionBombError:
        raise RequestError(
            f"{subject} has more than max_pixels={max_pixels:,} pixels: raise it if "
            "the picture is intended"
        ) from None
    except Image.UnidentifiedImageError:
        raise RequestError(f"{subject} is {_describe_unidentified(path)}") from None
    except Exception as error:  # Decoders raise any exception on broken data.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RequestError(f"{subject} is a broken picture ({reason})") from None


@contextlib.contextmanager
def pillow_limit(pixels: int | None) -> Iterator[None]:
    """Set Pillow's global limit of pixels for a context."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = pixels
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _describe_unidentified(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        header = file.read(12)
    if header[4:8] == b"ftyp" and header[8:] in _HEIC_BRANDS:
        return (
            "HEIC, which needs the plugin pillow-heif: pip install pillow-heif, or "
            "save the picture as JPEG or PNG"
        )
    return "not a picture that Pillow can read"


@functools.cache
def formats() -> list[str]:
    """Return the `FORMATS` that this Pillow reads, and HEIF if its plugin exists."""
    Image.init()
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    return [name for name in (*FORMATS, "HEIF") if name in Image.OPEN]


def check_pixels(
    subject: str, height: int, width: int, max_pixels: int = MAX_PIXELS
) -> None:
    """Raise RequestError, beginning with `subject`, for more than `max_pixels`."""
    if height * width > max_pixels:
        raise RequestError(
            f"{subject} has {width}×{height} pixels, more than "
            f"max_pixels={max_pixels:,}: raise it if the picture is intended"
        )


def decode_upright(image: ImageFile.ImageFile) -> Image.Image:
    """Return a decoded copy with 8 bits a channel and the EXIF orientation applied.

    A transparent colour of another depth becomes an alpha channel, or is scaled as
    Pillow scales the pixels.
    """
    raw_mode = str(image.tile[0][3]) if image.format == "PNG" and image.tile else ""
    upright = ImageOps.exif_transpose(image)
    key = upright.info.get("transparency")
    if upright.mode.startswith("I;16") or upright.mode in ("I", "F"):
        # Pillow would clip values above 255 instead of scaling them.
        stored = np.asarray(upright)
        grey = _to_8_bits(stored, _white_levels(upright.mode, image.format))
        if isinstance(key, int):
            alpha = Image.fromarray(np.uint8(255 * (stored != key)))
            return Image.merge("LA", (grey, alpha))
        return grey
    if raw_mode in ("L;2", "L;4") and isinstance(key, int):
        upright.info["transparency"] = key * 255 // (2 ** int(raw_mode[2:]) - 1)
    elif raw_mode == "RGB;16B" and isinstance(key, tuple):
        upright.info["transparency"] = tuple(value >> 8 for value in key)
    return upright


def _white_levels(mode: str, file_format: str | None) -> tuple[int, ...]:
    """Return the possible values of white for deep grey, ascending."""
    if mode == "F":
        return 1, 255, 65535
    if mode == "I" and file_format == "TIFF":  # 32 bits, often partly used.
        return 1, 255, 65535, 2**31 - 1
    return (65535,)


def _to_8_bits(stored: np.ndarray, whites: tuple[int, ...]) -> Image.Image:
    """Return values as 8-bit grey. White is the least of `whites` that fits them.

    Overshoot of a resampling filter is clipped.
    """
    if not np.isfinite(stored).any():
        raise ValueError("it holds no finite number")
    values = np.nan_to_num(stored.astype(np.float64))
    brightest = values.max(initial=0)
    white = next((w for w in whites if brightest <= 2 * w), whites[-1])
    levels = np.round(np.clip(values / white, 0, 1) * 255)
    return Image.fromarray(levels.astype(np.uint8))
