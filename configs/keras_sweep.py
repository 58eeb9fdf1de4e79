"""A thousand weightings of one transfer: does the choice of weights matter?

    python launch.py --config=configs/keras_sweep.py

Content, style and total variation weight each take ten values from 0 to 1.8 in steps of
0.2, in the scaling of the Keras example script: content block5_conv2, style
block1_conv1 to block5_conv1, differences of Gram matrices over 4·3²·P², variation with
exponent 1.25, from the photograph. A user waited for all of it once and found that the
pictures mostly look the same. The page measures this by axis. After the 3 steps of
`:smoke` a picture changes where the style weight leaves zero and hardly after; along
content and variation there is no visible change. Two reasons: a quasi-Newton solver
depends on the ratios of the weights alone, and at equal weights the style term
dominates. `keras_sweep_apart.py` has weights that matter.

All members are one compiled program, a hundred in a batch. An interrupted run keeps its
finished members. At 256 px and 300 steps it is work for a GPU and takes days on two CPU
cores; `:smoke` runs all thousand at 64 px and 3 steps, in minutes.

    python launch.py --config=configs/keras_sweep.py:twins

Three steps say little about the hundred of that user. Five of the weights, from 0.2 on,
in each axis at 64 px and 100 steps. Each member has a twin that starts one unit in the
last place away: the page has the distance along each axis over that of twins, also at
steps 3, 20 and 80. Estimated at 10 minutes on two CPU cores, from 0.02 seconds a
gradient.
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
    has_twins = arg == "twins"
    config = nst_jax.variant(config, "" if has_twins else arg)
    # The smoke variant keeps all thousand members.
    weights = WEIGHTS[1::2] if has_twins else WEIGHTS
    config.axes = tuple(
        nst_jax.Vary(f"terms.{term}.weight", weights)
        for term in ("content", "style", "variation")
    )
    if has_twins:
        config.axes += (nst_jax.Vary("canvas.ulps", (0, 1), name="ulps"),)
        config.size, config.steps = 64, 100
        config.output = nst_jax.OutputOptions(
            log_every=10, snapshots=(3, 20, 80), exact=True
        )
    if arg == "smoke":
        config.steps, config.output.log_every = 3, 1
    return config
