"""Pictures in and out, by Pillow."""

import hashlib
import io
import pathlib
import warnings

import numpy as np
from PIL import Image, ImageCms, ImageOps

from nst_jax.errors import RequestError, nearest
from nst_jax.image import fitted_shape

PROJECT = pathlib.Path(__file__).parent.parent

#: A picture of more pixels is refused: it is a mistake or an attack.
MAX_PIXELS = 100_000_000

RESAMPLERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}


def find_file(argument: str, path: str | pathlib.Path) -> pathlib.Path:
    """The file of that path, in the working directory or else in the project.

    Args:
      argument: what the path was given for, to name in the error.

    Raises:
      RequestError: nothing, or no file, is there.
    """
    candidates = [pathlib.Path(path), PROJECT / path]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    if any(candidate.is_dir() for candidate in candidates):
        raise RequestError(
            f"{argument}: {str(path)!r} is a folder, wanted a picture file"
        )
    neighbours = [
        p.name for c in candidates if c.parent.is_dir() for p in c.parent.iterdir()
    ]
    raise RequestError(
        f"{argument}: no file {str(path)!r}{nearest(pathlib.Path(path).name, neighbours)}"
    )


def file_sha256(path: pathlib.Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_image(
    path: str | pathlib.Path,
    size: int | None = None,
    *,
    resample: str = "lanczos",
    argument: str = "picture",
) -> np.ndarray:
    """Reads a picture of any kind as a person sees it.

    The EXIF orientation is applied, an embedded colour profile is converted to
    sRGB, CMYK, palettes, greyscale and 16 bits become 8-bit RGB, what is
    transparent shows white behind it, and an animation gives its first frame.

    Args:
      path: relative to the working directory, or else to the project.
      size: the longer side to resize to, in pixels; None keeps the file's size.
      resample: Pillow's filter: "bilinear", "bicubic", "lanczos" or "nearest".
      argument: what the picture is for, to name in an error.

    Returns:
      float32 [H, W, 3], sRGB in [0, 1].

    Raises:
      RequestError: the file is missing, no picture, broken or too large.
    """
    if size is not None and size < 1:
        raise RequestError(f"size must be at least 1 pixel, got {size}")
    if resample not in RESAMPLERS:
        raise RequestError(
            f"resample must be one of {tuple(RESAMPLERS)}, got {resample!r}"
        )
    image = _open(find_file(argument, path), argument)
    if size is not None:
        height, width = fitted_shape(image.height, image.width, size)
        if (width, height) != image.size:
            image = image.resize((width, height), RESAMPLERS[resample])
    return np.asarray(image, np.float32) / 255


def _open(path: pathlib.Path, argument: str) -> Image.Image:
    """The picture as 8-bit RGB, decoded in full."""
    if path.stat().st_size == 0:
        raise RequestError(f"{argument}: {str(path)!r} is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            # Pillow warns of oddities that it can read past, and of large sizes,
            # which are judged here.
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise RequestError(
                        f"{argument}: {str(path)!r} has {image.width}×{image.height} "
                        f"pixels, more than the {MAX_PIXELS:,} that are read"
                    )
                image.load()
                return _to_rgb(ImageOps.exif_transpose(image))
    except RequestError:
        raise
    except Image.DecompressionBombError as error:
        raise RequestError(
            f"{argument}: {str(path)!r} is too large ({error})"
        ) from None
    except Image.UnidentifiedImageError:
        raise RequestError(
            f"{argument}: {str(path)!r} is not a picture that Pillow can read"
        ) from None
    except Exception as error:  # Decoders raise what they like on broken data.
        raise RequestError(
            f"{argument}: {str(path)!r} is a broken picture ({error})"
        ) from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        # Pillow would clip what is above 255 instead of scaling it.
        values = np.asarray(image, np.float64)
        white = 1.0 if image.mode == "F" and values.max(initial=0) <= 1 else 65535.0
        grey = np.nan_to_num(np.clip(values / white, 0, 1))
        return Image.fromarray(np.round(grey * 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        backdrop = Image.new("RGBA", image.size, "white")
        return _in_srgb(Image.alpha_composite(backdrop, image), image).convert("RGB")
    return _in_srgb(image, image).convert("RGB")


def _in_srgb(image: Image.Image, original: Image.Image) -> Image.Image:
    """`image` in sRGB, by the colour profile embedded in `original` if there is one."""
    profile = original.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "CMYK", "L", "RGBA"):
        return image
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, srgb, outputMode=mode)
    except (ImageCms.PyCMSError, OSError):
        return image  # A profile that is broken or of another mode says nothing.
    return image if converted is None else converted


def write_image(path: str | pathlib.Path, image: np.ndarray) -> None:
    """Writes [H, W, 3] in [0, 1] as 8 bits, in the format of the path's ending.

    What leaves the gamut is clipped to it.
    """
    pixels = np.round(np.clip(np.nan_to_num(image), 0, 1) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(path)


def read_array(path: str | pathlib.Path, *, argument: str = "array") -> np.ndarray:
    """Reads a run's `final.npy`: float32 [H, W, 3], not clipped to [0, 1].

    Raises:
      RequestError: the file is missing, no such array, or holds NaN.
    """
    file = find_file(argument, path)
    try:
        array = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise RequestError(
            f"{argument}: {str(path)!r} is not a NumPy array file ({error})"
        ) from None
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype.kind != "f":
        raise RequestError(
            f"{argument}: {str(path)!r} holds {array.dtype} {list(array.shape)}, "
            "wanted float [H, W, 3]"
        )
    if not np.isfinite(array).all():
        raise RequestError(f"{argument}: {str(path)!r} holds NaN or infinity")
    return array.astype(np.float32)
