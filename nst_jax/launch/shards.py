"""Shards of a run for jobs that run independently, and the merge of their results.

python launch.py --config=… --shard=3/16 --workdir=parts/3        (a job array)
python launch.py --config=… --merge=parts/1,parts/2,… --workdir=whole
"""

import pathlib
import time
from collections.abc import Sequence

from absl import logging

from nst_jax.config.experiment import Experiment, Member
from nst_jax.core.errors import RequestError
from nst_jax.plan.build import Plan
from nst_jax.report import remove_page, write_safely
from nst_jax.workdir.import_members import import_members
from nst_jax.workdir.lock import check_contents
from nst_jax.workdir.manifest import difference, fixed_part, roundtrip
from nst_jax.workdir.schema import Manifest, read_manifest
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
    numbers = {entry.grid_key: entry.member for entry in manifest.members}
    runs = [_read_part(pathlib.Path(part), manifest) for part in parts]
    with writer.locked():
        writer.begin()
        remove_page(writer.workdir)  # It may have fewer members.
        member_steps, compile_s, run_s, total_s = 0, 0.0, 0.0, 0.0
        for part, run in zip(parts, runs, strict=True):
            members = [numbers[entry.grid_key] for entry in run.members]
            imported = import_members(writer, members, pathlib.Path(part), run)
            logging.info("%s: %d members", part, len(imported))
            if imported:
                costs = _add_costs(writer, run, members, {*imported})
                member_steps += costs[0]
                compile_s += costs[1]
                run_s += costs[2]
                total_s += costs[3]
                manifest.earlier_calls.append(run.call)
        missing = [i for i in numbers.values() if not writer.is_finished([i])]
        if not missing:
            writer.checkpoint_path.unlink(missing_ok=True)
        writer.end(
            "interrupted" if missing else manifest.final_status,
            member_steps,
            compile_s=compile_s,
            run_s=run_s,
            total_s=total_s + time.perf_counter() - began,
        )
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


def _add_costs(
    writer: RunWriter, run: Manifest, members: Sequence[int], imported: set[int]
) -> tuple[int, float, float, float]:
    """Add to each group the costs of imported members, a share of the part's costs.

    Returns:
      Steps of the members, and seconds of compiling, of optimising and in total.
    """
    entries = list(zip(run.members, members, strict=True))
    finished = {number for entry, number in entries if entry.is_finished}
    member_steps, compile_s, run_s = 0, 0.0, 0.0
    for group in run.groups:
        in_group = {number for entry, number in entries if entry.group == group.group}
        if not in_group & imported:
            continue
        fraction = len(in_group & imported) / max(len(in_group & finished), 1)
        number = writer.manifest.members[min(in_group)].group
        if writer.manifest.groups[number].batch_size is None:
            writer.set_batch_size(number, group.batch_size)
        costs = (
            round(fraction * group.member_steps),
            fraction * group.compile_s,
            fraction * group.run_s,
        )
        writer.add_costs(number, *costs)
        member_steps += costs[0]
        compile_s += costs[1]
        run_s += costs[2]
    fraction = len(imported) / max(len(finished), 1)
    return member_steps, compile_s, run_s, fraction * run.timings.total_s


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
    reason = difference(fixed_part(run.config), fixed_part(roundtrip(whole.config)))
    digests = {item.sha256 for item in whole.inputs}
    if not reason and not {item.sha256 for item in run.inputs} <= digests:
        reason = "its pictures or weights differ"
    keys = {entry.grid_key for entry in whole.members}
    if not reason and not {entry.grid_key for entry in run.members} <= keys:
        reason = "its members differ"
    if reason:
        raise RequestError(f"merge: {str(part)!r} holds another run: {reason}")
    return run
