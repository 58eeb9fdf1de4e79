"""conv against relu taps: does it matter on which side of the ReLU one looks?

    python launch.py --config=configs/app_taps.py

The app's reconstruction at five content layers, once before and once after the ReLU of
every layer. The pictures hardly differ, and the page says by how much, beside how much
they differ from layer to layer. Four minutes on two CPU cores.
"""

import nst_jax

BLOCKS = range(1, 6)


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.preset(
        "app",
        content="samples/chelsea.png",
        styles=("samples/swirls.jpg",),
        size=96,
        steps=150,
        solver=nst_jax.SolverOptions("adam", learning_rate=0.06),
        axes=(
            nst_jax.Vary(
                ("terms.content.layers", "terms.style.layers"),
                tuple(
                    ((f"{tap}{block}_1",), tuple(f"{tap}{i}_1" for i in BLOCKS))
                    for tap in ("conv", "relu")
                    for block in BLOCKS
                ),
                labels=tuple(
                    f"{tap} {b - 1}" for tap in ("conv", "relu") for b in BLOCKS
                ),
                name="taps",
            ),
        ),
    )
    return nst_jax.variant(config, arg)
