"""The Wasserstein distance of the Gaussians that have the features' moments."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nst_jax.errors import RequestError
from nst_jax.losses.base import static, term
from nst_jax.losses.moments import Moments, covariance
from nst_jax.losses.style import StyleTerm

METHODS = ("newton_schulz", "eigh")

_matmul = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def trace_root(matrix: jax.Array, method: str, steps: int) -> jax.Array:
    """tr A^½ of a symmetric positive semidefinite A [c, c].

    Its gradient is A^−½/2, of which no eigenvector need be differentiated: it is
    safe where eigenvalues are equal, and bounded where they are 0.

    Args:
      method: one of `METHODS`, as `Wasserstein` has them.
      steps: of Newton and Schulz.
    """
    return _roots(matrix, method, steps)[0]


def _roots(matrix: jax.Array, method: str, steps: int) -> tuple[jax.Array, jax.Array]:
    """(tr A^½, A^−½)."""
    if method == "eigh":
        return _by_eigenvalues(matrix)
    return _by_iteration(matrix, steps)


def _by_eigenvalues(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    values, vectors = jnp.linalg.eigh(matrix)
    # What lies below is rounding; the inverse root would make most of it.
    info = jnp.finfo(values.dtype)
    least = jnp.maximum(len(values) * info.eps * values[-1], info.tiny)
    inverse = _matmul(vectors / jnp.sqrt(jnp.maximum(values, least))[None], vectors.T)
    return jnp.sqrt(jnp.maximum(values, 0)).sum(), inverse


def _by_iteration(matrix: jax.Array, steps: int) -> tuple[jax.Array, jax.Array]:
    """Y → A^½ and Z → A^−½, by Y ← Y(3 − ZY)/2 and Z ← (3 − ZY)Z/2 from A and 1."""
    norm = jnp.maximum(jnp.linalg.norm(matrix), jnp.finfo(matrix.dtype).tiny)
    one = jnp.eye(len(matrix), dtype=matrix.dtype)

    def step(_: int, roots: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        y, z = roots
        t = (3 * one - _matmul(z, y)) / 2
        return _matmul(y, t), _matmul(t, z)

    y, z = jax.lax.fori_loop(0, steps, step, (matrix / norm, one))
    return jnp.trace(y) * jnp.sqrt(norm), z / jnp.sqrt(norm)


def _backward(
    method: str, steps: int, inverse: jax.Array, cotangent: jax.Array
) -> tuple[jax.Array]:
    return (cotangent / 2 * inverse,)


trace_root.defvjp(_roots, _backward)


def square_root(matrix: jax.Array) -> jax.Array:
    """A^½ [c, c] of a symmetric positive semidefinite A."""
    values, vectors = jnp.linalg.eigh(matrix)
    return _matmul(vectors * jnp.sqrt(jnp.maximum(values, 0))[None], vectors.T)


class Gaussian(NamedTuple):
    """What is kept of a style: its mean [c], tr Σ* and Σ*^½ [c, c]."""

    mean: jax.Array
    trace: jax.Array
    root: jax.Array


@term
class Wasserstein(StyleTerm):
    """(|μ − μ*|² + tr(Σ + Σ* − 2(Σ*^½ Σ Σ*^½)^½))/C: the squared W₂ of two Gaussians.

    Of the means and covariances of C channels; the second summand is the squared
    distance of Bures. crowsonkb/style-transfer-pytorch, `StyleLossW2`. Like a pixel's
    square it is quadratic in the features, where Gram matrices are quartic.

    Attributes:
      ridge: what is added to the diagonals of both covariances, in squares of
        features.
      method: how the root is taken. "newton_schulz" is matrix products alone, fast
        on a GPU and many at a time. Its every step brings a small eigenvalue up by
        1.5: after 12 those under some 6e-5 of the whole norm fall short, so even at a
        style's own features some loss is left. "eigh" is exact, and slow on a GPU.
      steps: of Newton and Schulz. They bring up what is rounding as well: in float32
        more than some 16 may diverge.
    """

    ridge: float = static(default=1e-4)
    method: str = static(default="newton_schulz")
    steps: int = static(default=12)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in METHODS:
            raise RequestError(
                f"{self.name}.method must be one of {METHODS}, got {self.method!r}"
            )
        if not self.ridge >= 0:
            raise RequestError(
                f"{self.name}.ridge must not be negative, got {self.ridge}"
            )
        if self.steps < 1:
            raise RequestError(f"{self.name}.steps must be 1 or more, got {self.steps}")

    def statistic(
        self, features: jax.Array, weights: jax.Array | None = None
    ) -> Moments:
        middle, spread = covariance(features, weights)
        one = jnp.eye(len(spread), dtype=spread.dtype)
        return Moments(middle, spread + self.ridge * one)

    def goal(self, statistic: Moments) -> Gaussian:
        spread = statistic.spread
        return Gaussian(statistic.mean, jnp.trace(spread), square_root(spread))

    def distance(self, statistic: Moments, target: Gaussian) -> jax.Array:
        means = (statistic.mean - target.mean) ** 2
        between = _matmul(_matmul(target.root, statistic.spread), target.root)
        overlap = trace_root(between, self.method, self.steps)
        bures = jnp.trace(statistic.spread) + target.trace - 2 * overlap
        return means.mean() + bures / len(means)
