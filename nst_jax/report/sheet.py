"""Contact sheets: small images in rows, or on the grid of a run's axes, with labels."""

import functools
import itertools
import math
from collections.abc import Sequence

from jax.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFont, ImageOps

from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import as_picture
from nst_jax.core.validation import check_integer
from nst_jax.images.image import to_bytes
from nst_jax.images.io import composite_on_white
from nst_jax.report.run_directory import Member, RunDirectory

_GAP = 8
_BACKGROUND, _EMPTY = (24, 24, 27), (52, 52, 58)
_INK, _FAINT = (228, 228, 231), (161, 161, 170)
#: Aimed width of the widest sheet in pixels: more columns get smaller images.
_WIDTH = 4096
#: Limits of the longer side of an image.
_SMALLEST, _LARGEST = 64, 384
#: Smaller images are enlarged to this side if there is room.
_LEGIBLE = 240
#: Vertical alignment of the images in a row of `_arrange`.
_TOP, _MIDDLE, _BOTTOM = 0.0, 0.5, 1.0

_Row = tuple[float, Sequence[Image.Image]]


def contact_sheet(
    images: Sequence[ArrayLike],
    labels: Sequence[str],
    *,
    columns: int | None = None,
    side: int = _LARGEST,
) -> Image.Image:
    """Return a sheet of images, row by row, with a label under each.

    Args:
      images: images [H, W, 3] of any shapes, or results, as for `write_image`.
      labels: one label for each image; long labels wrap.
      columns: images in a row; None for about as many as rows.
      side: longest side of an image on the sheet, in pixels.

    Raises:
      RequestError: an image is invalid, the numbers of images and labels differ or
        are 0, or a number is less than 1.
    """
    if len(images) == 0 or len(images) != len(labels):
        raise RequestError(
            f"contact_sheet needs at least one image and a label for each, got "
            f"{len(images)} images and {len(labels)} labels"
        )
    check_integer("columns", 1 if columns is None else columns, 1)
    check_integer("side", side, 1)
    thumbnails = []
    for i, image in enumerate(images):
        picture = as_picture(image, f"images[{i}]", optimised=True, nan=True)
        thumbnails.append(_resize(Image.fromarray(to_bytes(picture)), 1, side))
    columns = columns or math.isqrt(len(images) - 1) + 1
    return _flow(_as_cells(thumbnails), labels, columns)


