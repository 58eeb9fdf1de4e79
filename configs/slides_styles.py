"""Multiple style images: each of three alone, and all at once.

    python launch.py --config=configs/slides_styles.py

The loss of several styles is Σ blend · loss(style). The blend is a traced number, so
five blends are one batch. All styles at once do not average the three pictures; the
result's statistics lie between theirs. Two minutes on two CPU cores.
"""

import nst_jax

BLENDS = {
    "swirls": (1.0, 0.0, 0.0),
    "mosaic": (0.0, 1.0, 0.0),
    "woodcut": (0.0, 0.0, 1.0),
    "swirls and woodcut": (0.5, 0.0, 0.5),
    "all": (1 / 3, 1 / 3, 1 / 3),
}


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/astronaut.png",
        styles=("samples/swirls.jpg", "samples/mosaic.jpg", "samples/woodcut.jpg"),
        terms=(
            nst_jax.Content(convention="paper"),
            nst_jax.Gram(weight=1e4, layer_weights=(0.2,) * 5, convention="paper"),
        ),
        size=128,
        steps=100,
        solver=nst_jax.SolverOptions(name="lbfgs_fixed"),
        axes=(
            nst_jax.Vary(
                "terms.style.blend",
                tuple(BLENDS.values()),
                labels=tuple(BLENDS),
                name="style",
            ),
        ),
    )
    return nst_jax.variant(config, arg)
