"""A thousand weightings of one transfer: does the choice of weights matter?

    python launch.py --config=configs/keras_sweep.py

Content, style and total variation weight each take ten values from 0 to 1.8 in steps of
0.2, in the scaling of the Keras example script: content block5_conv2, style
block1_conv1 to block5_conv1, differences of Gram matrices over 4·3²·P², variation with
exponent 1.25, from the photograph. A user waited for all of it once and found that the
pictures mostly look the same. The page measures this by axis: a picture changes where
the style weight leaves zero and hardly after; along content and variation there is no
visible change. Two reasons: a quasi-Newton solver depends on the ratios of the weights
alone, and at equal weights the style term dominates. `keras_sweep_apart.py` has weights
that matter.

All members are one compiled program, a hundred in a batch. An interrupted run keeps its
finished members. At 256 px and 300 steps it is work for a GPU and takes days on two CPU
cores; `:smoke` runs all thousand at 64 px and 3 steps, in minutes.
"""

import nst_jax

WEIGHTS = tuple(round(0.2 * i, 1) for i in range(10))


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/chelsea.png",
        styles=("samples/swirls.jpg",),
        terms=(
            nst_jax.Content(layers=("block5_conv2",), convention="keras"),
            nst_jax.Gram(convention="keras"),
            nst_jax.TotalVariation(name="variation", convention="keras"),
        ),
        size=256,
        steps=300,
        solver=nst_jax.SolverOptions(name="lbfgs_fixed"),
        ensemble=nst_jax.EnsembleOptions(batch_size=100),
        output=nst_jax.OutputOptions(log_every=50),
    )
    config = nst_jax.variant(config, arg)
    # The smoke variant keeps all thousand members.
    config.axes = (
        nst_jax.Vary("terms.content.weight", WEIGHTS),
        nst_jax.Vary("terms.style.weight", WEIGHTS),
        nst_jax.Vary("terms.variation.weight", WEIGHTS),
    )
    if arg == "smoke":
        config.steps, config.output.log_every = 3, 1
    return config
