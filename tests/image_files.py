"""Image files written byte by byte or through Pillow."""

import pathlib
import struct
import zlib

import numpy as np
from PIL import Image


def save_image(path: pathlib.Path, array: np.ndarray, mode: str, **options: object):
    """Save an array as an image file of a Pillow mode; return its path."""
    height, width = array.shape[:2]
    data = np.ascontiguousarray(array).tobytes()
    Image.frombytes(mode, (width, height), data).save(path, **options)
    return path


def png_rows(array: np.ndarray) -> bytes:
    """Return the rows of an array as PNG stores them: big-endian, unfiltered."""
    big_endian = array.astype(array.dtype.newbyteorder(">"))
    return b"".join(b"\0" + row.tobytes() for row in big_endian)


def png_file(
    path: pathlib.Path,
    width: int,
    height: int,
    bits: int,
    colour: int,
    data: bytes = b"",
    **chunks: bytes,
) -> pathlib.Path:
    """Write a PNG chunk by chunk; `data` are its rows, each after a filter byte."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = {"IHDR": header, **chunks, "IDAT": zlib.compress(data), "IEND": b""}
    file = b"\x89PNG\r\n\x1a\n"
    for name, content in body.items():
        tagged = name.encode() + content
        crc = struct.pack(">I", zlib.crc32(tagged))
        file += struct.pack(">I", len(content)) + tagged + crc
    path.write_bytes(file)
    return path
