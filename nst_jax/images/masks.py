"""Masks: pictures of flat colours that say which region a pixel belongs to.

A colour is flat where all neighbours of a pixel have almost the same. The flat colours
of a mask are its regions; the pixels of soft or compressed edges go to the nearest.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import ndimage

from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import ArrayInput, as_picture
from nst_jax.images.decoder import MAX_PIXELS
from nst_jax.images.io import read_alpha, read_image

#: Regions that a mask may have: one of more is a photograph.
MAX_REGIONS = 16
#: Largest difference, in levels of 255 and in every channel, of two colours that are
#: the same region: what JPEG or a careless brush makes of one colour.
TOLERANCE = 16
#: Largest range of levels among a pixel and its eight neighbours where it is flat.
_FLAT = 16
#: A region's flat pixels are mostly this close to its colour; a gradient's are not.
_CORE = 6
#: Least share of a mask's pixels that has one of its flat colours.
_LEAST_COVERED = 0.5
#: Largest difference in the logarithm of the aspect ratio of a mask and its picture.
_MAX_STRETCH = 0.03


@dataclasses.dataclass(frozen=True)
class Labels:
    """The regions of several masks.

    Attributes:
      colours: int [R, 3], the colour of each region in levels of 255, ascending.
      maps: int [h, w] of each mask, the region of each pixel; −1 for none.
      names: what the masks are called in an error.
    """

    colours: np.ndarray
    maps: tuple[np.ndarray, ...]
    names: tuple[str, ...]

    @property
    def unstyled(self) -> dict[str, float]:
        """Regions of the first mask that no other has: colour -> share of its area."""
        first, *others = self.maps
        return {
            "#{:02x}{:02x}{:02x}".format(*colour): float((first == region).mean())
            for region, colour in enumerate(self.colours.tolist())
            if not any((other == region).any() for other in others)
        }

    def shares(self, shapes: Sequence[tuple[int, ...]]) -> tuple[np.ndarray, ...]:
        """Return how much of each pixel belongs to each region.

        Args:
          shapes: of the pictures of the masks, (H, W) first.

        Returns:
          float32 [R, H, W] of each, from 0 to 1: a pixel on an edge is shared.

        Raises:
          RequestError: a mask has other proportions than its picture.
        """
        for labels, shape, name in zip(self.maps, shapes, self.names, strict=True):
            _check_proportions(labels, shape, name)
        return tuple(
            np.stack([_shares(labels == r, shape) for r in range(len(self.colours))])
            for labels, shape in zip(self.maps, shapes, strict=True)
        )


def regions(
    masks: Sequence[np.ndarray], shapes: Sequence[tuple[int, ...]], names: Sequence[str]
) -> tuple[np.ndarray, ...]:
    """Return how much of each pixel belongs to each region, of several pictures.

    `label_regions` and `Labels.shares` in one call, with their arguments and errors.
    """
    return label_regions(masks, names).shares(shapes)


def label_regions(masks: Sequence[np.ndarray], names: Sequence[str]) -> Labels:
    """Find the regions of masks by their flat colours.

    The regions are those of the first mask, the content's. Two colours within
    `TOLERANCE` of each other are one region. A pixel within `TOLERANCE` of a flat
    colour of the other masks, the styles', belongs to the nearest of these; any other
    pixel, such as one of a soft edge, to the nearest flat colour of its own mask. A
    region that is nowhere three pixels wide has no flat colour.

    Args:
      masks: [h, w, 3] in [0, 1] of each picture, the content's first.
      names: what the masks are called in an error.

    Returns:
      The regions. Pixels of the other masks in none of the first's regions have −1.

    Raises:
      RequestError: a mask has too many flat colours, or few pixels have one, or
        another mask has none of the first's regions.
    """
    pixels = [np.round(255 * mask).astype(np.int32) for mask in masks]
    flat = [_flat_colours(p, name) for p, name in zip(pixels, names, strict=True)]
    palette = flat[-1][:0]
    for colour in np.concatenate(flat[1:] or flat):
        if not (_difference(palette, colour) <= TOLERANCE).any():
            palette = np.append(palette, colour[None], axis=0)
    named = [_named(*pair, palette) for pair in zip(pixels, flat, strict=True)]
    own = np.unique(named[0])
    maps = []
    for values, name in zip(named, names, strict=True):
        place = np.searchsorted(own, values).clip(max=len(own) - 1)
        maps.append(np.where(own[place] == values, place, -1))
        if (maps[-1] < 0).all():
            raise RequestError(
                f"{name} has none of the colours of {names[0]}, to {TOLERANCE} of 255 "
                "levels"
            )
    return Labels(_unpacked(own), tuple(maps), tuple(names))


def _named(pixels: np.ndarray, flat: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """The colour of each pixel's region, packed [h, w].

    Args:
      pixels: [h, w, 3].
      flat: the flat colours [N, 3] of the mask.
      palette: the colours [P, 3] of the styles' regions.
    """
    place = _nearest(flat, palette, np.full(len(palette), TOLERANCE))
    regions = np.where((place >= 0)[:, None], palette[place], flat)
    # A region too thin to be flat. A blend of two flat colours is an edge between them.
    thin = [i for i in range(len(palette)) if i not in place]
    thin = [i for i in thin if not _is_blend(palette[i], flat)]
    packed, inverse = np.unique(pixels @ _PACK, return_inverse=True)
    tolerances = np.repeat([255, TOLERANCE], [len(flat), len(thin)])
    candidates = np.concatenate([flat, palette[thin]])
    found = _nearest(_unpacked(packed), candidates, tolerances)
    regions = np.concatenate([regions, palette[thin]])
    return (regions @ _PACK)[found][inverse].reshape(pixels.shape[:2])


#: What makes one integer of a colour's three levels, ordered as they are.
_PACK = np.array([1 << 16, 1 << 8, 1])


def _unpacked(packed: np.ndarray) -> np.ndarray:
    """The colours [N, 3] of integers [N]."""
    return packed[:, None] // _PACK % 256


def _difference(colours: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """The largest difference [N] in a channel of colours [N, 3] from one."""
    return np.abs(colours - colour).max(-1)


def _nearest(
    colours: np.ndarray, candidates: np.ndarray, tolerances: np.ndarray
) -> np.ndarray:
    """The place [N] of the nearest candidate [M, 3] of colours [N, 3]; −1 for none.

    The nearest is so by Euclid; a tolerance [M] is of each channel.
    """
    least, found = np.full(len(colours), np.inf), np.full(len(colours), -1)
    for place, (candidate, tolerance) in enumerate(
        zip(candidates, tolerances, strict=True)
    ):
        distance = ((colours - candidate) ** 2).sum(-1)
        inside = _difference(colours, candidate) <= tolerance
        closer = inside & (distance < least)
        least[closer], found[closer] = distance[closer], place
    return found


def _is_blend(colour: np.ndarray, colours: np.ndarray) -> bool:
    """Whether a colour is, within `TOLERANCE`, a mixture of two of some colours."""
    for start in colours:
        for end in colours:
            along = end - start
            length = max((along**2).sum(), 1)
            share = np.clip(((colour - start) * along).sum() / length, 0, 1)
            if np.abs(start + share * along - colour).max() <= TOLERANCE:
                return True
    return False


def _flat_colours(pixels: np.ndarray, name: str) -> np.ndarray:
    """The flat colours [N, 3] of a mask [h, w, 3], the most frequent first.

    Raises:
      RequestError: there are too many, or few pixels have one.
    """
    window = (3, 3, 1)
    spread = ndimage.maximum_filter(pixels, window, mode="nearest")
    spread -= ndimage.minimum_filter(pixels, window, mode="nearest")
    flat = (spread <= _FLAT).all(-1)
    chosen = pixels[flat] if flat.any() else pixels
    packed, counts = np.unique(chosen @ _PACK, return_counts=True)
    colours = _unpacked(packed)
    found: list[np.ndarray] = []
    left = np.ones(len(colours), bool)
    for place in np.argsort(-counts, kind="stable"):
        if left[place] and len(found) <= MAX_REGIONS:
            difference = _difference(colours, colours[place])
            near = difference <= TOLERANCE
            left &= ~near
            if 2 * counts[difference <= _CORE].sum() >= counts[near].sum():
                found.append(colours[place])
    every, frequency = np.unique(pixels @ _PACK, return_counts=True)
    covered = np.zeros(len(every), bool)
    for colour in found:
        covered |= _difference(_unpacked(every), colour) <= TOLERANCE
    if (
        len(found) > MAX_REGIONS
        or frequency[covered].sum() < _LEAST_COVERED * frequency.sum()
    ):
        raise RequestError(
            f"{name} has {len(every)} colours, and a mask may have {MAX_REGIONS}, one "
            "a region: paint it with flat colours"
        )
    return np.array(found)


def read_mask(path: str, argument: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """A mask [h, w, 3] of its own size.

    Raises:
      RequestError: the file is missing, no picture, or transparent in parts; or the
        array is neither a picture nor bool [h, w].
    """
    if isinstance(path, ArrayInput):
        mask = path.array
        if mask.dtype == bool and mask.ndim == 2:
            mask = np.repeat(mask[..., None], 3, -1).astype(np.float32)
        return np.asarray(as_picture(mask, argument), np.float32)
    mask = read_image(path, argument=argument, max_pixels=max_pixels)
    if read_alpha(path, mask.shape) is not None:
        raise RequestError(
            f"{argument}: {path!r} is transparent in parts, and a mask says by its "
            "colours what is what: make it opaque"
        )
    return mask


def frozen_pixels(mask: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Where a mask [h, w, 3] is white, bool [H, W, 1] for a picture of that shape.

    A pixel is held where at least half of it is: masks of stages of two sizes agree.

    Raises:
      RequestError: other proportions than the picture.
    """
    _check_proportions(mask, shape, name)
    return _shares(np.all(mask >= 0.5, -1), shape)[..., None] >= 0.5


