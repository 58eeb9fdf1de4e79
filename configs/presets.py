"""This project's presets side by side on three pairs.

    python launch.py --config=configs/presets.py

"classic" is content and Gram matrices at one size, as Gatys et al. 2016. "nst_jax_fast"
works in three sizes from the photograph in the style's colours, and "nst_jax" adds
nearest features. The page has the measures of quality of each picture, and the seconds
of each program. 256 px here; `--config.size=512` is the size of the presets. A quarter
of an hour on two CPU cores.
"""

import nst_jax
from nst_jax.config.presets import OWN

PAIRS = {
    "coffee, woodcut": ("samples/coffee.png", ("samples/woodcut.jpg",)),
    "cat, mosaic": ("samples/chelsea.png", ("samples/mosaic.jpg",)),
    "astronaut, swirls": ("samples/astronaut.png", ("samples/swirls.jpg",)),
}
#: Fields in which the presets differ.
FIELDS = (
    *("terms", "steps", "ladder", "solver"),
    *("pooling", "colour", "padding"),
)


def get_config(arg: str = "") -> nst_jax.Experiment:
    content, styles = PAIRS["coffee, woodcut"]
    presets = {
        name: nst_jax.preset(name, content=content, styles=styles) for name in OWN
    }
    config = nst_jax.Experiment(
        content=content,
        styles=styles,
        terms=presets["classic"].terms,
        size=256,
        output=nst_jax.OutputOptions(quality=True),
        axes=(
            nst_jax.Vary(
                ("content", "styles"), tuple(PAIRS.values()), tuple(PAIRS), "pair"
            ),
            nst_jax.Vary(
                FIELDS,
                tuple(
                    tuple(getattr(preset, field) for field in FIELDS)
                    for preset in presets.values()
                ),
                tuple(presets),
                "preset",
            ),
        ),
    )
    return nst_jax.variant(config, arg)
