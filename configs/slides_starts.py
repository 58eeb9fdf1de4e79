"""Different initialisations at style weight 1e5: photograph, painting, noise.

    python launch.py --config=configs/slides_starts.py

At this style weight the start decides how much of the photograph is left; the content
term alone does not restore it. All canvases share one program. A minute and a half on
two CPU cores.
"""

import nst_jax


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/astronaut.png",
        styles=("samples/mosaic.jpg",),
        terms=(
            nst_jax.Content(convention="paper"),
            nst_jax.Gram(weight=1e5, layer_weights=(0.2,) * 5, convention="paper"),
        ),
        size=128,
        steps=100,
        solver=nst_jax.SolverOptions(name="lbfgs_fixed"),
        axes=(nst_jax.Vary("canvas.kind", ("content", "style", "noise", "blend")),),
    )
    return nst_jax.variant(config, arg)
