"""run.json: of a plan before it runs, warnings, and a comparison with another run."""

import functools
import importlib.metadata
import os
import pathlib
import platform
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import msgspec

from nst_jax.config.jsonable import to_jsonable
from nst_jax.core.errors import RequestError
from nst_jax.core.paths import find_file
from nst_jax.ensemble.diagnosis import Outcome, Request, Trace, diagnose
from nst_jax.ensemble.outcome import clipped_share
from nst_jax.plan.build import Plan
from nst_jax.workdir.schema import (
    AxisEntry,
    GroupEntry,
    InputEntry,
    Manifest,
    MemberEntry,
    Row,
    Timings,
    WarningEntry,
    decode,
    encode,
    read_manifest,
)

#: Packages whose versions run.json records.
PACKAGES = ("jax", "jaxlib", "flax", "optax", "jaxopt", "numpy", "pillow")


def new_manifest(plan: Plan, command: str) -> Manifest:
    """Return the run.json of a plan before anything is computed."""
    config = roundtrip(plan.experiment.resolved().to_dict())
    return Manifest(
        status="running",
        command=command,
        versions={"python": platform.python_version(), **_package_versions()},
        device=_describe_device(),
        config=config,
        numerics=config["numerics"],
        inputs=[
            InputEntry(
                item.role,
                item.path,
                item.sha256,
                item.size and list(item.size),
                f"inputs/{i:03d}.png" if i in plan.pictures else None,
            )
            for i, item in enumerate(plan.inputs)
        ],
        axes=[
            AxisEntry(", ".join(axis.paths), axis.title, list(axis.texts))
            for axis in plan.experiment.grid_axes
            if len(axis.values) > 1
        ],
        members=_new_members(plan),
        groups=[
            GroupEntry(
                number,
                len(group.members),
                list(group.content.shape[:2]),
                group.experiment.ensemble.strategy,
                group.network.numerics.convolution,
            )
            for number, group in enumerate(plan.groups)
        ],
        timings=Timings(),
        member_steps=0,
        earlier_calls=[],
    )


def _new_members(plan: Plan) -> list[MemberEntry]:
    entries = {
        number: MemberEntry(
            member=number,
            seed=member.seed,
            index=list(member.index),
            label=member.label,
            varies=to_jsonable(member.varies),
            group=group_number,
            content=scene.content_input,
            styles=list(scene.style_inputs),
            layers=list(objective.layers),
            steps=[stage.steps for stage in plan.members[number].experiment.stages()],
            status="waiting",
        )
        for group_number, group in enumerate(plan.groups)
        for number, member, scene, objective in zip(
            group.numbers, group.members, group.scenes, group.objectives, strict=True
        )
    }
    return [entries[number] for number in sorted(entries)]


@functools.cache
def _package_versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def _describe_device() -> dict[str, Any]:
    devices = jax.local_devices()
    return {
        "platform": devices[0].platform,
        "kind": devices[0].device_kind,
        "count": len(devices),
        "cpu_count": os.cpu_count(),
    }


def resumed_manifest(previous: Manifest, manifest: Manifest) -> Manifest:
    """Return the run.json of a call that resumes a previous one.

    The command, versions and device of the previous call move to `earlier_calls`.
    Members whose number of steps has changed are waiting again.
    """
    return msgspec.structs.replace(
        manifest,
        groups=previous.groups,
        timings=previous.timings,
        member_steps=previous.member_steps,
        members=[
            old if old.steps == new.steps else new
            for old, new in zip(previous.members, manifest.members, strict=True)
        ],
        earlier_calls=[*previous.earlier_calls, previous.call],
    )


def read_previous(workdir: pathlib.Path, manifest: Manifest) -> Manifest:
    """Return the run.json of an earlier call of the same request.

    Raises:
      RequestError: it cannot be read, or is of another request.
    """
    folder = f"workdir {str(workdir)!r} holds"
    try:
        previous = read_manifest(workdir)
    except (OSError, ValueError) as error:
        raise RequestError(
            f"{folder} a run.json that cannot be read ({error}); give this run a new "
            "--workdir"
        ) from None
    if reason := _mismatch(previous, manifest):
        raise RequestError(f"{folder} {reason}; give this run a new --workdir")
    if len(previous.groups) != len(manifest.groups):
        raise RequestError(
            f"{folder} a run.json with {len(previous.groups)} groups, wanted "
            f"{len(manifest.groups)}; give this run a new --workdir"
        )
    return previous


