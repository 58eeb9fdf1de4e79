"""Warnings about optimisations whose results may not be usable.

A warning gives a measurement, its likely cause and a remedy. `diagnose` takes numbers
alone, so that a run directory and a call from Python lead to the same warnings.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nst_jax.losses import Objective
from nst_jax.optim.solvers import Adam, Solver

#: Relative change of a loss that rounding explains.
ROUNDING = 1e-5
#: Euclidean length of a step that is invisible, also in an 8-bit file.
INVISIBLE = 1e-6
#: Share of values at the bounds of the range from which an image counts as clipped,
#: if it is also more than twice the share in the input images.
_CLIPPED = 0.5
#: Weights and losses above which a float32 overflow (3.4e38) is the likely cause.
_HUGE_WEIGHT, _HUGE_LOSS = 1e10, 1e30
#: (kind, fault, advice) as in `RunWarning`.
_Fault = tuple[str, str, str]


class RunWarning(NamedTuple):
    """One kind of fault, and the members that have it.

    Attributes:
      kind: an identifier that scripts may compare, such as "loss_rose".
      members: their numbers.
      fault: the fault, as a predicate of the members.
      advice: the likely cause and a remedy.
    """

    kind: str
    members: tuple[int, ...]
    fault: str
    advice: str

    def text(self, labels: Sequence[str]) -> str:
        """Return the whole warning, with the labels of the first members.

        Args:
          labels: of all members of the run.
        """
        named = "; ".join(labels[i] for i in self.members[:4])
        more = "; …" if len(self.members) > 4 else ""
        count = f"{len(self.members)} of {len(labels)} members"
        return f"{count} {self.fault}: {named}{more}. {self.advice}"


class Trace(NamedTuple):
    """The numbers of a member in one stage; NaN stands for all non-finite values.

    Attributes:
      losses: at the start and at the end.
      gradients: norms of the gradient at the start and at the end.
      longest_step: of the recorded steps, in [0, 1] image units.
      steps: number of requested steps.
    """

    losses: tuple[float, float]
    gradients: tuple[float, float]
    longest_step: float
    steps: int

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]]) -> "Trace":
        """Return the trace of a member's rows of metrics in one stage, in order."""
        first, last = (
            [math.nan if row[k] is None else row[k] for k in ("loss", "grad_norm")]
            for row in (rows[0], rows[-1])
        )
        return cls(
            losses=(first[0], last[0]),
            gradients=(first[1], last[1]),
            longest_step=max(0.0, *(row["step_length"] or 0.0 for row in rows)),
            steps=rows[-1]["step"] - rows[0]["step"],
        )

    @property
    def has_no_gradient(self) -> bool:
        """True if the start has no finite gradient, so that no step was made."""
        return not (math.isfinite(self.gradients[0]) or self.longest_step)

    @property
    def is_standstill(self) -> bool:
        """True if no step changed the image.

        Recorded steps do not suffice: only the last ones of a converged run may be
        recorded. The loss of such a run has changed since the start.
        """
        is_short = self.steps > 0 and self.longest_step < INVISIBLE
        return is_short and math.isclose(*self.losses, rel_tol=ROUNDING)


class Outcome(NamedTuple):
    """The end of a member's optimisation.

    Attributes:
      solver, objective, tolerance: as requested.
      stages: coarse to fine.
      diverged: whether the result is not usable.
      faulty_terms: names of the terms without a finite loss or gradient at the end.
      overflowed: share of values whose solver state is not finite.
      clipped: share of the result's values that are not strictly between 0 and 1.
      clipped_before: the largest such share among the input images.
      rollbacks: number of returns to the best iterate after NaN.
      failed_searches: number of line searches that found no step.
    """

    solver: Solver
    objective: Objective
    tolerance: float
    stages: tuple[Trace, ...]
    diverged: bool
    faulty_terms: tuple[str, ...]
    overflowed: float
    clipped: float
    clipped_before: float
    rollbacks: int
    failed_searches: int


class Request(NamedTuple):
    """The request of a member, whose faults are known before it runs.

    Attributes:
      solver, objective: as requested.
      pixels: whether pixels are the optimised variable.
    """

    solver: Solver
    objective: Objective
    pixels: bool


def diagnose(members: Iterable[tuple[int, Request | Outcome]]) -> list[RunWarning]:
    """Return warnings about requests and finished members, one a kind.

    The figures and fields in a warning are those of its first member.

    Args:
      members: (number, request or outcome).
    """
    first: dict[str, _Fault] = {}
    numbers: dict[str, list[int]] = {}
    for number, member in members:
        if isinstance(member, Request):
            faults = _request_faults(member)
        else:
            faults = _outcome_faults(member)
        for fault in faults:
            first.setdefault(fault[0], fault)
            numbers.setdefault(fault[0], []).append(number)
    return [
        RunWarning(kind, tuple(numbers[kind]), fault, advice)
        for kind, fault, advice in first.values()
    ]


def _request_faults(request: Request) -> Iterator[_Fault]:
    solver, objective, pixels = request
    if _is_zero(objective):
        names = ", ".join(f"terms.{name}.weight" for name in objective.names)
        yield (
            "zero_weights",
            "have a loss of 0 everywhere, so that nothing is optimised",
            f"No term has an effect: raise a weight ({names})",
        )
    else:
        for name, term in zip(objective.names, objective.terms, strict=True):
            for field in _zero_fields(term):
                yield (
                    f"zero_{field}",
                    "have a term without effect",
                    f"All entries of terms.{name}.{field} are 0: raise one, or remove "
                    "the field",
                )
    if isinstance(solver, Adam) and pixels and solver.learning_rate >= 1:
        yield (
            "learning_rate",
            "have a learning rate at which one step crosses the range of a pixel",
            _shorter_steps(solver),
        )


