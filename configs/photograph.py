"""One photograph in the colours of another, with its lines kept straight, or not.

    python launch.py --config=configs/photograph.py

A cup of coffee in the colours of a portrait, twice from the photograph: by content and
style alone, and with a third term that lets each small window change its colours by an
affine map only. Without it, edges wave and grain grows where the photograph is smooth;
with it, planks, rim and spoon stay as they were. The style is that of the first three
blocks, whose Gram matrices are colours and grain: a deeper one would put pieces of the
portrait where they fit, which no map of colours can.

A larger `--config.axes[0].values` is stiffer and slower to take the colours; of the
paper, λ is 10⁴, about 2.4e8 at this size and with the weights of its own terms. Two
minutes on two CPU cores.
"""

import nst_jax
from nst_jax.losses import Photorealism


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
        axes=(nst_jax.Vary("terms.photorealism.weight", (0.0, 1e8)),),
    )
    return nst_jax.variant(config, arg)
