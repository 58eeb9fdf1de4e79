"""Shares of a run's members, for jobs that know nothing of each other, and their sum.

python launch.py --config=… --shard=3/16 --workdir=parts/3        (an array of jobs)
python launch.py --config=… --merge=parts/1,parts/2,… --workdir=whole
"""

import pathlib
import time
from collections.abc import Sequence
from typing import Any

from absl import logging

from nst_jax.config.experiment import Experiment, Member
from nst_jax.core.errors import RequestError
from nst_jax.launch.runner import write_safely
from nst_jax.plan.build import Plan
from nst_jax.report import remove_page
from nst_jax.workdir.adoption import adopt
from nst_jax.workdir.lock import check_contents
from nst_jax.workdir.manifest import difference, fixed_part, place, roundtrip
from nst_jax.workdir.schema import FINISHED, read_manifest
from nst_jax.workdir.writer import Records


def share(asked: str, members: Sequence[Member]) -> list[int]:
    """The numbers of those members that a share such as "3/16", the third of 16, has.

    They lie next to each other, for neighbours are often of one program, and no share
    has more than one member more than another.

    Raises:
      RequestError: it is no such share, or has no member, or members are to be
        computed in processes of their own, or start from each other.
    """
    number, slash, shares = asked.partition("/")
    whole = slash and all(x.isdecimal() and len(x) < 10 for x in (number, shares))
    if not whole or not 1 <= int(number) <= int(shares):
        raise RequestError(
            f"shard must be K/N with K from 1 to N, such as 3/16, got {asked!r}"
        )
    if any(member.experiment.ensemble.process == "subprocess" for member in members):
        raise RequestError(
            "shard: a shard is one process, and ensemble.process='subprocess' starts "
            "more of them; leave one of them out"
        )
    if any(member.experiment.canvas.kind == "previous" for member in members):
        raise RequestError(
            "shard: frames that start from the one before are of one process, and "
            "canvas.kind is 'previous'; leave one of them out"
        )
    count = len(members)
    first, last = (count * (int(number) - i) // int(shares) for i in (1, 0))
    if first == last:
        raise RequestError(
            f"shard is {asked}, and has none of the {count} members: take {count} "
            "shares at most"
        )
    return list(range(first, last))


def merge(
    plan: Plan,
    parts: Sequence[str | pathlib.Path],
    workdir: str | pathlib.Path,
    *,
    command: str = "",
) -> list[int]:
    """Joins run directories of one request into one, and writes its report.

    Args:
      plan: of the whole request.
      parts: run directories, each of some of its members. They stay as they are; where
        two have the same member, the first one's is taken.
      workdir: a new folder, or one that holds some of the members already.
      command: how this was asked for, for the record.

    Returns:
      The members that are in none of them; running the request in `workdir` computes
      these.

    Raises:
      RequestError: a part is no run directory, or one of another request.
    """
    began = time.perf_counter()
    records = Records(workdir, plan, command)
    numbers = {place(entry): entry["member"] for entry in records.manifest["members"]}
    runs = [_manifest(pathlib.Path(part)) for part in parts]
    for part, run in zip(parts, runs, strict=True):
        _check_of_one_request(part, run, records.manifest, numbers)
    with records.held():
        records.begin()
        remove_page(records.workdir)  # One of fewer members.
        steps, spent = 0, dict.fromkeys(("compile_s", "run_s", "total_s"), 0.0)
        for part, run in zip(parts, runs, strict=True):
            members = [numbers[place(entry)] for entry in run["members"]]
            adopted = adopt(records, members, pathlib.Path(part), run)
            logging.info("%s: %d members", part, len(adopted))
            if not adopted:
                continue
            own_steps, *seconds = _add_costs(records, run, members, {*adopted})
            steps += own_steps
            for name, own in zip(spent, seconds, strict=True):
                spent[name] += own
            call = {name: run[name] for name in ("command", "versions", "device")}
            records.manifest["earlier_calls"].append(call)
        missing = [i for i in numbers.values() if not records.finished([i])]
        if not missing:
            records.checkpoint_path.unlink(missing_ok=True)
        spent["total_s"] += time.perf_counter() - began
        status = "interrupted" if missing else records.outcome()
        records.end(status, steps, **spent)
        write_safely(records.workdir)
    return missing


def has_other_steps(part: pathlib.Path, experiment: Experiment) -> bool:
    """Whether a run directory is of this experiment with other numbers of steps."""
    try:
        theirs = read_manifest(part)["config"]
    except (OSError, ValueError):
        return False  # `merge` says what is wrong with it.
    ours = roundtrip(experiment.resolved().to_dict())
    differs, differs_otherwise = (
        difference(fixed_part(theirs, any_steps), fixed_part(ours, any_steps))
        for any_steps in (False, True)
    )
    return bool(differs and not differs_otherwise)


def _add_costs(
    records: Records, run: dict[str, Any], members: Sequence[int], adopted: set[int]
) -> tuple[int, float, float, float]:
    """Adds to groups what a part's adopted members took, of what its finished ones did.

    Returns:
      Their steps, and their seconds of compiling, of optimising and in all.
    """
    entries = list(zip(run["members"], members, strict=True))
    done = {number for entry, number in entries if entry["status"] in FINISHED}
    steps, compile_s, run_s = 0, 0.0, 0.0
    for group in run["groups"]:
        own = {number for entry, number in entries if entry["group"] == group["group"]}
        if not own & adopted:
            continue
        share = len(own & adopted) / max(len(own & done), 1)
        costs = {
            "compile_s": share * group["compile_s"],
            "run_s": share * group["run_s"],
            "member_steps": round(share * group["member_steps"]),
        }
        number = records.manifest["members"][min(own)]["group"]
        if records.batch_size(number) is None:
            records.set_batch_size(number, group["batch_size"])
        records.add_group(number, **costs)
        steps += costs["member_steps"]
        compile_s += costs["compile_s"]
        run_s += costs["run_s"]
    share = len(adopted) / max(len(done), 1)
    return steps, compile_s, run_s, share * run["timings"]["total_s"]


def _manifest(part: pathlib.Path) -> dict[str, Any]:
    check_contents(part)
    try:
        return read_manifest(part)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(
            f"merge: {str(part)!r} holds no run that can be read ({reason})"
        ) from None


def _check_of_one_request(
    part: str | pathlib.Path,
    run: dict[str, Any],
    whole: dict[str, Any],
    numbers: dict[tuple, int],
) -> None:
    """Raises RequestError unless a part is of the request that the whole is of."""
    theirs, ours = fixed_part(run["config"]), fixed_part(roundtrip(whole["config"]))
    changed = difference(theirs, ours)
    digests = {item["sha256"] for item in whole["inputs"]}
    if not changed and not {item["sha256"] for item in run["inputs"]} <= digests:
        changed = "its pictures or weights are others"
    if not changed and not {place(entry) for entry in run["members"]} <= {*numbers}:
        changed = "its members are others"
    if changed:
        raise RequestError(f"merge: {str(part)!r} holds another run: {changed}")
