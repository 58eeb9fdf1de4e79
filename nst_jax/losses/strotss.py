"""Style by relaxed optimal transport and content by self-similarity.

Kolkin, Salavon & Shakhnarovich 2019 (arXiv 1904.12785), "STROTSS". Both compare
hypercolumns: the colour and all layers' features at one position of the image. Random
positions are drawn at each step, so the losses are stochastic: use Adam or gradient
descent.

All losses are relative: hypercolumns times a constant have the same loss, except for
the palette. So their balance does not depend on the scale of the network's features.
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from nst_jax.core.keys import seed_key
from nst_jax.core.validation import Range
from nst_jax.losses.base import Target, Term, View, static, term, total
from nst_jax.losses.statistics import (
    Moments,
    absolute,
    covariance,
    normalise_weights,
    promote_to_float32,
    safe_sqrt,
)
from nst_jax.losses.style import Region, StyleTerm
from nst_jax.models.layers import LAYERS, smallest_side

#: Layers of the paper, which names them of VGG-16.
HYPERCOLUMN_LAYERS = (
    *("relu1_1", "relu1_2", "relu2_1", "relu2_2"),
    *("relu3_1", "relu3_2", "relu3_3", "relu4_3", "relu5_3"),
)


def sample_positions(view: View, seed: int, samples: int) -> jax.Array:
    """Return uniform positions [N, 2] (y, x) in pixels from the upper left corner.

    They depend only on the seed, the view's step and the image's size.
    """
    key = jax.random.fold_in(seed_key(seed), view.step)
    height, width, _ = view.image.shape
    # In float32 whatever the dtype, because float64 draws other numbers.
    uniform = jax.random.uniform(key, (samples, 2), jnp.float32)
    return uniform * jnp.array([[height, width]], jnp.float32)


def bilinear(array: jax.Array, positions: jax.Array, stride: int = 1) -> jax.Array:
    """Interpolate an array [h, w, c] at positions [N, 2] of its image: [N, c].

    The array is constant beyond the centres of its outermost cells.

    Args:
      array: image or feature map.
      positions: in pixels from the upper left corner.
      stride: pixels between neighbouring cells of the array.
    """
    last = jnp.array([array.shape[:2]]) - 1
    inside = jnp.clip(positions / stride - 0.5, 0, last)
    corner = jnp.floor(inside).astype(int)
    (top, left), (bottom, right) = corner.T, jnp.minimum(corner + 1, last).T
    y, x = (inside - corner).T
    rows, columns = jnp.stack([top, top, bottom, bottom]), jnp.stack([left, right] * 2)
    shares = jnp.stack([(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x])
    return (shares[..., None] * promote_to_float32(array)[rows, columns]).sum(0)


def _stride(layer: str) -> int:
    """Return the distance between neighbouring positions of a layer, in pixels."""
    return smallest_side((layer,))


def hypercolumns(view: View, layers: Sequence[str], positions: jax.Array) -> jax.Array:
    """Return colour and features of all layers [N, 3 + Σ c] at positions [N, 2]."""
    columns = [bilinear(view.image, positions)]
    columns += [bilinear(view.features[x], positions, _stride(x)) for x in layers]
    return jnp.concatenate(columns, 1)


def cosine_distances(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return 1 − cos [N, M] of vectors [N, c] and [M, c]; it is 1 for a zero vector."""
    return 1 - _unit_vectors(a) @ _unit_vectors(b).T


def _unit_vectors(vectors: jax.Array) -> jax.Array:
    squares = (vectors**2).sum(1, keepdims=True)
    return vectors * jax.lax.rsqrt(jnp.where(squares > 0, squares, 1))