def _zero_fields(term: object) -> list[str]:
    """Return the names of a term's fields that are lists of zeros."""
    fields = "blend", "layer_weights"
    values = {field: np.asarray(getattr(term, field, ())) for field in fields}
    return [field for field, value in values.items() if value.size and not value.any()]


def _is_zero(objective: Objective) -> bool:
    return not any(
        np.any(term.weight) and not _zero_fields(term) for term in objective.terms
    )


def _outcome_faults(outcome: Outcome) -> Iterator[_Fault]:
    *coarse, last = outcome.stages
    shorter = _shorter_steps(outcome.solver)
    if outcome.diverged:
        if last.has_no_gradient:
            yield "nan_at_start", "diverged at the start", _gradient_advice(outcome)
        else:
            yield "diverged", "diverged, as no step led to finite values", shorter
        return
    for number, stage in enumerate(coarse):
        if stage.has_no_gradient and stage.steps:
            fault = f"made no step in stage {number} of the ladder"
            yield "nan_in_stage", fault, _gradient_advice(outcome)
            break
    if outcome.rollbacks:
        fault = "came to NaN and continued from their best iterate with shorter steps"
        yield "rollbacks", fault, shorter
    searches_fail = 2 * outcome.failed_searches > sum(s.steps for s in outcome.stages)
    if searches_fail:
        fault = "found no step in most of their line searches"
        advice = "The loss may not be smooth: try solver.name='adam', or "
        yield "line_searches", fault, advice + _decapitalised(shorter)
    if outcome.overflowed:
        yield (
            "overflow",
            f"have {outcome.overflowed:.0%} of their values in a non-finite "
            "solver state",
            "Numbers of the solver, such as Adam's squared gradients, exceed float32 "
            f"(3.4e38): {_smaller_weights(outcome.objective)}",
        )
    elif last.is_standstill and not searches_fail:
        yield from _standstill_faults(outcome, last.gradients[0])
    for (before, after), *_ in reversed(outcome.stages):
        if after > before + ROUNDING * abs(before):
            fault = f"ended with a loss above that at the start ({before:.4g}"
            yield "loss_rose", f"{fault} → {after:.4g})", _rise_advice(outcome)
            break
    if outcome.clipped > max(_CLIPPED, 2 * outcome.clipped_before):
        yield (
            "clipped",
            f"have {outcome.clipped:.0%} of their values at or beyond 0 or 1, against "
            f"{outcome.clipped_before:.0%} in the input images",
            shorter,
        )


def _standstill_faults(outcome: Outcome, gradient: float) -> Iterator[_Fault]:
    if gradient == 0 and not _is_zero(outcome.objective):
        yield (
            "zero_gradient",
            "did not move, as their gradient is 0 at the start",
            "The start may already satisfy all terms: choose another canvas.kind or "
            "add terms",
        )
    elif gradient > outcome.tolerance:
        _, largest = _largest_weight(outcome.objective)
        step_size = _assignments(outcome.solver, "learning_rate", "first_step")
        yield (
            "steps_too_short",
            f"made no step longer than {INVISIBLE:g}, at a gradient norm of "
            f"{gradient:.2g}",
            f"Raise the weights, the largest of which is {largest}, or {step_size}",
        )


def _gradient_advice(outcome: Outcome) -> str:
    names = ", ".join(map(repr, outcome.faulty_terms))
    of_terms = f" of term {names}" if names else ""
    fault = f"The loss or gradient{of_terms} is not finite there: "
    weight, _ = _largest_weight(outcome.objective)
    losses = (abs(stage.losses[0]) for stage in outcome.stages)
    if weight > _HUGE_WEIGHT or any(loss > _HUGE_LOSS for loss in losses):
        return fault + _smaller_weights(outcome.objective)
    return fault + (
        "the usual cause is a root, a logarithm or a division at 0. Add a small "
        "constant inside it, or start elsewhere, such as with canvas.kind='noise'"
    )


def _rise_advice(outcome: Outcome) -> str:
    shorter = _shorter_steps(outcome.solver)
    names = [term.name for term in outcome.objective.terms if term.is_stochastic]
    if not names:
        return shorter
    return (
        f"The loss of {', '.join(names)} is stochastic, so compare means over several "
        f"steps; else {_decapitalised(shorter)}"
    )


def _shorter_steps(solver: Solver) -> str:
    """Return advice to shorten the steps, with the field to change."""
    rate = getattr(solver, "learning_rate", 0.0)
    if isinstance(solver, Adam) and rate >= 0.2:
        return (
            f"Lower solver.learning_rate={rate:g}: rates are for values in [0, 1]. "
            f"Divide the rate of a tool for 0 to 255 by 255: {rate / 255:.3g}"
        )
    return f"Lower {_assignments(solver, 'learning_rate', 'max_step', 'first_step')}"


def _assignments(solver: Solver, *names: str) -> str:
    """Return the fields that a solver has, with their values."""
    values = [(name, getattr(solver, name, None)) for name in names]
    present = [
        f"solver.{name}={value:g}" for name, value in values if value is not None
    ]
    return " or ".join(present) or "the solver's steps"


def _smaller_weights(objective: Objective) -> str:
    _, largest = _largest_weight(objective)
    return f"divide all weights by one number; the largest is {largest}"


def _largest_weight(objective: Objective) -> tuple[float, str]:
    """Return the largest weight of a term, and its field with the value."""
    weights = [
        (float(np.max(t.weight)), name)
        for name, t in zip(objective.names, objective.terms, strict=True)
    ]
    weight, name = max(weights, key=lambda entry: entry[0])
    return weight, f"terms.{name}.weight={weight:g}"


def _decapitalised(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
