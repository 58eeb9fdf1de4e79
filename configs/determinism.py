"""Determinism: the same seeds computed by fifteen programs.

    python launch.py --config=configs/determinism.py

Is a run the same when it is repeated? In a new process with a new compilation? In a
batch of 2, 4, 8 or 16, or in another slot of it? By `map`, on several devices, at
another precision, with deterministic kernels? Every arm computes the same seeds and
keeps every step bitwise. Two distances give a difference its scale: the growth of one
unit in the last place of one starting value, and the distance between two seeds.

The page begins with the answers in words; study.json has the numbers. Several devices,
or a GPU beside the CPU, add arms. Nine minutes on two CPU cores.
"""

from collections.abc import Iterable

import jax

import nst_jax

#: Arm -> its options; the others are compared with the first.
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
#: Path in the config -> default of the arms that do not set it.
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


#: One arm of each kind, for a run of two minutes.
FEW = (
    *("alone", "alone again", "alone in a fresh process", "one after the other"),
    *("in a batch of 2", "from one ulp beside"),
)


def axis(names: Iterable[str]) -> nst_jax.Vary:
    """Return the axis of arms that this machine's devices can run."""
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
