"""Photorealistic colour transfer with masks and straight lines.

    python launch.py --config=configs/photograph.py

A cup of coffee in the colours of a portrait: masks map the wall's colours to the
crockery and the suit's to the table. Four methods, all from the photograph: content and
style alone; the same smoothed by a guided filter at the end; a third term that
restricts each small window to an affine map of its colours; and both. The style has the
first three blocks, whose Gram matrices hold colours and grain. Deeper layers would
insert pieces of the portrait, which no map of colours can.

Without the term, edges wave and grain grows in smooth areas. With it, planks, rim and
spoon keep their shape. The page's table has the rotation of the edges in degrees. Two
minutes on two CPU cores.
"""

import nst_jax
from nst_jax.losses import Photorealism

#: Method -> weight of the term, radius of the filter.
METHODS = {
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
                tuple(METHODS.values()),
                tuple(METHODS),
                "lines kept by",
            ),
        ),
    )
    return nst_jax.variant(config, arg)
