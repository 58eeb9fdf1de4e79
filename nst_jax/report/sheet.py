"""The contact sheet: pictures on a grid, each with its label."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from nst_jax.errors import RequestError
from nst_jax.image import to_bytes

_GAP = 8
_CAPTION = 20


def contact_sheet(
    images: Sequence[np.ndarray],
    labels: Sequence[str],
    *,
    columns: int | None = None,
    side: int = 384,
) -> Image.Image:
    """A sheet of pictures of one shape.

    Args:
      images: float [H, W, 3] in [0, 1]; what leaves the gamut is clipped.
      labels: one a picture, written under it.
      columns: pictures in a row; None for about as many as rows.
      side: the longer side of a picture on the sheet, at most, in pixels.
    """
    if len(images) == 0 or len(images) != len(labels):
        raise RequestError(
            f"a sheet needs a label for each picture and at least one; got "
            f"{len(images)} pictures and {len(labels)} labels"
        )
    columns = columns or math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    height, width = images[0].shape[:2]
    scale = min(1.0, side / max(height, width))
    cell = max(1, round(width * scale)), max(1, round(height * scale))
    step = cell[0] + _GAP, cell[1] + _CAPTION + _GAP
    sheet = Image.new(
        "RGB", (columns * step[0] + _GAP, rows * step[1] + _GAP), (24, 24, 27)
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        x, y = _GAP + i % columns * step[0], _GAP + i // columns * step[1]
        pixels = to_bytes(image)
        sheet.paste(
            Image.fromarray(pixels).resize(cell, Image.Resampling.LANCZOS), (x, y)
        )
        if draw.textlength(label, font) > cell[0]:
            while label and draw.textlength(label + "…", font) > cell[0]:
                label = label[:-1]
            label += "…"
        draw.text((x + 2, y + cell[1] + 3), label, fill=(212, 212, 216), font=font)
    return sheet
