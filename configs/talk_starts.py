"""Influence of the initial picture on Adam.

    python launch.py --config=configs/talk_starts.py

One transfer from the photograph, from the painting, from noise, and from an even blend
of noise and photograph; two seeds each, in one batch. Results from the photograph
resemble it and have the lowest loss after equal steps; from the painting, its shapes
stay; from noise, two seeds differ far more than from the blend. Two and a half minutes
on two CPU cores.
"""

import nst_jax


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/coffee.png",
        styles=("samples/woodcut.jpg",),
        terms=(
            nst_jax.Content(weight=1.0, convention="paper"),
            nst_jax.Gram(weight=10.0, layer_weights=(0.2,) * 5, convention="paper"),
        ),
        size=96,
        steps=300,
        seeds=(0, 1),
        pooling="avg",
        solver=nst_jax.SolverOptions(name="adam", learning_rate=2 / 255),
        axes=(nst_jax.Vary("canvas.kind", ("content", "style", "noise", "blend")),),
    )
    return nst_jax.variant(config, arg)
