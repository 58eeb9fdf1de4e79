"""Texture synthesis from conv_1–2, 3–4, 5–8, 9–12 and all, from two noises.

    python launch.py --config=configs/blog_textures.py

The style term alone. Early layers give blobs of colour, later ones pieces of the
painting, and the last ones alone little but noise. Two noises lead to two pictures
because a Gram matrix has no positions: compare the distances on the page with those of
`blog_reconstruction.py`. Five minutes on two CPU cores.
"""

import nst_jax

GROUPS = {"1–2": (1, 2), "3–4": (3, 4), "5–8": (5, 8), "9–12": (9, 12), "all": (1, 16)}


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/chelsea.png",
        styles=("samples/mosaic.jpg",),
        terms=(nst_jax.Gram(),),
        size=128,
        steps=150,
        seeds=(0, 1),
        canvas=nst_jax.Canvas(kind="noise"),
        solver=nst_jax.SolverOptions(name="lbfgs_fixed"),
        axes=(
            nst_jax.Vary(
                "terms.style.layers",
                tuple(
                    tuple(f"conv_{i}" for i in range(first, last + 1))
                    for first, last in GROUPS.values()
                ),
                labels=tuple(GROUPS),
                name="conv",
            ),
        ),
    )
    return nst_jax.variant(config, arg)
