"""The contact sheet: small pictures in a flow or on a grid, with their labels."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Mapping, Sequence

from jax.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFont

from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import as_picture
from nst_jax.core.validation import check_integer
from nst_jax.images.image import to_bytes
from nst_jax.images.io import composite_on_white
from nst_jax.report.run_directory import RunDirectory

_GAP = 8
_BACKGROUND, _EMPTY = (24, 24, 27), (52, 52, 58)
_INK, _FAINT = (228, 228, 231), (161, 161, 170)
#: What the widest sheet aims at, in pixels: beyond it cells get smaller.
_WIDTH = 4096
_SMALLEST, _LARGEST = 64, 384
#: Smaller pictures are enlarged to it, where there is room: captions want it too.
_LEGIBLE = 240


def contact_sheet(
    images: Sequence[ArrayLike],
    labels: Sequence[str],
    *,
    columns: int | None = None,
    side: int = _LARGEST,
) -> Image.Image:
    """A sheet of pictures, row by row; they may be of different shapes.

    Args:
      images: pictures [H, W, 3], or results, as `nst_jax.write_image` takes them.
      labels: one a picture, written under it.
      columns: pictures in a row; None for about as many as rows.
      side: the longer side of a picture on the sheet, at most, in pixels.

    Raises:
      RequestError: an image is none, there is not one label for each, or a number is
        less than 1.
    """
    if len(images) == 0 or len(images) != len(labels):
        raise RequestError(
            f"a sheet needs a label for each picture and at least one; got "
            f"{len(images)} pictures and {len(labels)} labels"
        )
    check_integer("columns", 1 if columns is None else columns, 1)
    check_integer("side", side, 1)
    checked = [
        as_picture(image, f"images[{i}]", optimised=True, nan=True)
        for i, image in enumerate(images)
    ]
    pictures = [_fitted(Image.fromarray(to_bytes(image)), side) for image in checked]
    return _flow(pictures, labels, columns or math.ceil(math.sqrt(len(images))))


def run_sheet(run: RunDirectory) -> Image.Image | None:
    """The members of a run along its axes; None while no member has a picture.

    The last axis is the columns, the one before it the rows, and each place along
    the others a block. With one axis or none the members flow.
    """
    if not any(member.picture for member in run.members):
        return None
    pages = run.pages()
    if len(run.axes) >= 2:
        across = _blocks_across(len(pages))
        columns = across * len(run.axes[-1].labels)
    else:
        columns = math.ceil(math.sqrt(len(run.members)))
    side = min(max(_WIDTH // columns - _GAP, _SMALLEST), _LARGEST)
    pictures = [
        _fitted(_opened(member.picture), side, min(side, _LEGIBLE))
        if member.picture
        else None
        for member in run.members
    ]
    if len(run.axes) < 2:
        return _flow(pictures, [member.caption for member in run.members], columns)
    rows, cols = run.axes[-2:]
    grid = _Grid(
        _cell(pictures),
        rows.labels,
        cols.labels,
        f"{rows.name} (down), {cols.name} (across)",
    )
    title = _line(grid.font) if len(pages) > 1 else 0
    step = grid.width + 3 * _GAP, grid.height + title + 3 * _GAP
    down = math.ceil(len(pages) / across)
    size = across * step[0] - _GAP, down * step[1] - _GAP
    sheet = Image.new("RGB", size, _BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    cells: dict[tuple[int, ...], dict[tuple[int, ...], Image.Image | None]] = {}
    for member, picture in zip(run.members, pictures, strict=True):
        cells.setdefault(member.index[:-2], {})[member.index[-2:]] = picture
    for i, page in enumerate(pages):
        x, y = _GAP + i % across * step[0], _GAP + i // across * step[1]
        if title:
            _write(pen, (x, y), run.page_title(page), grid.width, grid.font)
        grid.draw(sheet, (x, y + title), cells[page])
    return sheet


@dataclasses.dataclass(frozen=True)
class _Grid:
    """A block of cells with headers: its measures, and its drawing.

    Attributes:
      cell: (width, height) of a cell.
      corner: what the headers mean.
    """

    cell: tuple[int, int]
    rows: Sequence[str]
    columns: Sequence[str]
    corner: str

    @property
    def font(self) -> ImageFont.FreeTypeFont:
        return _font(max(self.cell))

    @property
    def gutter(self) -> int:
        """The width of the row labels, at most two cells."""
        widest = max(self.font.getlength(label) for label in self.rows)
        return min(math.ceil(widest), 2 * max(self.cell)) + _GAP

    @property
    def head(self) -> int:
        """The height of the line of the corner and of the column labels."""
        return 2 * _line(self.font)

    @property
    def width(self) -> int:
        return self.gutter + len(self.columns) * (self.cell[0] + _GAP)

    @property
    def height(self) -> int:
        return self.head + len(self.rows) * (self.cell[1] + _GAP)

    def draw(
        self,
        sheet: Image.Image,
        origin: tuple[int, int],
        pictures: Mapping[tuple[int, ...], Image.Image | None],
    ) -> None:
        """Draws the block with its upper left corner at `origin`.

        Args:
          pictures: (row, column) -> picture; what is missing leaves an empty cell.
        """
        pen, font, (width, height) = ImageDraw.Draw(sheet), self.font, self.cell
        left, top = origin[0] + self.gutter, origin[1] + self.head
        _write(pen, origin, self.corner, self.width, font, _FAINT)
        for c, label in enumerate(self.columns):
            x = left + c * (width + _GAP)
            _write(pen, (x, top - _line(font)), label, width, font)
        for r, label in enumerate(self.rows):
            y = top + r * (height + _GAP)
            middle = y + (height - _line(font)) // 2
            _write(pen, (origin[0], middle), label, self.gutter - _GAP, font)
            for c in range(len(self.columns)):
                x = left + c * (width + _GAP)
                _place(sheet, pictures.get((r, c)), (x, y), self.cell)


def _flow(
    pictures: Sequence[Image.Image | None], labels: Sequence[str], columns: int
) -> Image.Image:
    """Pictures row by row with a caption under each; None leaves an empty cell."""
    cell = _cell(pictures)
    font = _font(max(cell))
    step = cell[0] + _GAP, cell[1] + _line(font) + _GAP
    rows = math.ceil(len(pictures) / columns)
    size = columns * step[0] + _GAP, rows * step[1] + _GAP
    sheet = Image.new("RGB", size, _BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x, y = _GAP + i % columns * step[0], _GAP + i // columns * step[1]
        _place(sheet, picture, (x, y), cell)
        _write(pen, (x, y + cell[1]), label, cell[0], font)
    return sheet


def _opened(path: pathlib.Path) -> Image.Image:
    with Image.open(path) as image:
        return composite_on_white(image)


def _fitted(picture: Image.Image, most: int, least: int = 1) -> Image.Image:
    """The picture with its longer side from `least` to `most`, of the same shape."""
    longer = max(picture.size)
    scale = min(max(longer, least), most) / longer
    width, height = (max(1, round(length * scale)) for length in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def _cell(pictures: Sequence[Image.Image | None]) -> tuple[int, int]:
    """The least (width, height) that holds each of the pictures."""
    sizes = [picture.size for picture in pictures if picture]
    return max(width for width, _ in sizes), max(height for _, height in sizes)


def _place(
    sheet: Image.Image,
    picture: Image.Image | None,
    at: tuple[int, int],
    cell: tuple[int, int],
) -> None:
    """Pastes a picture into the middle of its cell, or outlines an empty one."""
    (x, y), (width, height) = at, cell
    if picture is None:
        box = x, y, x + width - 1, y + height - 1
        ImageDraw.Draw(sheet).rectangle(box, outline=_EMPTY)
    else:
        left, top = (width - picture.width) // 2, (height - picture.height) // 2
        sheet.paste(picture, (x + left, y + top))


@functools.cache
def _font(side: int) -> ImageFont.FreeTypeFont:
    """A font that suits cells of that side, with the letters of most scripts."""
    # Pillow's own has those of English alone.
    import matplotlib.font_manager

    path = matplotlib.font_manager.findfont("DejaVu Sans")
    return ImageFont.truetype(path, min(max(side // 16, 12), 20))


def _line(font: ImageFont.FreeTypeFont) -> int:
    """The height of a line of text."""
    return round(1.5 * font.size)


def _write(
    pen: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    width: int,
    font: ImageFont.FreeTypeFont,
    ink: tuple[int, int, int] = _INK,
) -> None:
    """Writes one line, cut with an ellipsis where it is wider than `width`."""
    text = text.replace("\n", " ")
    if font.getlength(text) > width:
        while text and font.getlength(text + "…") > width:
            text = text[:-1]
        text += "…"
    pen.text((at[0], at[1] + round(0.15 * font.size)), text, fill=ink, font=font)


def _blocks_across(count: int) -> int:
    """How many blocks lie side by side: a sheet that is wide, and full if it can be."""
    least = math.ceil(math.sqrt(count))
    return min(range(least, 2 * least), key=lambda across: (-count % across, across))
