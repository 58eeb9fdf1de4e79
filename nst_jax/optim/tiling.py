"""Gradients tile by tile, for canvases whose features memory has no room for.

Each step draws where the grid of tiles begins, so that no seam stays where it is;
crowsonkb/style-transfer, the Caffe tool, rolls the picture to the same end. A tile
is compared with the content's own tile, and its statistics with those of the whole
style: that is another objective than the untiled one, whose statistics are of the
whole canvas.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from nst_jax.core.keys import seed_key
from nst_jax.core.pytree import record, static
from nst_jax.losses import Objective, View
from nst_jax.models.vgg import Network
from nst_jax.optim.solvers import Parts


@record
class Tiling:
    """What tiles are compared with.

    Attributes:
      content: [H, W, 3].
      styles: the style pictures as the terms see them whose targets are a tile's own.
      side: of a tile, in pixels; a canvas less high or wide has lower or narrower ones.
      own: of each term, whether its target depends on the content: it is then taken
        anew for each tile, and else it is the problem's.
    """

    content: jax.Array
    styles: tuple[View, ...]
    side: int = static()
    own: tuple[bool, ...] = static()

    def evaluate(
        self,
        network: Network,
        objective: Objective,
        canvas: jax.Array,
        targets: Sequence[Any],
        step: jax.Array | int,
    ) -> tuple[tuple[jax.Array, Parts], jax.Array]:
        """((loss, parts), gradient) of a canvas [H, W, 3].

        The loss is the mean of those of the tiles, each weighed by the share of the
        canvas that its place in the grid covers. A tile that the grid puts partly
        outside is moved inside.
        """
        shape = canvas.shape
        height, width = (min(self.side, side) for side in shape[:2])
        begin = jax.random.fold_in(seed_key(0), step)
        rows, columns = (
            _places(jax.random.fold_in(begin, axis), shape[axis], side)
            for axis, side in enumerate((height, width))
        )

        def at(row: jax.Array, column: jax.Array) -> tuple[jax.Array, ...]:
            return rows[0][row], columns[0][column], jnp.zeros((), jnp.int32)

        def loss(tile: jax.Array, content: jax.Array) -> tuple[jax.Array, Parts]:
            seen = objective.view(network, content)
            terms = zip(objective.terms, self.own, targets, strict=True)
            goals = [
                term.target(seen, self.styles) if own else target
                for term, own, target in terms
            ]
            goals = jax.tree.map(jax.lax.stop_gradient, goals)
            return objective(network, tile, goals, step)

        def add(i: jax.Array, sums: tuple) -> tuple:
            (value, parts), gradient = sums
            row, column = i // len(columns[0]), i % len(columns[0])
            origin, size = at(row, column), (height, width, 3)
            tile, content = (
                jax.lax.dynamic_slice(picture, origin, size)
                for picture in (canvas, self.content)
            )
            share = rows[1][row] * columns[1][column]
            (own, own_parts), slope = jax.value_and_grad(loss, has_aux=True)(
                tile, content
            )
            before = jax.lax.dynamic_slice(gradient, origin, size)
            gradient = jax.lax.dynamic_update_slice(
                gradient, before + share * slope, origin
            )
            parts = jax.tree.map(lambda a, b: a + share * b, parts, own_parts)
            return (value + share * own, parts), gradient

        size = jax.ShapeDtypeStruct((height, width, 3), canvas.dtype)
        losses = jax.eval_shape(loss, size, size)
        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), losses)
        count = len(rows[0]) * len(columns[0])
        return jax.lax.fori_loop(0, count, add, (nothing, jnp.zeros_like(canvas)))


def _places(key: jax.Array, length: int, side: int) -> tuple[jax.Array, jax.Array]:
    """(first pixels, shares) of the tiles along an axis of so many pixels.

    One if it is all there is; else one more than fit, for the grid begins up to a tile
    before the first pixel, and the share of the one that is left over may be 0.
    """
    if side == length:
        return jnp.zeros(1, jnp.int32), jnp.ones(1, jnp.float32)
    count = -(-length // side) + 1
    begin = jax.random.randint(key, (), 0, side)
    first = side * jnp.arange(count) - begin
    last = jnp.minimum(first + side, length)
    share = jnp.maximum(last - jnp.maximum(first, 0), 0) / length
    return jnp.clip(first, 0, length - side), share.astype(jnp.float32)
