"""Seven published tools with their defaults on one pair of pictures.

    python launch.py --config=configs/classics.py

Each tool has its own weights, loss scaling, pooling, start and input scale, from
`nst_jax.preset`. Solver and number of steps are the same for all. A weight from a
tool's README goes unchanged into that tool's preset; docs/conventions.md has the
factors. Three minutes on two CPU cores.
"""

import nst_jax
from nst_jax.losses.conventions import CONVENTIONS

CONTENT, STYLES = "samples/coffee.png", ("samples/swirls.jpg",)
FIELDS = (
    *("terms", "pooling", "pool_rounding", "canvas"),
    *("input_scale", "input_centred"),
)


def get_config(arg: str = "") -> nst_jax.Experiment:
    tools = {
        name: nst_jax.preset(name, content=CONTENT, styles=STYLES)
        for name in nst_jax.PRESETS
        if name in CONVENTIONS
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
