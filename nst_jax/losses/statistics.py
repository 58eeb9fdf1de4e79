"""Statistics of features that ignore position, accumulated in float32 at least."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


def promote_to_float32(array: jax.Array) -> jax.Array:
    """Return an array in float32, or in its own dtype if that is wider."""
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def cross_gram(
    f: jax.Array, g: jax.Array, weights: jax.Array | None = None
) -> jax.Array:
    """Return Σ w f gᵀ [c, d] of features f [h, w, c] and g [h, w, d].

    It is accumulated in float32 at least: products of two bfloat16 or float16 features
    overflow or lose digits. Without any position it is 0.

    Args:
      f: [h, w, c].
      g: [h, w, d].
      weights: [h, w], weights of the positions, of sum 1; None for equal weights.
    """
    dtype = jnp.promote_types(f.dtype, jnp.float32)
    f, g = (array.reshape(-1, array.shape[-1]) for array in (f, g))
    if weights is None:
        product = jnp.einsum("mc,md->cd", f, g, preferred_element_type=dtype)
        return product / max(f.shape[0], 1)
    weighted = weights.reshape(-1, 1).astype(dtype) * f.astype(dtype)
    return jnp.einsum("mc,md->cd", weighted, g.astype(dtype))


def gram(features: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """Return the Gram matrix Σ w f fᵀ [c, c] of features [h, w, c].

    Args:
      features: [h, w, c].
      weights: [h, w] of sum 1; None for equal weights: FFᵀ/M of M positions.
    """
    f = features.reshape(-1, features.shape[-1])
    return _square(f) if weights is None else cross_gram(f, f, weights)


@jax.custom_jvp
def _square(f: jax.Array) -> jax.Array:
    """Return FᵀF/M [c, c] of F [m, c], whose gradient is one product in F's dtype.

    Autodiff of the product of F with itself has two, in float32.
    """
    return cross_gram(f, f)


@_square.defjvp
def _square_derivative(
    primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    (f,), (tangent,) = primals, tangents
    product = promote_to_float32(jnp.einsum("mc,md->cd", tangent, f))
    half = product / max(f.shape[0], 1)
    return _square(f), half + half.T


class Moments(NamedTuple):
    """The mean [c] of features, and their covariance [c, c] or deviation [c]."""

    mean: jax.Array
    spread: jax.Array


def mean(features: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """Return Σ w f [c] of features [..., c] and weights [...] of sum 1."""
    f = promote_to_float32(features).reshape(-1, features.shape[-1])
    if weights is None:
        return f.mean(0)
    return (weights.reshape(-1, 1).astype(f.dtype) * f).sum(0)


def covariance(features: jax.Array, weights: jax.Array | None = None) -> Moments:
    """Return the mean and the covariance of features [..., c]; weights as in `mean`."""
    average, centred = _centred(features, weights)
    return Moments(average, gram(centred, weights))


def deviation(features: jax.Array, weights: jax.Array | None = None) -> Moments:
    """Return each channel's mean and standard deviation; weights as in `mean`."""
    average, centred = _centred(features, weights)
    return Moments(average, safe_sqrt(mean(centred**2, weights)))


def _centred(
    features: jax.Array, weights: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Return the mean and the centred features: E[ffᵀ] − μμᵀ would cancel digits."""
    average = mean(features, weights)
    f = promote_to_float32(features).reshape(-1, features.shape[-1])
    return average, f - average[None]


def absolute(x: jax.Array) -> jax.Array:
    """Return |x| with a gradient of 0 at 0, where that of `jnp.abs` is 1."""
    return x * jnp.sign(x)


def safe_sqrt(x: jax.Array) -> jax.Array:
    """Return √x, and 0 with a gradient of 0 where x ≤ 0."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def normalise_weights(guide: jax.Array) -> jax.Array:
    """Scale a guide [h, w] to sum 1; an empty guide stays 0."""
    whole = guide.sum()
    return guide / jnp.where(whole > 0, whole, 1)