def _mismatch(previous: Manifest, manifest: Manifest) -> str:
    """Describe a request in a folder that differs from this one; "" if none does."""
    old = fixed_part(previous.config, any_steps=True)
    reason = difference(old, fixed_part(manifest.config, any_steps=True))
    # Other members have other pictures, so members are compared before inputs.
    if not reason and [entry.grid_key for entry in previous.members] != [
        entry.grid_key for entry in manifest.members
    ]:
        return "other members of this request"
    reason = (
        reason
        or _changed_file(previous.inputs, manifest.inputs)
        or difference(
            roundtrip(previous.inputs), roundtrip(manifest.inputs), name="inputs"
        )
    )
    return reason and f"another run: {reason}"


def _changed_file(previous: Sequence[InputEntry], inputs: Sequence[InputEntry]) -> str:
    """Describe the first file that has changed under its path; "" if none has."""
    for i, (old, new) in enumerate(zip(previous, inputs, strict=False)):
        same_path = (old.role, old.path) == (new.role, new.path)
        if same_path and old.sha256 != new.sha256:
            path = os.path.abspath(find_file(new.role, new.path))
            return (
                f"{new.role} {new.path!r} is another file now, {path!r} "
                f"(inputs.{i}.sha256 differs)"
            )
    return ""


def fixed_part(config: dict[str, Any], any_steps: bool = False) -> dict[str, Any]:
    """Return the fields of a config that decide the results of a run.

    Args:
      any_steps: whether numbers of steps are left out.
    """
    dropped = {"output", "max_pixels"} | ({"steps"} if any_steps else set())
    fixed = {name: value for name, value in config.items() if name not in dropped}
    if any_steps and isinstance(ladder := config.get("ladder"), dict):
        fixed["ladder"] = {k: v for k, v in ladder.items() if k != "steps"}
    return fixed


def roundtrip(value: Any) -> Any:
    """Return a value as it is after being written to a JSON file and read."""
    return decode(encode(value))


def difference(old: Any, new: Any, name: str = "") -> str:
    """Describe the first field in which two JSON values differ; "" if none does."""
    if isinstance(old, dict) and isinstance(new, dict):
        pairs: Sequence = [(k, old.get(k), new.get(k)) for k in {**old, **new}]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = [(str(i), a, b) for i, (a, b) in enumerate(zip(old, new, strict=True))]
    else:
        values = f"{name} is {old!r} in it and {new!r} in this request"
        return "" if old == new else values
    reasons = (difference(a, b, f"{name}.{key}".strip(".")) for key, a, b in pairs)
    return next(filter(None, reasons), "")


def run_warnings(
    plan: Plan, entries: Sequence[MemberEntry] = (), rows: Iterable[Row] = ()
) -> list[WarningEntry]:
    """Return warnings about the request, and about its finished members.

    Args:
      plan: the plan of the run.
      entries: all members, as in run.json; none before the run.
      rows: of metrics.jsonl, in the order of each member's steps.
    """
    objectives = {
        number: objective
        for group in plan.groups
        for number, objective in zip(group.numbers, group.objectives, strict=True)
    }
    requests = (
        (
            number,
            Request(
                member.experiment.solver_record(),
                objectives[number],
                member.experiment.parametrisation == "pixels",
            ),
        )
        for number, member in enumerate(plan.members)
    )
    traces = _traces(rows)
    clipped = {i: clipped_share(picture) for i, picture in plan.pictures.items()}
    outcomes = (
        (
            entry.member,
            Outcome(
                plan.members[entry.member].experiment.solver_record(),
                objectives[entry.member],
                plan.members[entry.member].experiment.solver.tolerance,
                traces[entry.member],
                entry.status == "diverged",
                tuple(entry.faulty_terms or ()),
                entry.overflowed or 0.0,
                entry.clipped or 0.0,
                max(clipped.get(i, 0.0) for i in (entry.content, *entry.styles)),
                entry.rollbacks,
                entry.failed_line_searches,
            ),
        )
        for entry in entries
        if entry.is_finished and entry.member in traces
    )
    labels = [member.label for member in plan.members]
    return [
        WarningEntry(warning.kind, list(warning.members), warning.text(labels))
        for warning in (*diagnose(requests), *diagnose(outcomes))
    ]


def _traces(rows: Iterable[Row]) -> dict[int, tuple[Trace, ...]]:
    """Return a trace of each stage of each member that has rows."""
    stages: dict[int, dict[int, list[Row]]] = {}
    for row in rows:
        member = stages.setdefault(row["member"], {})
        member.setdefault(row["stage"], []).append(row)
    return {
        member: tuple(map(Trace.from_rows, by_stage.values()))
        for member, by_stage in stages.items()
    }
