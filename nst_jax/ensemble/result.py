"""Optimisation of many canvases from Python, without a run directory."""

import collections
import dataclasses
import warnings
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import as_pictures
from nst_jax.core.representation import short_repr
from nst_jax.core.validation import check_integer
from nst_jax.ensemble.batching import as_list
from nst_jax.ensemble.diagnosis import Outcome, Request, RunWarning, Trace, diagnose
from nst_jax.ensemble.ensemble import Ensemble
from nst_jax.ensemble.observer import Callback, Observer
from nst_jax.ensemble.outcome import clipped_share
from nst_jax.ensemble.progress import Progress
from nst_jax.ensemble.step_result import StepResult
from nst_jax.optim.parametrisation import Pixels
from nst_jax.optim.problem import Problem
from nst_jax.optim.solvers import Report

#: A compiled program counts its steps in 32 bits.
_MAX_STEPS = 2**31 - 1
#: Number of programs of earlier calls to keep, the last used ones.
_KEPT_PROGRAMS = 8
_programs: collections.OrderedDict[Hashable, Ensemble] = collections.OrderedDict()
#: Settings of JAX that a compiled program depends on.
_SETTINGS = (
    *("jax_enable_x64", "jax_default_device", "jax_debug_nans", "jax_debug_infs"),
    *("jax_numpy_rank_promotion", "jax_default_matmul_precision", "jax_disable_jit"),
    *("jax_disable_most_optimizations", "jax_numpy_dtype_promotion"),
)


class Result(NamedTuple):
    """The end of an ensemble.

    Attributes:
      canvas: float32 [N, H, W, 3].
      history: one report for each entry of `steps`; its leaves are [N]. Reports that a
        member did not reach before an interrupt have NaN floats and zero counts.
      steps: the steps of the reports, from 0.
      diverged: bool [N], whether a member's canvas is not usable: its last loss or
        gradient is not finite, or it could not leave its start.
      warnings: other faults of the results; they are also issued as Python warnings.
      step: int [N], number of steps that each member made: fewer than requested after
        an interrupt, 0 for a canvas that is still the start.
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
    log_every: int = 10,
    progress: bool = True,
    callback: Callback | None = None,
) -> Result:
    """Optimise N canvases and return the result.

    Issues Python warnings about members that diverged, and about results that may not
    be usable: a loss that rose, values that overflow, clipped pixels.

    A program is compiled once in a process. Later calls with problems of the same
    shapes, terms and solver reuse it, whatever their numbers and images.

    Ctrl-C stops after the current steps and returns the members' progress, see
    `Result.step`; a second Ctrl-C raises KeyboardInterrupt.

    Args:
      problems: one shared problem, or one for each member. They may differ in numbers,
        such as the weights of terms.
      canvases: [N, H, W, 3], the starting canvas of each member: floats in [0, 1],
        uint8 or uint16.
      steps: number of steps of each member, from 0.
      strategy: "vmap", "map", "loop", "shard" or "rows".
      batch_size: number of members computed at a time; None for all.
      log_every: number of steps between two entries of the history.
      progress: whether to show a progress bar or log lines.
      callback: called with a `StepInfo` at each entry of the history, for each batch.
        An exception in it is logged, and the optimisation continues without it.

    Raises:
      RequestError: an argument is out of range, or the problems differ in more than
        numbers.
    """
    canvases = as_pictures(canvases, "canvases")
    count = len(canvases)
    check_integer("steps", steps, 0, _MAX_STEPS)
    check_integer("log_every", log_every, 1)
    check_integer("batch_size", count if batch_size is None else batch_size, 1)
    members = as_list(problems)
    for i, problem in enumerate(members):
        if not isinstance(problem, Problem):
            raise RequestError(
                f"problems[{i}] must be a nst_jax.Problem, got {type(problem).__name__}"
            )
    if len(members) not in (1, count):
        raise RequestError(f"problems has {len(members)} entries for {count} canvases")
    ensemble = _compiled(
        members, canvases.shape[1:], batch_size=batch_size or count, strategy=strategy
    )
    ends = np.array(canvases)
    history: dict[int, Report] = {}
    diverged, made = np.zeros(count, bool), np.zeros(count, int)
    outcomes = []
    with Progress(steps * count, shown=progress) as bar, Observer(callback) as observer:
        for first in range(0, count, ensemble.batch_size):
            if first and observer.stop():
                break
            part = slice(first, first + ensemble.batch_size)
            numbers = tuple(range(count)[part])
            results: list[StepResult] = []  # Without canvases.
            for result in ensemble.optimise(
                canvases[part],
                steps,
                problems=members if len(members) == 1 else members[part],
                log_every=log_every,
                every_canvas=observer.has_callback,
                stop=observer.stop,
            ):
                new_steps = result.step - made[first]
                bar.update(new_steps * len(numbers), result.report.loss)
                observer.notify(numbers, result.step, result.report, result.canvas)
                if result.canvas is not None:
                    ends[part] = result.canvas
                made[part] = result.step
                _enter(history, part, count, result)
                results.append(result._replace(canvas=None, state=None))
            diverged[part] = results[-1].diverged
            outcomes += [
                (
                    n,
                    _outcome(
                        members[n % len(members)], canvases[n], ends[n], results, i
                    ),
                )
                for i, n in enumerate(numbers)
            ]
    requests = enumerate(
        Request(p.solver, p.objective, isinstance(p.parametrisation, Pixels))
        for p in members * (count // len(members))
    )
    faults = tuple(diagnose([*requests, *outcomes]))
    labels = [f"member {i}" for i in range(count)]
    for warning in faults:
        warnings.warn(warning.text(labels), stacklevel=2)
    return Result(ends, [*history.values()], [*history], diverged, faults, made)


def _enter(
    history: dict[int, Report], part: slice, count: int, result: StepResult
) -> None:
    """Enter the report of a batch, a part of `count` members, under its step."""
    if result.step not in history:
        history[result.step] = jax.tree.map(
            lambda leaf: np.full(
                count, np.nan if leaf.dtype.kind == "f" else 0, leaf.dtype
            ),
            result.report,
        )
    jax.tree.map(
        lambda whole, leaf: whole.__setitem__(part, leaf),
        history[result.step],
        result.report,
    )


def _outcome(
    problem: Problem,
    start: np.ndarray,
    end: np.ndarray,
    batch: Sequence[StepResult],
    i: int,
) -> Outcome:
    """Return the outcome of the i-th member of a batch."""
    last, rows = batch[-1], [result.row(i) for result in batch]
    assert last.overflowed is not None
    return Outcome(
        solver=problem.solver,
        objective=problem.objective,
        tolerance=float(problem.tolerance),
        stages=(Trace.from_rows(rows),),
        diverged=bool(last.diverged[i]),
        faulty_terms=last.faulty_terms,
        overflowed=last.overflowed[i].item(),
        clipped=clipped_share(end),
        clipped_before=clipped_share(start),
        rollbacks=rows[-1]["rollbacks"],
        failed_searches=rows[-1]["failed_line_searches"],
    )


def _compiled(
    problems: list[Problem], shape: Sequence[int], **options: Any
) -> Ensemble:
    """Return the ensemble of the problems, with the programs of an earlier call if any.

    Raises:
      RequestError: the problems or canvases do not fit together.
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
        # The cache does not keep the images and weights of this call.
        _programs[key] = dataclasses.replace(ensemble, problem=None)
    _programs.move_to_end(key)
    while len(_programs) > _KEPT_PROGRAMS:
        _programs.popitem(last=False)
    return dataclasses.replace(_programs[key])
