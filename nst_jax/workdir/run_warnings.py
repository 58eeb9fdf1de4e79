"""Warnings in run.json: requests with a foreseeable fault, and faults of results."""

import math
from collections.abc import Iterable, Sequence

from nst_jax.ensemble.diagnosis import Request, diagnose
from nst_jax.ensemble.outcome import Outcome, Trace, clipped_share
from nst_jax.plan.build import Plan
from nst_jax.workdir.schema import UNSET, MemberEntry, Row, WarningEntry


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
                () if entry.faulty_terms is UNSET else tuple(entry.faulty_terms),
                0.0 if entry.overflowed is UNSET else entry.overflowed,
                0.0 if entry.clipped is UNSET else entry.clipped,
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
        member: tuple(map(_trace, by_stage.values()))
        for member, by_stage in stages.items()
    }


def _trace(rows: Sequence[Row]) -> Trace:
    first, last = rows[0], rows[-1]
    return Trace(
        (_number(first["loss"]), _number(last["loss"])),
        (_number(first["grad_norm"]), _number(last["grad_norm"])),
        max(0.0, *(row["step_length"] or 0.0 for row in rows)),
        last["step"] - first["step"],
    )


def _number(value: float | None) -> float:
    """Return NaN for null, which is how JSON holds it."""
    return math.nan if value is None else value
