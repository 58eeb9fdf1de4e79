"""Style layers visualised: each alone and in groups, by Adam and by L-BFGS.

    python launch.py --config=configs/app_visualise_style.py

The style term alone, from noise, at layers 0 to 4, at the groups 0 1 4, 1 2 3 and 0 1,
and at all five. Single layers give grain; higher ones give patterns of noise; groups
give the painting's manner. L-BFGS shows it in groups where Adam does not yet: the page
says how many more steps Adam needs. Five minutes on two CPU cores.
"""

import nst_jax

GROUPS = ((0,), (1,), (2,), (3,), (4,), (0, 1, 4), (1, 2, 3), (0, 1), (0, 1, 2, 3, 4))
SIZES = (16, 32, 128, 256, 512)


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/chelsea.png",
        styles=("samples/swirls.jpg",),
        terms=(nst_jax.Gram(weight=7000.0, convention="app"),),
        size=96,
        steps=100,
        canvas=nst_jax.Canvas(kind="noise"),
        axes=(
            nst_jax.Vary(
                "solver",
                (
                    nst_jax.SolverOptions("adam", learning_rate=0.06),
                    nst_jax.SolverOptions("lbfgs"),
                ),
                labels=("Adam", "L-BFGS"),
            ),
            nst_jax.Vary(
                ("terms.style.layers", "terms.style.layer_weights"),
                tuple(
                    (
                        tuple(f"relu{i + 1}_1" for i in group),
                        tuple(1e3 / SIZES[i] ** 2 for i in group),
                    )
                    for group in GROUPS
                ),
                labels=tuple(" ".join(map(str, group)) for group in GROUPS),
                name="style layers",
            ),
        ),
    )
    return nst_jax.variant(config, arg)
