"""Gram matrices between features and their neighbours, or between two layers."""

import itertools
import math
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from nst_jax.core.errors import RequestError
from nst_jax.core.validation import Range
from nst_jax.losses.base import Target, View, static, term
from nst_jax.losses.statistics import cross_gram, normalise_weights
from nst_jax.losses.style import STYLE_LAYERS, Gram, Region
from nst_jax.models.layers import LAYERS, canonical_layers


class NeighbourGrams(NamedTuple):
    """Gram matrices between features and their neighbours.

    Attributes:
      grams: [2 S, c, c], for each of S shifts to the right and down.
      fits: [2 S], 1 if the shift fits into the layer, else 0.
    """

    grams: jax.Array
    fits: jax.Array


@term
class ShiftedGram(Gram):
    """The mean over shifts δ, to the right and down, of k · Σ (G_δ − A_δ)².

    G_δ is the mean of F(x) F(x + δ)ᵀ over the positions x with such a neighbour. It
    captures the spatial order of features, which Gram matrices ignore. Berger &
    Memisevic 2017 (arXiv 1606.01286). A region uses the pairs inside it.

    Attributes:
      shifts: in positions of each layer. A shift that does not fit into a layer of the
        canvas or of the style is left out there.
    """

    shifts: tuple[Annotated[int, Range(at_least=1)], ...] = static(default=(1, 2, 4))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.shifts:
            raise RequestError(f"{self.name}.shifts is empty; give at least one shift")

    def statistic(self, features: jax.Array, weights: jax.Array | None = None) -> Any:
        """Return the `NeighbourGrams` of features [h, w, c] with weights [h, w]."""
        f = self.shift(features)
        grams, fits = [], []
        for shift, axis in itertools.product(self.shifts, (0, 1)):
            pairs = _neighbour_pairs(f, shift, axis)
            pair_weights = None
            if weights is not None:
                first, second = _neighbour_pairs(weights, shift, axis)
                pair_weights = normalise_weights(jnp.sqrt(first * second))
            grams.append(cross_gram(*pairs, pair_weights))
            fits.append(shift < f.shape[axis])
        stacked = jnp.stack(grams)
        return NeighbourGrams(stacked, jnp.asarray(fits, stacked.dtype))

    def distance(self, statistic: Any, target: Any) -> jax.Array:
        fits = (statistic.fits * target.fits)[:, None, None]
        error = self.squared_error(fits * statistic.grams, fits * target.grams)
        # The energy of a target is already that of all shifts.
        return error if self.normalise == "target" else error / len(fits)


def _neighbour_pairs(
    array: jax.Array, shift: int, axis: int
) -> tuple[jax.Array, jax.Array]:
    """Return the entries with a neighbour at a shift along an axis, and the latter."""
    size = array.shape[axis]
    pairs = max(size - shift, 0)
    first = jax.lax.slice_in_dim(array, 0, pairs, axis=axis)
    return first, jax.lax.slice_in_dim(array, size - pairs, size, axis=axis)


#: Each layer of `STYLE_LAYERS` with the next.
CHAIN = tuple(itertools.pairwise(STYLE_LAYERS))


@term
class CrossLayerGram(Gram):
    """k · Σ (G − A)², G = FUᵀ/M of a layer F and a coarser one U, enlarged to F's size.

    Novak & Nikulin 2016 (arXiv 1605.04603); Yeh, Tang, Bhattad & Forsyth 2018
    (arXiv 1801.03136). U is enlarged by the nearest position, and k is the geometric
    mean of the two layers' factors.

    Attributes:
      pairs: two layers each, in any order; `layer_weights` has one entry per pair.
      layers: the layers of the pairs.
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
            super(CrossLayerGram, self).factor(view, x) for x in layer.split(":")
        )
        return math.sqrt(fine * coarse)

    def statistic(self, features: Any, weights: jax.Array | None = None) -> jax.Array:
        """Return G [c, d] of a pair of features [h, w, c] and [h, w, d]."""
        fine, coarse = (self.shift(array) for array in features)
        return cross_gram(fine, coarse, weights)

    def target(
        self, content: View, styles: Sequence[View]
    ) -> tuple[tuple[Region, ...], ...]:
        return super().target(
            self._with_pairs(content), [*map(self._with_pairs, styles)]
        )

    def parts(self, view: View, target: Target) -> dict[str, jax.Array]:
        return super().parts(self._with_pairs(view), target)

    def _with_pairs(self, view: View) -> View:
        """Return a view whose features include each pair, resized to the same size."""
        features, guides = dict[str, Any](view.features), dict(view.guides)
        for site in self.sites:
            layers = site.split(":")
            fine, coarse = (view.features[layer] for layer in layers)
            size = (*fine.shape[:2], coarse.shape[2])
            features[site] = fine, jax.image.resize(coarse, size, "nearest")
            if view.guides:
                guides[site] = view.guides[layers[0]]
        return view._replace(features=features, guides=guides)
