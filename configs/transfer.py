"""One photograph in the manner of one painting.

    python launch.py

Chelsea the cat in swirls of oil, 256 px, 120 steps of L-BFGS from the photograph.
About a minute on two CPU cores.
"""

import nst_jax


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/chelsea.png",
        styles=("samples/swirls.jpg",),
        terms=(nst_jax.Content(), nst_jax.Gram(weight=1.0)),
        size=256,
        steps=120,
    )
    if arg == "smoke":
        config.size, config.steps = 64, 4
    return config
