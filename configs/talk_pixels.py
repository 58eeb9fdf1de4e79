"""Generation time against number of pixels: is it linear?

    python launch.py --config=configs/talk_pixels.py

The same twenty steps at six sizes. The page plots the time of a step in this run and
fits a power law: its exponent is about 1 where arithmetic dominates, and lower where
small pictures do not fill the machine. A minute on two CPU cores.
"""

import nst_jax


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/coffee.png",
        styles=("samples/woodcut.jpg",),
        terms=(nst_jax.Content(weight=20.0), nst_jax.Gram()),
        steps=20,
        solver=nst_jax.SolverOptions(name="adam", learning_rate=2 / 255),
        axes=(nst_jax.Vary("size", (64, 96, 128, 192, 256, 384)),),
    )
    return nst_jax.variant(config, arg)
