"""Pictures in and out, by Pillow."""

import hashlib
import io
import pathlib
import warnings

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
    pillow_limit,
)
from nst_jax.images.image import fill_hidden, fitted_shape, to_bytes

RESAMPLERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}


def file_sha256(path: pathlib.Path) -> str:
    """SHA-256 of a file's bytes."""
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
    """Reads a picture of any kind as a person sees it.

    The EXIF orientation is applied, an embedded colour profile is converted to
    sRGB, CMYK, palettes, greyscale, 16 and 32 bits become 8-bit RGB, what is
    transparent shows white behind it, and an animation, a TIFF of several pages or an
    MPO gives its first picture. HEIC needs the package pillow-heif.

    A run reads its pictures with `fill=True`: white behind a cut-out figure would
    otherwise reach every loss term through the receptive fields at its outline.

    Args:
      path: as `paths.find_file` finds it.
      size: what to resize to, in pixels; None or 0 keeps the file's size.
      fit: what `size` is: the "long" side, the "short" side, or the side of a
        square of the same "area".
      resample: Pillow's filter: "bilinear", "bicubic", "lanczos" or "nearest".
      argument: what the picture is for, to name in an error.
      max_pixels: most pixels that the file, and the picture after resizing, may have.
      fill: give a transparent pixel the colour of the nearest solid pixel instead of
        white, before resizing; see `image.fill_hidden`. Pixels that are transparent
        in part keep their own colour; `read_alpha` says how much they count for.

    Returns:
      float32 [H, W, 3], sRGB in [0, 1].

    Raises:
      RequestError: the file is missing, no picture, broken or too large,
        an option is none of those allowed, or `fill` is set and no pixel is visible.
    """
    if size is not None and size < 0:
        raise RequestError(f"size must be at least 0 pixels, got {size}")
    if resample not in RESAMPLERS:
        raise RequestError(
            f"resample must be one of {tuple(RESAMPLERS)}, got {resample!r}"
        )
    image = _open(find_file(argument, path), argument, fill, max_pixels)
    if size:
        subject = f"{argument}: at size {size}, {str(path)!r}"
        kept = {"fit": fit, "resample": resample, "subject": subject}
        image = resize_image(image, size, max_pixels=max_pixels, **kept)
    return np.asarray(image, np.float32) / 255


