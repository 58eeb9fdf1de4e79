"""The Wasserstein distance of Gaussians with the moments of the features."""

import functools
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap

from nst_jax.core.validation import Range
from nst_jax.losses.base import static, term
from nst_jax.losses.statistics import mean, promote_to_float32
from nst_jax.losses.style import StyleTerm

_matmul = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


class Rows(NamedTuple):
    """The mean [c] of features, and X [n, c] such that XᵀX is their covariance."""

    mean: jax.Array
    rows: jax.Array


class Gaussian(NamedTuple):
    """A style's mean [c], and R [c, c] such that RᵀR is its covariance."""

    mean: jax.Array
    root: jax.Array


# One matrix at a time: jaxlib 0.10's LAPACK kernels wait for threads of the pool that
# they run in, so a batch of as many matrices as threads deadlocks.
@sequential_vmap
def _triangle(rows: jax.Array) -> jax.Array:
    """Return R [c, c] of X = QR."""
    return jnp.linalg.qr(rows, mode="r")


@sequential_vmap
def _isometry(rows: jax.Array, root: jax.Array) -> jax.Array:
    """Return O [n, c] of the polar decomposition X R*ᵀ = O P, P symmetric positive."""
    q, r = jnp.linalg.qr(rows)
    u, _, v = jnp.linalg.svd(_matmul(r, root.T), full_matrices=False)
    return _matmul(q, _matmul(u, v))


def bures(rows: jax.Array, root: jax.Array) -> jax.Array:
    """Return the squared Bures distance tr(Σ + Σ* − 2(Σ*^½ Σ Σ*^½)^½), by Procrustes.

    It is the minimum of |X − O R*|² over O [n, c] with orthonormal columns (Bhatia,
    Jain & Lim 2019, "On the Bures–Wasserstein distance between positive definite
    matrices", theorem 1), attained at the isometry of the polar decomposition of X R*ᵀ.
    No covariance is formed, which would square the spectrum, and no traces cancel. The
    isometry is constant in the gradient, because it minimises (envelope theorem).

    Args:
      rows: X [n, c] with XᵀX = Σ, n at least c.
      root: R* [c, c] with R*ᵀR* = Σ*.
    """
    fixed = jax.lax.stop_gradient((rows, root))
    isometry = jax.lax.stop_gradient(_isometry(*fixed))
    return ((rows - _matmul(isometry, root)) ** 2).sum()


def bures_by_iteration(rows: jax.Array, root: jax.Array, steps: int) -> jax.Array:
    """Approximate `bures` by Newton–Schulz: Y ← Y(3 − ZY)/2 and Z ← (3 − ZY)Z/2.

    Starting from Y = A/|A|, A = R* Σ R*ᵀ, and Z = 1, Y converges to (A/|A|)^½.
    """
    spread = _matmul(rows.T, rows)
    matrix = _matmul(_matmul(root, spread), root.T)
    norm = jnp.maximum(jnp.linalg.norm(matrix), jnp.finfo(matrix.dtype).tiny)
    identity = jnp.eye(len(matrix), dtype=matrix.dtype)

    def step(
        roots: tuple[jax.Array, jax.Array], _: None
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        y, z = roots
        t = (3 * identity - _matmul(z, y)) / 2
        return (_matmul(y, t), _matmul(t, z)), None

    (y, _), _ = jax.lax.scan(step, (matrix / norm, identity), length=steps)
    overlap = jnp.trace(y) * jnp.sqrt(norm)
    return jnp.trace(spread) + (root**2).sum() - 2 * overlap


@term
class Wasserstein(StyleTerm):
    """(|μ − μ*|² + tr(Σ + Σ* − 2(Σ*^½ Σ Σ*^½)^½))/C: the squared W₂ of two Gaussians.

    μ and Σ are the mean and covariance of C channels; the second summand is the squared
    Bures distance. crowsonkb/style-transfer-pytorch, `StyleLossW2`. It is quadratic in
    the features; losses of Gram matrices are quartic.

    Attributes:
      ridge: added to the diagonals of both covariances, in squares of features; a leaf.
      method: "svd" is exact. "newton_schulz" is approximate and consists of matrix
        products, for a GPU. Each of its steps multiplies small eigenvalues by 1.5;
        after 12 steps those below about 6e-5 of the norm have not converged. A residual
        loss remains at the style's own features, and the minimum is elsewhere. On
        relu1_1 to relu5_1 of three styles at 256 px the residual is 2 to 9 % of the
        mean variance tr Σ*/C after 12 steps, and up to 0.4 % after 20 ("svd": less than
        1e-8).
      steps: Newton–Schulz steps. They amplify rounding: 30 steps in float32 gave
        infinities or NaN at some of these layers.
    """

    ridge: float = 1e-4
    method: Literal["svd", "newton_schulz"] = static(default="svd")
    steps: Annotated[int, Range(at_least=1)] = static(default=12)

    def statistic(self, features: jax.Array, weights: jax.Array | None = None) -> Rows:
        f = promote_to_float32(features).reshape(-1, features.shape[-1])
        average = mean(f, weights)
        row_weights = 1 / len(f) if weights is None else weights.reshape(-1, 1)
        identity = jnp.eye(len(average), dtype=f.dtype)
        scaled = jnp.sqrt(row_weights).astype(f.dtype) * (f - average[None])
        ridge = jnp.sqrt(jnp.asarray(self.ridge, f.dtype)) * identity
        return Rows(average, jnp.concatenate([scaled, ridge]))

    def target_statistic(self, statistic: Rows) -> Gaussian:
        return Gaussian(statistic.mean, _triangle(statistic.rows))

    def distance(self, statistic: Rows, target: Gaussian) -> jax.Array:
        means = (statistic.mean - target.mean) ** 2
        if self.method == "svd":
            distance = bures(statistic.rows, target.root)
        else:
            distance = bures_by_iteration(statistic.rows, target.root, self.steps)
        return means.mean() + distance / len(means)
