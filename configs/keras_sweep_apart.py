"""The panel of `keras_sweep.py`, over weights that lie apart: pictures that differ.

    python launch.py --config=configs/keras_sweep_apart.py

Only ratios of weights count, so the style's is fixed at 1 and the others go by powers
of ten: content from where it changes nothing to where it holds the photograph,
variation from nothing to a blur. Five by five members show what ten by ten by ten near
one did not; the page has the distances along both axes.

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
