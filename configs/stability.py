"""Stability of styles: eight style settings, four weightings, eight seeds, with twins.

    python launch.py --config=configs/stability.py

Gupta et al. 2017 (arXiv 1705.02092) report that results are less stable for styles with
a larger trace of the Gram matrices. Does the dispersion across seeds follow the trace?
Two things may do so in its place: the contrast of the results, and the ratio of style
to content. The page therefore has each dispersion in levels and as a share of unrelated
pictures of the same contrast, and four weightings:

* fixed: one weight for all styles;
* matched: weights at which the gradient of the style is 14 times that of the content at
  the start, for each style, so that the trace varies and the ratio does not;
* matched, with the style a tenth and ten times as strong: the ratio varies, and the
  trace does not.

The recorded gradients show whether the ratio is held. Two settings are a painting and a
photograph at half their size; settings of one style are one point. Each seed has a twin
one unit in the last place away, which is the floor of the differences. Estimated at 25
minutes on two CPU cores, of which 17 are 51,200 steps of 0.02 seconds.
"""

import nst_jax

#: (Style, scale, factor of the matched weight): 14 / the ratio of the gradients, style
#: over content, at the fixed weight. Means over the eight seeds at 64 px; they hold for
#: this content, size, start and weight of the content.
STYLES = (
    ("swirls.jpg", 1.0, 1.023),
    ("mosaic.jpg", 1.0, 1.228),
    ("woodcut.jpg", 1.0, 1.120),
    ("astronaut.png", 1.0, 1.024),
    ("coffee.png", 1.0, 1.073),
    ("rocket.jpg", 1.0, 1.051),
    ("swirls.jpg", 0.5, 0.689),
    ("astronaut.png", 0.5, 0.628),
)
#: Weighting -> weights of the terms "fixed" and "matched".
WEIGHTS = {
    "fixed": (1.0, 0.0),
    "matched": (0.0, 1.0),
    "matched / 10": (0.0, 0.1),
    "matched × 10": (0.0, 10.0),
}


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/chelsea.png",
        styles=("samples/swirls.jpg",),
        terms=(
            nst_jax.Content(weight=1000.0),
            nst_jax.Gram(name="fixed"),
            nst_jax.Gram(name="matched"),
            nst_jax.TotalVariation(weight=1.6e7),
        ),
        size=64,
        steps=100,
        seeds=tuple(range(3 if arg else 8)),
        canvas=nst_jax.Canvas(kind="noise"),
        solver=nst_jax.SolverOptions(name="lbfgs_fixed"),
        output=nst_jax.OutputOptions(log_every=20, gradients=True),
        axes=(
            nst_jax.Vary(
                ("terms.fixed.weight", "terms.matched.weight"),
                tuple(WEIGHTS.values()),
                labels=tuple(WEIGHTS),
                name="weights",
            ),
            nst_jax.Vary(
                ("styles", "style_scale", "terms.matched.blend"),
                tuple(((f"samples/{name}",), scale, (b,)) for name, scale, b in STYLES),
                labels=tuple(
                    f"{'half ' * (scale < 1)}{name.split('.')[0]}"
                    for name, scale, _ in STYLES
                ),
                name="style",
            ),
            nst_jax.Vary("canvas.ulps", (0, 1), name="ulps"),
        ),
    )
    return nst_jax.variant(config, arg)
