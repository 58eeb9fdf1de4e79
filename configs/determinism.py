"""What the way of computing does to a picture: the same seeds, by fifteen programs.

    python launch.py --config=configs/determinism.py

Is a run the same when it is run again? In a fresh process, compiled anew? When the
seed is one of a batch of 2, 4, 8 or 16, or at another place in it? By `map`, on
several devices, at another precision, with deterministic kernels? Every arm computes
the same seeds and keeps every step to the last bit. Beside them stand the two
distances that give a difference its size: what one unit in the last place of one
starting value grows to, and how far two seeds are apart.

The page begins with the answers in words; study.json has the numbers. Where the
process has several devices, or a GPU beside the CPU, these are arms too. Nine
minutes on two CPU cores.
"""

from collections.abc import Iterable

import jax

import nst_jax

#: What computes, and what it is called; the first is what the others are compared to.
ARMS: dict[str, dict[str, object]] = {
    "alone": {},
    "alone again": {"repeat": 1},
    "alone in a fresh process": {"process": "subprocess"},
    "one after the other": {"strategy": "map", "batch_size": 2},
    "in a batch of 2": {"strategy": "vmap", "batch_size": 2},
    "in a batch of 4": {"strategy": "vmap", "batch_size": 4},
    "in a batch of 8": {"strategy": "vmap", "batch_size": 8},
    "at place 5 of a batch of 8": {"strategy": "vmap", "batch_size": 8, "position": 5},
    "in a batch of 8 again": {"strategy": "vmap", "batch_size": 8, "repeat": 1},
    "in a batch of 16": {"strategy": "vmap", "batch_size": 16},
    "in a batch of 8, batch-invariant": {
        "strategy": "vmap",
        "batch_size": 8,
        "batch_invariant": True,
    },
    "at precision high": {"precision": "high"},
    "at precision default": {"precision": "default"},
    "with deterministic kernels": {"deterministic": True},
    "from one ulp beside": {"ulps": 1},
}
#: Where a setting is in the config, and what it is where an arm does not say.
SETTINGS = {
    "ensemble.strategy": "loop",
    "ensemble.batch_size": 0,
    "ensemble.position": 0,
    "ensemble.process": "inline",
    "ensemble.platform": "",
    "ensemble.repeat": 0,
    "numerics.precision": "highest",
    "numerics.deterministic": False,
    "numerics.batch_invariant": False,
    "canvas.ulps": 0,
}


#: One of each kind, for a run that is done in two minutes.
FEW = (
    *("alone", "alone again", "alone in a fresh process", "one after the other"),
    *("in a batch of 2", "from one ulp beside"),
)


def axis(names: Iterable[str]) -> nst_jax.Vary:
    """The axis of execution, with what this machine has."""
    arms = {name: ARMS[name] for name in names}
    if (count := jax.local_device_count()) > 1:
        arms[f"sharded over {count} devices"] = {
            "strategy": "shard",
            "batch_size": count,
        }
    if jax.default_backend() != "cpu":
        arms["on the CPU"] = {"platform": "cpu"}
    values = [
        tuple(arm.get(path.split(".")[1], usual) for path, usual in SETTINGS.items())
        for arm in arms.values()
    ]
    return nst_jax.Vary(tuple(SETTINGS), tuple(values), tuple(arms), name="arm")


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/chelsea.png",
        styles=("samples/swirls.jpg",),
        terms=(
            nst_jax.Content(weight=1000.0),
            nst_jax.Gram(),
            nst_jax.TotalVariation(weight=1.6e7),
        ),
        size=128,
        steps=40,
        seeds=(0, 1),
        canvas=nst_jax.Canvas(kind="noise"),
        solver=nst_jax.SolverOptions(name="lbfgs_fixed"),
        output=nst_jax.OutputOptions(
            log_every=1, snapshots=tuple(range(41)), exact=True
        ),
    )
    config = nst_jax.variant(config, arg)
    config.axes = (axis(FEW if arg == "smoke" else ARMS),)
    return config
