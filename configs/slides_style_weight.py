"""Varying style weight: 1e2 to 1e5 at content weight 1.

    python launch.py --config=configs/slides_style_weight.py

Content block4_conv2 and style block1_conv1 to block5_conv1 with equal shares, from the
photograph, in the paper's scaling with features rescaled to a mean of 1, as its network
had them (`paper_normalised`). Four members of one batch: at 1e2 the photograph, at 1e4
its colours go, at 1e5 its shapes. With unscaled features (convention "paper" in both
terms) 1e2 is all style already: a weight means nothing without its scaling. A minute on
two CPU cores.
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
