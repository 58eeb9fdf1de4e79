"""Does a large picture look like its preview?

    python launch.py --config=configs/coarse_to_fine.py

The network's receptive field is fixed in pixels: at twice the size, strokes are half as
large beside the cat. The result therefore depends on the size. A ladder of smaller
sizes keeps the large forms of the preview. The grid has two sizes, with and without a
ladder, all from the photograph, optimising a Laplacian pyramid. The page measures the
similarity of the large picture and the small one, which is a stage of the ladder. The
steps are those of each stage. Two minutes on two CPU cores.
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
