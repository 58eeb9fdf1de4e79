"""Varying variation weight: 1 to 1e3 at style weight 1e4.

    python launch.py --config=configs/slides_variation_weight.py

The variation loss (dx² + dy²)^1.25 of the slides, summed over pixels in units of 0–255.
It removes grain first, then strokes, and at 1e3 edges. A minute and a half on two CPU
cores.
"""

import nst_jax


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/astronaut.png",
        styles=("samples/mosaic.jpg",),
        terms=(
            nst_jax.Content(convention="paper"),
            nst_jax.Gram(weight=1e4, layer_weights=(0.2,) * 5, convention="paper"),
            nst_jax.TotalVariation(name="variation", convention="keras"),
        ),
        size=128,
        steps=100,
        solver=nst_jax.SolverOptions(name="lbfgs_fixed"),
        axes=(nst_jax.Vary("terms.variation.weight", (0.0, 1.0, 10.0, 1e2, 1e3)),),
    )
    return nst_jax.variant(config, arg)
