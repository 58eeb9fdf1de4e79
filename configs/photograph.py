"""One photograph in the colours of another, part by part, with its lines kept straight.

    python launch.py --config=configs/photograph.py

A cup of coffee in the colours of a portrait: masks give the crockery that of the wall
and the table that of the suit. Four ways from the photograph: by content and style
alone; the same, smoothed by a guided filter at the end; with a third term that lets
each small window change its colours by an affine map only; and with both. The style is
that of the first three blocks, whose Gram matrices are colours and grain: a deeper one
would put pieces of the portrait where they fit, which no map of colours can.

Without the term edges wave and grain grows where the photograph is smooth; with it
planks, rim and spoon stay as they were. The page's table has by how much the edges are
turned, in degrees. Two minutes on two CPU cores.
"""

import nst_jax
from nst_jax.losses import Photorealism

#: What is done for the lines -> the weight of the term, the radius of the filter.
WAYS = {
    "nothing": (0.0, 0),
    "guided filter": (0.0, 4),
    "photorealism": (1e8, 0),
    "both": (1e8, 4),
}


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/coffee.png",
        styles=("samples/astronaut.png",),
        terms=(
            nst_jax.Content(weight=20.0),
            nst_jax.Gram(layers=("relu1_1", "relu2_1", "relu3_1")),
            Photorealism(),
        ),
        size=192,
        steps=100,
        masks=nst_jax.Masks(
            content="samples/coffee_mask.png",
            styles=("samples/astronaut_mask.png",),
        ),
        output=nst_jax.OutputOptions(quality=True),
        axes=(
            nst_jax.Vary(
                ("terms.photorealism.weight", "smoothing.radius"),
                tuple(WAYS.values()),
                tuple(WAYS),
                "lines kept by",
            ),
        ),
    )
    return nst_jax.variant(config, arg)
