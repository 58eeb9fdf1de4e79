"""Decoders of picture files: transparent colours of every depth, limits, HEIC."""

import pathlib
import struct

import numpy as np
import pytest
from image_files import png_file, png_rows, save_image
from PIL import Image

from nst_jax import RequestError
from nst_jax.images.io import Sizing, read_image, read_picture


def transparent(path: pathlib.Path, shape: tuple[int, int]) -> list[bool]:
    _, alpha = read_picture(path, Sizing(), "picture", fill=False)
    assert alpha is not None and alpha.shape == shape
    assert np.isin(alpha, (0, 1)).all()
    return (alpha == 0).ravel().tolist()


@pytest.mark.parametrize("key", [0, 1, 255, 256, 20000, 65535])
def test_16_bit_grey_is_transparent_where_the_key_is(tmp_path, key: int):
    """Both bytes count: neither the upper nor the lower byte alone decides."""
    values = np.uint16([[0, 1, 2, 255, 256, 257, 20000, 20001, 65534, 65535]])
    trns = struct.pack(">H", key)
    path = png_file(tmp_path / "x.png", 10, 1, 16, 0, png_rows(values), tRNS=trns)
    assert transparent(path, (1, 10)) == (values == key).ravel().tolist()
    grey = np.where(values == key, 255, np.round(values / 257))
    np.testing.assert_array_equal(255 * read_image(path)[..., 0], grey)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_grey_of_few_bits_is_transparent_where_the_key_is(tmp_path, bits: int):
    """The key is a stored value, and the picture's are scaled to 255."""
    white = 2**bits - 1
    for key in range(0, white + 1, max(1, white // 15)):
        values = [key, white - key] * 4
        packed = np.packbits(
            [[value >> bit & 1 for bit in range(bits)[::-1]] for value in values]
        )
        path = png_file(
            *(tmp_path / "x.png", 8, 1, bits, 0),
            b"\0" + packed.tobytes(),
            tRNS=struct.pack(">H", key),
        )
        assert transparent(path, (1, 8)) == [value == key for value in values]


def test_rgb_is_transparent_where_the_key_is(tmp_path):
    for bits, kind in ((8, np.uint8), (16, np.uint16)):
        scale = 1 if bits == 8 else 257
        values = (np.array([[[5, 0, 9], [9, 0, 5], [5, 1, 9]]]) * scale).astype(kind)
        trns = struct.pack(">3H", *values[0, 0].tolist())
        path = png_file(tmp_path / "x.png", 3, 1, bits, 2, png_rows(values), tRNS=trns)
        assert transparent(path, (1, 3)) == [True, False, False]


def test_a_turned_picture_keeps_its_transparent_key(tmp_path):
    values = np.uint16([[7, 8, 9], [10, 11, 12]]) * 1000
    exif = Image.Exif()
    exif[0x112] = 6  # To be turned clockwise.
    path = tmp_path / "x.png"
    image = Image.fromarray(values)
    image.save(path, transparency=9000, exif=exif)
    actual = transparent(path, (3, 2))
    assert actual == (np.rot90(values, -1) == 9000).ravel().tolist()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 51, 255], [0, 51, 255]),
        ([0, 1, 1], [0, 255, 255]),
        ([0, 257, 65535], [0, 1, 255]),
        ([0, 2**30, 2**31 - 1], [0, 128, 255]),
        ([0, 0, 0], [0, 0, 0]),
    ],
    ids=["8 bits", "1 bit", "16 bits", "32 bits", "black"],
)
def test_the_white_of_32_bit_integers_follows_their_values(
    tmp_path, values: list, expected: list
):
    path = save_image(tmp_path / "x.tiff", np.int32([values]), "I")
    levels = np.round(255 * read_image(path)[0, :, 0]).tolist()
    assert levels == expected


def test_dark_16_bit_pictures_are_not_brightened(tmp_path):
    """The format states its depth."""
    values = np.uint16([[0, 100, 255]])
    for ending in ("png", "tiff"):
        path = save_image(tmp_path / f"x.{ending}", values, "I;16")
        assert np.round(255 * read_image(path)[0, :, 0]).tolist() == [0, 0, 1]


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_heic_names_its_plugin(tmp_path, brand: bytes):
    path = tmp_path / "photo.heic"
    path.write_bytes(struct.pack(">I", 24) + b"ftyp" + brand + bytes(12))
    with pytest.raises(RequestError, match="pillow-heif") as error:
        read_image(path, argument="content")
    message = str(error.value)
    assert (
        message.startswith("content: ")
        and "photo.heic" in message
        and "\n" not in message
    )


def test_size_0_is_the_size_of_the_file(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 9, 3), np.uint8)
    path = save_image(tmp_path / "x.png", picture, "RGB")
    np.testing.assert_array_equal(np.round(255 * read_image(path, 0)), picture)
    with pytest.raises(RequestError, match=r"at size 10, .* max_pixels=45: raise it"):
        read_image(path, 10, max_pixels=45)
