"""Paint the sample style images, reproducibly and without input files.

    python tools/paint_samples.py [--output=samples]

In each image, strokes, tiles and carved lines follow the contours of one scalar field.
This gives the coherent local structure that a style loss measures. Positions are
complex numbers x + iy in pixels of the finished image. The canvas is `SCALE` times as
fine and is reduced at the end, which smooths every edge.
"""

import argparse
import pathlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage, spatial

Array = npt.NDArray[np.float64]
Points = npt.NDArray[np.complex128]
Indices = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

WIDTH, HEIGHT, SCALE = 768, 576, 2
QUALITY = 92
#: Positions of the canvas pixels.
GRID: Points = (
    np.arange(0, WIDTH, 1 / SCALE) + 1j * np.arange(0, HEIGHT, 1 / SCALE)[:, None]
)


def palette(colours: str) -> Array:
    """Parse colours "rrggbb rrggbb ..." to rows in [0, 1]."""
    return np.array([list(bytes.fromhex(colour)) for colour in colours.split()]) / 255


def ramp(value: Array, colours: Array) -> Array:
    """Interpolate evenly spaced `colours` at `value` in [0, 1]."""
    stops = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(value, stops, part) for part in colours.T], axis=-1)


def ease(value: Array, low: float | Array, high: float | Array) -> Array:
    """Return a smooth step from 0 at `low` to 1 at `high`."""
    t: Array = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(below: Array, above: Array, share: Array | float) -> Array:
    """Blend the colour `above` over `below` with opacity `share`."""
    return below + (above - below) * np.asarray(share)[..., None]


def noise(rng: np.random.Generator, grain: float | tuple[float, float]) -> Array:
    """Return smooth noise of mean 0 and deviation 1; `grain` is a scalar or (y, x)."""
    raw = rng.normal(size=GRID.shape)
    smooth: Array = ndimage.gaussian_filter(raw, np.multiply(grain, SCALE), mode="wrap")
    return (smooth - smooth.mean()) / smooth.std()


def contours(field: Array) -> Points:
    """Return unit vectors along the contours of `field`."""
    uphill = np.gradient(field, axis=1) + 1j * np.gradient(field, axis=0)
    return 1j * uphill / np.maximum(np.abs(uphill), 1e-9)


def pixels(points: Points) -> tuple[Indices, Indices]:
    """Return the canvas pixel nearest to each point."""
    row = np.clip(points.imag * SCALE, 0, GRID.shape[0] - 1)
    column = np.clip(points.real * SCALE, 0, GRID.shape[1] - 1)
    return row.astype(np.intp), column.astype(np.intp)


def inside(points: Points) -> Mask:
    """Return whether each point lies in the image."""
    x, y = points.real, points.imag
    return (x >= 0) & (x < WIDTH) & (y >= 0) & (y < HEIGHT)


def scatter(rng: np.random.Generator, count: int, margin: float = 0) -> Points:
    """Return random points in the image and up to `margin` outside."""
    x = rng.uniform(-margin, WIDTH + margin, count)
    return x + 1j * rng.uniform(-margin, HEIGHT + margin, count)


def relief(colour: Array, height: Array, depth: float, gloss: float) -> Array:
    """Shade a rough surface lit from the upper left."""
    slope = depth * (np.gradient(height, axis=0) + np.gradient(height, axis=1))
    shine = gloss * ease(slope, 0.25, 0.9)
    return colour * (1 + np.clip(slope, -0.45, 0.35))[..., None] + shine[..., None]


