"""Keeping the photograph's colours: five methods, and none.

    python launch.py --config=configs/colours.py

The style's colours unchanged; transfer on luma alone; the photograph's chroma restored
afterwards; and three linear maps of the painting to the photograph's colours
beforehand. The first repaints everything, the second and third keep every hue in its
position, and the last three keep the palette but not the positions. Three minutes on
two CPU cores.
"""

import nst_jax
from nst_jax.images.colour import COLOURS


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/coffee.png",
        styles=("samples/swirls.jpg",),
        terms=(nst_jax.Content(weight=20.0), nst_jax.Gram()),
        size=128,
        steps=100,
        axes=(nst_jax.Vary("colour", COLOURS),),
    )
    return nst_jax.variant(config, arg)
