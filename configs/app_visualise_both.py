"""All content and all style layers at once, as a film.

    python launch.py --config=configs/app_visualise_both.py

The app's last experiment, from noise: content at layers 0 to 4 and style at layers 0 to
4, with a frame every 10 steps, shown at 30 a second. α is multiplied by 57² as in
app_reconstruct.py. Two minutes on two CPU cores.
"""

import nst_jax


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.preset(
        "app",
        content="samples/chelsea.png",
        styles=("samples/swirls.jpg",),
        size=128,
        steps=200,
        solver=nst_jax.SolverOptions("lbfgs"),
        output=nst_jax.OutputOptions(snapshot_every=10, fps=30),
    )
    config.terms = (
        nst_jax.Content(
            5.0 * 57**2,
            layers=tuple(f"relu{i}_1" for i in range(1, 6)),
            convention="app",
        ),
        *config.terms[1:],
    )
    return nst_jax.variant(config, arg)
