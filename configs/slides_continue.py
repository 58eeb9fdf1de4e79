"""Starting from the result of a previous run.

    python launch.py --config=configs/slides_changes.py --workdir=runs/first
    python launch.py --config=configs/slides_continue.py \
        --config.canvas.path=runs/first/members/000/final.npy

A run's final.npy is its exact result and can be a starting canvas. Here another
painter's style continues from it. With the first style,
`--config.styles=samples/swirls.jpg`, the second run begins at the first run's final
loss. By default it continues from a painting in samples/. A minute on two CPU cores.
"""

import nst_jax


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/astronaut.png",
        styles=("samples/woodcut.jpg",),
        terms=(
            nst_jax.Content(convention="paper"),
            nst_jax.Gram(weight=1e4, layer_weights=(0.2,) * 5, convention="paper"),
        ),
        size=128,
        steps=200,
        canvas=nst_jax.Canvas(kind="file", path="samples/swirls.jpg"),
    )
    return nst_jax.variant(config, arg)