def run_sheet(run: RunDirectory) -> Image.Image | None:
    """Return the sheet of a run; None while no member has an image.

    The last axis of the run makes the columns, the one before it the rows, and each
    setting of the other axes a block. With fewer than two axes the members flow.
    """
    if not any(member.picture for member in run.members):
        return None
    pages = run.pages()
    # A sheet that is wide, and whose last row is full if possible.
    least = math.ceil(math.sqrt(len(pages)))
    blocks_per_row = min(range(least, 2 * least), key=lambda n: (-len(pages) % n, n))
    columns = math.ceil(math.sqrt(len(run.members)))
    if len(run.axes) >= 2:
        columns = blocks_per_row * len(run.axes[-1].labels)
    side = min(max(_WIDTH // columns - _GAP, _SMALLEST), _LARGEST)
    cells = _as_cells([_thumbnail(member, side) for member in run.members])
    if len(run.axes) < 2:
        return _flow(cells, [member.caption for member in run.members], columns)
    by_index = {index: cells[m.number] for index, m in run.by_index.items()}
    blocks = [_block(run, page, by_index) for page in pages]
    return _frame(_BOTTOM, blocks, blocks_per_row, 3 * _GAP)


def _thumbnail(member: Member, side: int) -> Image.Image | None:
    if not member.picture:
        return None
    with Image.open(member.picture) as image:
        return _resize(composite_on_white(image), min(side, _LEGIBLE), side)


def _resize(image: Image.Image, smallest: int, largest: int) -> Image.Image:
    """Resize an image so that its longer side lies within limits."""
    longer = max(image.size)
    scale = min(max(longer, smallest), largest) / longer
    width, height = (max(1, round(length * scale)) for length in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _as_cells(thumbnails: Sequence[Image.Image | None]) -> list[Image.Image]:
    """Centre thumbnails in cells of one size; None becomes an outlined cell."""
    sizes = [thumbnail.size for thumbnail in thumbnails if thumbnail]
    size = max(width for width, _ in sizes), max(height for _, height in sizes)
    cells = []
    for thumbnail in thumbnails:
        cell = Image.new("RGB", size, _BACKGROUND)
        if thumbnail:
            left, top = (size[i] - thumbnail.size[i] for i in (0, 1))
            cell.paste(thumbnail, (left // 2, top // 2))
        cells.append(cell if thumbnail else _outline(size))
    return cells


def _outline(size: tuple[int, int]) -> Image.Image:
    cell = Image.new("RGB", size, _BACKGROUND)
    box = 0, 0, size[0] - 1, size[1] - 1
    ImageDraw.Draw(cell).rectangle(box, outline=_EMPTY)
    return cell


def _block(
    run: RunDirectory,
    page: tuple[int, ...],
    cells: dict[tuple[int, ...], Image.Image],
) -> Image.Image:
    """The grid of the last two axes at one setting of the others, with its labels."""
    row_axis, column_axis = run.axes[-2:]
    size = next(iter(cells.values())).size
    side = max(size)
    header = [_text(label, size[0], side) for label in ("", *column_axis.labels)]
    rows: list[_Row] = [(_BOTTOM, header)]
    for r, label in enumerate(row_axis.labels):
        indices = ((*page, r, c) for c in range(len(column_axis.labels)))
        row = [cells.get(index) or _outline(size) for index in indices]
        rows.append((_MIDDLE, [_text(label, 2 * side, side), *row]))
    grid = _arrange(rows, _GAP)
    names = f"{row_axis.name} (down), {column_axis.name} (across)"
    heads = [_text(names, grid.width, side, _FAINT)]
    if title := run.page_title(page):
        heads.insert(0, _text(title, grid.width, side))
    return _stack(*heads, grid)


def _flow(
    cells: Sequence[Image.Image], labels: Sequence[str], columns: int
) -> Image.Image:
    """Cells row by row, with a caption under each."""
    width, side = cells[0].width, max(cells[0].size)
    items = [
        _stack(cell, _text(label, width, side))
        for cell, label in zip(cells, labels, strict=True)
    ]
    return _frame(_TOP, items, columns, _GAP)


def _frame(
    alignment: float, images: Sequence[Image.Image], columns: int, gap: int
) -> Image.Image:
    """Images row by row, with a margin around."""
    rows = [
        (alignment, images[i : i + columns]) for i in range(0, len(images), columns)
    ]
    return ImageOps.expand(_arrange(rows, gap), _GAP, _BACKGROUND)


def _stack(*images: Image.Image) -> Image.Image:
    """Images below each other."""
    return _arrange([(_TOP, [image]) for image in images], 0)


def _arrange(rows: Sequence[_Row], gap: int) -> Image.Image:
    """Arrange images in rows and columns, each row with its vertical alignment."""
    columns = itertools.zip_longest(*(images for _, images in rows))
    widths = [max(image.width for image in column if image) for column in columns]
    heights = [max(image.height for image in images) for _, images in rows]
    lefts = [0, *itertools.accumulate(width + gap for width in widths)]
    tops = [0, *itertools.accumulate(height + gap for height in heights)]
    sheet = Image.new("RGB", (lefts[-1] - gap, tops[-1] - gap), _BACKGROUND)
    for (alignment, images), top, height in zip(rows, tops, heights, strict=False):
        for image, left in zip(images, lefts, strict=False):
            offset = round(alignment * (height - image.height))
            sheet.paste(image, (left, top + offset))
    return sheet


def _text(
    text: str, width: int, cell_side: int, ink: tuple[int, int, int] = _INK
) -> Image.Image:
    """An image of a text, wrapped to a width; the font suits the size of the cells."""
    font = _font(min(max(cell_side // 16, 12), 20))
    lines = _wrap(text, max(width, _SMALLEST), font)
    line_height = round(1.5 * font.size)
    size = math.ceil(max(map(font.getlength, lines))), line_height * len(lines)
    image = Image.new("RGB", size, _BACKGROUND)
    pen = ImageDraw.Draw(image)
    for i, line in enumerate(lines):
        pen.text((0, i * line_height + round(0.15 * font.size)), line, ink, font)
    return image


def _wrap(text: str, width: int, font: ImageFont.FreeTypeFont) -> list[str]:
    """Break a text into lines of at most `width` pixels, inside words if it must."""
    lines = [""]
    for word in text.split():
        if font.getlength(f"{lines[-1]} {word}".lstrip()) <= width:
            lines[-1] = f"{lines[-1]} {word}".lstrip()
            continue
        lines.append("")
        for letter in word:
            if font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines if lines[0] else lines[1:] or [""]


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which has the letters of most scripts; Pillow's font has not."""
    import matplotlib.font_manager  # A slow import.

    return ImageFont.truetype(matplotlib.font_manager.findfont("DejaVu Sans"), size)
