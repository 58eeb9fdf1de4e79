"""A custom loss: the strokes of one painting in the colours of another.

    python launch.py --config=configs/extend_my_loss.py

`Palette` below is the complete loss. The package does not know it, but it has its
curve, its axis and its slot in a batch like any other. The Gram matrices are the
woodcut's and the palette is the mosaic's. Its weight is an axis from 0; with two seeds,
six members of one program.

sheet.png shows the woodcut's strokes everywhere. At weight 0 its colours are blue and
cream. At 1e8 the cream is brown and green. At 1e9 the blue has gone too, and the
distance of the palettes is a thousandth of its start. About four minutes on two CPU
cores.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

import nst_jax
from nst_jax.losses import View


@nst_jax.term
class Palette(nst_jax.Term):
    """Mean squared difference of the cumulative colour distributions."""

    name: str = nst_jax.static(default="palette")
    sharpness: float = 16.0
    levels: int = nst_jax.static(default=8)
    style: int = nst_jax.static(default=0)

    def target(self, content: View, styles: Sequence[View]) -> jax.Array:
        return self.distribution(styles[self.style].image)

    def __call__(self, view: View, target: jax.Array) -> jax.Array:
        return ((self.distribution(view.image) - target) ** 2).mean()

    def distribution(self, image: jax.Array) -> jax.Array:
        """Return the share of pixels below each colour, [levels, levels, levels]."""
        levels = jnp.linspace(0, 1, self.levels)
        above = levels[None, None] - image.reshape(-1, 3)[..., None]
        red, green, blue = jax.nn.sigmoid(self.sharpness * above).swapaxes(0, 1)
        return jnp.einsum("pi,pj,pk->ijk", red, green, blue) / len(red)


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/coffee.png",
        styles=("samples/woodcut.jpg", "samples/mosaic.jpg"),
        terms=(
            nst_jax.Content(weight=20.0),
            nst_jax.Gram(blend=(1.0, 0.0)),
            Palette(style=1),
        ),
        size=192,
        steps=100,
        seeds=(0, 1),
        canvas=nst_jax.Canvas(kind="blend", mix=0.3),
        solver=nst_jax.SolverOptions(name="lbfgs_fixed"),
        axes=(nst_jax.Vary("terms.palette.weight", (0.0, 1e8, 1e9)),),
    )
    return nst_jax.variant(config, arg)
