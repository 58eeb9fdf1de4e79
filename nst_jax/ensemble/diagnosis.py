"""Warnings about optimisations whose results are not what they seem.

Each says what was measured, the likely cause and what to try. `diagnose` takes numbers
alone, so a run directory and a call from Python are judged alike.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.ensemble.memory import out_of_memory
from nst_jax.losses import Objective
from nst_jax.optim.problem import Problem
from nst_jax.optim.solvers import Adam, Solver

#: Relative change of a loss that is put down to rounding.
_ROUNDING = 1e-5
#: Share of values at the bounds of the range from which a picture counts as clipped,
#: if it is also more than twice the share in the pictures before.
_CLIPPED = 0.5
#: Euclidean length of a picture's change that nobody sees, nor an 8-bit file.
_UNSEEN = 1e-6
#: Weights and losses from which float32 (3.4e38) is the likely cause of an overflow.
_HUGE_WEIGHT, _HUGE_LOSS = 1e10, 1e30


class RunWarning(NamedTuple):
    """One kind of fault, and the members that have it.

    Attributes:
      kind: an identifier that scripts may compare, such as "loss_rose".
      members: their numbers.
      fault: what happened, as a predicate of the members.
      advice: the likely cause, and what to try.
    """

    kind: str
    members: tuple[int, ...]
    fault: str
    advice: str

    def text(self, labels: Sequence[str]) -> str:
        """Return the whole warning, with the first members' labels.

        Args:
          labels: of all members of the run.
        """
        named = "; ".join(labels[i] for i in self.members[:4])
        more = "; …" if len(self.members) > 4 else ""
        count = f"{len(self.members)} of {len(labels)} members"
        return f"{count} {self.fault}: {named}{more}. {self.advice}"


class Trace(NamedTuple):
    """A member's numbers in one stage; NaN stands for what is not finite.

    Attributes:
      losses: at the start and at the end.
      gradients: norms of the gradient at the start and at the end.
      longest_step: of those that were recorded, in units of the picture.
      steps: number of steps asked for.
    """

    losses: tuple[float, float]
    gradients: tuple[float, float]
    longest_step: float
    steps: int

    @property
    def has_no_gradient(self) -> bool:
        """Whether the start has no finite gradient, so that no step was made."""
        return not (math.isfinite(self.gradients[0]) or self.longest_step)

    @property
    def is_standstill(self) -> bool:
        """Whether no step changed the picture.

        The recorded steps alone do not tell: a run that has converged may have recorded
        none but the last ones. Its loss is another one than at the start.
        """
        is_short = self.steps > 0 and self.longest_step < _UNSEEN
        return is_short and math.isclose(*self.losses, rel_tol=_ROUNDING)


class Outcome(NamedTuple):
    """The end of a member's optimisation.

    Attributes:
      solver, objective, tolerance: as they were asked for.
      stages: coarse to fine.
      diverged: whether its result is not usable.
      faulty_terms: names of the terms without a finite loss or gradient at its end.
      overflowed: share of values in whose solver state a number is not finite.
      clipped: share of the result's values that are not strictly between 0 and 1.
      clipped_before: the largest such share among the pictures that went in.
      rollbacks: times that it went back to its best iterate after NaN.
      failed_searches: line searches that found no step.
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


