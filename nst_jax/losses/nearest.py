"""Style loss by the nearest features of a style image.

Each position of the canvas is compared with one position of the style, its match. The
matches are fixed while the canvas moves, and are computed anew every few steps.

Sources: Kolkin, Kucera, Paris, Sýkora, Shechtman & Shakhnarovich 2022, "Neural Neighbor
Style Transfer" (arXiv 2203.13215); Li & Wand 2016 (arXiv 1601.04589) for patches;
Conneau, Lample, Ranzato, Denoyer & Jégou 2018 (arXiv 1710.04087), section 2.3, for
cross-domain similarity local scaling (CSLS).
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.core.validation import Range
from nst_jax.losses.base import View, static, term
from nst_jax.losses.statistics import mean, promote_to_float32
from nst_jax.losses.style import StyleTerm
from nst_jax.models.layers import LAYERS, smallest_side

#: Largest number of similarities that a member computes at once, 64 MB in float32.
_CHUNK = 2**24
#: Below every similarity: marks style positions that are not allowed.
_NEVER = -8.0
_EPSILON = 1e-8


class StyleColumns(NamedTuple):
    """The columns of a style image.

    Attributes:
      layers: for each layer [M, c].
      spreads: for each layer, the mean squared distance of columns from their mean, at
        least 1/1000 of their mean square.
      allowed: bool [R, M], the positions that each region may use; None for all.
    """

    layers: tuple[jax.Array, ...]
    spreads: tuple[jax.Array, ...]
    allowed: jax.Array | None


class NearestTarget(NamedTuple):
    """Target of `NearestFeatures`.

    Attributes:
      content: the columns of the content image, for each layer [N, c].
      styles: the columns of each style image.
      regions: int32 [N], the region of each position of the canvas, −1 for no region;
        None without regions.
      weights: [N], weight of each position, of sum 1 or less; None for 1/N each.
    """

    content: tuple[jax.Array, ...]
    styles: tuple[StyleColumns, ...]
    regions: jax.Array | None
    weights: jax.Array | None


@term
class NearestFeatures(StyleTerm):
    """Σ_l mean over positions of |F_l − S_l|²/Var S_l, S the matched style features.

    A column holds the features of all layers at one position of the finest layer;
    coarser layers are interpolated bilinearly. Columns are centred, and each layer is
    divided by its root mean square. The match has the largest value of twice the cosine
    less the style column's mean cosine with its nearest columns of the canvas (CSLS).
    That keeps a few hubs of the style from being used everywhere. The loss is a squared
    distance, so that it fixes magnitudes too. Var S_l is at least mean |S_l|²/1000.

    Time and memory of the loss are linear in the number of positions; the time of a
    matching is quadratic.

    A position uses positions of its own region in the style. With several styles the
    loss is Σ blend · loss(style).

    Attributes:
      rematch_every: steps between two matchings; 0 matches at the start alone.
      content_share: share of the content's features in the columns that are matched; 0
        matches the canvas, 1 the content. A leaf.
      neighbours: number of nearest columns in the hub correction; 0 for none.
      patch: side of the square of neighbouring positions that makes a column.
    """

    layers: tuple[str, ...] = static(default=("relu3_1", "relu4_1"))
    name: str = static(default="nearest")
    rematch_every: Annotated[int, Range(at_least=0)] = static(default=25)
    content_share: Annotated[float, Range(0, 1)] = 0.5
    neighbours: Annotated[int, Range(at_least=0)] = static(default=5)
    patch: Annotated[int, Range(at_least=1, at_most=9)] = static(default=1)

    normalisations: ClassVar[tuple[str, ...]] = ("",)

    @property
    def matching_interval(self) -> int:
        return self.rematch_every

    def target(self, content: View, styles: Sequence[View]) -> Any:
        self.check_styles(styles)
        guides, columns = self._guides(content), tuple(map(self._style, styles))
        regions = weights = None
        if guides is not None:
            present = _present_regions(columns).any(0)
            share = jnp.where(present[:, None], guides, 0)
            weights = share.sum(0) / share.shape[1]
            regions = jnp.where(weights > 0, share.argmax(0), -1).astype(jnp.int32)
        return NearestTarget(self._columns(content), columns, regions, weights)

    def match(self, view: View, target: NearestTarget) -> tuple[jax.Array, ...]:
        """Return for each style the matched position [N] of each canvas position."""
        share = self.content_share
        canvas = [
            (1 - share) * a + share * b
            for a, b in zip(self._columns(view), target.content, strict=True)
        ]
        visible = None if target.weights is None else target.weights > 0
        queries = _normalised(canvas, visible)
        return tuple(
            nearest(
                queries,
                _normalised(
                    style.layers,
                    None if style.allowed is None else style.allowed.any(0),
                ),
                self.neighbours,
                target.regions,
                style.allowed,
            )
            for style in target.styles
        )

    def parts(self, view: View, target: NearestTarget) -> dict[str, jax.Array]:
        columns = self._columns(view)
        losses = [jnp.zeros((), jnp.float32)] * len(self.layers)
        for share, style, match in zip(
            self._position_weights(target), target.styles, view.match, strict=True
        ):
            for i, (column, features, spread) in enumerate(
                zip(columns, style.layers, style.spreads, strict=True)
            ):
                distance = ((column - features[match]) ** 2).sum(1)
                losses[i] += (share * distance).sum() / spread
        weights = self.layer_weights or (1.0,) * len(self.layers)
        return {
            f"{self.name}/{layer}": weight * loss
            for layer, weight, loss in zip(self.layers, weights, losses, strict=True)
        }

    def _position_weights(self, target: NearestTarget) -> list[jax.Array]:
        """Return the weight of each position [N] for each style."""
        count = len(target.styles)
        blend = self.blend or (1 / count,) * count
        if target.weights is None or target.regions is None:
            positions = len(target.content[0])
            return [jnp.full(positions, share / positions) for share in blend]
        # Styles without a region leave their shares of it to the others.
        shares = jnp.asarray(blend, target.weights.dtype)[:, None]
        shares = _present_regions(target.styles) * shares
        whole = shares.sum(0, keepdims=True)
        shares = shares * sum(blend) / jnp.where(whole > 0, whole, 1)
        return list(shares[:, target.regions] * target.weights[None])

    def _finest(self) -> str:
        return min(self.layers, key=LAYERS.index)

    def _columns(self, view: View) -> tuple[jax.Array, ...]:
        """Return the columns of each layer, [N, c · patch²]."""
        finest = self._finest()
        size = view.features[finest].shape[:2]
        columns = []
        for layer in self.layers:
            features = promote_to_float32(view.features[layer])
            if layer != finest:
                ratio = smallest_side((layer,)) // smallest_side((finest,))
                features = _interpolate(features, size, ratio)
            columns.append(_patches(features, self.patch))
        return tuple(columns)

    def _guides(self, view: View) -> jax.Array | None:
        """Return the share of each position in each region, [R, N]."""
        if not view.guides:
            return None
        guides = jnp.moveaxis(view.guides[self._finest()], 0, 2)
        patches = _patches(guides, self.patch)
        return patches.reshape(len(patches), -1, guides.shape[2]).min(1).T

    def _style(self, view: View) -> StyleColumns:
        columns, guides = self._columns(view), self._guides(view)
        allowed = weights = None
        if guides is not None:
            # At the edge of a region, a position belongs to it by more than half.
            allowed = guides > jnp.minimum(guides.max(1, keepdims=True) / 2, 0.5)
            weights = _uniform(allowed.any(0), columns[0].dtype)
        spreads = []
        for x in columns:
            centred = x - mean(x, weights)[None]
            variance, energy = (
                mean((y**2).sum(1, keepdims=True), weights)[0] for y in (centred, x)
            )
            spreads.append(jnp.maximum(variance, 1e-3 * energy) + _EPSILON)
        return StyleColumns(columns, tuple(spreads), allowed)


def nearest(
    queries: jax.Array,
    keys: jax.Array,
    neighbours: int = 0,
    regions: jax.Array | None = None,
    allowed: jax.Array | None = None,
) -> jax.Array:
    """Return the index, int32 [N], of the most similar key of each query.

    The similarity of unit vectors q and k is 2 q·k − r(k), r(k) the mean of the largest
    `neighbours` of q·k over the queries that may use k (CSLS, without the summand of
    the query, which does not change its nearest key). Memory is linear in N + M.

    Args:
      queries: unit vectors [N, c].
      keys: unit vectors [M, c].
      neighbours: number of nearest queries in r(k); 0 for r(k) = 0.
      regions: int [N], the region of each query, −1 for a query that does not count;
        None for one region.
      allowed: bool [R, M], the keys that each region may use. A region without keys
        gets index 0.
    """

    hubness = jnp.zeros(len(keys), queries.dtype)
    if neighbours:
        count = min(neighbours, len(queries))

        def key_hubness(key: tuple[jax.Array, Any]) -> jax.Array:
            vector, is_allowed = key
            cosine = queries @ vector
            if regions is not None:
                may_use = is_allowed[regions] & (regions >= 0)
                cosine = jnp.where(may_use, cosine, _NEVER)
            largest = jax.lax.top_k(cosine, count)[0]
            counts = largest > _NEVER
            return jnp.where(counts, largest, 0).sum() / jnp.maximum(counts.sum(), 1)

        hubness = jax.lax.map(
            key_hubness,
            (keys, None if allowed is None else allowed.T),
            batch_size=max(1, min(len(keys), _CHUNK // len(queries))),
        )

    def best_key(query: tuple[jax.Array, Any]) -> jax.Array:
        vector, region = query
        scores = 2 * (keys @ vector) - hubness
        if allowed is not None:
            scores = jnp.where(allowed[region], scores, _NEVER)
        return scores.argmax().astype(jnp.int32)

    return jax.lax.map(
        best_key,
        (queries, regions),
        batch_size=max(1, min(len(queries), _CHUNK // len(keys))),
    )


def _present_regions(styles: Sequence[StyleColumns]) -> jax.Array:
    """Return whether each style has each region, bool [S, R]."""
    masks = [style.allowed for style in styles if style.allowed is not None]
    return jnp.stack([mask.any(1) for mask in masks])


def _interpolate(features: jax.Array, size: tuple[int, ...], ratio: int) -> jax.Array:
    """Interpolate features [h, w, c] bilinearly at the positions of a finer layer.

    Args:
      features: constant beyond the centres of its outermost cells.
      size: height and width of the finer layer.
      ratio: positions of the finer layer for each position of the features.
    """

    def interpolation_matrix(fine: int, coarse: int) -> np.ndarray:
        centres = (np.arange(fine) + 0.5) / ratio - 0.5
        centres = np.clip(centres, 0, coarse - 1)[:, None]
        return np.maximum(0, 1 - abs(centres - np.arange(coarse)[None]))

    height, width, _ = features.shape
    rows = interpolation_matrix(size[0], height)
    columns = interpolation_matrix(size[1], width)
    dtype = features.dtype
    return jnp.einsum(
        "yh,xw,hwc->yxc", rows.astype(dtype), columns.astype(dtype), features
    )


def _patches(features: jax.Array, side: int) -> jax.Array:
    """Return the squares of neighbouring positions of [h, w, c] as [N, side² · c]."""
    height, width, _ = features.shape
    rows, columns = max(height - side + 1, 1), max(width - side + 1, 1)
    shifted = [
        features[y : y + rows, x : x + columns]
        for y in range(min(side, height))
        for x in range(min(side, width))
    ]
    return jnp.concatenate(shifted, -1).reshape(rows * columns, -1)


def _uniform(mask: jax.Array, dtype: Any) -> jax.Array:
    """Return equal weights of sum 1 where a mask [N] is True, else 0."""
    weights = mask.astype(dtype)
    return weights / jnp.maximum(weights.sum(), 1)


def _normalised(layers: Sequence[jax.Array], visible: jax.Array | None) -> jax.Array:
    """Return unit columns [N, Σ c] of centred layers that count alike.

    Mean and size of a layer are those of the positions where `visible` [N] is True.
    """
    weights = None if visible is None else _uniform(visible, layers[0].dtype)
    scaled = []
    for x in layers:
        centred = x - mean(x, weights)[None]
        size = mean((centred**2).sum(1, keepdims=True), weights)[0]
        scaled.append(centred * jax.lax.rsqrt(size + _EPSILON))
    columns = jnp.concatenate(scaled, 1)
    return columns * jax.lax.rsqrt((columns**2).sum(1, keepdims=True) + _EPSILON)
