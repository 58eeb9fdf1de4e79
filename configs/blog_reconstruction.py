"""Content reconstruction at conv_1, conv_2, conv_4 and conv_8, from two noises.

    python launch.py --config=configs/blog_reconstruction.py

The content term alone, at one layer each. Earlier layers come closer to the photograph;
conv_8 keeps edges and invents the rest. Two noises lead to pictures that look the same.
The page splits their difference into coarse and fine parts, beside the difference to
the original. Three minutes on two CPU cores.
"""

import nst_jax

LAYERS = ("conv_1", "conv_2", "conv_4", "conv_8")


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/chelsea.png",
        styles=(),
        terms=(nst_jax.Content(convention="johnson"),),
        size=128,
        steps=200,
        seeds=(0, 1),
        canvas=nst_jax.Canvas(kind="noise"),
        solver=nst_jax.SolverOptions(name="lbfgs_fixed"),
        axes=(
            nst_jax.Vary(
                "terms.content.layers",
                tuple((layer,) for layer in LAYERS),
                name="content layer",
            ),
        ),
    )
    return nst_jax.variant(config, arg)
