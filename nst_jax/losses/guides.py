"""Guides: which region of a picture a position of a layer belongs to.

Gatys, Ecker, Bethge, Hertzmann & Shechtman 2017 (arXiv 1611.07865), section 4.
"""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
from jax import lax

from nst_jax.core.errors import RequestError
from nst_jax.models.layers import LAYERS, canonical_layers, deepest_layer

#: How regions go down to a layer: by their share of what a position is pooled from
#: ("simple"); where its whole receptive field lies in the region ("inside"); where
#: any of it does ("all").
PROPAGATIONS = ("simple", "inside", "all")


def guides(
    regions: jax.Array,
    layers: Iterable[str | int],
    propagation: str = "simple",
    rounding: str = "ceil",
) -> dict[str, jax.Array]:
    """What each position of each layer belongs to.

    Args:
      regions: [R, H, W] from 0 to 1, how much of each pixel belongs to each region.
      layers: the taps, by any name that `layers.canonical_layer` knows.
      propagation: one of `PROPAGATIONS`. What lies beyond the border counts as what
        is at it.
      rounding: of the network's poolings at an odd side, "ceil" or "floor"; see
        `vgg.pool`.

    Returns:
      Canonical layer name -> [R, h, w], of that layer's height and width.

    Raises:
      RequestError: there is no such propagation, or a layer is unknown.
    """
    if propagation not in PROPAGATIONS:
        raise RequestError(
            f"propagation must be one of {PROPAGATIONS}, got {propagation!r}"
        )
    taps = canonical_layers(layers)
    if not taps:
        return {}
    found = {}
    guide = regions
    for layer in LAYERS[: LAYERS.index(deepest_layer(taps)) + 1]:
        if layer.startswith("conv") and propagation != "simple":
            edge = jnp.pad(guide, ((0, 0), (1, 1), (1, 1)), mode="edge")
            guide = _over(edge, propagation, 3, 1)
        elif layer.startswith("pool"):
            odd = [side % 2 if rounding == "ceil" else 0 for side in guide.shape[1:]]
            edge = jnp.pad(guide, ((0, 0), (0, odd[0]), (0, odd[1])), mode="edge")
            guide = _over(edge, propagation, 2, 2)
        if layer in taps:
            found[layer] = guide
    return found


def _over(guide: jax.Array, propagation: str, side: int, stride: int) -> jax.Array:
    """The mean, least or largest of each window [side, side] of a guide [R, H, W]."""
    window, strides = (1, side, side), (1, stride, stride)
    if propagation == "inside":
        return lax.reduce_window(guide, jnp.inf, lax.min, window, strides, "VALID")
    if propagation == "all":
        return lax.reduce_window(guide, -jnp.inf, lax.max, window, strides, "VALID")
    return lax.reduce_window(guide, 0.0, lax.add, window, strides, "VALID") / side**2
