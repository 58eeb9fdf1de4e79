"""Style by relaxed optimal transport and content by self-similarity.

Kolkin, Salavon & Shakhnarovich 2019 (arXiv 1904.12785), "STROTSS". Both look at
hypercolumns: all layers' features at one place of the picture, and its colour, one
after the other. The places are drawn anew at each step, so that the loss is another
one at each: for Adam and for gradient descent.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from nst_jax.core.keys import seed_key
from nst_jax.losses.base import Target, Term, View, check_integers, static, term, total
from nst_jax.losses.statistics import as_weights, covariance, root, widened
from nst_jax.losses.style import Region, StyleTerm
from nst_jax.models.layers import LAYERS, smallest_side

#: The paper's, which has them of VGG-16.
HYPERCOLUMN_LAYERS = (
    "relu1_1",
    "relu1_2",
    "relu2_1",
    "relu2_2",
    "relu3_1",
    "relu3_2",
    "relu3_3",
    "relu4_3",
    "relu5_3",
)


def places(view: View, seed: int, samples: int) -> jax.Array:
    """Places [N, 2] (y, x) of a picture, uniform, in pixels from its upper left corner.

    They are those of the view's step: of the same step and size, the same.
    """
    key = jax.random.fold_in(seed_key(seed), view.step)
    height, width, _ = view.image.shape
    # Drawn in float32 always: in float64 they would be others.
    drawn = jax.random.uniform(key, (samples, 2), jnp.float32)
    return drawn * jnp.array([[height, width]], jnp.float32)


def bilinear(array: jax.Array, at: jax.Array, stride: int = 1) -> jax.Array:
    """An array [h, w, c] at places [N, 2] of its picture: [N, c].

    Beyond the middle of its outermost positions it is constant.

    Args:
      at: in pixels from the upper left corner.
      stride: how many pixels lie between two positions of the array.
    """
    last = jnp.array([array.shape[:2]]) - 1
    inside = jnp.clip(at / stride - 0.5, 0, last)
    corner = jnp.floor(inside).astype(int)
    (top, left), (bottom, right) = corner.T, jnp.minimum(corner + 1, last).T
    y, x = (inside - corner).T
    rows, columns = jnp.stack([top, top, bottom, bottom]), jnp.stack([left, right] * 2)
    shares = jnp.stack([(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x])
    return (shares[..., None] * widened(array)[rows, columns]).sum(0)


def _stride(layer: str) -> int:
    """How many pixels of the picture lie between a layer's positions."""
    return smallest_side((layer,))


def hypercolumns(view: View, layers: Sequence[str], at: jax.Array) -> jax.Array:
    """Colour and features of all layers [N, 3 + Σ c] at places [N, 2]."""
    columns = [bilinear(view.image, at)]
    columns += [bilinear(view.features[x], at, _stride(x)) for x in layers]
    return jnp.concatenate(columns, 1)


def cosine_distances(a: jax.Array, b: jax.Array) -> jax.Array:
    """1 − cos [N, M] between vectors [N, c] and [M, c]; to a vector of 0s it is 1."""
    return 1 - _units(a) @ _units(b).T


def _units(vectors: jax.Array) -> jax.Array:
    squares = (vectors**2).sum(1, keepdims=True)
    return vectors * jax.lax.rsqrt(jnp.where(squares > 0, squares, 1))


def euclidean_distances(a: jax.Array, b: jax.Array) -> jax.Array:
    """|a − b| [N, M] between vectors [N, c] and [M, c]."""
    return root(((a[:, None] - b[None]) ** 2).sum(2))


def relaxed_emd(
    cost: jax.Array,
    weights: jax.Array | None = None,
    other_weights: jax.Array | None = None,
) -> jax.Array:
    """max(Σᵢ wᵢ minⱼ cᵢⱼ, Σⱼ vⱼ minᵢ cᵢⱼ) of costs [N, M]: equations 3 to 5.

    What each side would pay if the other's masses were no matter: the larger is a lower
    bound of the earth mover's distance.

    Args:
      weights: w [N], of sum 1; None for 1/N each. What has none is no one's nearest.
      other_weights: v [M], likewise.
    """
    return jnp.maximum(
        _nearest(cost, weights, other_weights),
        _nearest(cost.T, other_weights, weights),
    )


def _nearest(
    cost: jax.Array, weights: jax.Array | None, others: jax.Array | None
) -> jax.Array:
    if others is not None:
        cost = jnp.where(others[None] > 0, cost, cost.max())
    least = cost.min(1)
    return least.mean() if weights is None else (weights * least).sum()


def _mean_magnitude(difference: jax.Array) -> jax.Array:
    # Not jnp.abs: its gradient at 0 is 1.
    return (difference * jnp.sign(difference)).mean()


class Sample(NamedTuple):
    """A picture at N places.

    Attributes:
      columns: hypercolumns [N, C], the first three of them colours.
      weights: [N], of sum 1; None where all count alike.
    """

    columns: jax.Array
    weights: jax.Array | None


