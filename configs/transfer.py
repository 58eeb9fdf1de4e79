"""One photograph in the manner of one painting.

    python launch.py

A cup of coffee as a woodcut of waves: 256 px, 120 steps of L-BFGS from the photograph.
The grain of the table becomes carved lines, and the cup keeps its shape; a larger
content weight keeps more of it. About a minute on two CPU cores.
"""

import nst_jax


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/coffee.png",
        styles=("samples/woodcut.jpg",),
        terms=(nst_jax.Content(weight=20.0), nst_jax.Gram()),
        size=256,
        steps=120,
    )
    return nst_jax.variant(config, arg)
