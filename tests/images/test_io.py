"""Image files are read as displayed, or refused."""

import io
import pathlib
import pickle
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest
from image_files import png_file, png_rows, save_image
from pictures import smooth_picture
from PIL import Image, ImageCms, ImageFile

from nst_jax import RequestError
from nst_jax.images.image import fill_hidden, fitted_shape
from nst_jax.images.io import (
    RESAMPLERS,
    Sizing,
    read_array,
    read_image,
    read_picture,
    write_image,
)

RGB = np.round(smooth_picture(5, 6, 9) * 255).astype(np.uint8)
GREY = RGB[..., 0]
STEP = 1 / 255  # One level of 8 bits.


def levels(path: pathlib.Path, **options: object) -> np.ndarray:
    """Levels from 0 to 255 of a file as `read_image` returns it."""
    actual = read_image(path, **options)
    assert actual.dtype == np.float32
    assert actual.ndim == 3
    whole = np.round(actual * 255)
    np.testing.assert_array_equal(actual, whole.astype(np.float32) / 255)
    return whole.astype(int)


def stored_as(path: pathlib.Path) -> Image.Image:
    """The picture as Pillow finds it in the file."""
    with Image.open(path) as image:
        image.load()
        return image


def grey_levels(path: pathlib.Path) -> np.ndarray:
    actual = levels(path)
    assert (actual == actual[..., :1]).all()
    return actual[..., 0]


# Kinds of pictures.


@pytest.mark.parametrize("ending", ["png", "tiff", "bmp", "webp"])
def test_rgb_is_read_to_the_bit(tmp_path: pathlib.Path, ending: str):
    options = {"lossless": True} if ending == "webp" else {}
    path = save_image(tmp_path / f"x.{ending}", RGB, "RGB", **options)
    np.testing.assert_array_equal(levels(path), RGB)


def test_greyscale_is_three_equal_channels(tmp_path: pathlib.Path):
    path = save_image(tmp_path / "x.png", GREY, "L")
    np.testing.assert_array_equal(grey_levels(path), GREY)


def test_one_bit_is_black_and_white(tmp_path: pathlib.Path):
    bits = GREY > 127
    Image.fromarray(bits).save(tmp_path / "x.png")
    assert stored_as(tmp_path / "x.png").mode == "1"
    np.testing.assert_array_equal(grey_levels(tmp_path / "x.png"), bits * 255)


def palette_picture() -> tuple[Image.Image, np.ndarray, np.ndarray]:
    """(picture, indices, colours) of mode P with four colours."""
    colours = np.uint8([[255, 0, 0], [0, 128, 0], [10, 20, 30], [250, 240, 0]])
    indices = np.arange(24, dtype=np.uint8).reshape(4, 6) % 4
    image = Image.fromarray(indices, "L")
    image.putpalette(colours.ravel().tolist())
    return image, indices, colours


def test_a_palette_is_looked_up(tmp_path: pathlib.Path):
    image, indices, colours = palette_picture()
    image.save(tmp_path / "x.png")
    assert stored_as(tmp_path / "x.png").mode == "P"
    np.testing.assert_array_equal(levels(tmp_path / "x.png"), colours[indices])


@pytest.mark.parametrize("ending", ["png", "gif"])
def test_a_transparent_palette_entry_shows_white(tmp_path: pathlib.Path, ending: str):
    image, indices, colours = palette_picture()
    image.save(tmp_path / f"x.{ending}", transparency=2)
    expected = colours.copy()
    expected[2] = 255
    actual = levels(tmp_path / f"x.{ending}")
    np.testing.assert_array_equal(actual, expected[indices])


