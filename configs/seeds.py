"""Eight seeds of one transfer, as one compiled program.

    python launch.py --config=configs/seeds.py

How much of the picture is the seed? Each member starts from the photograph blended
with its own uniform noise and is optimised by its own L-BFGS; all eight are one
batch. The solver has no line search: under vmap every member then costs the same,
where a search would last as long as its slowest member's. A little total variation
takes out the grain that noise leaves. `--config.ensemble.strategy=map` computes each
member as if it were alone, `loop` runs it alone.

Look at sheet.png: the cat and the strokes are everywhere the same, what each
stroke does is not. About four minutes on two CPU cores.
"""

import nst_jax


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/chelsea.png",
        styles=("samples/swirls.jpg",),
        terms=(
            nst_jax.Content(weight=50.0),
            nst_jax.Gram(),
            nst_jax.TotalVariation(weight=2e5),
        ),
        size=192,
        steps=100,
        seeds=tuple(range(8)),
        canvas=nst_jax.Canvas(kind="blend", noise="uniform", amplitude=0.5, mix=0.5),
        solver=nst_jax.SolverOptions(name="lbfgs_fixed"),
        ensemble=nst_jax.EnsembleOptions(strategy="vmap"),
    )
    return nst_jax.variant(config, arg)
