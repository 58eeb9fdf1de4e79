"""The panel of `keras_sweep.py` over weights that are orders of magnitude apart.

    python launch.py --config=configs/keras_sweep_apart.py

Only ratios of weights matter, so the style's weight is 1 and the others are powers of
ten. Content goes from no effect to keeping the photograph, variation from none to a
blur. Five by five members show differences that a thousand near one did not; the page
has the distances along both axes.

At 64 px and 60 steps about a minute on two CPU cores.
"""

import nst_jax


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/chelsea.png",
        styles=("samples/swirls.jpg",),
        terms=(
            nst_jax.Content(layers=("block5_conv2",), convention="keras"),
            nst_jax.Gram(convention="keras"),
            nst_jax.TotalVariation(name="variation", convention="keras"),
        ),
        size=64,
        steps=60,
        solver=nst_jax.SolverOptions(name="lbfgs_fixed"),
        axes=(
            nst_jax.Vary("terms.content.weight", (1.0, 1e3, 1e4, 1e5, 1e6)),
            nst_jax.Vary("terms.variation.weight", (0.0, 1e2, 1e3, 1e4, 1e5)),
        ),
    )
    return nst_jax.variant(config, arg)
