"""Reconstruction at content layers 0 to 4, by Adam and L-BFGS, from three canvases.

    python launch.py --config=configs/app_reconstruct.py

In the terms of an app: α·content + β·style + γ·variation with its β, γ and style
weights 1e3/n², style layers 0 to 4; its α times 57², for the bundled network's features
are larger than those that it was chosen for (docs/conventions.md). Adam needs more
iterations than L-BFGS: the page says how many more for the same loss. Canvases noise,
content and style are the pages of the panel. Layers and solvers select programs: ten of
them, with three members each. Five minutes on two CPU cores.
"""

import nst_jax


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.preset(
        "app",
        content="samples/chelsea.png",
        styles=("samples/swirls.jpg",),
        size=96,
        axes=(
            nst_jax.Vary("canvas.kind", ("noise", "content", "style")),
            nst_jax.Vary(
                ("solver", "steps"),
                (
                    (nst_jax.SolverOptions("adam", learning_rate=0.06), 120),
                    (nst_jax.SolverOptions("lbfgs_fixed"), 60),
                ),
                labels=("Adam", "L-BFGS"),
                name="solver",
            ),
            nst_jax.Vary(
                "terms.content.layers",
                tuple((f"relu{i}_1",) for i in range(1, 6)),
                labels=("0", "1", "2", "3", "4"),
                name="content layer",
            ),
        ),
    )
    config = config.with_field("terms.content.weight", 5.0 * 57**2)
    config.output.snapshot_every = 50
    return nst_jax.variant(config, arg)
