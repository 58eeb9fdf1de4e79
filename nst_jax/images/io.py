"""Images read and written as files, by Pillow."""

import hashlib
import io
import pathlib
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from PIL import Image, ImageCms

from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import ArrayInput, as_picture
from nst_jax.core.paths import find_file as find_file
from nst_jax.images.decoder import (
    MAX_PIXELS,
    check_pixels,
    decode_upright,
    decoding,
    formats,
)
from nst_jax.images.image import fill_hidden, fitted_shape, to_bytes

RESAMPLERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}


def file_sha256(path: pathlib.Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_image(
    path: str | pathlib.Path,
    size: int | None = None,
    *,
    fit: str = "long",
    resample: str = "lanczos",
    argument: str = "picture",
    max_pixels: int = MAX_PIXELS,
    fill: bool = False,
) -> np.ndarray:
    """Read an image file as displayed.

    The EXIF orientation is applied, and an embedded colour profile is converted to
    sRGB. CMYK, palettes, greyscale, 16 and 32 bits become 8-bit RGB. An animation, a
    TIFF of several pages and an MPO give their first image. HEIC needs the package
    pillow-heif.

    Args:
      path: see `paths.find_file`; or an array, which keeps its bit depth.
      size: pixels, of the length that `fit` names; None or 0 keeps the file's size.
      fit: "long" side, "short" side, or "area": the side of a square of that area.
      resample: Pillow's filter, one of `RESAMPLERS`.
      argument: name of the image in errors.
      max_pixels: most pixels of the file, and of the resized image.
      fill: give transparent pixels the colour of the nearest solid pixel before
        resizing, see `fill_hidden`, instead of white. Runs set it: white would reach
        the loss through receptive fields at an outline.

    Returns:
      float32 [H, W, 3], sRGB in [0, 1].

    Raises:
      RequestError: the file is missing, no image, broken or too large, an option has an
        unknown value, or `fill` is set and no pixel is visible.
    """
    if size is not None and size < 0:
        raise RequestError(f"size must be at least 0 pixels, got {size}")
    if resample not in RESAMPLERS:
        raise RequestError(
            f"resample must be one of {tuple(RESAMPLERS)}, got {resample!r}"
        )
    sizing = Sizing(size or 0, fit, resample, max_pixels)
    return read_picture(path, sizing, argument, fill=fill)[0]


class Sizing(NamedTuple):
    """Size of an image to read; see the arguments of `read_image`."""

    size: int = 0
    fit: str = "long"
    resample: str = "lanczos"
    max_pixels: int = MAX_PIXELS

    def shape(self, height: int, width: int, subject: str) -> tuple[int, int]:
        """Return the (height, width) that an image gets.

        Raises:
          RequestError: it is too large. The message begins with `subject`.
        """
        if not self.size:
            return height, width
        height, width = fitted_shape(height, width, self.size, self.fit)
        check_pixels(subject, height, width, self.max_pixels)
        return height, width


def read_picture(
    path: str | pathlib.Path, sizing: Sizing, argument: str, *, fill: bool = True
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return an image as `read_image` does, and its opacity.

    The opacity is float32 [H, W], from 0 to 1; None if the image is opaque.
    """
    if isinstance(path, ArrayInput):
        return _read_array_input(path, sizing, argument), None
    file = find_file(argument, path)
    subject = f"{argument}: {str(file)!r}"
    with decoding(file, argument, sizing.max_pixels):
        with Image.open(file, formats=formats()) as opened:
            check_pixels(subject, opened.height, opened.width, sizing.max_pixels)
            decoded = decode_upright(opened)
        # The decoded size may differ from the header's.
        check_pixels(subject, decoded.height, decoded.width, sizing.max_pixels)
        at_size = f"{argument}: at size {sizing.size}, {str(path)!r}"
        return to_arrays(decoded, sizing, subject, at_size, fill=fill)


def to_arrays(
    image: Image.Image, sizing: Sizing, subject: str, at_size: str, *, fill: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return an image of `decode_upright` at a size, and its opacity.

    Args:
      image: the image.
      sizing: its size.
      subject: beginning of an error about the image.
      at_size: beginning of an error about its size.
      fill: as for `read_image`.
    """
    height, width = sizing.shape(image.height, image.width, at_size)
    rgb = _to_rgb(image, subject, fill=fill)
    rgb = rgb.resize((width, height), RESAMPLERS[sizing.resample])
    alpha = None
    if image.has_transparency_data:
        channel = image.convert("RGBA").getchannel("A")
        resized = channel.resize((width, height), Image.Resampling.BOX)
        alpha = np.asarray(resized, np.float32) / 255
    opaque = alpha is None or bool((alpha == 1).all())
    return np.asarray(rgb, np.float32) / 255, None if opaque else alpha


def _read_array_input(source: ArrayInput, sizing: Sizing, argument: str) -> np.ndarray:
    """Return an array image at the size that `read_image` gives a file's.

    uint8 is resized as a file of 8 bits. Other types are resized by channel in float32,
    and clipped to [0, 1]. An array of the right size is returned unchanged.
    """
    image = np.asarray(as_picture(source.array, argument), np.float32)
    height, width, _ = image.shape
    check_pixels(f"{argument}: the array", height, width, sizing.max_pixels)
    at_size = f"{argument}: at size {sizing.size}, the array"
    fitted = sizing.shape(height, width, at_size)
    if fitted == (height, width):
        return image
    pillow_size, resampler = fitted[::-1], RESAMPLERS[sizing.resample]
    if source.array.dtype == np.uint8:
        resized = Image.fromarray(source.array).resize(pillow_size, resampler)
        return np.asarray(resized, np.float32) / 255
    channels = [
        np.asarray(Image.fromarray(channel).resize(pillow_size, resampler))
        for channel in np.moveaxis(image, -1, 0).copy()
    ]
    return np.clip(np.stack(channels, -1), 0, 1)


def _to_rgb(image: Image.Image, subject: str, *, fill: bool) -> Image.Image:
    """Convert an image of `decode_upright` to 8-bit sRGB; `fill` as for `read_image`.

    Raises:
      RequestError: `fill` is set and no pixel is visible. The message begins with
        `subject`.
    """
    if image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    opaque = image
    if image.mode == "RGBA":
        opaque = _filled(image, subject) if fill else composite_on_white(image)
    elif image.mode == "P":
        opaque = image.convert("RGB")
    return _as_srgb(opaque, image.info.get("icc_profile")).convert("RGB")


def composite_on_white(image: Image.Image) -> Image.Image:
    """Return an image as RGB; an RGBA image is shown on white."""
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _filled(image: Image.Image, subject: str) -> Image.Image:
    """Return an RGBA image as RGB with its transparent pixels filled."""
    alpha = np.asarray(image.getchannel("A"))
    if not alpha.any():
        raise RequestError(f"{subject} is fully transparent: no pixel is visible")
    if (alpha == 255).all():
        return image.convert("RGB")
    return Image.fromarray(fill_hidden(np.asarray(image.convert("RGB")), alpha))


def _as_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert an image from an embedded colour profile to sRGB, if there is one."""
    if not profile or image.mode not in ("RGB", "CMYK", "L", "RGBA"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image  # The profile is broken, or of another mode.
    return image if converted is None else converted


def write_image(
    path: str | pathlib.Path, image: ArrayLike, alpha: ArrayLike | None = None
) -> None:
    """Write an image [H, W, 3] with 8 bits, in the format of the path's suffix.

    Args:
      path: file to write.
      image: floats with white at 1, uint8 or uint16. Results may leave [0, 1] and are
        clipped; NaN becomes black.
      alpha: opacity [H, W] of the same types; None for an opaque image.

    Raises:
      RequestError: the image has another type or shape, half of its values are above 2,
        as on a scale of 0 to 255, or the suffix is not that of an image.
    """
    image = as_picture(image, "image", optimised=True, nan=True)
    if alpha is not None and np.shape(alpha) != image.shape[:2]:
        raise RequestError(
            f"alpha must be of the image's shape {list(image.shape[:2])}, got "
            f"{list(np.shape(alpha))}"
        )
    if pathlib.PurePath(path).suffix.lower() not in Image.registered_extensions():
        raise RequestError(
            f"path must have the suffix of an image format, such as .png, got "
            f"{str(path)!r}"
        )
    save_image(path, image, alpha)


def save_image(
    path: str | pathlib.Path, image: ArrayLike, alpha: ArrayLike | None = None
) -> None:
    """Write an image as `write_image` does, without its checks."""
    pixels = to_bytes(image)
    if alpha is not None:
        pixels = np.concatenate([pixels, to_bytes(alpha)[..., None]], -1)
    Image.fromarray(pixels).save(path)


def is_complete_png(path: pathlib.Path) -> bool:
    """Return whether a file exists and is a complete PNG."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.verify()
    except Exception:  # Decoders raise any exception on broken data.
        return False
    return True


def map_array(path: pathlib.Path) -> np.ndarray:
    """Memory-map the array in a `.npy` file, so its size costs no memory.

    Raises:
      OSError: the file is missing.
      ValueError: the file holds no array.
    """
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # A broken header can raise any exception.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(reason) from None


def read_array(path: str | pathlib.Path, *, argument: str = "array") -> np.ndarray:
    """Read a run's `final.npy`: float32 [H, W, 3], not clipped to [0, 1].

    Raises:
      RequestError: the file is missing, no such array, or holds NaN or infinity.
    """
    subject = f"{argument}: {str(path)!r}"
    file = find_file(argument, path)
    try:
        stored = map_array(file)
    except (OSError, ValueError) as error:
        raise RequestError(f"{subject} is not a NumPy array file ({error})") from None
    shape, kind = stored.shape, stored.dtype.kind
    if len(shape) != 3 or shape[2] != 3 or 0 in shape or kind != "f":
        raise RequestError(
            f"{subject} holds {stored.dtype} {list(shape)}, wanted float [H, W, 3]"
        )
    with np.errstate(over="ignore"):
        array = np.array(stored, np.float32, order="C")
    if not np.isfinite(array).all():
        raise RequestError(f"{subject} holds NaN or infinity")
    return array
