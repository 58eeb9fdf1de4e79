"""Manifests of runs that never ran, for tests of studies."""

import itertools

from nst_jax.workdir.schema import (
    AxisEntry,
    GroupEntry,
    Manifest,
    MemberEntry,
    Timings,
)


def make_manifest(*axes, groups=(), **config) -> Manifest:
    """Return the manifest of a finished run over a grid.

    Args:
      axes: (config path, name, labels) of each axis, outermost first.
      groups: groups of members; all members are in the first one.
      config: sections of the config.
    """
    grid = itertools.product(*(range(len(labels)) for _, _, labels in axes))
    return Manifest(
        status="done",
        command="launch.py",
        versions={},
        device={"platform": "cpu"},
        config={"terms": [], "output": {}, **config},
        numerics={},
        inputs=[],
        axes=[AxisEntry(field, name, list(labels)) for field, name, labels in axes],
        members=[
            MemberEntry(
                member=number,
                seed=0,
                index=list(index),
                label="",
                varies={},
                group=0,
                content=0,
                styles=[],
                layers=[],
                steps=[0],
                status="done",
            )
            for number, index in enumerate(grid)
        ],
        groups=list(groups),
        timings=Timings(),
        member_steps=0,
        earlier_calls=[],
    )


def make_group(**fields) -> GroupEntry:
    """Return a group of one member of 16 × 16 pixels, with some fields changed."""
    defaults = {"group": 0, "count": 1, "size": [16, 16]}
    program = {"strategy": "vmap", "convolution": "direct"}
    return GroupEntry(**{**defaults, **program, **fields})
