"""Changes per 20 iterations: an animation of one optimisation.

    python launch.py --config=configs/slides_changes.py

A snapshot every 20 of 400 steps. The film is on the page and in
members/000/making_of.mp4: colour within the first forty steps, then strokes, and after
about two hundred no visible change. Two minutes on two CPU cores.
"""

import nst_jax


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/astronaut.png",
        styles=("samples/swirls.jpg",),
        terms=(
            nst_jax.Content(convention="paper"),
            nst_jax.Gram(weight=1e4, layer_weights=(0.2,) * 5, convention="paper"),
        ),
        size=128,
        steps=400,
        output=nst_jax.OutputOptions(snapshot_every=20, fps=5),
    )
    if arg == "smoke":
        config.output.snapshot_every = 2
    return nst_jax.variant(config, arg)
