"""Seven tools on one pair: what do their defaults make of it?

    python launch.py --config=configs/classics.py

Each published tool with its own weights, loss scaling, pooling, start and input scale,
from `nst_jax.preset`, all with the same solver and number of steps, so that what
differs is what they ask for. A weight from somebody's README goes into that tool's
preset as it is: `nst_jax.preset("johnson", …).terms[1].weight`. docs/conventions.md
has the factors. Three minutes on two CPU cores.
"""

import nst_jax

CONTENT, STYLES = "samples/coffee.png", ("samples/swirls.jpg",)
FIELDS = (
    *("terms", "pooling", "pool_rounding", "canvas"),
    *("input_scale", "input_centred"),
)


def get_config(arg: str = "") -> nst_jax.Experiment:
    tools = {
        name: nst_jax.preset(name, content=CONTENT, styles=STYLES)
        for name in nst_jax.PRESETS
        if name != "nst_jax"  # Of this project; its ladder and solver are not here.
    }
    config = nst_jax.Experiment(
        content=CONTENT,
        styles=STYLES,
        terms=tools["gatys"].terms,
        size=128,
        steps=100,
        axes=(
            nst_jax.Vary(
                FIELDS,
                tuple(
                    tuple(getattr(tool, field) for field in FIELDS)
                    for tool in tools.values()
                ),
                labels=tuple(tools),
                name="tool",
            ),
        ),
    )
    return nst_jax.variant(config, arg)
