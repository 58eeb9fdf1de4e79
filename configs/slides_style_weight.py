"""Varying style weight: 1e2 to 1e5 at content weight 1.

    python launch.py --config=configs/slides_style_weight.py

In the paper's scaling, as the slides have it: content block4_conv2, style
block1_conv1 to block5_conv1 with equal shares, L-BFGS from the photograph. Four
members of one batch: at 1e2 the photograph with a tint, at 1e5 the painting with a
memory of it. A minute and a half on two CPU cores.
"""

import nst_jax


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/astronaut.png",
        styles=("samples/mosaic.jpg",),
        terms=(
            nst_jax.Content(convention="paper_normalised"),
            nst_jax.Gram(layer_weights=(0.2,) * 5, convention="paper_normalised"),
        ),
        size=128,
        steps=100,
        solver=nst_jax.SolverOptions(name="lbfgs_fixed"),
        axes=(nst_jax.Vary("terms.style.weight", (1e2, 1e3, 1e4, 1e5)),),
    )
    return nst_jax.variant(config, arg)