def euclidean_distances(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return |a − b| [N, M] of vectors [N, c] and [M, c]."""
    return safe_sqrt(((a[:, None] - b[None]) ** 2).sum(2))


def relaxed_emd(
    cost: jax.Array,
    weights: jax.Array | None = None,
    other_weights: jax.Array | None = None,
) -> jax.Array:
    """Return max(Σᵢ wᵢ minⱼ cᵢⱼ, Σⱼ vⱼ minᵢ cᵢⱼ) of costs [N, M]: equations 3 to 5.

    Each sum ignores the weights of the other side; the larger one is a lower bound of
    the earth mover's distance.

    Args:
      cost: [N, M].
      weights: w [N], of sum 1; None for 1/N each. Rows of weight 0 are ignored.
      other_weights: v [M], of sum 1; None for 1/M each. Columns of weight 0 are
        ignored.
    """
    return jnp.maximum(
        _nearest_cost(cost, weights, other_weights),
        _nearest_cost(cost.T, other_weights, weights),
    )


def _nearest_cost(
    cost: jax.Array, weights: jax.Array | None, other_weights: jax.Array | None
) -> jax.Array:
    if other_weights is not None:
        cost = jnp.where(other_weights[None] > 0, cost, cost.max())
    least = cost.min(1)
    return least.mean() if weights is None else (weights * least).sum()


class Sample(NamedTuple):
    """An image at N positions.

    Attributes:
      columns: hypercolumns [N, C], whose first three entries are the colour.
      weights: [N], of sum 1; None for equal weights.
    """

    columns: jax.Array
    weights: jax.Array | None


class StyleSample(NamedTuple):
    """A style at N positions, and its moments.

    Attributes:
      sample: the sample.
      moments: mean [C] and covariance [C, C] of its columns.
      norms: [2], Σ |μ*| and Σ |Σ*|, the latter at least Σ |μ*μ*ᵀ| / 100; 1 for 0.
    """

    sample: Sample
    moments: Moments
    norms: jax.Array


@term
class RelaxedEMD(StyleTerm):
    """ℓ_r + moments · ℓ_m + palette · ℓ_p, with one curve each: equations 3 to 8.

    - ℓ_r is the relaxed earth mover's distance of hypercolumns with cosine costs.
    - ℓ_m is Σ |μ − μ*| / Σ |μ*| + Σ |Σ − Σ*| / Σ |Σ*|, the relative errors of their
      mean and covariance. The paper has the means of |μ − μ*| and |Σ − Σ*|, which grow
      with the features and their square.
    - ℓ_p is the relaxed earth mover's distance of colours with Euclidean costs. The
      paper's decorrelated axes are orthonormal and change no distance.

    Positions in the styles are drawn once.

    Attributes:
      samples: number of positions.
      seed: seed of the positions.
      moments: weight of ℓ_m; a leaf.
      palette: weight of ℓ_p; a leaf. In the paper it is 1/α, with α decreasing from 16.
    """

    layers: tuple[str, ...] = static(default=HYPERCOLUMN_LAYERS)
    samples: Annotated[int, Range(at_least=1)] = static(default=1024)
    seed: Annotated[int, Range(at_least=0)] = static(default=0)
    moments: float = 1.0
    palette: float = 1 / 16

    normalisations: ClassVar[tuple[str, ...]] = ("",)

    @property
    def is_stochastic(self) -> bool:
        return True

    @property
    def sites(self) -> tuple[str, ...]:
        """No site, because all layers are compared together."""
        return ()

    def statistic(
        self, features: jax.Array, weights: jax.Array | None = None
    ) -> Sample:
        """Return the sample of hypercolumns [N, C] and weights [N]."""
        return Sample(features, weights)

    def target_statistic(self, statistic: Sample) -> StyleSample:
        moments = covariance(*statistic)
        mean, spread = (abs(moment).sum() for moment in moments)
        # Σ |μ*μ*ᵀ| is (Σ |μ*|)². A flat style has hardly any covariance beside it.
        norms = jnp.stack([mean, jnp.maximum(spread, 0.01 * mean**2)])
        return StyleSample(statistic, moments, jnp.where(norms > 0, norms, 1))

    def target(self, content: View, styles: Sequence[View]) -> Any:
        super().target(content, styles)  # Checks the styles and their blend.
        finest = min(self.layers, key=LAYERS.index)
        guides = {"all": content.guides[finest]} if content.guides else {}
        sampled = [self._sample(style, finest) for style in styles]
        return self._regions(View(content.image, {}, guides), sampled, "all")

    def _sample(self, view: View, finest: str) -> View:
        """Return a view with the hypercolumns and guides of random positions."""
        positions = sample_positions(view, self.seed, self.samples)
        columns = hypercolumns(view, self.layers, positions)
        guides = {}
        if view.guides:
            planes = jnp.moveaxis(view.guides[finest], 0, 2)
            guides = {"all": bilinear(planes, positions, _stride(finest)).T}
        return View(view.image, {"all": columns}, guides)

    def parts(self, view: View, target: Sequence[Region]) -> dict[str, jax.Array]:
        finest = min(self.layers, key=LAYERS.index)
        positions = sample_positions(view, self.seed, self.samples)
        columns = hypercolumns(view, self.layers, positions)
        weighted: list[dict[str, jax.Array]] = []
        for region in target:
            weights, is_sampled = None, jnp.ones((), bool)
            if region.weights is not None:
                plane = bilinear(region.weights[..., None], positions, _stride(finest))
                # A region without any position has no loss.
                weights, is_sampled = normalise_weights(plane[:, 0]), plane.sum() > 0
            sample = self.statistic(columns, weights)
            for share, target_statistic in zip(
                self._style_shares(region), region.statistics, strict=True
            ):
                losses = self._losses(sample, target_statistic)
                share = jnp.where(is_sampled, share, 0)
                weighted.append({name: share * loss for name, loss in losses.items()})
        return {
            f"{self.name}/{name}": total(losses[name] for losses in weighted)
            for name in weighted[0]
        }

    def distance(self, statistic: Sample, target: StyleSample) -> jax.Array:
        return total(self._losses(statistic, target).values())

    def _losses(self, canvas: Sample, style: StyleSample) -> dict[str, jax.Array]:
        a, b = canvas, style.sample
        cosine = cosine_distances(a.columns, b.columns)
        euclid = euclidean_distances(a.columns[:, :3], b.columns[:, :3])
        moments = total(
            absolute(x - y).sum() / norm
            for x, y, norm in zip(
                covariance(*a), style.moments, style.norms, strict=True
            )
        )
        return {
            "relaxed_emd": relaxed_emd(cosine, a.weights, b.weights),
            "moments": self.moments * moments,
            "palette": self.palette * relaxed_emd(euclid, a.weights, b.weights),
        }


@term
class SelfSimilarity(Term):
    """The mean over columns of Σ |D/ΣD − D*/ΣD*|, D cosine distances in one image.

    D [N, N] is between N positions, and sums are over columns. It is equation 7 times
    N, as in the authors' code, so that it does not depend on N. Colours and textures
    are free as long as the similarities between positions are kept.

    Attributes:
      samples: number of positions, the same in canvas and content image.
      seed: seed of the positions.
    """

    layers: tuple[str, ...] = static(default=HYPERCOLUMN_LAYERS)
    name: str = static(default="content")
    samples: Annotated[int, Range(at_least=1)] = static(default=1024)
    seed: Annotated[int, Range(at_least=0)] = static(default=0)

    @property
    def is_stochastic(self) -> bool:
        return True

    def target(
        self, content: View, styles: Sequence[View]
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        return content.image, {x: content.features[x] for x in self.layers}

    def __call__(self, view: View, target: Target) -> jax.Array:
        positions = sample_positions(view, self.seed, self.samples)
        canvas, content = (
            self._similarity(hypercolumns(image_view, self.layers, positions))
            for image_view in (view, View(*target))
        )
        return len(positions) * absolute(canvas - content).mean()

    def _similarity(self, columns: jax.Array) -> jax.Array:
        distances = cosine_distances(columns, columns)
        # Suppresses the distances of flat colour, which are rounding errors.
        rounding = 10 * jnp.finfo(distances.dtype).eps * len(distances)
        return distances / (distances.sum(0, keepdims=True) + rounding)
