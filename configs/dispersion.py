"""Dispersion of seeds, from nearly equal and from unrelated starts.

    python launch.py --config=configs/dispersion.py

Tools that start from noise differ in its amplitude by six orders of magnitude. Does the
difference between seeds decay, so that all end at one picture, or does a millionth grow
into another picture? Eight seeds each start from grey with noise of 1e-6 to 1, from the
content without noise, and once with Adam.

Levels stand beside the share of unrelated pictures of the same contrast, and beside
the twin of each seed, which starts one unit in the last place away. The plot against
steps shows whether and where the curves meet. The tables split the dispersion into
shape and grain, and show that the loss hardly depends on it. Estimated at 15 minutes on
two CPU cores.

    python launch.py --config=configs/dispersion.py:converged

Do the differences last? Four of the starts at 96 px for 500 steps, with the loss beside
the dispersion at each recorded step. Estimated at 25 minutes, from 0.04 seconds a
gradient.
"""

import nst_jax

AMPLITUDES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
#: Start -> its kind, amplitude, solver and learning rate.
STARTS: dict[str, tuple[str, float, str, float | None]] = {
    **{f"noise {a:g}": ("noise", a, "lbfgs_fixed", None) for a in AMPLITUDES},
    "content": ("content", 0.5, "lbfgs_fixed", None),
    "noise 0.5, adam": ("noise", 0.5, "adam", 0.02),
}
#: Starts of the run to 500 steps.
FEW = ("noise 1e-06", "noise 0.01", "noise 1", "noise 0.5, adam")


def get_config(arg: str = "") -> nst_jax.Experiment:
    is_converged = arg == "converged"
    starts = {name: STARTS[name] for name in (FEW if is_converged else STARTS)}
    config = nst_jax.Experiment(
        content="samples/chelsea.png",
        styles=("samples/swirls.jpg",),
        terms=(
            nst_jax.Content(weight=1000.0),
            nst_jax.Gram(),
            nst_jax.TotalVariation(weight=1.6e7),
        ),
        size=96 if is_converged else 128,
        steps=500 if is_converged else 40,
        seeds=tuple(range(3 if arg == "smoke" else 8)),
        canvas=nst_jax.Canvas(kind="noise"),
        solver=nst_jax.SolverOptions(name="lbfgs_fixed"),
        output=nst_jax.OutputOptions(
            log_every=10 if is_converged else 1,
            snapshots=(0, 10, 20, 40, 80, 120, 200, 300, 400, 500)
            if is_converged
            else (0, 1, 2, 3, 5, 8, 12, 18, 27, 40),
            exact=True,
        ),
        axes=(
            nst_jax.Vary(
                (
                    *("canvas.kind", "canvas.amplitude"),
                    *("solver.name", "solver.learning_rate"),
                ),
                tuple(starts.values()),
                labels=tuple(starts),
                name="setting",
            ),
            nst_jax.Vary("canvas.ulps", (0, 1), name="ulps"),
        ),
    )
    return nst_jax.variant(config, "" if is_converged else arg)
