"""Content layers visualised: each alone, and three groups.

    python launch.py --config=configs/app_visualise_content.py

The content term alone, from noise, at layers 0 to 4 and at the groups 1 3 4 and 0 2 4.
Early layers reproduce the photograph; the last keeps edges and little colour. The page
has a film of each optimisation. Three minutes on two CPU cores.
"""

import nst_jax

GROUPS = ((0,), (1,), (2,), (3,), (4,), (1, 3, 4), (0, 2, 4))


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/chelsea.png",
        styles=(),
        terms=(nst_jax.Content(convention="app"),),
        size=96,
        steps=100,
        canvas=nst_jax.Canvas(kind="noise"),
        output=nst_jax.OutputOptions(snapshot_every=5, fps=30),
        axes=(
            nst_jax.Vary(
                "terms.content.layers",
                tuple(tuple(f"relu{i + 1}_1" for i in group) for group in GROUPS),
                labels=tuple(" ".join(map(str, group)) for group in GROUPS),
                name="content layers",
            ),
        ),
    )
    return nst_jax.variant(config, arg)
