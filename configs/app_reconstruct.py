"""Reconstruction at content layers 0 to 4, by Adam and L-BFGS, from three canvases.

    python launch.py --config=configs/app_reconstruct.py

The app's loss α·content + β·style + γ·variation with its β, γ, style layers 0 to 4 and
style weights 1e3/n². α is multiplied by 57² because the bundled network's features are
larger (docs/conventions.md). The page says how many more iterations Adam needs than
L-BFGS for the same loss. The canvases noise, content and style are the panel's pages.
Ten programs with three members each. Five minutes on two CPU cores.
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