def check_frozen(held: np.ndarray, name: str) -> None:
    """Raises RequestError if of a picture nothing is held, bool [H, W, 1], or all."""
    height, width, _ = held.shape
    if not held.any():
        raise RequestError(
            f"{name} has no white that fills half a pixel of {width}×{height}, so "
            "nothing would be frozen"
        )
    if held.all():
        raise RequestError(
            f"{name} is white all over at {width}×{height} px, so nothing would move"
        )


def _check_proportions(mask: np.ndarray, shape: tuple[int, ...], name: str) -> None:
    """Raises RequestError if a mask has other proportions than its picture."""
    stretch = mask.shape[1] / mask.shape[0] * shape[0] / shape[1]
    # A side of n pixels is exact to half of one.
    least = min(*mask.shape[:2], *shape[:2])
    if abs(np.log(stretch)) > _MAX_STRETCH + 1 / least:
        raise RequestError(
            f"{name} is {mask.shape[1]}×{mask.shape[0]} px, and its picture "
            f"{shape[1]}×{shape[0]}: a mask must have the proportions of its picture"
        )


def _shares(region: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The share [H, W] of each pixel that a region, bool [h, w], covers."""
    picture = Image.fromarray(region.astype(np.float32))
    box = picture.resize((shape[1], shape[0]), Image.Resampling.BOX)
    return np.clip(np.asarray(box), 0, 1)
