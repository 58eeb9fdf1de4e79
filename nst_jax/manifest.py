"""What run.json says of a plan before it runs, and how two of them differ."""

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax

from nst_jax.build import Plan
from nst_jax.plain import plain


def planned_members(plan: Plan) -> list[dict[str, Any]]:
    group_of = {m: g for g, group in enumerate(plan.groups) for m in group.numbers}
    scene_of, objective_of = (
        {
            number: one
            for group in plan.groups
            for number, one in zip(group.numbers, getattr(group, name), strict=True)
        }
        for name in ("scenes", "objectives")
    )
    return [
        {
            "member": i,
            "seed": member.seed,
            "index": list(member.index),
            "label": member.label,
            "varies": plain(member.varies),
            "group": group_of[i],
            "content": scene_of[i].content_input,
            "styles": list(scene_of[i].style_inputs),
            "layers": list(objective_of[i].layers),
            "status": "waiting",
        }
        for i, member in enumerate(plan.members)
    ]


def read_manifest(workdir: pathlib.Path) -> dict[str, Any]:
    """What a run directory's run.json holds.

    Raises:
      OSError: there is none, or it cannot be read.
      ValueError: it is not as this program writes it.
    """
    manifest = json.loads((workdir / "run.json").read_text())
    kinds = {
        **{"status": str, "config": dict, "inputs": list, "members": list},
        **{"timings": dict, "member_steps": int, "earlier_calls": list},
        **{"command": str, "versions": dict, "device": dict, "groups": list},
    }
    for name, kind in kinds.items():
        if not (isinstance(manifest, dict) and isinstance(manifest.get(name), kind)):
            raise ValueError(f"{name} is not as this program writes it")
    return manifest


def place(member: dict[str, Any]) -> tuple:
    """What a member is known by in every part of a run: its place in the grid."""
    return *member["index"], member["seed"]


def device() -> dict[str, Any]:
    first, *_ = own = jax.local_devices()
    return {
        "platform": first.platform,
        "kind": first.device_kind,
        "count": len(own),
        "cpu_count": os.cpu_count(),
    }


def roundtrip(value: Any) -> Any:
    return json.loads(json.dumps(value))


def difference(old: Any, new: Any, name: str = "") -> str:
    """The first field in which two plain trees differ, in words; "" if none."""
    if isinstance(old, dict) and isinstance(new, dict):
        pairs: Sequence = [(k, old.get(k), new.get(k)) for k in {**old, **new}]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = [(str(i), a, b) for i, (a, b) in enumerate(zip(old, new, strict=True))]
    else:
        return "" if old == new else f"{name} is {old!r} there and {new!r} here"
    return next(
        filter(None, (difference(a, b, f"{name}.{k}".strip(".")) for k, a, b in pairs)),
        "",
    )