def faulty_terms(
    problem: Problem, variable: jax.typing.ArrayLike, step: jax.typing.ArrayLike
) -> tuple[str, ...]:
    """Return the names of the terms that alone have no finite loss or gradient.

    Compiles a program for each term.

    Args:
      problem: of one member.
      variable: its optimised variable.
      step: how many steps were made before.

    Returns:
      The names; none where memory has no room to find out.
    """
    terms = zip(
        problem.objective.names,
        problem.objective.terms,
        problem.targets,
        strict=True,
    )
    names = []
    for i, (name, term, target) in enumerate(terms):
        tiling = problem.tiling and dataclasses.replace(
            problem.tiling,
            content_dependent=problem.tiling.content_dependent[i : i + 1],
        )
        alone = dataclasses.replace(
            problem, objective=Objective((term,)), targets=(target,), tiling=tiling
        )
        try:
            (loss, _), gradient = jax.jit(Problem.evaluate)(alone, variable, step)
        except (jax.errors.JaxRuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            return ()  # A picture in rows over several devices may not fit on one.
        if not (jnp.isfinite(loss) & jnp.isfinite(gradient).all()):
            names.append(name)
    return tuple(names)


def clipped_share(picture: np.ndarray) -> float:
    """Return the share of values that are not strictly between 0 and 1."""
    return float(1 - ((picture > 0) & (picture < 1)).mean())


def diagnose_requests(
    members: Iterable[tuple[int, Solver, Objective, bool]],
) -> list[RunWarning]:
    """Return warnings about requests whose results can be foretold, one a kind.

    Args:
      members: (number, solver, objective, whether pixels are the optimised variable).
    """
    return _gather(
        (number, *fault)
        for number, solver, objective, pixels in members
        for fault in (*_of_terms(objective), *_of_rate(solver, pixels))
    )


def diagnose(members: Iterable[tuple[int, Outcome]]) -> list[RunWarning]:
    """Return warnings about finished members, one a kind.

    The figures and fields in a warning are those of its first member.

    Args:
      members: (number, outcome).
    """
    return _gather(
        (number, *fault) for number, outcome in members for fault in _faults(outcome)
    )


#: (kind, fault, advice) as in `RunWarning`.
_Fault = tuple[str, str, str]


def _gather(found: Iterable[tuple[int, str, str, str]]) -> list[RunWarning]:
    first: dict[str, RunWarning] = {}
    members: dict[str, list[int]] = {}
    for number, kind, fault, advice in found:
        first.setdefault(kind, RunWarning(kind, (), fault, advice))
        members.setdefault(kind, []).append(number)
    return [
        warning._replace(members=tuple(members[kind]))
        for kind, warning in first.items()
    ]


def _of_terms(objective: Objective) -> Iterator[_Fault]:
    if _is_zero(objective):
        names = ", ".join(f"terms.{name}.weight" for name in objective.names)
        yield (
            "zero_weights",
            "have a loss of 0 everywhere, and stay as they start",
            f"No term counts: raise a weight ({names})",
        )
        return
    for name, term in zip(objective.names, objective.terms, strict=True):
        for field in _zero_fields(term):
            yield (
                f"zero_{field}",
                "have a term without effect",
                f"terms.{name}.{field} is 0 for all: raise one of its entries, or "
                "leave the field out",
            )


def _zero_fields(term: object) -> list[str]:
    """Return the names of a term's fields that are lists of zeros."""
    fields = "blend", "layer_weights"
    values = {field: np.asarray(getattr(term, field, ())) for field in fields}
    return [field for field, value in values.items() if value.size and not value.any()]


def _is_zero(objective: Objective) -> bool:
    """Whether no term counts."""
    return not any(
        np.any(term.weight) and not _zero_fields(term) for term in objective.terms
    )


def _of_rate(solver: Solver, pixels: bool) -> Iterator[_Fault]:
    if isinstance(solver, Adam) and pixels and solver.learning_rate >= 1:
        yield (
            "learning_rate",
            "have a learning rate with which one step crosses the range of a pixel",
            _shorter_steps(solver),
        )


def _faults(outcome: Outcome) -> Iterator[_Fault]:
    *coarse, last = outcome.stages
    shorter = _shorter_steps(outcome.solver)
    if outcome.diverged and last.has_no_gradient:
        yield "nan_at_start", "diverged at the start", _no_gradient(outcome)
        return
    if outcome.diverged:
        yield "diverged", "diverged, for no step led to finite numbers", shorter
        return
    for number, stage in enumerate(coarse):
        if stage.has_no_gradient and stage.steps:
            fault = f"made no step in stage {number} of the ladder"
            yield "nan_in_stage", fault, _no_gradient(outcome)
            break
    if outcome.rollbacks:
        fault = "came to NaN and went on from their best with shorter steps"
        yield "rollbacks", fault, shorter
    steps = sum(stage.steps for stage in outcome.stages)
    searches_fail = 2 * outcome.failed_searches > steps
    if searches_fail:
        fault = "found no step in most of their line searches"
        advice = "Their loss may not be smooth: try solver.name='adam', or "
        yield "line_searches", fault, advice + _decapitalised(shorter)
    if outcome.overflowed:
        yield (
            "overflow",
            f"have {outcome.overflowed:.0%} of their values stand still or go astray",
            "Numbers of the solver, such as Adam's squares of gradients, are beyond "
            "float32 (3.4e38): " + _smaller_weights(outcome.objective),
        )
    elif last.is_standstill and not searches_fail:
        yield from _standstill(outcome, last.gradients[0])
    for (before, after), *_ in reversed(outcome.stages):
        if after > before + _ROUNDING * abs(before):
            fault = f"ended with a loss above that at the start ({before:.4g}"
            yield "loss_rose", f"{fault} → {after:.4g})", _of_a_rise(outcome)
            break
    if outcome.clipped > max(_CLIPPED, 2 * outcome.clipped_before):
        yield (
            "clipped",
            f"have {outcome.clipped:.0%} of their values at or beyond 0 or 1, against "
            f"{outcome.clipped_before:.0%} in the pictures before",
            shorter,
        )


def _no_gradient(outcome: Outcome) -> str:
    names = ", ".join(map(repr, outcome.faulty_terms))
    whose = f" of term {names}" if names else ""
    fault = f"The loss or gradient{whose} is not finite there: "
    weights = _weights(outcome.objective).values()
    losses = (abs(stage.losses[0]) for stage in outcome.stages)
    if max(weights) > _HUGE_WEIGHT or any(loss > _HUGE_LOSS for loss in losses):
        return fault + _smaller_weights(outcome.objective)
    return fault + (
        "a root, a logarithm or a division at 0 is the usual cause, so add a small "
        "constant inside it, or start elsewhere, such as with canvas.kind='noise'"
    )


def _standstill(outcome: Outcome, gradient: float) -> Iterator[_Fault]:
    if gradient == 0 and not _is_zero(outcome.objective):
        yield (
            "zero_gradient",
            "did not move, for their gradient is 0 at the start",
            "The start may be just what the terms ask for: take another canvas.kind or "
            "more terms",
        )
    elif gradient > outcome.tolerance:
        rates = _given(outcome.solver, "learning_rate", "first_step")
        yield (
            "steps_too_short",
            f"made no step longer than {_UNSEEN:g}, with a gradient of norm "
            f"{gradient:.2g}",
            "Raise the weights, of which the largest is "
            f"{_largest_weight(outcome.objective)}, or {rates}",
        )


def _of_a_rise(outcome: Outcome) -> str:
    shorter = _shorter_steps(outcome.solver)
    names = [term.name for term in outcome.objective.terms if term.is_stochastic]
    if not names:
        return shorter
    return (
        f"The loss of {', '.join(names)} is drawn anew at each step, so compare means "
        f"over several steps; else {_decapitalised(shorter)}"
    )


def _shorter_steps(solver: Solver) -> str:
    """Say which field makes the solver's steps shorter."""
    rate = getattr(solver, "learning_rate", 0.0)
    if isinstance(solver, Adam) and rate >= 0.2:
        return (
            f"Lower solver.learning_rate={rate:g}: rates are for values in [0, 1], and "
            f"that of a tool for 0 to 255 is divided by 255, here to {rate / 255:.3g}"
        )
    return f"Lower {_given(solver, 'learning_rate', 'max_step', 'first_step')}"


def _given(solver: Solver, *names: str) -> str:
    """Return those of the fields that a solver has, with their values."""
    values = [(name, getattr(solver, name, None)) for name in names]
    given = [f"solver.{name}={value:g}" for name, value in values if value is not None]
    return " or ".join(given) or "the solver's steps"


def _smaller_weights(objective: Objective) -> str:
    largest = _largest_weight(objective)
    return f"divide all weights by one number, of which the largest is {largest}"


def _largest_weight(objective: Objective) -> str:
    weights = _weights(objective)
    name = max(weights, key=weights.__getitem__)
    return f"terms.{name}.weight={weights[name]:g}"


def _weights(objective: Objective) -> dict[str, float]:
    return {
        name: float(np.max(term.weight))
        for name, term in zip(objective.names, objective.terms, strict=True)
    }


def _decapitalised(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
