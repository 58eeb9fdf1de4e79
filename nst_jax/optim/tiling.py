"""Evaluation in tiles, for canvases whose features do not fit in memory.

The grid of tiles has another random offset at each step, so that seams do not stay in
one place; crowsonkb/style-transfer (Caffe) rolls the image for the same reason. A tile
is compared with the same tile of the content and with the statistics of whole styles.
The untiled objective differs: it compares statistics of whole canvases.
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
    """The size and the targets of tiles.

    Attributes:
      content: [H, W, 3].
      styles: views of the style images, for the terms with a content-dependent target.
      side: largest height and width of a tile, in pixels.
      content_dependent: for each term, whether its target depends on the content. Such
        a target is computed for each tile; other targets are those of the problem.
    """

    content: jax.Array
    styles: tuple[View, ...]
    side: int = static()
    content_dependent: tuple[bool, ...] = static()

    def evaluate(
        self,
        network: Network,
        objective: Objective,
        canvas: jax.Array,
        targets: Sequence[Any],
        step: jax.Array | int,
    ) -> tuple[tuple[jax.Array, Parts], jax.Array]:
        """Return ((loss, parts), gradient) of a canvas [H, W, 3].

        The loss is the mean over tiles, weighted by the share of the canvas that each
        grid cell covers. A tile that reaches beyond the canvas is moved inside.

        Args:
          network: VGG-19.
          objective: sum of loss terms.
          canvas: [H, W, 3].
          targets: one for each term.
          step: number of steps made before; it seeds the offset of the grid.
        """
        sides = tuple(min(self.side, length) for length in canvas.shape[:2])
        key = jax.random.fold_in(seed_key(0), step)
        (row_starts, row_shares), (column_starts, column_shares) = (
            _grid(jax.random.fold_in(key, axis), canvas.shape[axis], side)
            for axis, side in enumerate(sides)
        )

        def tile_loss(tile: jax.Array, content: jax.Array) -> tuple[jax.Array, Parts]:
            view = objective.view(network, content)
            tile_targets = [
                term.target(view, self.styles) if depends else target
                for term, depends, target in zip(
                    objective.terms, self.content_dependent, targets, strict=True
                )
            ]
            tile_targets = jax.tree.map(jax.lax.stop_gradient, tile_targets)
            return objective(network, tile, tile_targets, step)

        def add_tile(i: jax.Array, sums: tuple) -> tuple:
            (loss, parts), gradient = sums
            row, column = i // len(column_starts), i % len(column_starts)
            zero = jnp.zeros((), jnp.int32)
            origin, size = (row_starts[row], column_starts[column], zero), (*sides, 3)
            tile, content = (
                jax.lax.dynamic_slice(image, origin, size)
                for image in (canvas, self.content)
            )
            share = row_shares[row] * column_shares[column]
            (value, tile_parts), tile_gradient = jax.value_and_grad(
                tile_loss, has_aux=True
            )(tile, content)
            previous = jax.lax.dynamic_slice(gradient, origin, size)
            gradient = jax.lax.dynamic_update_slice(
                gradient, previous + share * tile_gradient, origin
            )
            parts = jax.tree.map(lambda a, b: a + share * b, parts, tile_parts)
            return (loss + share * value, parts), gradient

        tile = jax.ShapeDtypeStruct((*sides, 3), canvas.dtype)
        zeros = jax.tree.map(
            lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(tile_loss, tile, tile)
        )
        count = len(row_starts) * len(column_starts)
        return jax.lax.fori_loop(0, count, add_tile, (zeros, jnp.zeros_like(canvas)))


def _grid(key: jax.Array, length: int, side: int) -> tuple[jax.Array, jax.Array]:
    """Return the first pixels of the tiles along an axis, and their shares of it.

    The grid begins up to one tile before the axis, so it has one tile more than fit.
    The share of a tile that lies outside is 0.
    """
    if side == length:
        return jnp.zeros(1, jnp.int32), jnp.ones(1, jnp.float32)
    count = -(-length // side) + 1
    offset = jax.random.randint(key, (), 0, side)
    first = side * jnp.arange(count) - offset
    last = jnp.minimum(first + side, length)
    share = jnp.maximum(last - jnp.maximum(first, 0), 0) / length
    return jnp.clip(first, 0, length - side), share.astype(jnp.float32)