@term
class RelaxedEMD(StyleTerm):
    """ℓ_r + moments · ℓ_m + palette · ℓ_p, each with a curve of its own.

    ℓ_r is the relaxed earth mover's distance of hypercolumns by cosine, ℓ_m the mean
    |μ − μ*| plus the mean |Σ − Σ*| of their moments, ℓ_p the relaxed earth mover's
    distance of colours by Euclid (the paper's decorrelated axes are orthonormal, and
    move no distance). Equations 3 to 8. The places in the styles are drawn once.

    Attributes:
      samples: how many places.
      seed: what they are drawn with.
      moments: what ℓ_m counts for; a leaf.
      palette: what ℓ_p counts for; a leaf. The paper's is 1/α, α from 16 down.
    """

    layers: tuple[str, ...] = static(default=HYPERCOLUMN_LAYERS)
    samples: int = static(default=1024)
    seed: int = static(default=0)
    moments: float = 1.0
    palette: float = 1 / 16

    normalisations: ClassVar[tuple[str, ...]] = ("",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integers(self, samples=1, seed=0)

    @property
    def is_stochastic(self) -> bool:
        return True

    @property
    def sites(self) -> tuple[str, ...]:
        """None: the layers are looked at together."""
        return ()

    def statistic(
        self, features: jax.Array, weights: jax.Array | None = None
    ) -> Sample:
        """The sample, of hypercolumns [N, C] and weights [N]."""
        return Sample(features, weights)

    def target(self, content: View, styles: Sequence[View]) -> Any:
        super().target(content, styles)  # Nothing but its checks.
        finest = min(self.layers, key=LAYERS.index)
        own = {"all": content.guides[finest]} if content.guides else {}
        sampled = [self._sampled(style, finest) for style in styles]
        return self._regions(View(content.image, {}, own), sampled, "all")

    def _sampled(self, view: View, finest: str) -> View:
        """A view that has hypercolumns and guides at the places, of all layers."""
        at = places(view, self.seed, self.samples)
        columns = hypercolumns(view, self.layers, at)
        guides = {}
        if view.guides:
            planes = jnp.moveaxis(view.guides[finest], 0, 2)
            guides = {"all": bilinear(planes, at, _stride(finest)).T}
        return View(view.image, {"all": columns}, guides)

    def parts(self, view: View, target: Sequence[Region]) -> dict[str, jax.Array]:
        finest = min(self.layers, key=LAYERS.index)
        at = places(view, self.seed, self.samples)
        columns = hypercolumns(view, self.layers, at)
        found: list[dict[str, jax.Array]] = []
        for region in target:
            weights, seen = None, jnp.ones((), bool)
            if region.weights is not None:
                plane = bilinear(region.weights[..., None], at, _stride(finest))
                # A region that no place falls into has nothing to be moved.
                weights, seen = as_weights(plane[:, 0]), plane.sum() > 0
            sample = self.statistic(columns, weights)
            for share, target_statistic in zip(
                self._shares(region), region.statistics, strict=True
            ):
                losses = self._losses(sample, target_statistic)
                counted = jnp.where(seen, share, 0)
                found.append({name: counted * loss for name, loss in losses.items()})
        return {
            f"{self.name}/{name}": total(losses[name] for losses in found)
            for name in found[0]
        }

    def distance(self, statistic: Sample, target: Sample) -> jax.Array:
        return total(self._losses(statistic, target).values())

    def _losses(self, a: Sample, b: Sample) -> dict[str, jax.Array]:
        cosine = cosine_distances(a.columns, b.columns)
        euclid = euclidean_distances(a.columns[:, :3], b.columns[:, :3])
        first, second = covariance(*a), covariance(*b)
        moments = total(
            _mean_magnitude(x - y) for x, y in zip(first, second, strict=True)
        )
        return {
            "relaxed_emd": relaxed_emd(cosine, a.weights, b.weights),
            "moments": self.moments * moments,
            "palette": self.palette * relaxed_emd(euclid, a.weights, b.weights),
        }


@term
class SelfSimilarity(Term):
    """The mean over columns of Σ |D/ΣD − D*/ΣD*|, D cosine distances in one picture.

    Between N places [N, N]; sums are over columns. Equation 7 times N, as in the
    authors' code: so it does not depend on N. Content is what is alike and what is not:
    all colours and textures may change as long as they do so together.

    Attributes:
      samples: how many places; the canvas's and the content's are the same.
      seed: what they are drawn with.
    """

    layers: tuple[str, ...] = static(default=HYPERCOLUMN_LAYERS)
    name: str = static(default="content")
    samples: int = static(default=1024)
    seed: int = static(default=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integers(self, samples=1, seed=0)

    @property
    def is_stochastic(self) -> bool:
        return True

    def target(
        self, content: View, styles: Sequence[View]
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        return content.image, {x: content.features[x] for x in self.layers}

    def __call__(self, view: View, target: Target) -> jax.Array:
        at = places(view, self.seed, self.samples)
        mine, others = (
            self._similarity(hypercolumns(one, self.layers, at))
            for one in (view, View(*target))
        )
        return len(at) * _mean_magnitude(mine - others)

    def _similarity(self, columns: jax.Array) -> jax.Array:
        distances = cosine_distances(columns, columns)
        # On flat colour all distances are rounding, of which no pattern is to be made.
        rounding = 10 * jnp.finfo(distances.dtype).eps * len(distances)
        return distances / (distances.sum(0, keepdims=True) + rounding)
