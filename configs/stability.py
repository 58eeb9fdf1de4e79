"""Stability of styles: ten style settings, eight seeds each.

    python launch.py --config=configs/stability.py

Gupta et al. 2017 (arXiv 1705.02092) report that results are less stable for styles with
a larger trace of the Gram matrices. Three paintings and two photographs are the styles
of a third photograph, at its size and at half of it. The page plots the dispersion of
the seeds against that trace.

The page has their rank correlation with an interval. Ten settings are few, and the two
sizes of a picture are not independent: see the scatter before the rho. Five minutes on
two CPU cores.
"""

import nst_jax

STYLES = ("swirls.jpg", "mosaic.jpg", "woodcut.jpg", "astronaut.png", "coffee.png")


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/chelsea.png",
        styles=("samples/swirls.jpg",),
        terms=(
            nst_jax.Content(weight=1000.0),
            nst_jax.Gram(),
            nst_jax.TotalVariation(weight=1.6e7),
        ),
        size=96,
        steps=40,
        seeds=tuple(range(3 if arg else 8)),
        canvas=nst_jax.Canvas(kind="noise"),
        solver=nst_jax.SolverOptions(name="lbfgs_fixed"),
        axes=(
            nst_jax.Vary("styles", tuple((f"samples/{name}",) for name in STYLES)),
            nst_jax.Vary("style_scale", (1.0, 0.5)),
        ),
    )
    return nst_jax.variant(config, arg)
