"""Draw the masks in `samples/`, which pair regions of two photographs.

    python tools/draw_masks.py

The crockery of the coffee cup takes the style of the portrait's wall, and the table
that of the suit. The other regions (floor; face, flag and helmet) have colours that the
other mask lacks, so they give and take no style.
"""

import pathlib

import numpy as np
from PIL import Image, ImageDraw

SAMPLES = pathlib.Path(__file__).parents[1] / "samples"

Points = list[tuple[float, float]]

#: Suit and table, wall and crockery, and two unpaired colours.
RED, BLUE, GREEN, BLACK = "#ff0000", "#0000ff", "#00ff00", "#000000"

FLOOR: Points = [(0, 0), (152, 0), (0, 105)]
SPOON: Points = [(394, 80), (402, 68), (412, 66), (424, 72), (420, 98), (376, 240)]
SUIT: Points = [
    *((112, 207), (70, 240), (45, 280), (28, 380), (22, 440), (35, 512), (275, 512)),
    *((283, 440), (310, 390), (362, 350), (360, 310), (345, 270), (305, 240)),
    *((300, 270), (270, 290), (215, 295), (160, 275), (125, 240)),
]
WALL: Points = [
    *((62, 0), (390, 0), (375, 60), (370, 150), (345, 230), (350, 270), (300, 225)),
    *((270, 160), (300, 120), (300, 60), (270, 25), (230, 12), (190, 20), (153, 50)),
    *((152, 110), (175, 150), (125, 160), (97, 215), (80, 130)),
]


def ellipse(x: float, y: float, wide: float, high: float, degrees: float) -> Points:
    """Return an ellipse around (x, y) with two half axes, turned clockwise."""
    turn = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    angle = np.radians(degrees)
    across, down = wide * np.cos(turn), high * np.sin(turn)
    xs = x + np.cos(angle) * across - np.sin(angle) * down
    ys = y + np.sin(angle) * across + np.cos(angle) * down
    return list(zip(xs, ys, strict=True))


def draw_mask(
    size: tuple[int, int], ground: str, parts: list[tuple[str, Points]]
) -> Image.Image:
    """Draw polygons of flat colours, later ones over earlier ones."""
    mask = Image.new("RGB", size, ground)
    draw = ImageDraw.Draw(mask)
    for colour, points in parts:
        draw.polygon(points, fill=colour)
    return mask


def coffee() -> Image.Image:
    saucer, cup = ellipse(277, 221, 201, 168, 5), ellipse(290, 113, 118, 94, 3)
    parts = [(GREEN, FLOOR), (BLUE, saucer), (BLUE, cup), (BLUE, SPOON)]
    return draw_mask((600, 400), RED, parts)


def astronaut() -> Image.Image:
    return draw_mask((512, 512), BLACK, [(RED, SUIT), (BLUE, WALL)])


def main() -> None:
    for draw in (coffee, astronaut):
        draw().save(SAMPLES / f"{draw.__name__}_mask.png", optimize=True)


if __name__ == "__main__":
    main()
