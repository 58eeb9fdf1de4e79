"""Masks: pictures of flat colours that say which region a pixel belongs to."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from nst_jax.errors import RequestError
from nst_jax.io import read_alpha, read_image

#: Colours that a mask may have: one of more is a photograph, or blurred by JPEG.
MAX_REGIONS = 16
#: By how much a mask's proportions may differ from its picture's.
_TOLERANCE = 0.03


def regions(
    masks: Sequence[np.ndarray], shapes: Sequence[tuple[int, ...]], names: Sequence[str]
) -> tuple[np.ndarray, ...]:
    """How much of each pixel belongs to each region, of several pictures.

    Args:
      masks: [h, w, 3] of each picture; the first has a region for each of its colours,
        and the others' regions are those of the same colours.
      shapes: of the pictures, (H, W) first.
      names: what the masks are called in an error.

    Returns:
      float32 [R, H, W] of each, from 0 to 1: a pixel on an edge is shared. Colours
      that the first mask lacks belong to no region.

    Raises:
      RequestError: a mask has other proportions than its picture, the first has too
        many colours, or another has none of them.
    """
    for mask, shape, name in zip(masks, shapes, names, strict=True):
        _check_proportions(mask, shape, name)
    colours = np.unique(masks[0].reshape(-1, 3), axis=0)
    if len(colours) > MAX_REGIONS:
        raise RequestError(
            f"{names[0]} has {len(colours)} colours, and a mask may have "
            f"{MAX_REGIONS}, one a region: paint flat colours without soft edges, and "
            "save it as PNG"
        )
    found = []
    for mask, shape, name in zip(masks, shapes, names, strict=True):
        own = (mask == colours[:, None, None]).all(-1)
        if not own.any():
            raise RequestError(f"{name} has none of the colours of {names[0]}")
        found.append(np.stack([_shares(region, shape) for region in own]))
    return tuple(found)


def read_mask(path: str, argument: str) -> np.ndarray:
    """A mask [h, w, 3] of its own size.

    Raises:
      RequestError: the file is missing, no picture, or transparent in parts.
    """
    mask = read_image(path, argument=argument)
    if read_alpha(path, mask.shape) is not None:
        raise RequestError(
            f"{argument}: {path!r} is transparent in parts, and a mask says by its "
            "colours what is what: make it opaque"
        )
    return mask


def frozen(mask: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
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
    if abs(np.log(stretch)) > _TOLERANCE + 1 / least:
        raise RequestError(
            f"{name} is {mask.shape[1]}×{mask.shape[0]} px, and its picture "
            f"{shape[1]}×{shape[0]}: a mask must have the proportions of its picture"
        )


def _shares(region: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The share [H, W] of each pixel that a region, bool [h, w], covers."""
    picture = Image.fromarray(region.astype(np.float32))
    box = picture.resize((shape[1], shape[0]), Image.Resampling.BOX)
    return np.clip(np.asarray(box), 0, 1)