def over_white(values: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return (values * (alpha / 255.0) + 255 * (1 - alpha / 255.0)).round()


def test_a_palette_with_partial_transparency(tmp_path: pathlib.Path):
    image, indices, colours = palette_picture()
    alpha = np.uint8([0, 100, 200, 255])
    image.save(tmp_path / "x.png", transparency=alpha.tobytes())
    expected = over_white(colours, alpha[:, None])[indices]
    np.testing.assert_allclose(levels(tmp_path / "x.png"), expected, atol=1)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_composited_on_white(tmp_path: pathlib.Path, mode: str):
    values = RGB if mode == "RGBA" else GREY[..., None]
    alpha = np.linspace(0, 255, GREY.size).astype(np.uint8).reshape(*GREY.shape, 1)
    path = save_image(tmp_path / "x.png", np.concatenate([values, alpha], -1), mode)
    assert stored_as(path).mode == mode
    expected = over_white(values, alpha)
    actual = levels(path)
    np.testing.assert_allclose(actual, np.broadcast_to(expected, actual.shape), atol=1)
    assert (actual[0, 0] == 255).all()  # Fully transparent
    np.testing.assert_array_equal(actual[-1, -1], np.resize(values[-1, -1], 3))


def test_a_transparent_colour_is_white(tmp_path: pathlib.Path):
    """tRNS of an RGB picture names one transparent colour."""
    picture = RGB.copy()
    picture[0, 0] = 7, 8, 9
    Image.fromarray(picture).save(tmp_path / "x.png", transparency=(7, 8, 9))
    picture[0, 0] = 255
    np.testing.assert_array_equal(levels(tmp_path / "x.png"), picture)


def test_cmyk(tmp_path: pathlib.Path):
    """Ink darkens: each channel is (1 − its ink)(1 − black)."""
    pure = [[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 0, 0], [0, 0, 255, 0]]
    mixed = [[0, 0, 0, 255], [255, 255, 255, 0], [40, 90, 200, 0], [40, 90, 200, 99]]
    ink = np.uint8([pure, mixed])
    path = save_image(tmp_path / "x.tiff", ink, "CMYK")
    actual = levels(path)
    colours = [[255, 255, 255], [0, 255, 255], [255, 0, 255], [255, 255, 0]]
    np.testing.assert_array_equal(actual[0], colours)
    cmy, black = ink[..., :3] / 255, ink[..., 3:] / 255
    np.testing.assert_allclose(actual, 255 * (1 - cmy) * (1 - black), atol=1)


def test_a_cmyk_jpeg_is_not_inverted(tmp_path: pathlib.Path):
    """Adobe stores the inks of a JPEG upside down."""
    ink = np.broadcast_to(np.uint8([0, 200, 100, 0]), (16, 16, 4))
    path = save_image(tmp_path / "x.jpg", ink, "CMYK", quality=95)
    np.testing.assert_allclose(levels(path), np.full((16, 16, 3), (255, 55, 155)), 0, 3)


def test_16_bit_greyscale_is_scaled(tmp_path: pathlib.Path):
    deep = np.uint16([[0, 128, 129, 256, 300], [1000, 32768, 65407, 65408, 65535]])
    path = save_image(tmp_path / "x.png", deep, "I;16")
    assert stored_as(path).mode == "I;16"
    np.testing.assert_array_equal(grey_levels(path), np.round(deep / 257))
    assert grey_levels(path)[0].tolist() == [0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("colour", "channels"), [(2, 3), (6, 4), (4, 2)], ids=["RGB", "RGBA", "LA"]
)
def test_16_bit_colour(tmp_path: pathlib.Path, colour: int, channels: int):
    """Pillow keeps the upper byte."""
    deep = np.random.default_rng(0).integers(0, 2**16, (4, 5, channels), np.uint16)
    if channels in (2, 4):
        deep[..., -1] = 65535
    path = png_file(tmp_path / "x.png", 5, 4, 16, colour, png_rows(deep))
    values = deep[..., :3] if channels > 2 else deep[..., :1]
    actual = levels(path)
    np.testing.assert_allclose(
        actual, np.broadcast_to(values / 257, actual.shape), atol=1
    )


def test_32_bit_integers_are_read_as_16_bit_values(tmp_path: pathlib.Path):
    deep = np.int32([[-5, 0, 257, 65535, 70000]])
    path = save_image(tmp_path / "x.tiff", deep, "I")
    assert grey_levels(path).tolist() == [[0, 0, 1, 255, 255]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([-0.1, 0.25, 1.04], [0, 64, 255]),
        ([0.0, 127.6, 255.0], [0, 128, 255]),
        ([0.0, 256.0, 65535.0], [0, 1, 255]),
        ([np.nan, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 0.0, 0.0], [0, 0, 0]),
    ],
    ids=["to 1", "overshooting", "to 255", "to 65535", "NaN", "black"],
)
def test_float_greyscale(tmp_path: pathlib.Path, values: list, expected: list):
    """White is 1, 255 or 65535, the least that fits the values."""
    path = save_image(tmp_path / "x.tiff", np.float32([values]), "F")
    assert grey_levels(path).tolist() == [expected]


UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("mode", ["RGB", "I;16"])
def test_exif_orientation(tmp_path: pathlib.Path, orientation: int, mode: str):
    """By the standard's table of where row 0 and column 0 are displayed."""
    stored = RGB if mode == "RGB" else GREY.astype(np.uint16) * 257
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save_image(tmp_path / "x.png", stored, mode, exif=exif)
    actual = levels(path) if mode == "RGB" else grey_levels(path) * 257
    np.testing.assert_array_equal(actual, UPRIGHT[orientation](stored))


def test_exif_orientation_of_a_photograph(tmp_path: pathlib.Path):
    """A JPEG as a phone held upright writes it; `size` is that of the upright image."""
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = np.zeros((40, 80, 3), np.uint8)
    lying[:, :40] = 255, 0, 0  # The left of what is stored is the top of what is seen.
    path = save_image(tmp_path / "x.jpg", lying, "RGB", exif=exif, quality=95)
    actual = read_image(path, 40)
    assert actual.shape == (40, 20, 3)
    np.testing.assert_allclose(
        actual[:16], np.full((16, 20, 3), (1.0, 0, 0)), atol=0.02
    )
    np.testing.assert_allclose(actual[24:], 0, atol=0.02)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_a_wrong_orientation_is_ignored(tmp_path: pathlib.Path, orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save_image(tmp_path / "x.png", RGB, "RGB", exif=exif)
    np.testing.assert_array_equal(levels(path), RGB)


# Colour profiles.


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
#: sRGB whose red and green primaries have changed places, in its table of tags.
SWAPPED = (
    SRGB.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
)
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def test_an_srgb_profile_changes_nothing(tmp_path: pathlib.Path):
    path = save_image(tmp_path / "x.png", RGB, "RGB", icc_profile=SRGB)
    np.testing.assert_allclose(levels(path), RGB, atol=1)


PRIMARIES = np.uint8([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]])
SEEN = PRIMARIES[:, [1, 0, 2, 3]]


@pytest.mark.parametrize("ending", ["png", "tiff", "webp", "jpg"])
def test_a_profile_is_converted_to_srgb(tmp_path: pathlib.Path, ending: str):
    """The stored red is the green of the profile."""
    options = {"lossless": True} if ending == "webp" else {"quality": 95}
    stored = PRIMARIES.repeat(16, 0).repeat(16, 1)
    if ending == "jpg":
        options["subsampling"] = 0
    path = save_image(
        tmp_path / f"x.{ending}", stored, "RGB", icc_profile=SWAPPED, **options
    )
    seen = SEEN.repeat(16, 0).repeat(16, 1)
    np.testing.assert_allclose(levels(path), seen, atol=3 if ending == "jpg" else 1)


def test_a_profile_is_converted_behind_transparency(tmp_path: pathlib.Path):
    """White shows through in any profile."""
    alpha = np.uint8([[[255], [255], [255], [0]]])
    stored = np.concatenate([PRIMARIES, alpha], -1)
    stored[0, 3] = 9, 9, 9, 0
    path = save_image(tmp_path / "x.png", stored, "RGBA", icc_profile=SWAPPED)
    np.testing.assert_allclose(levels(path), SEEN, atol=1)


def test_the_profile_of_a_palette_is_converted(tmp_path: pathlib.Path):
    image, indices, _ = palette_picture()
    image.putpalette(PRIMARIES.ravel().tolist())
    image.save(tmp_path / "x.png", icc_profile=SWAPPED)
    np.testing.assert_allclose(levels(tmp_path / "x.png"), SEEN[0][indices], atol=1)


@pytest.mark.parametrize(
    "profile",
    [b"no profile", SRGB[:200], b"\0" * 500, LAB],
    ids=["text", "cut short", "zeros", "of another colour space"],
)
def test_a_broken_profile_is_ignored(tmp_path: pathlib.Path, profile: bytes):
    path = save_image(tmp_path / "x.png", RGB, "RGB", icc_profile=profile)
    np.testing.assert_array_equal(levels(path), RGB)


def test_an_rgb_profile_on_greyscale_is_ignored(tmp_path: pathlib.Path):
    path = save_image(tmp_path / "x.png", GREY, "L", icc_profile=SWAPPED)
    np.testing.assert_array_equal(grey_levels(path), GREY)


# Files of more than one picture, or with more than one way to store it.


