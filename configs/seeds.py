"""Eight seeds of one transfer, as one compiled program.

    python launch.py --config=configs/seeds.py

How much of the picture is the seed? Each member starts from the photograph blended with
its own uniform noise and has its own L-BFGS state; all eight form one batch. The solver
has no line search: under vmap, a search would take as long as its slowest member's. A
little total variation removes the grain of the noise. `--config.ensemble.strategy=map`
computes the members one after the other in one program, `loop` one program run each.

sheet.png shows the same cat and the same kind of strokes everywhere, but not the same
strokes. About four minutes on two CPU cores.
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
