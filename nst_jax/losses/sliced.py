"""The sliced Wasserstein distance: histograms along random directions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from nst_jax.core.keys import seed_key
from nst_jax.losses.base import Target, View, check_integers, static, term
from nst_jax.losses.quantiles import (
    Quantiles,
    WeightedSamples,
    bag,
    quantiles,
    transport,
)
from nst_jax.losses.style import StyleTerm


class Slices(NamedTuple):
    """Directions [c, K], and a style's quantiles along them."""

    directions: jax.Array
    quantiles: Quantiles


def directions(
    key: jax.Array, channels: int, count: int, dtype: DTypeLike = jnp.float32
) -> jax.Array:
    """Random unit vectors [channels, count]: orthonormal, as many at a time as can be.

    Each is uniform on the sphere; orthogonal ones cover it more evenly than
    independent ones would.
    """
    blocks = -(-count // channels)
    # Drawn in float32 always: in float64 they would be others.
    normals = jax.random.normal(key, (blocks, channels, channels), jnp.float32)
    bases = jnp.linalg.qr(normals.astype(dtype))[0]
    return jnp.concatenate(list(bases), 1)[:, :count]


@term
class SlicedWasserstein(StyleTerm):
    """The mean over directions v of the squared W₂ of vᵀF and vᵀF*.

    Heitz, Vanhoey, Chambon & Belcour 2021 (arXiv 2006.07229): the only
    statistic here that is 0 for equal distributions alone, where there are directions
    enough.

    Attributes:
      directions: K; 0 for as many as a layer has channels, as the paper has it.
      seed: what they are drawn with.
      anew: whether they are drawn anew at each step, as in the paper: then the loss is
        another one at each step, which is for Adam and for gradient descent. Else
        they are drawn once. Within a step, and for all members, they are the same.
      levels: at most so many quantiles of a style are kept along each direction.
        The distances are exact where canvas and style have equally many positions, no
        masks and at most so many positions; else they are approximate, see
        `Histogram`.
      samples: at most so many positions of a style are kept where `anew` is set.
    """

    directions: int = static(default=0)
    seed: int = static(default=0)
    anew: bool = static(default=False)
    levels: int = static(default=1024)
    samples: int = static(default=16384)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integers(self, directions=0, seed=0, levels=2, samples=1)

    @property
    def is_stochastic(self) -> bool:
        return self.anew

    def statistic(
        self, features: jax.Array, weights: jax.Array | None = None
    ) -> WeightedSamples:
        return bag(features, weights)

    def target_statistic(self, statistic: WeightedSamples) -> WeightedSamples | Slices:
        if self.anew:
            return self._sample(statistic)
        return self._slices(statistic, seed_key(self.seed))

    def distance(self, statistic: WeightedSamples, target: Slices) -> jax.Array:
        return transport(_along(statistic, target.directions), target.quantiles)

    def parts(self, view: View, target: Target) -> dict[str, jax.Array]:
        if self.anew:
            key = jax.random.fold_in(seed_key(self.seed), view.step)
            target = tuple(
                tuple(
                    region._replace(
                        statistics=tuple(
                            self._slices(style, key) for style in region.statistics
                        )
                    )
                    for region in regions
                )
                for regions in target
            )
        return super().parts(view, target)

    def _slices(self, style: WeightedSamples, key: jax.Array) -> Slices:
        channels = style.values.shape[1]
        count = self.directions or channels
        drawn = directions(key, channels, count, style.values.dtype)
        return Slices(drawn, quantiles(_along(style, drawn), self.levels))

    def _sample(self, style: WeightedSamples) -> WeightedSamples:
        """Some positions of a style, drawn by their weights; all if there are few."""
        count = len(style.values)
        if count <= self.samples:
            return style
        chosen = jax.random.choice(
            seed_key(self.seed),
            count,
            (self.samples,),
            replace=style.weights is not None,
            p=style.weights,
        )
        return WeightedSamples(style.values[chosen], None)


def _along(found: WeightedSamples, drawn: jax.Array) -> WeightedSamples:
    """A bag's projections [M, K] on directions [c, K]."""
    return WeightedSamples(found.values @ drawn, found.weights)
