"""Guides: regions of an image at the resolution of each layer.

Gatys, Ecker, Bethge, Hertzmann & Shechtman 2017 (arXiv 1611.07865), section 4.
"""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
from jax import lax

from nst_jax.core.validation import check_choice
from nst_jax.models.layers import canonical_layers, computed_layers

#: Propagation of regions to a layer. A position belongs to a region by the region's
#: share of the pooled window ("simple"), if its receptive field lies inside the region
#: ("inside"), or if its receptive field meets the region ("all").
PROPAGATIONS = ("simple", "inside", "all")


def layer_guides(
    regions: jax.Array,
    layers: Iterable[str | int],
    propagation: str = "simple",
    rounding: str = "ceil",
    trunk: str = "vgg19",
) -> dict[str, jax.Array]:
    """Return the share of each position of each layer in each region.

    Args:
      regions: [R, H, W] in [0, 1], the share of each pixel in each region. Pixels
        beyond the border repeat the border.
      layers: layers to tap, by any name that `layers.canonical_layer` accepts.
      propagation: one of `PROPAGATIONS`.
      rounding: rounding of the network's poolings, "ceil" or "floor"; see `vgg.pool`.
      trunk: the network, a key of `layers.TRUNKS`.

    Returns:
      Canonical layer name -> [R, h, w], of that layer's height and width.

    Raises:
      RequestError: the propagation or a layer is unknown.
    """
    check_choice("propagation", propagation, PROPAGATIONS)
    taps = canonical_layers(layers)
    if not taps:
        return {}
    guides = {}
    guide = regions
    for layer in computed_layers(taps, trunk):
        if layer.startswith("conv") and propagation != "simple":
            padded = jnp.pad(guide, ((0, 0), (1, 1), (1, 1)), mode="edge")
            guide = _reduce_windows(padded, propagation, 3, 1)
        elif layer.startswith("pool"):
            odd = [side % 2 if rounding == "ceil" else 0 for side in guide.shape[1:]]
            padded = jnp.pad(guide, ((0, 0), (0, odd[0]), (0, odd[1])), mode="edge")
            guide = _reduce_windows(padded, propagation, 2, 2)
        if layer in taps:
            guides[layer] = guide
    return guides


def _reduce_windows(
    guide: jax.Array, propagation: str, side: int, stride: int
) -> jax.Array:
    """Return the mean, minimum or maximum of each window of a guide [R, H, W]."""
    window, strides = (1, side, side), (1, stride, stride)
    if propagation == "inside":
        return lax.reduce_window(guide, jnp.inf, lax.min, window, strides, "VALID")
    if propagation == "all":
        return lax.reduce_window(guide, -jnp.inf, lax.max, window, strides, "VALID")
    return lax.reduce_window(guide, 0.0, lax.add, window, strides, "VALID") / side**2
