"""How far apart do seeds end? From almost the same start, and from nothing alike.

    python launch.py --config=configs/dispersion.py

Tools that start from noise differ in its amplitude by six orders of magnitude. Does
what the seeds differ by at the start die away, so that all of them end at one picture,
or does it grow, so that a millionth is enough for another picture? Eight seeds each
start from grey with noise of 1e-6 to 1 around it, from the content without any, and
once with Adam for the solver.

Look at the plot of dispersion against steps: whether the curves run together, and
where. The tables say how much of it is shape and how much grain, and that the loss
hardly knows of it. Nine minutes on two CPU cores.
"""

import nst_jax

AMPLITUDES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
#: What a start is called, and its kind, amplitude, solver and learning rate.
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
