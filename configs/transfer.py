"""One photograph in the manner of one painting.

    python launch.py

A cup of coffee as a woodcut of waves, by the preset "nst_jax": 128 px, then 256 px,
from the photograph in the woodcut's colours. Crests and carved lines follow the forms
of the cup. `--config.terms.content.weight=3` keeps more of the photograph. About a
minute on two CPU cores.
"""

import nst_jax


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.preset(
        "nst_jax",
        content="samples/coffee.png",
        styles=("samples/woodcut.jpg",),
        size=256,
        steps=50,
    )
    return nst_jax.variant(config, arg)