def resize_array(
    source: ArrayInput,
    size: int,
    *,
    fit: str,
    resample: str,
    argument: str,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Return a picture given as an array at the size that `read_image` gives a file's.

    uint8 is resized as a file of 8 bits is; other types channel by channel in float32,
    and clipped to [0, 1]. What is of that size already is not touched.

    Raises:
      RequestError: the array is no picture, or too large.
    """
    picture = np.asarray(as_picture(source.array, argument), np.float32)
    height, width, _ = picture.shape
    check_pixels(f"{argument}: the array", height, width, max_pixels)
    fitted = fitted_shape(height, width, size, fit) if size else (height, width)
    if fitted == (height, width):
        return picture
    height, width = fitted
    check_pixels(f"{argument}: at size {size}, the array", height, width, max_pixels)
    size_of_pillow, how = (width, height), RESAMPLERS[resample]
    if source.array.dtype == np.uint8:
        image = Image.fromarray(source.array).resize(size_of_pillow, how)
        return np.asarray(image, np.float32) / 255
    bands = [Image.fromarray(band) for band in np.moveaxis(picture, -1, 0).copy()]
    resized_bands = [np.asarray(band.resize(size_of_pillow, how)) for band in bands]
    return np.clip(np.stack(resized_bands, -1), 0, 1)


def read_alpha(path: str | pathlib.Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """How opaque a picture is that `read_image` can read.

    Args:
      path: as there.
      shape: (H, W) to resize to, first.

    Returns:
      float32 [H, W] from 0 to 1; None where all of it is opaque.
    """
    with warnings.catch_warnings(), pillow_limit(None):
        warnings.simplefilter("ignore")
        with Image.open(find_file("picture", path), formats=formats()) as image:
            opaque = not image.has_transparency_data
            return None if opaque else resize_alpha(decode_upright(image), shape)


def resize_alpha(image: Image.Image, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return an upright picture's alpha, float32 [H, W] at a shape; None if opaque."""
    if not image.has_transparency_data:
        return None
    alpha = image.convert("RGBA").getchannel("A")
    size = shape[1], shape[0]
    found = np.asarray(alpha.resize(size, Image.Resampling.BOX), np.float32) / 255
    return None if (found == 1).all() else found


def resize_image(
    image: Image.Image,
    size: int,
    *,
    fit: str,
    resample: str,
    subject: str,
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """A picture of Pillow's at another size, in the terms of `read_image`.

    Raises:
      RequestError: that would be too large; the sentence begins with `subject`.
    """
    height, width = fitted_shape(image.height, image.width, size, fit)
    check_pixels(subject, height, width, max_pixels)
    return image.resize((width, height), RESAMPLERS[resample])


def _open(
    path: pathlib.Path, argument: str, fill: bool, max_pixels: int
) -> Image.Image:
    """The picture as 8-bit RGB, decoded in full; `fill` as for `read_image`."""
    subject = f"{argument}: {str(path)!r}"
    with decoding(path, argument, max_pixels):
        with Image.open(path, formats=formats()) as image:
            check_pixels(subject, image.height, image.width, max_pixels)
            shown = decode_upright(image)
        # A decoder may have found another size than the header's.
        check_pixels(subject, shown.height, shown.width, max_pixels)
        return to_rgb(shown, subject, fill=fill)


def composite_on_white(image: Image.Image) -> Image.Image:
    """Return a picture as RGB, with white behind what is transparent in RGBA."""
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _filled(image: Image.Image, subject: str) -> Image.Image:
    """An RGBA picture as RGB, its transparent pixels filled."""
    alpha = np.asarray(image.getchannel("A"))
    if not alpha.any():
        raise RequestError(f"{subject} is fully transparent: no pixel is visible")
    if (alpha == 255).all():
        return image.convert("RGB")
    return Image.fromarray(fill_hidden(np.asarray(image.convert("RGB")), alpha))


def to_rgb(image: Image.Image, subject: str, *, fill: bool) -> Image.Image:
    """Convert a picture of `decoder.decode_upright` to 8-bit sRGB.

    Args:
      image: of any mode of 8 bits.
      subject: what an error begins with.
      fill: as for `read_image`; else white shows behind what is transparent.

    Raises:
      RequestError: `fill` is set and no pixel is visible.
    """
    if image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        opaque = _filled(image, subject) if fill else composite_on_white(image)
        return _in_srgb(opaque, image).convert("RGB")
    if image.mode == "P":
        image = image.convert("RGB")
    return _in_srgb(image, image).convert("RGB")


def _in_srgb(image: Image.Image, original: Image.Image) -> Image.Image:
    """`image` in sRGB, by the colour profile embedded in `original` if there is one."""
    profile = original.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "CMYK", "L", "RGBA"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image  # A profile that is broken or of another mode says nothing.
    return image if converted is None else converted


def write_image(
    path: str | pathlib.Path, image: ArrayLike, alpha: ArrayLike | None = None
) -> None:
    """Writes [H, W, 3] as 8 bits, in the format of the path's ending.

    Args:
      image: floats, whose white is 1, uint8 or uint16. It may be a result: what leaves
        [0, 1] is clipped, and NaN is black.
      alpha: [H, W], likewise, how opaque it is; None for all.

    Raises:
      RequestError: the image is of another type or shape, or half of its values are
        above 2, as on a scale of 0 to 255; or the path has no ending of a picture.
    """
    image = as_picture(image, "image", optimised=True, nan=True)
    if alpha is not None and np.shape(alpha) != image.shape[:2]:
        raise RequestError(
            f"alpha must be of the image's shape {list(image.shape[:2])}, got "
            f"{list(np.shape(alpha))}"
        )
    if pathlib.PurePath(path).suffix.lower() not in Image.registered_extensions():
        raise RequestError(
            f"path {str(path)!r} has no ending of a picture, as .png has"
        )
    save_image(path, image, alpha)


def save_image(
    path: str | pathlib.Path, image: ArrayLike, alpha: ArrayLike | None = None
) -> None:
    """Write a picture as `write_image` does, whatever its values are."""
    pixels = to_bytes(image)
    if alpha is not None:
        pixels = np.concatenate([pixels, to_bytes(alpha)[..., None]], -1)
    Image.fromarray(pixels).save(path)


def is_complete_png(path: pathlib.Path) -> bool:
    """Whether a file is there, and a PNG that was written whole."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.verify()
    except Exception:  # Decoders raise what they like on broken data.
        return False
    return True


def map_array(path: pathlib.Path) -> np.ndarray:
    """The array in a file, which stays there: what promises too much takes no memory.

    Raises:
      OSError: there is no file.
      ValueError: it is no array.
    """
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # A broken header can raise anything.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(reason) from None


def read_array(path: str | pathlib.Path, *, argument: str = "array") -> np.ndarray:
    """Reads a run's `final.npy`: float32 [H, W, 3], not clipped to [0, 1].

    Raises:
      RequestError: the file is missing, no such array, or holds NaN.
    """
    file = find_file(argument, path)
    try:
        stored = map_array(file)
    except (OSError, ValueError) as error:
        raise RequestError(
            f"{argument}: {str(path)!r} is not a NumPy array file ({error})"
        ) from None
    shape, kind = stored.shape, stored.dtype.kind
    if len(shape) != 3 or shape[2] != 3 or 0 in shape or kind != "f":
        raise RequestError(
            f"{argument}: {str(path)!r} holds {stored.dtype} {list(shape)}, "
            "wanted float [H, W, 3]"
        )
    with np.errstate(over="ignore"):
        array = np.array(stored, np.float32, order="C")
    if not np.isfinite(array).all():
        raise RequestError(f"{argument}: {str(path)!r} holds NaN or infinity")
    return array
