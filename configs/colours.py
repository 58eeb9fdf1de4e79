"""Keeping the photograph's colours: five ways, beside none.

    python launch.py --config=configs/colours.py

The style's colours as they come; the transfer on luma alone; the photograph's chroma
put back afterwards; and the painting given the photograph's colours beforehand, by
three linear maps. The first repaints everything, the second and third keep every hue
where it was, the last ones keep the palette and not the places. Three minutes on two
CPU cores.
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
