"""Influence of the initial picture: does it matter where Adam starts?

    python launch.py --config=configs/talk_starts.py

One transfer from the photograph, from the painting, from noise, and from a half-way
blend of noise and photograph; two seeds each, as one batch. What comes from the
photograph looks like it and has the lowest loss after as many steps; from the painting
its shapes stay; from noise two seeds differ by far more than from the blend. Two and a
half minutes on two CPU cores.
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
