"""Introducing additional higher layers: two to five style layers.

    python launch.py --config=configs/slides_layers.py

block1_conv1 and block2_conv1 hold colour and grain; each further block adds patterns of
twice the size. Layers select a program, so four programs run one after the other. Two
minutes on two CPU cores.
"""

import nst_jax

LAYERS = tuple(f"block{i}_conv1" for i in range(1, 6))


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/astronaut.png",
        styles=("samples/mosaic.jpg",),
        terms=(
            nst_jax.Content(convention="paper"),
            nst_jax.Gram(weight=1e4, convention="paper"),
        ),
        size=128,
        steps=100,
        axes=(
            nst_jax.Vary(
                ("terms.style.layers", "terms.style.layer_weights"),
                tuple((LAYERS[:count], (1 / count,) * count) for count in range(2, 6)),
                labels=("2", "3", "4", "5"),
                name="style layers",
            ),
        ),
    )
    return nst_jax.variant(config, arg)
