"""Quantiles of features per channel, and the optimal transport between them.

In one dimension the optimal transport moves the i-th smallest value to the i-th
smallest. The squared Wasserstein distance is ∫ (Q(u) − Q*(u))² du of the quantile
functions, computed by sorting, without bins.

It is exact if both sets have the same number of equally weighted values, at most
`levels`. Otherwise Q* is interpolated linearly between its ranks, and the distance is
approximate. For features of relu1_1 to relu4_1 of two photographs (128 and 256 px, 1024
levels) the distance was off by at most 0.3 %, and its gradient by 0.1 to 2.2 % (RMS).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from nst_jax.losses.statistics import promote_to_float32


class WeightedSamples(NamedTuple):
    """Features [M, c] without their positions, and their weights.

    Attributes:
      values: [M, c], in float32 at least.
      weights: [M] of sum 1; None for equal weights.
    """

    values: jax.Array
    weights: jax.Array | None


class Quantiles(NamedTuple):
    """Quantile functions of c channels, linear between points and constant beyond.

    Attributes:
      ranks: [L], or [L, c] if each channel has its own; in [0, 1], ascending.
      values: [L, c], ascending.
    """

    ranks: jax.Array
    values: jax.Array


def weighted_samples(
    features: jax.Array, weights: jax.Array | None = None
) -> WeightedSamples:
    """Return the samples of features [h, w, c] with weights [h, w]."""
    values = promote_to_float32(features).reshape(-1, features.shape[-1])
    if weights is None:
        return WeightedSamples(values, None)
    return WeightedSamples(values, weights.reshape(-1).astype(values.dtype))


def _uniform_ranks(count: int, dtype: jnp.dtype) -> jax.Array:
    """Return the ranks (i + ½)/count of sorted values of equal weight."""
    return (jnp.arange(count, dtype=dtype) + 0.5) / count


def _weighted_ranks(weights: jax.Array) -> jax.Array:
    """Return the ranks of sorted values of weights [M, c], at half of each weight."""
    return jnp.cumsum(weights, 0) - weights / 2


def quantiles(samples: WeightedSamples, levels: int) -> Quantiles:
    """Return the quantile functions of samples, at `levels` ranks or fewer.

    Samples of weight 0 are ignored.
    """
    values, weights = samples
    if weights is None:
        ranks = _uniform_ranks(len(values), values.dtype)
        function = Quantiles(ranks, jnp.sort(values, axis=0))
    else:
        counted = (weights > 0)[:, None]
        largest = jnp.where(counted, values, values.min(0)[None]).max(0)
        values_or_largest = jnp.where(counted, values, largest[None])
        order = jnp.argsort(values_or_largest, axis=0)
        in_order = jnp.take_along_axis(values_or_largest, order, 0)
        function = Quantiles(_weighted_ranks(weights[order]), in_order)
    if len(values) <= levels:
        return function
    ranks = _uniform_ranks(levels, values.dtype)
    ranks_by_channel = jnp.broadcast_to(ranks[:, None], (levels, 1))
    return Quantiles(ranks, quantiles_at(function, ranks_by_channel))


def quantiles_at(function: Quantiles, ranks: jax.Array) -> jax.Array:
    """Return the quantiles [N, c] at ranks [N, c], or [N, 1] for all channels."""
    channels = function.values.shape[1]
    axis = 1 if function.ranks.ndim == 2 else None
    ranks = jnp.broadcast_to(ranks, (len(ranks), channels))
    interpolate = jax.vmap(jnp.interp, in_axes=(1, axis, 1), out_axes=1)
    return interpolate(ranks, function.ranks, function.values)


def transport_cost(samples: WeightedSamples, target: Quantiles) -> jax.Array:
    """Return the mean squared distance of samples from the target at their ranks.

    A sample's rank is the share of the weight below it, plus half of its own; equal
    values rank in the order of their positions. The gradient treats the remapped
    features R(F) of F − R(F) as constant (Risser et al. 2017) and equals the gradient
    of the distance. The module's docstring says when the distance is exact.
    """
    values, weights = samples
    if weights is None:
        ranks = _uniform_ranks(len(values), values.dtype)[:, None]
        return ((jnp.sort(values, axis=0) - quantiles_at(target, ranks)) ** 2).mean()
    order = jnp.argsort(values, axis=0)
    sorted_weights = weights[order]
    remapped = quantiles_at(target, _weighted_ranks(sorted_weights))
    squares = (jnp.take_along_axis(values, order, 0) - remapped) ** 2
    return (sorted_weights * squares).mean(1).sum()
