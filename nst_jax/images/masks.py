"""Masks: images of flat colours that assign pixels to regions.

A colour is flat where the neighbours of a pixel have almost the same colour. The flat
colours of a mask are its regions. Pixels of soft or compressed edges go to the nearest.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image

from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import ArrayInput, as_picture
from nst_jax.images.decoder import MAX_PIXELS
from nst_jax.images.io import Sizing, read_picture

#: Most regions of a mask. An image with more flat colours is a photograph.
MAX_REGIONS = 16
#: Largest difference of two colours of one region, in levels of 255 and in any channel.
#: It allows for JPEG and for soft brushes.
TOLERANCE = 16
#: Largest range of levels among a flat pixel and its eight neighbours.
_FLAT = 16
#: Most flat pixels of a region are within this of its colour; a gradient's are not.
_CORE = 6
#: Least share of a mask's pixels that have one of its flat colours.
_MIN_COVERED = 0.5
#: Largest difference of the log aspect ratios of a mask and its image.
_MAX_STRETCH = 0.03
#: Weights that pack the three levels of a colour into one integer, in the same order.
_PACK = np.array([1 << 16, 1 << 8, 1])


@dataclasses.dataclass(frozen=True)
class Labels:
    """Regions of several masks.

    Attributes:
      colours: int [R, 3], the colour of each region in levels of 255, ascending.
      maps: int [h, w] of each mask, the region of each pixel; −1 for none.
      names: names of the masks in errors.
    """

    colours: np.ndarray
    maps: tuple[np.ndarray, ...]
    names: tuple[str, ...]

    @property
    def unstyled(self) -> dict[str, float]:
        """Regions of the content that no style has: colour -> share of the area."""
        content, *styles = self.maps
        return {
            "#{:02x}{:02x}{:02x}".format(*colour): float((content == region).mean())
            for region, colour in enumerate(self.colours.tolist())
            if not any((style == region).any() for style in styles)
        }

    def shares(self, shapes: Sequence[tuple[int, ...]]) -> tuple[np.ndarray, ...]:
        """Return the coverage of each pixel by each region.

        Args:
          shapes: shapes of the masks' images, (H, W) first.

        Returns:
          float32 [R, H, W] of each, from 0 to 1: regions share the pixels of an edge.

        Raises:
          RequestError: a mask has other proportions than its image.
        """
        for labels, shape, name in zip(self.maps, shapes, self.names, strict=True):
            _check_proportions(labels, shape, name)
        return tuple(
            np.stack([_coverage(labels == r, shape) for r in range(len(self.colours))])
            for labels, shape in zip(self.maps, shapes, strict=True)
        )


def label_regions(masks: Sequence[np.ndarray], names: Sequence[str]) -> Labels:
    """Find the regions of masks by their flat colours.

    The regions are those of the first mask, the content's. Two colours within
    `TOLERANCE` are one region. A pixel within `TOLERANCE` of a flat colour of the other
    masks, the styles', goes to the nearest of them. Any other pixel goes to the nearest
    flat colour of its own mask. A region that is less than three pixels wide everywhere
    has no flat colour.

    Args:
      masks: [h, w, 3] in [0, 1] of each image, the content's first.
      names: names of the masks in errors.

    Returns:
      The regions; −1 for pixels of the other masks in none of the first's regions.

    Raises:
      RequestError: a mask has too many flat colours, few pixels have one, or another
        mask has none of the first's regions.
    """
    pixels = [np.round(255 * mask).astype(np.int32) for mask in masks]
    flat = [_flat_colours(p, name) for p, name in zip(pixels, names, strict=True)]
    palette = flat[-1][:0]
    for colour in np.concatenate(flat[1:] or flat):
        if not (_distance(palette, colour) <= TOLERANCE).any():
            palette = np.append(palette, colour[None], axis=0)
    packed = [
        _region_colours(*pair, palette) for pair in zip(pixels, flat, strict=True)
    ]
    regions = np.unique(packed[0])
    maps = []
    for values, name in zip(packed, names, strict=True):
        index = np.searchsorted(regions, values).clip(max=len(regions) - 1)
        maps.append(np.where(regions[index] == values, index, -1))
        if (maps[-1] < 0).all():
            raise RequestError(
                f"{name} has none of the colours of {names[0]}, to {TOLERANCE} of 255 "
                "levels"
            )
    return Labels(_unpack(regions), tuple(maps), tuple(names))


def _region_colours(
    pixels: np.ndarray, flat: np.ndarray, palette: np.ndarray
) -> np.ndarray:
    """Return the packed colour of the region of each pixel of a mask [h, w, 3].

    `flat` [N, 3] are the flat colours of the mask, `palette` [P, 3] the colours of the
    styles' regions.
    """
    nearest = _nearest(flat, palette, np.full(len(palette), TOLERANCE))
    regions = np.where((nearest >= 0)[:, None], palette[nearest], flat)
    # Regions too thin to be flat. A blend of two flat colours is an edge between them.
    thin = [
        i
        for i in range(len(palette))
        if i not in nearest and not _is_blend(palette[i], flat)
    ]
    packed, inverse = np.unique(pixels @ _PACK, return_inverse=True)
    tolerances = np.repeat([255, TOLERANCE], [len(flat), len(thin)])
    candidates = np.concatenate([flat, palette[thin]])
    nearest = _nearest(_unpack(packed), candidates, tolerances)
    regions = np.concatenate([regions, palette[thin]])
    return (regions @ _PACK)[nearest][inverse].reshape(pixels.shape[:2])


def _unpack(packed: np.ndarray) -> np.ndarray:
    """Return the colours [N, 3] of integers [N]."""
    return packed[:, None] // _PACK % 256


def _distance(colours: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Return the largest difference in a channel [N] of colours [N, 3] from one."""
    return np.abs(colours - colour).max(-1)


