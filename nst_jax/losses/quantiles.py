"""Quantiles of features, channel by channel, and what it costs to move to others.

In one dimension the best transport is known: the i-th smallest value goes to the i-th
smallest. So the squared Wasserstein distance is ∫ (Q(u) − Q*(u))² du of the quantile
functions, computed by sorting, without bins.

It is exact where the two bags have equally many values that count alike, and `levels`
is no less than their number. Otherwise Q* is interpolated linearly, between its own
ranks or between the `levels` ranks that are kept, and the distance is approximate. On
features of relu1_1 to relu4_1 of two photographs (128 and 256 px, 1024 levels) the
distance was then off by at most 0.3 %, and its gradient by 0.1 to 2.2 % (RMS).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from nst_jax.losses.statistics import widened


class WeightedSamples(NamedTuple):
    """Features [M, c] whose places are forgotten, and what each counts for.

    Attributes:
      values: in float32 at least.
      weights: [M] of sum 1; None where all count alike.
    """

    values: jax.Array
    weights: jax.Array | None


class Quantiles(NamedTuple):
    """Quantile functions of c channels, linear between points and constant beyond.

    Attributes:
      ranks: [L], or [L, c] where each channel has its own; in [0, 1], ascending.
      values: [L, c], ascending.
    """

    ranks: jax.Array
    values: jax.Array


def bag(features: jax.Array, weights: jax.Array | None = None) -> WeightedSamples:
    """The bag of features [h, w, c] and weights [h, w]."""
    values = widened(features).reshape(-1, features.shape[-1])
    if weights is None:
        return WeightedSamples(values, None)
    return WeightedSamples(values, weights.reshape(-1).astype(values.dtype))


def _midpoints(count: int, dtype: jnp.dtype) -> jax.Array:
    """The ranks of `count` sorted values that count alike: (i + ½)/count."""
    return (jnp.arange(count, dtype=dtype) + 0.5) / count


def _ranks_in_order(weights: jax.Array) -> jax.Array:
    """The ranks of sorted values from their weights [M, c]: half of each is below."""
    return jnp.cumsum(weights, 0) - weights / 2


def quantiles(found: WeightedSamples, levels: int) -> Quantiles:
    """The quantile functions of a bag: at its own ranks, or at `levels` if it has more.

    What counts for nothing has no part in them.
    """
    values, weights = found
    if weights is None:
        own = Quantiles(_midpoints(len(values), values.dtype), jnp.sort(values, axis=0))
    else:
        counts = (weights > 0)[:, None]
        largest = jnp.where(counts, values, values.min(0)[None]).max(0)
        kept = jnp.where(counts, values, largest[None])
        order = jnp.argsort(kept, axis=0)
        inside = jnp.take_along_axis(kept, order, 0)
        own = Quantiles(_ranks_in_order(weights[order]), inside)
    if len(values) <= levels:
        return own
    even = _midpoints(levels, values.dtype)
    return Quantiles(even, at(own, jnp.broadcast_to(even[:, None], (levels, 1))))


def at(function: Quantiles, where: jax.Array) -> jax.Array:
    """The quantiles [N, c] at ranks [N, c], or at [N, 1] for every channel."""
    channels = function.values.shape[1]
    axis = 1 if function.ranks.ndim == 2 else None
    where = jnp.broadcast_to(where, (len(where), channels))
    interpolate = jax.vmap(jnp.interp, in_axes=(1, axis, 1), out_axes=1)
    return interpolate(where, function.ranks, function.values)


def transport(found: WeightedSamples, target: Quantiles) -> jax.Array:
    """The mean squared way of a bag's values to the quantiles at their ranks: a scalar.

    The module's description says where this is the exact distance, and how far off it
    is elsewhere.

    A value's rank is what share of the bag lies below it, half of its own included;
    equal values rank in the order of their positions. Ranks do not move: the gradient
    is that of F − R(F) with R(F), the remapped features, held (Risser et al. 2017), and
    that is also the distance's own.
    """
    values, weights = found
    if weights is None:
        middle = _midpoints(len(values), values.dtype)[:, None]
        return ((jnp.sort(values, axis=0) - at(target, middle)) ** 2).mean()
    order = jnp.argsort(values, axis=0)
    counts = weights[order]
    remapped = at(target, _ranks_in_order(counts))
    squares = (jnp.take_along_axis(values, order, 0) - remapped) ** 2
    return (counts * squares).mean(1).sum()