@pytest.mark.parametrize("ending", ["gif", "png", "webp", "tiff"])
def test_an_animation_gives_its_first_frame(tmp_path: pathlib.Path, ending: str):
    frames = [
        Image.new("RGB", (5, 4), colour) for colour in ("red", "lime", "blue", "white")
    ]
    options = {"lossless": True} if ending == "webp" else {}
    frames[0].save(
        tmp_path / f"x.{ending}", save_all=True, append_images=frames[1:], **options
    )
    with Image.open(tmp_path / f"x.{ending}") as animation:
        assert animation.n_frames == 4
    expected = np.broadcast_to([255, 0, 0], (4, 5, 3))
    np.testing.assert_array_equal(levels(tmp_path / f"x.{ending}"), expected)


def test_a_progressive_jpeg_is_the_same_picture(tmp_path: pathlib.Path):
    picture = Image.fromarray((smooth_picture(6, 40, 50) * 255).astype(np.uint8))
    picture.save(tmp_path / "baseline.jpg", quality=90)
    picture.save(tmp_path / "progressive.jpg", quality=90, progressive=True)
    assert stored_as(tmp_path / "progressive.jpg").info["progressive"]
    np.testing.assert_array_equal(
        levels(tmp_path / "progressive.jpg"), levels(tmp_path / "baseline.jpg")
    )


def test_the_suffix_of_the_name_is_ignored(tmp_path: pathlib.Path):
    path = save_image(tmp_path / "x.png", RGB, "RGB")
    path = path.rename(tmp_path / "x.jpg")
    np.testing.assert_array_equal(levels(path), RGB)


