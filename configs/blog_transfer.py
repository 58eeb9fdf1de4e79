"""Style transfer with conv_9 and conv_2, 4, 8, 16, weights 1 and 0.5.

    python launch.py --config=configs/blog_transfer.py

The blog's preferred weights in the scaling of Johnson's tool (mean squares, of Gram
matrices over C·M), from the photograph and from noise. Its author saw "not much of a
difference" between the two; the page measures it. A minute and a half on two CPU cores.
"""

import nst_jax


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/coffee.png",
        styles=("samples/swirls.jpg",),
        terms=(
            nst_jax.Content(layers=("conv_9",), convention="johnson"),
            nst_jax.Gram(
                weight=0.5,
                layers=("conv_2", "conv_4", "conv_8", "conv_16"),
                convention="johnson",
            ),
        ),
        size=128,
        steps=200,
        solver=nst_jax.SolverOptions(name="lbfgs_fixed"),
        axes=(nst_jax.Vary("canvas.kind", ("content", "noise")),),
    )
    return nst_jax.variant(config, arg)
