"""Dispersion of seeds, from nearly equal and from unrelated starts.

    python launch.py --config=configs/dispersion.py

Tools that start from noise differ in its amplitude by six orders of magnitude. Does the
difference between seeds decay, so that all end at one picture, or does a millionth grow
into another picture? Eight seeds each start from grey with noise of 1e-6 to 1, from the
content without noise, and once with Adam.

The plot of dispersion against steps shows whether and where the curves meet. The tables
split it into shape and grain, and show that the loss hardly depends on it. Nine minutes
on two CPU cores.
"""

import nst_jax

AMPLITUDES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
#: Start -> its kind, amplitude, solver and learning rate.
STARTS: dict[str, tuple[str, float, str, float | None]] = {
    **{f"noise {a:g}": ("noise", a, "lbfgs_fixed", None) for a in AMPLITUDES},
    "content": ("content", 0.5, "lbfgs_fixed", None),
    "noise 0.5, adam": ("noise", 0.5, "adam", 0.02),
}


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/chelsea.png",
        styles=("samples/swirls.jpg",),
        terms=(
            nst_jax.Content(weight=1000.0),
            nst_jax.Gram(),
            nst_jax.TotalVariation(weight=1.6e7),
        ),
        size=128,
        steps=40,
        seeds=tuple(range(3 if arg else 8)),
        canvas=nst_jax.Canvas(kind="noise"),
        solver=nst_jax.SolverOptions(name="lbfgs_fixed"),
        output=nst_jax.OutputOptions(
            snapshots=(0, 1, 2, 3, 5, 8, 12, 18, 27, 40), exact=True
        ),
        axes=(
            nst_jax.Vary(
                (
                    *("canvas.kind", "canvas.amplitude"),
                    *("solver.name", "solver.learning_rate"),
                ),
                tuple(STARTS.values()),
                labels=tuple(STARTS),
                name="setting",
            ),
        ),
    )
    return nst_jax.variant(config, arg)