def test_a_path_is_searched_in_the_working_directory_and_the_project(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    sample = read_image("samples/chelsea.png")
    assert sample.shape == (300, 451, 3)
    (tmp_path / "samples").mkdir()
    save_image(tmp_path / "samples" / "chelsea.png", RGB, "RGB")
    np.testing.assert_array_equal(levels(pathlib.Path("samples/chelsea.png")), RGB)


# Sizes.


@pytest.mark.parametrize(
    ("width", "height", "size", "shape"),
    [
        (90, 60, 30, (20, 30)),
        (60, 90, 30, (30, 20)),
        (50, 50, 30, (30, 30)),
        (30, 20, 90, (60, 90)),
        (451, 300, 64, (43, 64)),
        (100, 67, 50, (34, 50)),
        (100, 66, 50, (33, 50)),
        (1000, 1, 64, (1, 64)),
        (1, 1000, 64, (64, 1)),
        (1000, 12, 64, (1, 64)),
        (1, 1, 64, (64, 64)),
        (90, 60, 1, (1, 1)),
        (90, 60, None, (60, 90)),
    ],
    ids=lambda value: str(value),
)
def test_size_is_the_longer_side(
    tmp_path: pathlib.Path, width: int, height: int, size: int | None, shape: tuple
):
    """The shorter side is rounded, to at least one pixel."""
    Image.new("RGB", (width, height), (10, 20, 30)).save(tmp_path / "x.png")
    actual = levels(tmp_path / "x.png", size=size)
    np.testing.assert_array_equal(actual, np.broadcast_to([10, 20, 30], (*shape, 3)))


def test_fitted_shape_hits_the_long_side_and_nearly_the_aspect():
    rng = np.random.default_rng(0)
    for height, width, size in rng.integers(1, 5000, (500, 3)).tolist():
        fitted = fitted_shape(height, width, size)
        assert max(fitted) == size
        exact = size * min(height, width) / max(height, width)
        assert abs(min(fitted) - max(exact, 1)) <= 0.5
        assert (fitted[0] >= fitted[1]) == (height >= width) or fitted[0] == fitted[1]


@pytest.mark.parametrize(
    ("fit", "shape"), [("long", (30, 60)), ("short", (60, 120)), ("area", (42, 85))]
)
def test_fit_names_the_length_that_size_means(
    tmp_path: pathlib.Path, fit: str, shape: tuple
):
    Image.new("RGB", (200, 100)).save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png", 60, fit=fit).shape == (*shape, 3)


@pytest.mark.parametrize(
    ("fit", "measured"),
    [("long", max), ("short", min), ("area", lambda h, w: (h * w) ** 0.5)],
)
def test_every_fit_hits_its_size_and_keeps_the_aspect_to_a_pixel(
    fit: str, measured: Callable[[float, float], float]
):
    rng = np.random.default_rng(0)
    for height, width, size in rng.integers(1, 5000, (500, 3)).tolist():
        fitted = fitted_shape(height, width, size, fit)
        scale = size / measured(height, width)
        for side, exact in zip(fitted, (height * scale, width * scale), strict=True):
            assert abs(side - max(exact, 1)) <= 0.5 + 1e-9
        if fit != "area":
            assert measured(*fitted) == size
        assert fitted_shape(width, height, size, fit) == fitted[::-1]


def test_a_quarter_of_a_megapixel_is_size_500():
    height, width = fitted_shape(3000, 4000, 500, "area")
    assert height * width == pytest.approx(250_000, rel=2e-3)


def test_a_picture_of_the_requested_size_is_not_resampled(tmp_path: pathlib.Path):
    path = save_image(tmp_path / "x.png", RGB, "RGB")
    np.testing.assert_array_equal(levels(path, size=9), RGB)


@pytest.mark.parametrize("name", RESAMPLERS)
@pytest.mark.parametrize("size", [30, 150])
def test_a_filter_is_pillows_own(tmp_path: pathlib.Path, name: str, size: int):
    picture = Image.fromarray((smooth_picture(7, 60, 90) * 255).astype(np.uint8))
    picture.save(tmp_path / "x.png")
    wanted = picture.resize(
        (size, size * 60 // 90), getattr(Image.Resampling, name.upper())
    )
    actual = levels(tmp_path / "x.png", size=size, resample=name)
    np.testing.assert_array_equal(actual, np.asarray(wanted))


def test_transparency_is_composited_before_resizing(tmp_path: pathlib.Path):
    """Otherwise colours of hidden pixels would bleed into visible ones."""
    stored = np.zeros((40, 40, 4), np.uint8)
    stored[:, 20:] = 255, 255, 255, 255
    path = save_image(tmp_path / "x.png", stored, "RGBA")
    np.testing.assert_array_equal(levels(path, size=10), 255)


# Filled: hidden pixels have the nearest solid colour.


def test_a_hidden_pixel_has_the_colour_of_the_nearest_solid_one():
    """By brute force over all pixels; faint pixels are no source and stay."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, 15, 3), np.uint8)
    alpha = rng.choice(np.uint8([0, 0, 0, 3, 60, 100, 200]), (12, 15))
    actual = fill_hidden(pixels, alpha)
    places = np.argwhere(alpha >= 100)
    for y, x in np.ndindex(12, 15):
        if alpha[y, x] > 200 / 32:
            np.testing.assert_array_equal(actual[y, x], pixels[y, x])
            continue
        distances = ((places - (y, x)) ** 2).sum(1)
        nearest = places[distances == distances.min()]
        assert any((actual[y, x] == pixels[tuple(p)]).all() for p in nearest)
    changed = np.where(alpha[..., None] <= 3, 255 - pixels, pixels)
    np.testing.assert_array_equal(fill_hidden(changed, alpha), actual)


@pytest.mark.parametrize(
    "kind", ["RGBA.png", "LA.png", "P.png", "P.gif", "key.png", "RGBA.webp"]
)
def test_hidden_colours_of_every_kind_of_transparency_are_filled(
    tmp_path: pathlib.Path, kind: str
):
    """Before resizing, so that they do not mix with visible pixels."""
    path = tmp_path / kind
    hidden = np.arange(40) < 20
    alpha = np.broadcast_to(np.uint8(np.where(hidden, 0, 255)), (40, 40))
    if kind.startswith("RGBA"):
        stored = np.full((40, 40, 4), (255, 255, 255, 0), np.uint8)
        stored[:, ~hidden] = 200, 100, 50, 255
        options = {"lossless": True, "exact": True} if kind.endswith("webp") else {}
        save_image(path, stored, "RGBA", **options)
        wanted = [200, 100, 50]
    elif kind == "LA.png":
        grey = np.where(hidden, 255, 90).astype(np.uint8)
        save_image(path, np.stack([np.broadcast_to(grey, (40, 40)), alpha], -1), "LA")
        wanted = [90, 90, 90]
    elif kind == "key.png":
        rgb = np.where(hidden[:, None], [255, 0, 255], [10, 20, 30]).astype(np.uint8)
        image = Image.fromarray(np.broadcast_to(rgb, (40, 40, 3)).copy())
        image.save(path, transparency=(255, 0, 255))
        wanted = [10, 20, 30]
    else:
        image = Image.fromarray(np.uint8(alpha // 255), "L")
        image.putpalette([255, 255, 255, 9, 80, 200])
        image.save(path, transparency=0)
        wanted = [9, 80, 200]
    actual = levels(path, size=10, fill=True)
    np.testing.assert_array_equal(actual, np.broadcast_to(wanted, (10, 10, 3)))
    visible = np.where(np.arange(10) < 5, 0, 1)
    np.testing.assert_array_equal(
        read_picture(path, Sizing(10), "picture")[1], np.broadcast_to(visible, (10, 10))
    )


def test_filling_a_picture_that_is_opaque_changes_nothing(tmp_path: pathlib.Path):
    path = save_image(
        tmp_path / "x.png", np.dstack([RGB, np.full_like(GREY, 255)]), "RGBA"
    )
    np.testing.assert_array_equal(levels(path, fill=True), RGB)


def test_a_fully_transparent_picture_is_refused(tmp_path: pathlib.Path):
    path = save_image(tmp_path / "x.png", np.dstack([RGB, np.zeros_like(GREY)]), "RGBA")
    assert (levels(path) == 255).all()
    with pytest.raises(RequestError, match="x.png' is fully transparent"):
        levels(path, fill=True)


# Written.


def test_a_written_picture_is_read_again(tmp_path: pathlib.Path):
    picture = smooth_picture(8, 20, 30)
    write_image(tmp_path / "x.png", picture)
    actual = read_image(tmp_path / "x.png")
    np.testing.assert_array_equal(actual, np.round(picture * 255).astype("f4") / 255)
    write_image(tmp_path / "again.png", actual)
    np.testing.assert_array_equal(read_image(tmp_path / "again.png"), actual)
    bytes_written = (tmp_path / "x.png").read_bytes()
    assert (tmp_path / "again.png").read_bytes() == bytes_written


def test_values_outside_the_gamut_are_clipped_and_nan_is_black(tmp_path: pathlib.Path):
    values = np.float32([-0.3, 1.4, np.nan, np.inf, -np.inf, 0.5])
    write_image(tmp_path / "x.png", np.repeat(values[None, :, None], 3, -1))
    assert grey_levels(tmp_path / "x.png").tolist() == [[0, 255, 0, 255, 0, 128]]


def test_a_jax_array_is_written(tmp_path: pathlib.Path):
    write_image(tmp_path / "x.png", jnp.asarray(RGB, jnp.float32) / 255)
    np.testing.assert_array_equal(levels(tmp_path / "x.png"), RGB)


# Arrays.


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_is_read_to_the_bit(tmp_path: pathlib.Path, dtype: str, order: str):
    """Values outside [0, 1] too."""
    array = np.asarray(smooth_picture(9, 4, 5) * 3 - 1, dtype, order=order)
    np.save(tmp_path / "x.npy", array)
    actual = read_array(tmp_path / "x.npy")
    assert actual.dtype == np.float32
    assert actual.flags.c_contiguous
    np.testing.assert_array_equal(actual, array.astype(np.float32))


PICTURE = smooth_picture(9, 4, 5)


def with_value(value: float, dtype: str = "f4") -> np.ndarray:
    array = PICTURE.astype(dtype)
    array[1, 2, 0] = value
    return array


NO_PICTURES = {
    "rank 2": (PICTURE[..., 0], r"holds float32 \[4, 5\], wanted float \[H, W, 3\]"),
    "rank 4": (PICTURE[None], r"holds float32 \[1, 4, 5, 3\], wanted float"),
    "two channels": (PICTURE[..., :2], r"holds float32 \[4, 5, 2\], wanted float"),
    "no rows": (PICTURE[:0], "not a NumPy array file|wanted float"),
    "scalar": (np.float32(1), r"holds float32 \[\], wanted float"),
    "bytes": (RGB, r"holds uint8 \[6, 9, 3\], wanted float"),
    "complex": (PICTURE.astype("c8"), r"holds complex64 \[4, 5, 3\], wanted float"),
    "bool": (PICTURE > 0.5, r"holds bool \[4, 5, 3\], wanted float"),
    "NaN": (with_value(np.nan), "holds NaN or infinity"),
    "infinity": (with_value(-np.inf), "holds NaN or infinity"),
    "beyond float32": (with_value(1e300, "f8"), "holds NaN or infinity"),
    "objects": (PICTURE.astype(object), "not a NumPy array file .*Python objects"),
}


@pytest.mark.parametrize(("array", "message"), NO_PICTURES.values(), ids=NO_PICTURES)
def test_an_array_of_another_shape_or_type_is_refused(
    tmp_path: pathlib.Path, array, message: str
):
    np.save(tmp_path / "x.npy", array)
    assert_refused(lambda p: read_array(p, argument="start"), tmp_path, "npy", message)


class Trap:
    """Raises when it is unpickled."""

    def __reduce__(self) -> tuple:
        return pytest.fail, ("a pickle was loaded",)


def test_a_pickle_is_not_loaded(tmp_path: pathlib.Path):
    np.save(tmp_path / "x.npy", np.array([Trap()], object), allow_pickle=True)
    assert_refused(lambda p: read_array(p, argument="start"), tmp_path, "npy", "object")
    (tmp_path / "x.npy").write_bytes(pickle.dumps(Trap()))
    assert_refused(lambda p: read_array(p, argument="start"), tmp_path, "npy", "magic")


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, array)
    return buffer.getvalue()


NO_ARRAYS = {
    "empty": b"",
    "text": b"not an array",
    "cut short": npy(PICTURE)[:-1],
    "cut in its header": npy(PICTURE)[:20],
    "no tuple": npy(PICTURE).replace(b"(4, 5, 3)", b"(4, 5, 3"),
    "negative": npy(PICTURE).replace(b"(4, 5, 3)", b"(-4,-5,3)"),
    "no dtype": npy(PICTURE).replace(b"'<f4'", b"'<q9'"),
    "promising too much": npy(PICTURE).replace(
        b"(4, 5, 3), }        ", b"(9999999,9999999,3)}"
    ),
    "npz": npz(PICTURE),
}


@pytest.mark.parametrize("content", NO_ARRAYS.values(), ids=NO_ARRAYS)
def test_a_file_without_an_array_is_refused(tmp_path: pathlib.Path, content: bytes):
    (tmp_path / "x.npy").write_bytes(content)
    message = "is not a NumPy array file"
    assert_refused(lambda p: read_array(p, argument="start"), tmp_path, "npy", message)


# Refused.


def assert_refused(
    read: Callable, folder: pathlib.Path, ending: str, message: str
) -> None:
    """One line that begins with the argument and names the file."""
    path = folder / f"x.{ending}"
    with pytest.raises(RequestError, match=message) as caught:
        read(path)
    sentence = str(caught.value)
    assert sentence.startswith(("start", "content"))
    assert repr(str(path)) in sentence
    assert len(sentence.splitlines()) == 1
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def read_content(path: pathlib.Path) -> np.ndarray:
    return read_image(path, 64, argument="content")


def encoded(form: str, **options: object) -> bytes:
    """A picture of 90 × 60 px as the bytes of a file."""
    buffer = io.BytesIO()
    picture = Image.fromarray((smooth_picture(7, 60, 90) * 255).astype(np.uint8))
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def with_bad_crc(content: bytes) -> bytes:
    at = content.index(b"IDAT") + 100
    return content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]


UNREADABLE = "is a broken picture|is not a picture"
BROKEN = {
    "empty": ("png", b"", r"is empty \(0 bytes\)"),
    "text": ("jpg", b"no picture, but a text", "is not a picture that Pillow can read"),
    "signature only": ("png", b"\x89PNG\r\n\x1a\n", UNREADABLE),
    "PNG": ("png", half(encoded("PNG")), "is a broken picture .*truncated"),
    "PNG, wrong checksum": ("png", with_bad_crc(encoded("PNG")), "is a broken picture"),
    "JPEG": ("jpg", half(encoded("JPEG")), "is a broken picture .*truncated"),
    "progressive JPEG": (
        "jpg",
        half(encoded("JPEG", progressive=True)),
        "is a broken picture .*truncated",
    ),
    "GIF": ("gif", half(encoded("GIF")), "is a broken picture"),
    "TIFF": ("tiff", half(encoded("TIFF")), UNREADABLE),
    "WebP": ("webp", half(encoded("WEBP")), UNREADABLE),
    "BMP": ("bmp", half(encoded("BMP")), "is a broken picture"),
}


@pytest.mark.parametrize(("ending", "content", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused(
    tmp_path: pathlib.Path, ending: str, content: bytes, message: str
):
    (tmp_path / f"x.{ending}").write_bytes(content)
    assert_refused(read_content, tmp_path, ending, f"^content: .* ({message})")


def test_a_missing_file_suggests_its_neighbour(tmp_path: pathlib.Path):
    (tmp_path / "photo.png").touch()
    (tmp_path / "other.txt").touch()
    with pytest.raises(RequestError) as caught:
        read_image(tmp_path / "foto.png", argument="styles[1]")
    path = str(tmp_path / "foto.png")
    assert str(caught.value) == (
        f"styles[1]: no file {path!r}; did you mean 'photo.png'?"
    )


@pytest.mark.parametrize(
    "path",
    ["nowhere/near/x.png", "x" * 400, "\0", "x\ny.png", "launch.py/x.png"],
    ids=["no folder", "too long", "NUL", "two lines", "below a file"],
)
def test_a_path_without_a_file_is_refused(path: str):
    with pytest.raises(RequestError, match=r"^content: no file ") as caught:
        read_content(pathlib.Path(path))
    assert len(str(caught.value).splitlines()) == 1


def test_a_folder_is_refused(tmp_path: pathlib.Path):
    (tmp_path / "x.png").mkdir()
    assert_refused(read_content, tmp_path, "png", "is a folder, wanted a file")


def test_an_empty_path_is_refused():
    with pytest.raises(RequestError, match=r"^content is empty, wanted the path"):
        read_image("", argument="content")


@pytest.fixture
def _no_pixel_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: ImageFile.ImageFile) -> None:
        pytest.fail("decoding began")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)


@pytest.mark.usefixtures("_no_pixel_is_decoded")
@pytest.mark.parametrize(
    ("width", "height"),
    [(100_000, 100_000), (2**31 - 1, 2**31 - 1), (12_000, 9_000), (100_000_001, 1)],
    ids=lambda value: str(value),
)
def test_a_decompression_bomb_is_refused(
    tmp_path: pathlib.Path,
    recwarn: pytest.WarningsRecorder,
    width: int,
    height: int,
):
    """The size in the header suffices to refuse it."""
    data = b"\0" * 10_000
    png_file(tmp_path / "x.png", width, height, 8, 2, data)
    assert_refused(read_content, tmp_path, "png", "more than max_pixels=100,000,000")
    assert not recwarn.list  # Pillow's own warning would be a second message.


def test_max_pixels_is_a_setting(tmp_path: pathlib.Path):
    path, pixels = save_image(tmp_path / "x.png", RGB, "RGB"), RGB[..., 0].size
    allowed = read_image(path, max_pixels=pixels)
    np.testing.assert_array_equal(255 * allowed, RGB)
    read = lambda path: read_image(  # noqa: E731
        path, argument="content", max_pixels=pixels - 1
    )
    sentence = r"has 9×6 pixels, more than max_pixels=53: raise it"
    assert_refused(read, tmp_path, "png", sentence)


def test_a_picture_above_the_limits_of_pillow_is_read(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    """Pillow refuses twice its own limit, whatever `max_pixels` allows."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    path = save_image(tmp_path / "x.png", np.dstack([RGB, RGB[..., :1]]), "RGBA")
    assert read_image(path).shape == (*RGB.shape[:2], 3)
    _, alpha = read_picture(path, Sizing(), "picture")
    assert alpha is not None
    assert Image.MAX_IMAGE_PIXELS == 10


def test_a_size_with_too_many_pixels_is_refused(tmp_path: pathlib.Path):
    save_image(tmp_path / "x.png", RGB, "RGB")
    read = lambda path: read_image(path, 90_000, argument="content")  # noqa: E731
    message = "at size 90000, .* has 90000×60000 pixels, more than"
    assert_refused(read, tmp_path, "png", message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": -3}, "size must be at least 0 pixels, got -3"),
        (
            {"size": 9, "fit": "lang"},
            "fit must be .*'lang'; did you mean 'long'?",
        ),
        ({"resample": "box"}, "resample must be one of .*'lanczos'.* got 'box'"),
    ],
    ids=["negative", "fit", "filter"],
)
def test_a_wrong_option_is_refused(options: dict, message: str):
    with pytest.raises(RequestError, match=message):
        read_image("samples/chelsea.png", **options)
