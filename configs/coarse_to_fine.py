"""Does a large picture look like its preview?

    python launch.py --config=configs/coarse_to_fine.py

The network sees so many pixels at once, whatever the size: at twice the size strokes
are half as large beside the cat. A picture that is made at one size is therefore
another at each size. One that goes through smaller ones, each begun from what the
last one showed, keeps the large forms of its preview. Two sizes, each from the
photograph, with and without a ladder, the solver moving a Laplacian pyramid; the page
has how like a large picture is to the small one, which on the ladder is the size that
it came through. The steps are those of each stage. Two minutes on two CPU cores.
"""

import nst_jax


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/chelsea.png",
        styles=("samples/mosaic.jpg",),
        terms=(nst_jax.Content(weight=20.0), nst_jax.Gram()),
        size=192,
        steps=80,
        parametrisation="pyramid",
        solver=nst_jax.SolverOptions(name="lbfgs_fixed"),
        ladder=nst_jax.Ladder(factor=2.0),
        axes=(
            nst_jax.Vary(
                "ladder.start", (0, 48), ("one size", "coarse to fine"), "way"
            ),
            nst_jax.Vary("size", (96, 192)),
        ),
    )
    return nst_jax.variant(config, arg)
