"""What a person is told of a request before it runs, and of its members afterwards."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from absl import logging

from nst_jax.build import Plan
from nst_jax.experiment import Experiment
from nst_jax.film import find_folder, is_film
from nst_jax.masks import TOLERANCE
from nst_jax.options import Masks


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


def warn_after(plan: Plan, entries: Sequence[dict[str, Any]]) -> None:
    """Logs whose numbers were lost, at the end or on the way, and who found no way.

    Args:
      entries: of the members, as in run.json.
    """
    diverged = [entry for entry in entries if entry["status"] == "diverged"]
    done = [entry for entry in entries if entry["status"] == "done"]
    saved = [entry for entry in done if entry.get("rollbacks")]
    steps = [member.experiment.total_steps for member in plan.members]
    failed = [e for e in done if 2 * e["failed_line_searches"] > steps[e["member"]]]
    for what, found in (
        ("diverged", diverged),
        ("came to NaN and went on from their best with shorter steps", saved),
        ("found no step in most of their line searches", failed),
    ):
        if found:
            labels = [entry["label"] for entry in found]
            logging.warning(
                "%d of %d members %s: %s%s",
                *(len(found), len(entries), what, "; ".join(labels[:4])),
                "; …" if len(found) > 4 else "",
            )


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
            "film.motion nor canvas.new makes its frames differ",
            *(later[0].frame, later[0].content),
        )


def _same_in_all_frames(experiment: Experiment) -> bool:
    canvas = experiment.canvas
    moving = experiment.film.motion != "still" or canvas.new != "nothing"
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
            "masks.content: the region %s of %r, %.2g %% of the canvas, has no style: "
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
        causes = [term.name for term in terms if term.drawn_anew]
        causes += ["tile"] if experiment.tile else []
        if causes and experiment.solver.name.startswith("lbfgs"):
            logging.warning(
                "%s: the loss is another one at each step, which misleads %s; "
                "solver.name='adam' is made for that",
                *(", ".join(causes), experiment.solver.name),
            )
            return
