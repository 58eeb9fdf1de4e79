"""Adam from noise for 30,000 steps: does it converge?

    python launch.py --config=configs/talk.py

The set-up of a talk on style transfer: loss = β·content + α·style with the paper's
factors, Adam at learning rate 2 in units of 0–255, which is 2/255 here. Snapshots at
100, 300, 3300, 6500 and 30000 steps are roughly even on a logarithmic scale: most of
the change is early, and the loss still falls at the end. The curve on the page rises
now and then, as is usual for Adam at a constant rate.

At 64 px about half an hour on two CPU cores; `--config.size=256` for a GPU.
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
        size=64,
        steps=30000,
        pooling="avg",
        canvas=nst_jax.Canvas(kind="noise"),
        solver=nst_jax.SolverOptions(name="adam", learning_rate=2 / 255),
        output=nst_jax.OutputOptions(
            log_every=50, snapshots=(0, 100, 300, 3300, 6500, 30000)
        ),
    )
    if arg == "smoke":
        config.output = nst_jax.OutputOptions(log_every=1, snapshots=(0, 1, 2, 4))
    return nst_jax.variant(config, arg)
