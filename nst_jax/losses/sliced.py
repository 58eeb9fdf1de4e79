"""The sliced Wasserstein distance: histograms along random directions."""

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from nst_jax.core.keys import seed_key
from nst_jax.core.validation import Range
from nst_jax.losses.base import Target, View, static, term
from nst_jax.losses.quantiles import (
    Quantiles,
    WeightedSamples,
    quantiles,
    transport_cost,
    weighted_samples,
)
from nst_jax.losses.style import StyleTerm


class Slices(NamedTuple):
    """Directions [c, K], and a style's quantiles along them."""

    directions: jax.Array
    quantiles: Quantiles


def random_directions(
    key: jax.Array, channels: int, count: int, dtype: DTypeLike = jnp.float32
) -> jax.Array:
    """Return random unit vectors [channels, count], in orthonormal blocks.

    Each is uniform on the sphere; orthogonal vectors cover it more evenly than
    independent ones.
    """
    blocks = -(-count // channels)
    # In float32 whatever the dtype, because float64 draws other numbers.
    normals = jax.random.normal(key, (blocks, channels, channels), jnp.float32)
    bases = jnp.linalg.qr(normals.astype(dtype))[0]
    return jnp.concatenate(list(bases), 1)[:, :count]


@term
class SlicedWasserstein(StyleTerm):
    """The mean over directions v of the squared W₂ of vᵀF and vᵀF*.

    Heitz, Vanhoey, Chambon & Belcour 2021 (arXiv 2006.07229). With enough directions it
    is 0 only for equal distributions, unlike the other style terms.

    Attributes:
      directions: K; 0 for the number of channels of each layer, as in the paper.
      seed: seed of the directions.
      anew: draw new directions at each step, as in the paper, instead of once. The loss
        is then stochastic: use Adam or gradient descent. All members share the
        directions of a step.
      levels: largest number of quantiles kept per direction of a style. The distances
        are exact without masks if canvas and style have the same number of positions,
        at most `levels`; else approximate, see `Histogram`.
      samples: largest number of positions kept per style if `anew` is set.
    """

    directions: Annotated[int, Range(at_least=0)] = static(default=0)
    seed: Annotated[int, Range(at_least=0)] = static(default=0)
    anew: bool = static(default=False)
    levels: Annotated[int, Range(at_least=2)] = static(default=1024)
    samples: Annotated[int, Range(at_least=1)] = static(default=16384)

    @property
    def is_stochastic(self) -> bool:
        return self.anew

    def statistic(
        self, features: jax.Array, weights: jax.Array | None = None
    ) -> WeightedSamples:
        return weighted_samples(features, weights)

    def target_statistic(self, statistic: WeightedSamples) -> WeightedSamples | Slices:
        if self.anew:
            return self._subsample(statistic)
        return self._slices(statistic, seed_key(self.seed))

    def distance(self, statistic: WeightedSamples, target: Slices) -> jax.Array:
        return transport_cost(_project(statistic, target.directions), target.quantiles)

    def parts(self, view: View, target: Target) -> dict[str, jax.Array]:
        if not self.anew:
            return super().parts(view, target)
        key = jax.random.fold_in(seed_key(self.seed), view.step)

        def is_style(node: Any) -> bool:
            return isinstance(node, WeightedSamples)

        def slice_style(node: Any) -> Any:
            return self._slices(node, key) if is_style(node) else node

        return super().parts(view, jax.tree.map(slice_style, target, is_leaf=is_style))

    def _slices(self, style: WeightedSamples, key: jax.Array) -> Slices:
        channels = style.values.shape[1]
        count = self.directions or channels
        directions = random_directions(key, channels, count, style.values.dtype)
        return Slices(directions, quantiles(_project(style, directions), self.levels))

    def _subsample(self, style: WeightedSamples) -> WeightedSamples:
        """Draw at most `samples` positions of a style by their weights."""
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


def _project(samples: WeightedSamples, directions: jax.Array) -> WeightedSamples:
    """Project samples on directions [c, K]."""
    return WeightedSamples(samples.values @ directions, samples.weights)