def _nearest(
    colours: np.ndarray, candidates: np.ndarray, tolerances: np.ndarray
) -> np.ndarray:
    """Return the index [N] of the candidate [M, 3] nearest to each colour; −1 for none.

    Distances are Euclidean. A tolerance [M] limits the difference in each channel.
    """
    least, nearest = np.full(len(colours), np.inf), np.full(len(colours), -1)
    for i, (candidate, tolerance) in enumerate(
        zip(candidates, tolerances, strict=True)
    ):
        squared = ((colours - candidate) ** 2).sum(-1)
        closer = (_distance(colours, candidate) <= tolerance) & (squared < least)
        least[closer], nearest[closer] = squared[closer], i
    return nearest


def _is_blend(colour: np.ndarray, colours: np.ndarray) -> bool:
    """Return whether a colour is a mixture of two others, within `TOLERANCE`."""
    starts = colours[:, None]
    lines = colours - starts
    lengths = np.maximum((lines**2).sum(-1), 1)
    shares = np.clip(((colour - starts) * lines).sum(-1) / lengths, 0, 1)
    blends = starts + shares[..., None] * lines
    return bool((np.abs(blends - colour).max(-1) <= TOLERANCE).any())


def _flat_colours(pixels: np.ndarray, name: str) -> np.ndarray:
    """Return the flat colours [N, 3] of a mask [h, w, 3], the most frequent first."""
    from scipy import ndimage  # A slow import.

    window = (3, 3, 1)
    spread = ndimage.maximum_filter(pixels, window, mode="nearest")
    spread -= ndimage.minimum_filter(pixels, window, mode="nearest")
    flat = (spread <= _FLAT).all(-1)
    sample = pixels[flat] if flat.any() else pixels
    packed, counts = np.unique(sample @ _PACK, return_counts=True)
    colours = _unpack(packed)
    regions: list[np.ndarray] = []
    remaining = np.ones(len(colours), bool)
    for i in np.argsort(-counts, kind="stable"):
        if remaining[i] and len(regions) <= MAX_REGIONS:
            distances = _distance(colours, colours[i])
            near = distances <= TOLERANCE
            remaining &= ~near
            if 2 * counts[distances <= _CORE].sum() >= counts[near].sum():
                regions.append(colours[i])
    packed, counts = np.unique(pixels @ _PACK, return_counts=True)
    covered = np.zeros(len(packed), bool)
    for colour in regions:
        covered |= _distance(_unpack(packed), colour) <= TOLERANCE
    if (
        len(regions) > MAX_REGIONS
        or counts[covered].sum() < _MIN_COVERED * counts.sum()
    ):
        raise RequestError(
            f"{name} has {len(packed)} colours, and a mask may have {MAX_REGIONS}, one "
            "a region: paint it with flat colours"
        )
    return np.array(regions)


def read_mask(path: str, argument: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a mask [h, w, 3] at its own size.

    Raises:
      RequestError: the file is missing, no image, or partly transparent; or the array
        is neither an image nor bool [h, w].
    """
    if isinstance(path, ArrayInput):
        mask = path.array
        if mask.dtype == bool and mask.ndim == 2:
            mask = np.repeat(mask[..., None], 3, -1).astype(np.float32)
        return np.asarray(as_picture(mask, argument), np.float32)
    sizing = Sizing(max_pixels=max_pixels)
    mask, alpha = read_picture(path, sizing, argument, fill=False)
    if alpha is not None:
        raise RequestError(
            f"{argument}: {path!r} is transparent in parts; a mask must be opaque"
        )
    return mask


def frozen_pixels(mask: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Return the white pixels of a mask [h, w, 3] as bool [H, W, 1].

    A pixel is frozen if white covers at least half of it, so that stages of different
    sizes agree.

    Args:
      mask: the mask.
      shape: shape of the image, (H, W) first. Other proportions raise RequestError.
      name: name of the mask in errors.
    """
    _check_proportions(mask, shape, name)
    return _coverage(np.all(mask >= 0.5, -1), shape)[..., None] >= 0.5


def check_frozen(frozen: np.ndarray, name: str) -> None:
    """Raise RequestError if none or all of the pixels, bool [H, W, 1], are frozen."""
    height, width, _ = frozen.shape
    if not frozen.any():
        raise RequestError(
            f"{name} has no white that fills half a pixel of {width}×{height}, so "
            "nothing would be frozen"
        )
    if frozen.all():
        raise RequestError(
            f"{name} is white all over at {width}×{height} px, so every pixel would be "
            "frozen"
        )


def _check_proportions(mask: np.ndarray, shape: tuple[int, ...], name: str) -> None:
    """Raise RequestError if a mask has other proportions than its image."""
    stretch = mask.shape[1] / mask.shape[0] * shape[0] / shape[1]
    # A side is exact to half a pixel.
    shortest = min(*mask.shape[:2], *shape[:2])
    if abs(np.log(stretch)) > _MAX_STRETCH + 1 / shortest:
        raise RequestError(
            f"{name} is {mask.shape[1]}×{mask.shape[0]} px, and its picture "
            f"{shape[1]}×{shape[0]}: a mask must have the proportions of its picture"
        )


def _coverage(region: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the share [H, W] of each pixel that a region, bool [h, w], covers."""
    image = Image.fromarray(region.astype(np.float32))
    box = image.resize((shape[1], shape[0]), Image.Resampling.BOX)
    return np.clip(np.asarray(box), 0, 1)
