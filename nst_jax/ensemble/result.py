"""Many canvases optimised, from Python, without a run directory."""

import collections
import dataclasses
import warnings
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from nst_jax.core.errors import RequestError, check_integer
from nst_jax.core.image_array import as_pictures
from nst_jax.core.representation import short_repr
from nst_jax.ensemble.diagnosis import RunWarning, diagnose, diagnose_requests
from nst_jax.ensemble.ensemble import Ensemble
from nst_jax.ensemble.observer import Callback, Observer
from nst_jax.ensemble.outcome import Outcome, Trace, clipped_share
from nst_jax.ensemble.progress import Progress
from nst_jax.ensemble.step_result import StepResult
from nst_jax.optim.parametrisation import Pixels
from nst_jax.optim.problem import Problem
from nst_jax.optim.solvers import Report

#: A compiled program counts its steps in 32 bits.
_MAX_STEPS = 2**31 - 1
#: Programs of calls before that are kept, those that were used last.
_KEPT_PROGRAMS = 8
_programs: collections.OrderedDict[Hashable, Ensemble] = collections.OrderedDict()
#: Settings of JAX that a compiled program depends on.
_SETTINGS = (
    *("jax_enable_x64", "jax_default_device", "jax_debug_nans", "jax_debug_infs"),
    *("jax_numpy_rank_promotion", "jax_default_matmul_precision", "jax_disable_jit"),
    *("jax_disable_most_optimizations", "jax_numpy_dtype_promotion"),
)


class Result(NamedTuple):
    """Where an ensemble ended.

    Attributes:
      canvas: float32 [N, H, W, 3].
      history: one report a look, from step 0 on; its leaves are [N]. After an
        interrupt, floats of looks that a member has not come to are NaN, counts 0.
      steps: the steps of the looks.
      diverged: bool [N], whether a member's canvas is not usable: its last loss or
        gradient is not finite, or it is left with its start.
      warnings: what else is wrong with results, as in Python's warnings.
      step: int [N], the steps that each member has made: fewer than were asked for
        after an interrupt, 0 for a member whose canvas is still its start.
    """

    canvas: np.ndarray
    history: list[Report]
    steps: list[int]
    diverged: np.ndarray
    warnings: tuple[RunWarning, ...]
    step: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)


def run(
    problems: Problem | Sequence[Problem],
    canvases: ArrayLike | Sequence[ArrayLike],
    *,
    steps: int,
    strategy: str = "vmap",
    batch_size: int | None = None,
    look_every: int = 10,
    progress: bool = True,
    callback: Callback | None = None,
) -> Result:
    """Optimises N canvases, and waits.

    Warns, by Python's `warnings`, of members that diverged, and of others whose results
    are not what they seem: a loss that rose, values that overflow, clipped pixels.

    A process compiles a program once: a later call with problems of the same shapes,
    terms and solver, whatever their numbers and pictures are, uses it again.

    Ctrl-C stops after the steps under way and returns what there is, with `Result.step`
    saying how far each member has come; a second one raises KeyboardInterrupt.

    Args:
      problems: what they share, or one for each. They may differ in numbers, such
        as the weights of terms; the whole is one program all the same.
      canvases: float32 [N, H, W, 3], one start a member; uint8 and uint16 are converted
        by their range.
      steps: steps that each makes, from 0.
      strategy: "vmap", "map", "loop", "shard" or "rows".
      batch_size: members held at a time; None for all.
      look_every: steps between two entries of the history.
      progress: whether to show a bar, on a terminal or in a notebook.
      callback: called at every entry of the history, for each batch, with a
        `StepInfo`: members, step, loss, terms and canvas. An exception in it is logged,
        and the optimisation goes on without it.

    Raises:
      RequestError: an argument is outside of what it allows, or the problems have no
        program in common.
    """
    canvases = as_pictures(canvases, "canvases")
    count = len(canvases)
    check_integer("steps", steps, 0, _MAX_STEPS)
    check_integer("look_every", look_every, 1)
    check_integer("batch_size", count if batch_size is None else batch_size, 1)
    listed = [problems] if isinstance(problems, Problem) else list(problems)
    for i, problem in enumerate(listed):
        if not isinstance(problem, Problem):
            raise RequestError(
                f"problems[{i}] must be a nst_jax.Problem, got {type(problem).__name__}"
            )
    if len(listed) not in (1, count):
        raise RequestError(f"problems has {len(listed)} entries for {count} canvases")
    ensemble = _compiled(
        listed,
        canvases.shape[1:],
        batch_size=batch_size or count,
        strategy=strategy,
    )
    size = ensemble.batch_size
    looks: list[
        list[StepResult]
    ] = []  # Of each batch that was begun, without canvases.
    ends = np.array(canvases)
    with Progress(steps * count, shown=progress) as bar, Observer(callback) as observer:
        for first in range(0, count, size):
            if looks and observer.stop():
                break
            members = tuple(range(first, min(first + size, count)))
            looks.append([])
            for look in ensemble.optimise(
                canvases[first : first + size],
                steps,
                problems=listed if len(listed) == 1 else listed[first : first + size],
                look_every=look_every,
                every_canvas=observer.listens,
                stop=observer.stop,
            ):
                before = looks[-1][-1].step if looks[-1] else 0
                bar.update((look.step - before) * len(members), look.report.loss)
                observer.tell(members, look.step, look.report, look.canvas)
                if look.canvas is not None:
                    ends[first : first + size] = look.canvas
                looks[-1].append(look._replace(canvas=None, state=None))
    result = _joined(listed, canvases, ends, looks, size)
    labels = [f"member {i}" for i in range(count)]
    for warning in result.warnings:
        warnings.warn(warning.text(labels), stacklevel=2)
    return result


