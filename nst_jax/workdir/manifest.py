"""What run.json says of a plan before it runs, and whether two are of one request."""

import dataclasses
import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from typing import Any

import jax

from nst_jax.config.jsonable import to_jsonable
from nst_jax.core.paths import find_file
from nst_jax.plan.build import Plan

#: Whose versions a run says.
PACKAGES = ("jax", "jaxlib", "flax", "optax", "jaxopt", "numpy", "pillow")


def planned(plan: Plan, command: str) -> dict[str, Any]:
    """The run.json of a plan that nothing is computed of yet."""
    request = plan.experiment.resolved().to_dict()
    return {
        "status": "running",
        "command": command,
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
        "device": device(),
        "config": request,
        "numerics": request["numerics"],
        "inputs": [
            {
                **dataclasses.asdict(item),
                "picture": f"inputs/{i:03d}.png" if i in plan.pictures else None,
            }
            for i, item in enumerate(plan.inputs)
        ],
        "axes": [
            {
                "field": ", ".join(axis.paths),
                "name": axis.title,
                "labels": list(axis.texts),
            }
            for axis in plan.experiment.grid_axes
            if len(axis.values) > 1
        ],
        "members": planned_members(plan),
        "groups": [
            {
                "group": number,
                "count": len(group.members),
                "size": list(group.content.shape[:2]),
                "strategy": group.experiment.ensemble.strategy,
                "convolution": group.network.numerics.convolution,
                "batch_size": None,
                "compile_s": 0.0,
                "run_s": 0.0,
                "member_steps": 0,
            }
            for number, group in enumerate(plan.groups)
        ],
        "timings": dict.fromkeys(("compile_s", "run_s", "step_s", "total_s"), 0.0),
        "member_steps": 0,
        "earlier_calls": [],
        "warnings": [],
    }


def continued(earlier: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """The run.json of a call that goes on with an earlier one.

    This call's command, versions and device stand at the top; those of the calls before
    it, where one was interrupted, under "earlier_calls". Members whose number of steps
    changed are waiting again.
    """
    call = {name: earlier[name] for name in ("command", "versions", "device")}
    kept = "groups", "timings", "member_steps"
    pairs = zip(earlier["members"], ours["members"], strict=True)
    return {
        **ours,
        **{name: earlier[name] for name in kept},
        "members": [
            new | (old if earlier_steps(old, new) == new["steps"] else {})
            for old, new in pairs
        ],
        "earlier_calls": [*earlier["earlier_calls"], call],
    }


def config_mismatch(earlier: dict[str, Any], ours: dict[str, Any]) -> str:
    """What a folder holds if not a call of this request, in words; "" if it does."""
    theirs, here = (list(map(place, run["members"])) for run in (earlier, ours))
    recorded = all("steps" in member for member in earlier["members"])
    configs = earlier["config"], roundtrip(ours["config"])
    theirs_fixed, ours_fixed = (fixed_part(config, recorded) for config in configs)
    changed = difference(theirs_fixed, ours_fixed)
    if not changed and theirs != here:  # Other members have other pictures.
        return "other members of this request"
    changed = changed or _other_file(earlier["inputs"], ours["inputs"])
    changed = changed or difference(
        earlier["inputs"], roundtrip(ours["inputs"]), "inputs"
    )
    return changed and f"another run: {changed}"


def _other_file(
    earlier: Sequence[dict[str, Any]], ours: Sequence[dict[str, Any]]
) -> str:
    """The first input of the same path that holds something else, in words."""
    for i, (old, new) in enumerate(zip(earlier, ours, strict=False)):
        same = all(old[name] == new[name] for name in ("role", "path"))
        if same and old["sha256"] != new["sha256"]:
            where = os.path.abspath(find_file(new["role"], new["path"]))
            return (
                f"{new['role']} {new['path']!r} is another file now, {where!r} "
                f"(inputs.{i}.sha256 differs)"
            )
    return ""


def fixed_part(config: dict[str, Any], any_steps: bool = False) -> dict[str, Any]:
    """What of a config decides which run it is.

    Args:
      any_steps: whether runs of other numbers of steps are the same one.
    """
    # What changes no result: the limit has been kept by all that was read.
    dropped = {"output", "max_pixels"} | ({"steps"} if any_steps else set())
    fixed = {name: value for name, value in config.items() if name not in dropped}
    if any_steps and isinstance(ladder := config.get("ladder"), dict):
        fixed["ladder"] = {k: v for k, v in ladder.items() if k != "steps"}
    return fixed


def earlier_steps(old: dict[str, Any], new: dict[str, Any]) -> list[int]:
    """Steps of an earlier member's stages; as now where they were not recorded."""
    return old.get("steps", new["steps"])


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
            "varies": to_jsonable(member.varies),
            "group": group_of[i],
            "content": scene_of[i].content_input,
            "styles": list(scene_of[i].style_inputs),
            "layers": list(objective_of[i].layers),
            "steps": [stage.steps for stage in member.experiment.stages()],
            "status": "waiting",
        }
        for i, member in enumerate(plan.members)
    ]


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
