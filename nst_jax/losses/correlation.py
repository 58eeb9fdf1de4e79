"""Gram matrices of features with other features: beside them, or of another layer."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nst_jax.core.errors import RequestError
from nst_jax.losses.base import Target, View, static, term
from nst_jax.losses.statistics import as_weights, products
from nst_jax.losses.style import Gram, Region
from nst_jax.models.layers import LAYERS, canonical_layers


class Neighbours(NamedTuple):
    """Gram matrices of features with their neighbours.

    Attributes:
      grams: [2 S, c, c], for each shift to the right and down.
      there: [2 S], 1 where the shift fits into the layer, else 0.
    """

    grams: jax.Array
    fits: jax.Array


@term
class ShiftedGram(Gram):
    """The mean over shifts δ, to the right and down, of k · Σ (G_δ − A_δ)².

    G_δ is the mean of F(x) F(x + δ)ᵀ over the positions x that have such a neighbour:
    what is said of how features follow each other, of which Gram matrices know nothing.
    Berger & Memisevic 2017 (arXiv 1606.01286). A region counts the pairs that
    lie in it.

    Attributes:
      shifts: in positions of each layer. One that does not fit into a layer, of the
        canvas or of the style, counts for nothing there.
    """

    shifts: tuple[int, ...] = static(default=(1, 2, 4))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.shifts or any(
            isinstance(shift, bool) or not isinstance(shift, int) or shift < 1
            for shift in self.shifts
        ):
            raise RequestError(
                f"{self.name}.shifts must be one or more integers from 1, "
                f"got {self.shifts}"
            )

    def statistic(self, features: jax.Array, weights: jax.Array | None = None) -> Any:
        """The `Neighbours` of features [h, w, c], with weights [h, w]."""
        f = self.shifted(features)
        found, fits = [], []
        for shift, axis in itertools.product(self.shifts, (0, 1)):
            here, shifted = _neighbours(f, shift, axis)
            both = None
            if weights is not None:
                one, other = _neighbours(weights, shift, axis)
                both = as_weights(jnp.sqrt(one * other))
            found.append(products(here, shifted, both))
            fits.append(shift < f.shape[axis])
        grams = jnp.stack(found)
        return Neighbours(grams, jnp.asarray(fits, grams.dtype))

    def distance(self, statistic: Any, target: Any) -> jax.Array:
        both = (statistic.fits * target.fits)[:, None, None]
        return self.squares(both * (statistic.grams - target.grams)) / len(both)


def _neighbours(array: jax.Array, shift: int, axis: int) -> tuple[jax.Array, jax.Array]:
    """The entries that have another `shift` further along an axis, and those others."""
    size = array.shape[axis]
    pairs = max(size - shift, 0)
    here = jax.lax.slice_in_dim(array, 0, pairs, axis=axis)
    return here, jax.lax.slice_in_dim(array, size - pairs, size, axis=axis)


#: Each layer of `STYLE_LAYERS` with the next.
CHAIN = (
    ("relu1_1", "relu2_1"),
    ("relu2_1", "relu3_1"),
    ("relu3_1", "relu4_1"),
    ("relu4_1", "relu5_1"),
)


@term
class CrossLayerGram(Gram):
    """k · Σ (G − A)², G = FUᵀ/M of a layer F and a coarser one U, enlarged to F's size.

    Novak & Nikulin 2016 (arXiv 1605.04603); Yeh, Tang, Bhattad & Forsyth 2018
    (arXiv 1801.03136). U is enlarged to the nearest position, and k is the geometric
    mean of the two layers' by the convention.

    Attributes:
      pairs: two layers each, in any order; `layer_weights` has one entry a pair.
      layers: those of the pairs.
    """

    pairs: tuple[tuple[str, str], ...] = static(default=CHAIN)
    layers: tuple[str, ...] = static(default=(), init=False)

    def __post_init__(self) -> None:
        if not self.pairs or any(len(pair) != 2 for pair in self.pairs):
            raise RequestError(
                f"{self.name}.pairs must be one or more pairs of layers, "
                f"got {self.pairs}"
            )
        pairs = tuple(
            tuple(sorted(canonical_layers(pair), key=LAYERS.index))
            for pair in self.pairs
        )
        layers = tuple(dict.fromkeys(itertools.chain(*pairs)))
        object.__setattr__(self, "pairs", pairs)
        object.__setattr__(self, "layers", layers)
        super().__post_init__()
        if len(set(pairs)) < len(pairs):
            raise RequestError(f"{self.name}.pairs names a pair twice: {pairs}")

    @property
    def sites(self) -> tuple[str, ...]:
        return tuple(f"{fine}:{coarse}" for fine, coarse in self.pairs)

    def factor(self, view: View, layer: str) -> float:
        fine, coarse = (
            super(CrossLayerGram, self).factor(view, x) for x in _two(layer)
        )
        return math.sqrt(fine * coarse)

    def statistic(
        self,
        features: Any,
        weights: jax.Array | None = None,
    ) -> jax.Array:
        """G [c, d], of features [h, w, c] and [h, w, d]."""
        fine, coarse = (self.shifted(array) for array in features)
        return products(fine, coarse, weights)

    def target(
        self, content: View, styles: Sequence[View]
    ) -> tuple[tuple[Region, ...], ...]:
        return super().target(self._paired(content), [*map(self._paired, styles)])

    def parts(self, view: View, target: Target) -> dict[str, jax.Array]:
        return super().parts(self._paired(view), target)

    def _paired(self, view: View) -> View:
        """A view that has, under the name of each pair, the two of one size."""
        features, guides = dict[str, Any](view.features), dict(view.guides)
        for site in self.sites:
            fine, coarse = (view.features[layer] for layer in _two(site))
            size = (*fine.shape[:2], coarse.shape[2])
            features[site] = fine, jax.image.resize(coarse, size, "nearest")
            if view.guides:
                guides[site] = view.guides[_two(site)[0]]
        return view._replace(features=features, guides=guides)


def _two(site: str) -> list[str]:
    """The layers of a pair, from its name."""
    return site.split(":")
