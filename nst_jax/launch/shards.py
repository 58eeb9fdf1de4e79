"""Shards of a run for jobs that run independently, and the merge of their results.

python launch.py --config=… --shard=3/16 --workdir=parts/3        (a job array)
python launch.py --config=… --merge=parts/1,parts/2,… --workdir=whole
"""

import functools
import pathlib
import shutil
import time
from collections.abc import Sequence

from absl import logging

from nst_jax.config.experiment import Experiment, Member
from nst_jax.core.atomic import write_atomically
from nst_jax.core.errors import RequestError
from nst_jax.plan.build import Plan
from nst_jax.report import remove_page, write_safely
from nst_jax.workdir.checkpoint import STATE
from nst_jax.workdir.lock import check_contents
from nst_jax.workdir.manifest import difference, fixed_part, roundtrip
from nst_jax.workdir.metrics_log import MetricsLog, read_metrics
from nst_jax.workdir.schema import Manifest, Row, is_intact, read_manifest
from nst_jax.workdir.writer import RunWriter


def shard_members(shard: str, members: Sequence[Member]) -> list[int]:
    """Return the members of a shard such as "3/16", the third of 16.

    Members of a shard are adjacent, because neighbours often share a program. Shards
    differ in size by one member at most.

    Raises:
      RequestError: it is not a shard or has no members; or members run in subprocesses,
        or start from each other.
    """
    number, slash, count = shard.partition("/")
    is_valid = slash and all(x.isdecimal() and len(x) < 10 for x in (number, count))
    if not is_valid or not 1 <= int(number) <= int(count):
        raise RequestError(
            f"shard must be K/N with K from 1 to N, such as 3/16, got {shard!r}"
        )
    if any(member.experiment.ensemble.process == "subprocess" for member in members):
        raise RequestError(
            "shard cannot be combined with ensemble.process='subprocess', which starts "
            "more processes"
        )
    if any(member.experiment.canvas.kind == "previous" for member in members):
        raise RequestError(
            "shard cannot be combined with canvas.kind='previous': frames start from "
            "the frame before, so one process must compute them all"
        )
    first, last = (len(members) * (int(number) - i) // int(count) for i in (1, 0))
    if first == last:
        raise RequestError(
            f"shard {shard} has none of the {len(members)} members: take at most "
            f"{len(members)} shards"
        )
    return list(range(first, last))


def merge(
    plan: Plan,
    parts: Sequence[str | pathlib.Path],
    workdir: str | pathlib.Path,
    *,
    command: str = "",
) -> list[int]:
    """Merge run directories of one request, and write the report.

    Args:
      plan: the plan of the whole request.
      parts: run directories, each of some members, which stay as they are. Of a member
        in two of them, the first is taken.
      workdir: a new folder, or one with some of the members.
      command: the command of the merge, for run.json.

    Returns:
      The missing members; running the request in `workdir` computes them.

    Raises:
      RequestError: a part is not a run directory, or is of another request.
    """
    began = time.perf_counter()
    writer = RunWriter(workdir, plan, command)
    manifest = writer.manifest
    runs = [_read_part(pathlib.Path(part), manifest) for part in parts]
    with writer.locked():
        writer.begin()
        remove_page(writer.workdir)  # It may have fewer members.
        total_s = 0.0
        for part, run in zip(parts, runs, strict=True):
            imported = import_members(writer, pathlib.Path(part), run)
            logging.info("%s: %d members", part, len(imported))
            if imported:
                total_s += add_costs(writer, run, {*imported})
                manifest.earlier_calls.append(run.call)
        missing = [i for i in range(len(plan.members)) if not writer.is_finished([i])]
        status = "interrupted" if missing else manifest.final_status
        writer.end(status, total_s + time.perf_counter() - began)
        write_safely(writer.workdir)
    return missing


def has_other_steps(part: pathlib.Path, experiment: Experiment) -> bool:
    """Return whether a run directory differs from an experiment in steps only."""
    try:
        theirs = read_manifest(part).config
    except (OSError, ValueError):
        return False  # `merge` reports it.
    ours = roundtrip(experiment.resolved().to_dict())
    differs, differs_otherwise = (
        difference(fixed_part(theirs, any_steps), fixed_part(ours, any_steps))
        for any_steps in (False, True)
    )
    return bool(differs and not differs_otherwise)


def import_members(
    writer: RunWriter, source: pathlib.Path, manifest: Manifest
) -> list[int]:
    """Copy the finished members of another run directory into this one.

    Members that are finished here stay as they are. Only the current picture is copied
    of members that are not finished in the other run directory.

    Args:
      writer: the run directory to copy into.
      source: the other run directory.
      manifest: the content of its run.json.

    Returns:
      Numbers here of the finished members that were copied.
    """
    imported: dict[int, int] = {}
    metrics = MetricsLog(source / "metrics.jsonl")
    numbers = writer.manifest.numbers
    for entry in manifest.members:
        number = numbers[entry.grid_key]
        if writer.is_finished([number]):
            continue
        member_source = source / "members" / f"{entry.member:03d}"
        folder = writer.member_folder(number)
        intact = is_intact(entry, member_source, metrics.counts[entry.member])
        writer.workdir.stat()  # A deleted run directory is not created again.
        if intact:
            shutil.rmtree(folder, ignore_errors=True)
        for path in filter(pathlib.Path.is_file, member_source.rglob("[!.]*")):
            # A solver state is of a batch, whose members differ here.
            if path.name == "latest.png" or (intact and path.name != STATE):
                copy = functools.partial(shutil.copyfile, path)
                write_atomically(folder / path.relative_to(member_source), copy)
        if intact:
            result = writer.manifest.members[number].with_result_of(entry)
            writer.manifest.members[number] = result
            writer.write_json(folder / "member.json", result)
            imported[entry.member] = number
    writer.drop_metrics([*imported.values()])
    rows: list[Row] = [
        {**row, "member": imported[row["member"]]}
        for row in read_metrics(metrics.path)
        if row["member"] in imported
    ]
    writer.metrics.append(rows)
    writer.metrics.sync()
    writer.save()
    return [*imported.values()]


def add_costs(writer: RunWriter, run: Manifest, imported: set[int]) -> float:
    """Add to each group the costs of imported members, a share of the part's costs.

    Returns:
      Their share of the part's total seconds.
    """
    numbers = writer.manifest.numbers
    entries = [(entry, numbers[entry.grid_key]) for entry in run.members]
    finished = {number for entry, number in entries if entry.is_finished}
    for group in run.groups:
        in_group = {number for entry, number in entries if entry.group == group.group}
        if not in_group & imported:
            continue
        fraction = len(in_group & imported) / max(len(in_group & finished), 1)
        number = writer.manifest.members[min(in_group)].group
        if writer.manifest.groups[number].batch_size is None:
            writer.set_batch_size(number, group.batch_size)
        writer.add_costs(
            number,
            round(fraction * group.member_steps),
            fraction * group.compile_s,
            fraction * group.run_s,
        )
    return len(imported) / max(len(finished), 1) * run.timings.total_s


def _read_part(part: pathlib.Path, whole: Manifest) -> Manifest:
    """Return the run.json of a part.

    Raises:
      RequestError: it cannot be read, or is of another request than the whole.
    """
    check_contents(part)
    try:
        run = read_manifest(part)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(
            f"merge: {str(part)!r} holds no run that can be read ({reason})"
        ) from None
    reason = difference(fixed_part(run.config), fixed_part(whole.config))
    digests = {item.sha256 for item in whole.inputs}
    if not reason and not {item.sha256 for item in run.inputs} <= digests:
        reason = "its pictures or weights differ"
    keys = {entry.grid_key for entry in whole.members}
    if not reason and not {entry.grid_key for entry in run.members} <= keys:
        reason = "its members differ"
    if reason:
        raise RequestError(f"merge: {str(part)!r} holds another run: {reason}")
    return run
