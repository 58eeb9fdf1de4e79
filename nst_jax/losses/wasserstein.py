"""The Wasserstein distance of the Gaussians that have the features' moments."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap

from nst_jax.core.errors import RequestError
from nst_jax.losses.base import check_integers, static, term
from nst_jax.losses.statistics import mean, widened
from nst_jax.losses.style import StyleTerm

METHODS = ("svd", "newton_schulz")

_matmul = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


class Rows(NamedTuple):
    """The mean [c] of features, and X [n, c] with XᵀX their covariance."""

    mean: jax.Array
    rows: jax.Array


class Gaussian(NamedTuple):
    """What is kept of a style: its mean [c], and R [c, c] with RᵀR its covariance."""

    mean: jax.Array
    root: jax.Array


# One matrix after the other. jaxlib 0.10's LAPACK kernels wait for threads of the pool
# that they run in: batches of as many layers as it has threads wait for each other,
# and never end.
@sequential_vmap
def _triangle(rows: jax.Array) -> jax.Array:
    """R [c, c] of X = QR."""
    return jnp.linalg.qr(rows, mode="r")


@sequential_vmap
def _isometry(rows: jax.Array, root: jax.Array) -> jax.Array:
    """O [n, c] of the polar decomposition X R*ᵀ = O P, P symmetric and positive."""
    q, r = jnp.linalg.qr(rows)
    u, _, v = jnp.linalg.svd(_matmul(r, root.T), full_matrices=False)
    return _matmul(q, _matmul(u, v))


def bures(rows: jax.Array, root: jax.Array) -> jax.Array:
    """tr(Σ + Σ* − 2(Σ*^½ Σ Σ*^½)^½), the squared distance of Bures, by Procrustes.

    It is the least |X − O R*|² of all O [n, c] with orthonormal columns (Bhatia, Jain &
    Lim 2019, "On the Bures–Wasserstein distance between positive definite matrices",
    theorem 1), and O is the isometry of the polar decomposition of X R*ᵀ. So no
    covariance is formed, whose spectrum would be squared, and no traces cancel; nor is
    the decomposition differentiated, for at the least of something its gradient does
    not depend on where that is.

    Args:
      rows: X [n, c] with XᵀX = Σ, n at least c.
      root: R* [c, c] with R*ᵀR* = Σ*.
    """
    held = jax.lax.stop_gradient((rows, root))
    isometry = jax.lax.stop_gradient(_isometry(*held))
    return ((rows - _matmul(isometry, root)) ** 2).sum()


def bures_by_iteration(rows: jax.Array, root: jax.Array, steps: int) -> jax.Array:
    """The same by steps of Newton and Schulz: Y ← Y(3 − ZY)/2 and Z ← (3 − ZY)Z/2.

    From Y = A = R* Σ R*ᵀ, over its norm, and Z = 1, Y goes to A^½.
    """
    spread = _matmul(rows.T, rows)
    matrix = _matmul(_matmul(root, spread), root.T)
    norm = jnp.maximum(jnp.linalg.norm(matrix), jnp.finfo(matrix.dtype).tiny)
    one = jnp.eye(len(matrix), dtype=matrix.dtype)

    def step(
        roots: tuple[jax.Array, jax.Array], _: None
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        y, z = roots
        t = (3 * one - _matmul(z, y)) / 2
        return (_matmul(y, t), _matmul(t, z)), None

    (y, _), _ = jax.lax.scan(step, (matrix / norm, one), length=steps)
    overlap = jnp.trace(y) * jnp.sqrt(norm)
    return jnp.trace(spread) + (root**2).sum() - 2 * overlap


@term
class Wasserstein(StyleTerm):
    """(|μ − μ*|² + tr(Σ + Σ* − 2(Σ*^½ Σ Σ*^½)^½))/C: the squared W₂ of two Gaussians.

    Of the means and covariances of C channels; the second summand is the squared
    distance of Bures. crowsonkb/style-transfer-pytorch, `StyleLossW2`. Like a pixel's
    square it is quadratic in the features, where Gram matrices are quartic.

    Attributes:
      ridge: what is added to the diagonals of both covariances, in squares of
        features; a leaf.
      method: "svd", the default, is exact. "newton_schulz" is approximate: matrix
        products alone, for a GPU. Each of its steps multiplies a small eigenvalue by
        1.5, and after 12 steps those under some 6e-5 of the whole norm fall short. So
        a loss is left at a style's own features, and the least loss is elsewhere.
        Measured on relu1_1 to relu5_1 of three styles at 256 px, the rest is 2 to
        9 % of the mean variance tr Σ*/C after 12 steps, and up to 0.4 % after 20
        ("svd": less than 1e-8).
      steps: of Newton and Schulz. They bring rounding up as well: in float32, 30
        steps gave infinities or NaN at some of those layers.
    """

    ridge: float = 1e-4
    method: str = static(default="svd")
    steps: int = static(default=12)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in METHODS:
            raise RequestError(
                f"{self.name}.method must be one of {METHODS}, got {self.method!r}"
            )
        check_integers(self, steps=1)

    def statistic(self, features: jax.Array, weights: jax.Array | None = None) -> Rows:
        f = widened(features).reshape(-1, features.shape[-1])
        middle = mean(f, weights)
        counts = 1 / len(f) if weights is None else weights.reshape(-1, 1)
        one = jnp.eye(len(middle), dtype=f.dtype)
        scaled = jnp.sqrt(counts).astype(f.dtype) * (f - middle[None])
        ridge = jnp.sqrt(jnp.asarray(self.ridge, f.dtype)) * one
        return Rows(middle, jnp.concatenate([scaled, ridge]))

    def target_statistic(self, statistic: Rows) -> Gaussian:
        return Gaussian(statistic.mean, _triangle(statistic.rows))

    def distance(self, statistic: Rows, target: Gaussian) -> jax.Array:
        means = (statistic.mean - target.mean) ** 2
        if self.method == "svd":
            apart = bures(statistic.rows, target.root)
        else:
            apart = bures_by_iteration(statistic.rows, target.root, self.steps)
        return means.mean() + apart / len(means)
