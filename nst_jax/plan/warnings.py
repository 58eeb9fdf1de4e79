"""What a person is told of a request before it runs, and of its members afterwards."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
from absl import logging

from nst_jax.config.experiment import Experiment
from nst_jax.config.options import Masks
from nst_jax.ensemble.diagnosis import RunWarning, diagnose, diagnose_requests
from nst_jax.ensemble.outcome import Outcome, Trace, clipped_share
from nst_jax.images.masks import TOLERANCE
from nst_jax.images.video import find_folder, is_film
from nst_jax.losses import Objective
from nst_jax.plan.build import Plan


def warn_before(plan: Plan) -> None:
    """Logs what of a request has no effect, or is not known to hold here."""
    _warn_of_equal_members(plan)
    _warn_of_frames(plan)
    _warn_of_promises(plan)
    _warn_of_idle_options(plan)
    _warn_of_idle_propagation(plan)
    _warn_of_regions_without_style(plan)
    _warn_of_ladders_without_stages(plan)
    _warn_of_losses_drawn_anew(plan)


def log_warnings(warnings: Iterable[dict[str, Any]]) -> None:
    """Logs the entries of run.json's "warnings"."""
    for warning in warnings:
        logging.warning("%s", warning["text"])


def request_warnings(plan: Plan) -> list[dict[str, Any]]:
    """Return warnings about members whose results can be foretold, as in run.json."""
    objectives = _objectives(plan)
    return _entries(
        plan,
        diagnose_requests(
            (
                i,
                member.experiment.solver_record(),
                objectives[i],
                member.experiment.parametrisation == "pixels",
            )
            for i, member in enumerate(plan.members)
        ),
    )


