"""Seven methods on five pairs at 512 px.

    python launch.py --config=configs/methods.py

"Gatys" and "STROTSS" (Kolkin et al. 2019) are the presets of the authors' code, with
two fifths of their steps. "classic", "nst_jax_fast" and "nst_jax" are this project's
presets. "Wasserstein" and "moments" work coarse to fine with other style statistics.
The page has the measures of quality of each picture, and the seconds of each program.
`--shard` runs a part, and `--merge` joins parts. Two hours on two CPU cores.
"""

import nst_jax
from nst_jax.losses.style import STYLE_LAYERS

PAIRS = {
    "coffee, woodcut": ("samples/coffee.png", ("samples/woodcut.jpg",)),
    "cat, mosaic": ("samples/chelsea.png", ("samples/mosaic.jpg",)),
    "astronaut, swirls": ("samples/astronaut.png", ("samples/swirls.jpg",)),
    "rocket, swirls": ("samples/rocket.jpg", ("samples/swirls.jpg",)),
    "astronaut, woodcut": ("samples/astronaut.png", ("samples/woodcut.jpg",)),
}
#: Fields in which the methods differ.
FIELDS = (
    *("terms", "steps", "ladder", "solver", "pooling", "pool_rounding"),
    *("colour", "padding", "parametrisation", "canvas", "resample"),
)
_SEVEN_LAYERS = tuple(sorted((*STYLE_LAYERS, "relu3_3", "relu4_3")))


def methods() -> dict[str, nst_jax.Experiment]:
    """Return an experiment for each method, on the first pair."""
    content, styles = PAIRS["coffee, woodcut"]
    presets = {
        name: nst_jax.preset(name, content=content, styles=styles)
        for name in ("gatys", "strotss", "classic", "nst_jax_fast", "nst_jax")
    }
    coarse_to_fine = nst_jax.Experiment(
        content=content,
        styles=styles,
        terms=(),
        ladder=nst_jax.Ladder(start=128, factor=2.0),
        solver=nst_jax.SolverOptions("lbfgs_fixed"),
    )
    return {
        "Gatys": presets["gatys"].with_field("steps", 200),
        "classic": presets["classic"],
        "Wasserstein": coarse_to_fine.with_field(
            "terms", (nst_jax.Content(1000.0), nst_jax.losses.Wasserstein(160.0))
        ).with_field("steps", 50),
        "moments": coarse_to_fine.with_field(
            "terms",
            (
                nst_jax.Content(1000.0, layers=("relu3_1", "relu4_2")),
                nst_jax.losses.MeanStd(28.0, layers=_SEVEN_LAYERS),
            ),
        ).with_field("steps", 100),
        "STROTSS": presets["strotss"].with_field("steps", 100),
        "nst_jax_fast": presets["nst_jax_fast"],
        "nst_jax": presets["nst_jax"],
    }


def get_config(arg: str = "") -> nst_jax.Experiment:
    content, styles = PAIRS["coffee, woodcut"]
    experiments = methods()
    config = nst_jax.Experiment(
        content=content,
        styles=styles,
        terms=experiments["classic"].terms,
        size=512,
        output=nst_jax.OutputOptions(quality=True),
        axes=(
            nst_jax.Vary(
                ("content", "styles"), tuple(PAIRS.values()), tuple(PAIRS), "pair"
            ),
            nst_jax.Vary(
                FIELDS,
                tuple(
                    tuple(getattr(experiment, field) for field in FIELDS)
                    for experiment in experiments.values()
                ),
                tuple(experiments),
                "method",
            ),
        ),
    )
    return nst_jax.variant(config, arg)
