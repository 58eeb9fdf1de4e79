"""The L-BFGS direction as matrix products with a ring of pairs of differences."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.scipy.linalg import solve_triangular

_PRECISION = jax.lax.Precision.HIGHEST


class History(NamedTuple):
    """The last m pairs (s, y) of differences of the canvas and of the gradient.

    Pair i is in slot i % m. A pair without products is not used; its values stay until
    they are overwritten.

    Attributes:
      updates: number of updates.
      canvas, gradient: arguments of the last update.
      pairs: [2 m, canvas size], s and y of each slot in turn. Any other shape would be
        reshaped for the products, and XLA would copy the history at each step.
      products: [m, 2, m], inner products of both entries of each pair with each y.
        Those with a y of an earlier pair are undefined.
    """

    updates: jax.Array
    canvas: jax.Array
    gradient: jax.Array
    pairs: jax.Array
    products: jax.Array

    def without_pairs(self, is_empty: jax.Array) -> "History":
        """Return a history that uses no pair where `is_empty`, without a copy."""
        return self._replace(products=jnp.where(is_empty, 0, self.products))


def scale_by_compact_lbfgs(history_size: int) -> optax.GradientTransformation:
    """Return `optax.scale_by_lbfgs` without its sequential loops.

    The two-loop recursion (Nocedal & Wright, algorithm 7.4) passes over the history
    pair by pair. Its coefficients solve two triangular systems of the pairs' inner
    products (Byrd, Nocedal & Schnabel 1994, "Representations of quasi-Newton matrices
    and their use in limited memory methods", theorem 2.2). An update writes one pair,
    and reads the history for one product with two vectors and one with the
    coefficients. It repeats bit for bit from a state whose `pairs` it has updated.

    Args:
      history_size: number of stored pairs.
    """

    def init(canvas: jax.Array) -> History:
        return History(
            updates=jnp.zeros((), jnp.int32),
            canvas=jnp.zeros_like(canvas),
            gradient=jnp.zeros_like(canvas),
            pairs=jnp.zeros((2 * history_size, canvas.size), canvas.dtype),
            products=jnp.zeros((history_size, 2, history_size), canvas.dtype),
        )

    def update(
        gradient: jax.Array, state: History, canvas: jax.Array
    ) -> tuple[jax.Array, History]:
        newest = (state.updates - 1) % history_size
        pair = jnp.stack([canvas - state.canvas, gradient - state.gradient])
        pair = jnp.where(state.updates > 0, pair, 0).reshape(2, -1)
        pairs = jax.lax.dynamic_update_slice_in_dim(state.pairs, pair, 2 * newest, 0)

        vectors = jnp.stack([pair[1], gradient.reshape(-1)])
        inner = jnp.inner(pairs, vectors, precision=_PRECISION)
        with_y, with_gradient = inner.reshape(history_size, 2, 2).transpose(2, 0, 1)
        products = state.products.at[..., newest].set(with_y)

        oldest_first = (state.updates + jnp.arange(history_size)) % history_size
        scale, coefficients = _coefficients(
            products[oldest_first][..., oldest_first], with_gradient[oldest_first]
        )
        coefficients = jnp.zeros_like(coefficients).at[oldest_first].set(coefficients)
        change = jnp.matmul(coefficients.reshape(-1), pairs, precision=_PRECISION)
        direction = scale * gradient + change.reshape(canvas.shape)
        return direction, History(state.updates + 1, canvas, gradient, pairs, products)

    return optax.GradientTransformation(init, update)


def _coefficients(
    products: jax.Array, with_gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return γ and c of the direction H g = γ g + Σ cᵢ₀ sᵢ + cᵢ₁ yᵢ.

    Args:
      products: as in `History`, with the oldest pair first.
      with_gradient: [m, 2], inner products of the pairs with the gradient g.

    Returns:
      γ = sᵀy / yᵀy of the newest pair, and c [m, 2].
    """
    sy, yy = products[:, 0], products[:, 1]
    is_used = jnp.diag(sy) != 0
    both_used = is_used[:, None] & is_used[None]
    sg, yg = jnp.where(is_used[:, None], with_gradient, 0).T
    upper = jnp.where(both_used, sy, jnp.eye(len(sy), dtype=sy.dtype))
    yy = jnp.where(both_used, jnp.triu(yy) + jnp.triu(yy, 1).T, 0)
    scale = jnp.where(yy[-1, -1] > 0, sy[-1, -1] / yy[-1, -1], 1)

    alphas = solve_triangular(upper, sg)
    residual = jnp.matmul(yy, alphas, precision=_PRECISION) - yg
    of_s = solve_triangular(upper, jnp.diag(sy) * alphas + scale * residual, trans=1)
    return scale, jnp.stack([of_s, -scale * alphas], 1)