def result_warnings(
    plan: Plan, entries: Sequence[dict[str, Any]], rows: Iterable[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return warnings about the members that are finished, as in run.json.

    Args:
      plan: whose members they are.
      entries: of all members, as in run.json.
      rows: of metrics.jsonl, in the order of each member's steps.
    """
    return _entries(plan, diagnose(_outcomes(plan, entries, rows)))


def _entries(plan: Plan, warnings: Iterable[RunWarning]) -> list[dict[str, Any]]:
    labels = [member.label for member in plan.members]
    return [
        {
            "kind": warning.kind,
            "members": list(warning.members),
            "text": warning.text(labels),
        }
        for warning in warnings
    ]


def _outcomes(
    plan: Plan, entries: Sequence[dict[str, Any]], rows: Iterable[dict[str, Any]]
) -> Iterator[tuple[int, Outcome]]:
    objectives, traces = _objectives(plan), _traces(rows)
    before = {i: clipped_share(picture) for i, picture in plan.pictures.items()}
    for entry in entries:
        number = entry["member"]
        if entry["status"] == "waiting" or number not in traces:
            continue
        experiment = plan.members[number].experiment
        inputs = entry["content"], *entry["styles"]
        yield (
            number,
            Outcome(
                experiment.solver_record(),
                objectives[number],
                experiment.solver.tolerance,
                traces[number],
                entry["status"] == "diverged",
                tuple(entry.get("faulty_terms", ())),
                entry.get("overflowed", 0.0),
                entry.get("clipped", 0.0),
                max(before.get(i, 0.0) for i in inputs),
                entry["rollbacks"],
                entry["failed_line_searches"],
            ),
        )


def _objectives(plan: Plan) -> dict[int, Objective]:
    return {
        number: objective
        for group in plan.groups
        for number, objective in zip(group.numbers, group.objectives, strict=True)
    }


def _traces(rows: Iterable[dict[str, Any]]) -> dict[int, tuple[Trace, ...]]:
    """Return the stages of each member that has rows."""
    first: dict[tuple[int, int], dict[str, Any]] = {}
    last: dict[tuple[int, int], dict[str, Any]] = {}
    longest: dict[tuple[int, int], float] = {}
    for row in rows:
        key = row["member"], row["stage"]
        first.setdefault(key, row)
        last[key] = row
        longest[key] = max(longest.get(key, 0.0), row["step_length"] or 0.0)
    traces: dict[int, list[Trace]] = {}
    for (member, stage), start in first.items():
        end = last[member, stage]
        trace = Trace(
            (_number(start["loss"]), _number(end["loss"])),
            (_number(start["grad_norm"]), _number(end["grad_norm"])),
            longest[member, stage],
            end["step"] - start["step"],
        )
        traces.setdefault(member, []).append(trace)
    return {member: tuple(stages) for member, stages in traces.items()}


def _number(value: float | None) -> float:
    """Return what JSON has null for."""
    return math.nan if value is None else value


def _warn_of_equal_members(plan: Plan) -> None:
    seeds = {member.seed for member in plan.members}
    canvases = [member.experiment.canvas for member in plan.members]
    if len(seeds) > 1 and not any(canvas.seeded for canvas in canvases):
        logging.warning(
            "a canvas of kind %r does not depend on the seed: its members start alike",
            canvases[0].kind,
        )


def _warn_of_frames(plan: Plan) -> None:
    """Logs what a folder or a film is taken for, and frames that change nothing."""
    experiment, members = plan.experiment, [m.experiment for m in plan.members]
    given = {path for axis in experiment.axes for path in axis.paths}
    varied = {path for axis in experiment.grid_axes for path in axis.paths}
    if "content" in varied - given:
        logging.info(
            "content %r is a folder: each of its pictures is a member; with "
            "axes=(Frames(n),) they are the frames of a film",
            experiment.content,
        )
    elif "frame" not in varied:
        for own in {own.content: own for own in members}.values():
            if _has_frames(own.content):
                logging.warning(
                    "content %r is a film, of which frame %d alone is transferred; "
                    "axes=(Frames(n),) makes a member of each frame",
                    *(own.content, own.frame),
                )
                break
    later = [own for own in members if own.frame]
    if later and all(map(_same_in_all_frames, later)):
        logging.warning(
            "frame=%d has no effect: content %r is a still picture, and neither "
            "film.motion nor canvas.per_frame makes its frames differ",
            *(later[0].frame, later[0].content),
        )


def _same_in_all_frames(experiment: Experiment) -> bool:
    canvas = experiment.canvas
    moving = experiment.film.motion != "still" or canvas.per_frame != "nothing"
    return not (moving or canvas.kind == "previous" or _has_frames(experiment.content))


def _has_frames(content: str) -> bool:
    return find_folder(content) is not None or is_film(content)


def _warn_of_promises(plan: Plan) -> None:
    """Says which of the promises that were asked for are not known to hold here."""
    for group in plan.groups:
        numerics = group.network.numerics
        with group.placed():
            (device, *_) = jnp.zeros(()).devices()
        if numerics.deterministic and device.platform != "cpu":
            logging.warning(
                "numerics.deterministic is a promise on a CPU; of this %s it is asked, "
                "and configs/determinism.py measures whether it keeps it",
                device.device_kind,
            )
            return


#: What says how (part, field) -> what says whether, fields of the same part.
_IDLE = {
    ("ladder", "steps"): ("start", "sizes"),
    ("ladder", "factor"): ("start",),
    ("smoothing", "eps"): ("radius",),
}


def _warn_of_idle_options(plan: Plan) -> None:
    """Names options of something that no member asks for."""
    for (part, field), masters in _IDLE.items():
        given = [getattr(member.experiment, part) for member in plan.members]
        asked = any(getattr(own, master) for own in given for master in masters)
        usual = getattr(type(given[0])(), field)
        if not asked and any(getattr(own, field) != usual for own in given):
            wanted = " or ".join(f"{part}.{master}" for master in masters)
            logging.warning("%s.%s has no effect without %s", part, field, wanted)


def _warn_of_idle_propagation(plan: Plan) -> None:
    """Names a propagation where no picture has regions."""
    asked = [member.experiment.masks.propagation for member in plan.members]
    scenes = [scene for group in plan.groups for scene in group.scenes]
    if any(scene.regions is not None for scene in scenes):
        return
    if any(own != Masks().propagation for own in asked):
        logging.warning(
            "masks.propagation has no effect without masks.content and masks.styles, "
            "or a picture that is transparent in parts"
        )


def _warn_of_regions_without_style(plan: Plan) -> None:
    """Names the regions of content masks that no style's mask has."""
    for (path, colour), share in plan.unstyled.items():
        logging.warning(
            "masks.content: the region %s of %r, %.3g %% of the canvas, has no style: "
            "no mask in masks.styles has this colour, to %d of 255 levels",
            *(colour, path, 100 * share, TOLERANCE),
        )


def _warn_of_ladders_without_stages(plan: Plan) -> None:
    """Names a size that a ladder which was asked for has nothing below."""
    for own in (member.experiment for member in plan.members):
        if own.ladder.start and len(own.stages()) == 1:
            logging.warning(
                "ladder.start=%d and ladder.factor=%g give no stage below size %d",
                *(own.ladder.start, own.ladder.factor, own.size),
            )
            return


def _warn_of_losses_drawn_anew(plan: Plan) -> None:
    """What learns from differences of gradients wants them to be of one loss."""
    for group in plan.groups:
        experiment, terms = group.experiment, group.objectives[0].terms
        causes = [term.name for term in terms if term.is_stochastic]
        causes += ["tile"] if experiment.tile else []
        if causes and experiment.solver.name.startswith("lbfgs"):
            logging.warning(
                "%s: the loss is another one at each step, which misleads %s; "
                "solver.name='adam' is made for that",
                *(", ".join(causes), experiment.solver.name),
            )
            return
