"""Statistics of features in which position is lost, accumulated in float32 at least."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


def widened(array: jax.Array) -> jax.Array:
    """An array in float32 at least, in which statistics are accumulated."""
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def products(f: jax.Array, g: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """Σ w f gᵀ [c, d] of f [h, w, c] and g [h, w, d]; of no position at all, 0.

    Accumulated in float32 at least: products of two bfloat16 or float16 features
    overflow or round where their mean does not.

    Args:
      weights: [h, w], what each position counts for, of sum 1; None for 1/M each.
    """
    dtype = jnp.promote_types(f.dtype, jnp.float32)
    f, g = (array.reshape(-1, array.shape[-1]) for array in (f, g))
    if weights is None:
        product = jnp.einsum("mc,md->cd", f, g, preferred_element_type=dtype)
        return product / max(f.shape[0], 1)
    weighted = weights.reshape(-1, 1).astype(dtype) * f.astype(dtype)
    return jnp.einsum("mc,md->cd", weighted, g.astype(dtype))


def gram(features: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """Σ w f fᵀ [c, c] of features [h, w, c]: FFᵀ/M where all M positions count alike.

    Args:
      weights: as `products` has them.
    """
    f = features.reshape(-1, features.shape[-1])
    return products(f, f, weights)


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


def as_weights(guide: jax.Array) -> jax.Array:
    """A guide [h, w] as weights of sum 1; all 0 where it is."""
    whole = guide.sum()
    return guide / jnp.where(whole > 0, whole, 1)