def _joined(
    listed: list[Problem],
    starts: np.ndarray,
    ends: np.ndarray,
    looks: list[list[StepResult]],
    size: int,
) -> Result:
    """Return the result of batches of so many members, of which some may be missing."""
    longest = max(looks, key=len)
    counts = [min(size, len(ends) - first) for first in range(0, len(ends), size)]
    looks = looks + [[]] * (len(counts) - len(looks))
    history = [
        jax.tree.map(
            lambda *leaves: np.concatenate(leaves),
            *(
                own[i].report if i < len(own) else _missing(look.report, count)
                for own, count in zip(looks, counts, strict=True)
            ),
        )
        for i, look in enumerate(longest)
    ]
    made = [own[-1].step if own else 0 for own in looks]
    listed = listed * (len(ends) // len(listed))
    found = diagnose_requests(
        (i, own.solver, own.objective, isinstance(own.parametrisation, Pixels))
        for i, own in enumerate(listed)
    ) + diagnose(_outcomes(listed, starts, ends, looks))
    diverged = [
        own[-1].diverged if own else np.zeros(count, bool)
        for own, count in zip(looks, counts, strict=True)
    ]
    return Result(
        ends,
        history,
        [look.step for look in longest],
        np.concatenate(diverged),
        tuple(found),
        np.repeat(made, counts),
    )


def _outcomes(
    problems: Sequence[Problem],
    starts: np.ndarray,
    ends: np.ndarray,
    batches: Sequence[Sequence[StepResult]],
) -> Iterator[tuple[int, Outcome]]:
    """Yield how each member of a batch that was begun ended, from its looks."""
    begun = [looks for looks in batches if looks]
    places = [(looks, i) for looks in begun for i in range(len(looks[-1].diverged))]
    for number, (looks, i) in enumerate(places):
        problem, start, last = problems[number], looks[0].report, looks[-1]
        assert last.overflowed is not None
        trace = Trace(
            (start.loss[i].item(), last.report.loss[i].item()),
            (start.grad_norm[i].item(), last.report.grad_norm[i].item()),
            max(look.report.step_length[i].item() for look in looks),
            last.step,
        )
        yield (
            number,
            Outcome(
                solver=problem.solver,
                objective=problem.objective,
                tolerance=float(problem.tolerance),
                stages=(trace,),
                diverged=bool(last.diverged[i]),
                faulty_terms=last.faulty_terms,
                overflowed=last.overflowed[i].item(),
                clipped=clipped_share(ends[number]),
                clipped_before=clipped_share(starts[number]),
                rollbacks=last.rollbacks[i].item(),
                failed_searches=last.report.failed[i].item(),
            ),
        )


def _missing(report: Report, count: int) -> Report:
    """Return the report of so many members on a look that they have not come to."""
    return jax.tree.map(
        lambda leaf: np.full(
            count, np.nan if leaf.dtype.kind == "f" else 0, leaf.dtype
        ),
        report,
    )


def _compiled(
    problems: list[Problem], shape: Sequence[int], **options: Any
) -> Ensemble:
    """Return the ensemble of these problems; its programs may be another call's.

    Raises:
      RequestError: the problems have no program in common, or none for the shape.
    """
    settings = tuple(getattr(jax.config, name, None) for name in _SETTINGS)
    key = Ensemble.signature(problems, shape, **options), settings
    if key not in _programs:
        try:
            ensemble = Ensemble.compile(problems, shape, **options)
        except TypeError as error:
            reason = " ".join(str(error).split())
            raise RequestError(
                f"canvases of shape {list(shape)} do not fit the problem, whose "
                f"targets may be of another size: {reason}"
            ) from error
        # The pictures and weights of this call's problems are not kept.
        _programs[key] = dataclasses.replace(ensemble, problem=None)
    _programs.move_to_end(key)
    while len(_programs) > _KEPT_PROGRAMS:
        _programs.popitem(last=False)
    return dataclasses.replace(_programs[key])