class Easel:
    """A canvas: colour and height of its paint."""

    def __init__(self, rng: np.random.Generator, ground: Array) -> None:
        self._rng = rng
        self.colour = ground.copy()
        self.height = np.zeros(GRID.shape)

    def cover(
        self,
        scene: Array,
        flow: Points,
        width: float,
        length: float,
        coats: float | Array,
    ) -> None:
        """Paint the colours of `scene` in strokes along the unit vectors `flow`.

        Args:
          scene: colours.
          flow: directions of strokes.
          width: mean width of a stroke.
          length: maximum length of a stroke.
          coats: mean number of strokes over a point.
        """
        area = (WIDTH + 2 * length) * (HEIGHT + 2 * length)
        rng, most = self._rng, np.max(coats)
        starts = scatter(rng, int(most * area / (width * length)), length)
        local_coats = np.broadcast_to(coats, GRID.shape)[pixels(starts)]
        path = [starts[rng.random(starts.size) * most < local_coats]]
        step = 0.6 / SCALE  # Small enough to leave no gap on the outside of a bend.
        for _ in range(int(length / step)):
            path.append(path[-1] + step * flow[pixels(path[-1])])
        for longest in np.stack(path, axis=1):
            line = longest[: int(longest.size * rng.uniform(0.6, 1))]
            tint = rng.normal(0, 0.04, 3) + rng.normal(0, 0.04)
            colour = scene[pixels(line[line.size // 2])] + tint
            self._stroke(line, width * rng.uniform(0.7, 1.2), colour)

    def _stroke(self, line: Points, width: float, colour: Array) -> None:
        """Draw one brush stroke along the densely sampled `line`."""
        side = np.linspace(-1, 1, int(1.6 * width * SCALE) + 2)
        time = np.linspace(0, 1, line.size)[:, None]
        heading = np.gradient(line)
        normal = 1j * heading / np.maximum(np.abs(heading), 1e-9)
        points = line[:, None] + normal[:, None] * side * width / 2

        # Each bristle has a load of paint and a moment at which it lifts.
        load = self._rng.normal(size=side.size)
        load = ndimage.gaussian_filter1d(load, SCALE / 2)
        rounded = np.abs(side) < np.sqrt(1 - np.abs(2 * time - 1) ** 5)
        bristle, moment = np.broadcast_arrays(np.arange(side.size), time)
        touching = rounded & (time < 1 - 0.3 * np.abs(load)) & inside(points)
        painted, bristle = pixels(points[touching]), bristle[touching]

        dry = moment[touching] ** 2
        paint = np.clip(colour + 0.07 * load[bristle, None], 0, 1)
        self.colour[painted] = mix(self.colour[painted], paint, 0.95 - 0.4 * dry)
        # A brush pushes paint aside, so a stroke is thickest at its rim.
        thickness = 1 + 0.5 * load[bristle] + 0.7 * side[bristle] ** 4 - 0.5 * dry
        self.height[painted] = 0.4 * self.height[painted] + thickness


def swirls(rng: np.random.Generator) -> Array:
    """Paint whirls of wind with bright centres, in thick strokes of blue and gold."""
    hearts = np.array([150 + 170j, 395 + 120j, 640 + 215j, 300 + 330j, 520 + 390j])
    reach = np.array([95, 62, 105, 60, 70])
    turn = np.array([1.0, -0.8, 1.1, -0.7, 0.8])
    away = np.abs(GRID[..., None] - hearts) / reach
    field = 0.55 * GRID.imag + 5 * noise(rng, 30)
    field += 9 * np.sin(GRID.real / 75 + 0.6 * np.sin(GRID.imag / 60))
    field += (turn * reach * 1.9 * np.exp(-away)).sum(axis=-1)
    # A small angle to the contours makes the strokes spiral.
    flow = contours(ndimage.gaussian_filter(field, 2 * SCALE)) * np.exp(0.12j)

    blues = palette("0a1640 12306e 1b5e9b 2a8f9e 8fc9c0")
    embers = palette("1f5f94 c9812b e9a32f f6cf55 fdf0b0")
    bands = 0.5 + 0.42 * np.sin(field / 7.5) + 0.12 * noise(rng, 8)
    gilt = ease(bands, 0.6, 0.9) * ease(noise(rng, (12, 45)), 0.5, 1.3)
    glow = np.exp(-((away / [0.62, 0.5, 0.7, 0.35, 0.4]) ** 2)).sum(axis=-1)
    halo = ease(glow, 0.12, 0.6)
    scene = mix(ramp(bands, blues), palette("e0a83c"), 0.85 * gilt)
    scene = mix(scene, ramp(0.75 * glow + 0.3 * bands, embers), halo)

    easel = Easel(rng, 0.6 * scene)
    easel.cover(scene, flow, width=17, length=75, coats=3)
    easel.cover(scene, flow, width=9, length=46, coats=2)
    easel.cover(scene, flow, width=5, length=30, coats=0.6 + halo)
    lights = 1.12 * scene + 0.03
    easel.cover(lights, flow, width=3, length=20, coats=0.15 + 0.4 * halo)
    return relief(easel.colour, easel.height, depth=0.24, gloss=0.14)


def nearest_tiles(
    points: Points, seeds: Points, flow: Points
) -> tuple[Indices, Array, Points]:
    """Return each point's tile, its distance to the joint, and its offset in the tile.

    Tiles are the Voronoi cells of `seeds` in a metric whose circles are rectangles
    along `flow`. This makes them roughly rectangular, in rows.
    """
    tree = spatial.KDTree(np.stack([seeds.real, seeds.imag], axis=-1))
    _, near = tree.query(np.stack([points.real, points.imag], axis=-1), k=8)
    offsets = (points[..., None] - seeds[near]) / flow[pixels(seeds)][near]
    away = np.maximum(np.abs(offsets.real) / 1.2, np.abs(offsets.imag))
    best = away.argmin(axis=-1)[..., None]
    first, second = np.moveaxis(np.partition(away, 1, axis=-1)[..., :2], -1, 0)
    tile = np.take_along_axis(near, best, axis=-1)[..., 0]
    return tile, second - first, np.take_along_axis(offsets, best, axis=-1)[..., 0]


def lay_tiles(rng: np.random.Generator, flow: Points, free: Mask, count: int) -> Points:
    """Return the seeds of tiles along `flow` in the `free` part of the image."""
    points = GRID[::SCALE, ::SCALE][free[::SCALE, ::SCALE]]
    seeds = scatter(rng, count)
    for _ in range(20):
        tile = nearest_tiles(points, seeds, flow)[0]
        size = np.bincount(tile, minlength=count)
        sums = [np.bincount(tile, axis, count) for axis in (points.real, points.imag)]
        middle = (sums[0] + 1j * sums[1]) / np.maximum(size, 1)
        seeds = np.where(size > 0, middle, seeds)
    return seeds


def flower_bed(rng: np.random.Generator) -> tuple[Array, Array]:
    """Return red and gold flowers on green, and the distance from their rims."""
    tints = (
        palette("2a0f12 5a1620 e2a72e f3c84b 9c1c1f d23a22 f07f2c"),
        palette("3a1a10 7a3413 c2351f 8c1f24 d8891d f0b733 fbe08a"),
    )
    greens = palette("f2e2a8 1d5b3c 0f4a44 5f8f37 12505a a9a63c 1a6a4a")
    flowers = [(190 + 200j, 135, 9), (520 + 150j, 105, 8), (395 + 400j, 125, 10)]
    flowers += [(660 + 430j, 95, 7), (90 + 470j, 80, 6), (345 + 40j, 60, 6)]
    flowers += [(735 + 40j, 70, 7), (235 + 545j, 45, 5), (20 + 40j, 55, 6)]
    field, blooms = np.full(GRID.shape, np.inf), np.zeros((*GRID.shape, 3))
    for number, (heart, reach, petals) in enumerate(flowers):
        arm = GRID - heart
        petal = np.abs(np.cos(petals / 2 * np.angle(arm)))
        rim = np.abs(arm) - reach * (0.86 + 0.14 * petal)
        bloom = ramp(np.abs(arm) / reach, tints[number % 2])
        bloom *= 0.5 + 0.5 * ease(petal, 0.05, 0.35)[..., None]
        blooms = np.where((rim < field)[..., None], bloom, blooms)
        field = np.minimum(field, rim)
    ground = ramp(field / 90 + 0.08 * noise(rng, 12), greens)
    return np.where((field < 0)[..., None], blooms, ground), field


def mosaic(rng: np.random.Generator) -> Array:
    """Paint flowers in tiles of glass, in rows around their hearts, in dark mortar."""
    scene, field = flower_bed(rng)
    flow = contours(ndimage.gaussian_filter(field, 2 * SCALE))
    seeds = lay_tiles(rng, flow, free=np.abs(field) > 1.5, count=5200)
    tile, joint, offset = nearest_tiles(GRID, seeds, flow)

    # Each piece of glass has a colour, veins, and a tilt towards the light.
    glass = scene[pixels(seeds)] + rng.normal(0, 0.05, (seeds.size, 3))
    glass *= rng.uniform(0.9, 1.35, (seeds.size, 1))
    tilt = rng.normal(0, 0.03, seeds.size) + 1j * rng.normal(0, 0.03, seeds.size)
    light = 1 + (tilt[tile] * offset.conj()).real
    light += 0.06 * noise(rng, (1, 3)) + 0.05 * noise(rng, 2)
    height = 3 * ease(joint + 0.5 * noise(rng, 2), 1, 6) + 0.1 * noise(rng, 1.5)
    colour = relief(glass[tile] * light[..., None], height, depth=0.42, gloss=0.5)
    mortar = palette("1c1714") * (1 + 0.3 * noise(rng, 0.8))[..., None]
    return mix(mortar, colour, ease(joint + 0.35 * noise(rng, 1.5), 1.1, 2.1))


def twist(points: Points, centre: complex, reach: float, angle: float) -> Points:
    """Twist the plane by `angle` around `centre`, fading beyond `reach`."""
    arm = points - centre
    return centre + arm * np.exp(1j * angle * np.exp(-((np.abs(arm) / reach) ** 2)))


def carve(rng: np.random.Generator, phase: Array, along: Array, tone: Array) -> Array:
    """Return lines at whole `phase`, as bold as `tone`, that swell and taper."""
    swell = ndimage.gaussian_filter1d(rng.normal(size=(256, 1024)), 14, mode="wrap")
    line = np.round(phase).astype(np.intp)
    swell = swell[line % 256, along.astype(np.intp) % 1024] / swell.std()
    return ease(tone * (1 + 0.45 * swell) - 2 * np.abs(phase - line), -0.1, 0.1)


def woodcut(rng: np.random.Generator) -> Array:
    """Paint breaking waves under a red sun: carved lines over a few flat inks."""
    ink, paper, red = palette("171a33 f1e3c4 cc3f28")
    waters = palette("9fc0bd 5f93ab 35649a 24467f 1d3468")
    plane = GRID + 1.5 * (noise(rng, 12) + 1j * noise(rng, 12))  # An unsteady hand.

    colour = ramp(GRID.imag / 300, palette("e9b27c f1e3c4 f1e3c4"))
    sun = np.abs(plane - (545 + 165j))
    colour = mix(colour, red, ease(sun, 92, 91))
    air = plane.imag + 9 * np.sin(plane.real / 60) + 6 * noise(rng, 25)
    key = carve(rng, air / 8, plane.real, 0.38 - 0.001 * GRID.imag)
    key = np.maximum(key, ease(np.abs(sun - 92), 3, 2))

    waves = [(250, 45, 190, 0.2), (310, 62, 240, 2.0), (385, 85, 310, 4.1)]
    waves += [(470, 90, 350, 0.9), (560, 80, 420, 3.3)]
    for water, (level, tall, long, shift) in zip(waters, waves, strict=True):
        bent = plane
        for crest in (np.arange(-1, 5) + 0.5 - shift / np.pi) * long:
            bent = twist(bent, crest + 1j * (level - 0.8 * tall), 0.75 * tall, 3.0)
        hump = np.abs(np.sin(np.pi * bent.real / long + shift)) ** 1.6
        depth = bent.imag - level + tall * hump
        foam = 11 + 0.1 * tall + 0.2 * tall * np.abs(np.sin(bent.real / 9))
        foam += 3 * noise(rng, 7)
        body = mix(water, paper, ease(depth - foam, 0.5, -0.5))
        colour = mix(colour, body, ease(depth, -0.5, 0.5))

        tone = np.clip(0.1 + depth / 130 + 0.13 * noise(rng, 40), 0.05, 0.75)
        lines = carve(rng, depth / (0.05 * tall + 3.5), bent.real, tone)
        lines = np.maximum(lines, ease(np.abs(depth), 2.6, 1.8))
        lines = np.maximum(lines, ease(np.abs(depth - foam), 1.8, 1.0))
        key += (lines - key) * ease(depth, -2.6, -1.8)

    # Imperfections of a hand print: an offset key block, wood grain and paper pits in
    # its ink, and paper fibres in every colour.
    key = ndimage.shift(key, (SCALE, -SCALE), order=0, mode="nearest")
    key *= (0.93 + 0.05 * noise(rng, (0.6, 25))) * ease(noise(rng, 0.7), -2.4, -1.6)
    fibres = noise(rng, (0.7, 3)) + noise(rng, (3, 0.7)) + noise(rng, 18)
    colour = mix(colour, ink, np.minimum(key, 1))
    return colour * (1 + 0.025 * fibres)[..., None]


#: An image's seed is its index.
PAINTERS: tuple[Callable[[np.random.Generator], Array], ...] = (swirls, mosaic, woodcut)


def main() -> None:
    parser = argparse.ArgumentParser(description="Paint the sample style images.")
    parser.add_argument("--output", type=pathlib.Path, default="samples")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    for seed, paint in enumerate(PAINTERS):
        levels = np.round(255 * np.clip(paint(np.random.default_rng(seed)), 0, 1))
        image = Image.fromarray(levels.astype(np.uint8)).reduce(SCALE)
        image.save(folder / f"{paint.__name__}.jpg", quality=QUALITY)


if __name__ == "__main__":
    main()
