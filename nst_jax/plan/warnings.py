"""Warnings about options of a request that have no effect, or may not hold."""

import jax.numpy as jnp
from absl import logging

from nst_jax.config.experiment import Experiment
from nst_jax.config.options import Masks
from nst_jax.images.masks import TOLERANCE
from nst_jax.images.video import find_folder, is_film
from nst_jax.plan.build import Plan

#: (part of a config, field) -> fields of the part that give it an effect.
_NEEDED_FIELDS = {
    ("ladder", "steps"): ("start", "sizes"),
    ("ladder", "factor"): ("start",),
    ("smoothing", "eps"): ("radius",),
}


def log_request_warnings(plan: Plan) -> None:
    """Log which options of a plan have no effect, or may not hold on this device."""
    experiments = [member.experiment for member in plan.members]
    _warn_equal_members(plan, experiments)
    _warn_frames(plan, experiments)
    _warn_determinism(plan)
    _warn_unused_fields(experiments)
    _warn_unused_propagation(plan, experiments)
    _warn_unstyled_regions(plan)
    _warn_single_stage_ladder(experiments)
    _warn_stochastic_loss(plan)


def _warn_equal_members(plan: Plan, experiments: list[Experiment]) -> None:
    canvases = [experiment.canvas for experiment in experiments]
    has_seeds = len({member.seed for member in plan.members}) > 1
    if has_seeds and not any(canvas.seeded for canvas in canvases):
        logging.warning(
            "a canvas of kind %r does not depend on the seed: its members start alike",
            canvases[0].kind,
        )


def _warn_frames(plan: Plan, experiments: list[Experiment]) -> None:
    """Log how a folder or video is read, and frames that change nothing."""
    content = plan.experiment.content
    explicit = {path for axis in plan.experiment.axes for path in axis.paths}
    varied = {path for axis in plan.experiment.grid_axes for path in axis.paths}
    by_content = {experiment.content: experiment for experiment in experiments}
    if "content" in varied - explicit:
        logging.info(
            "content %r is a folder: each of its pictures is a member; with "
            "axes=(Frames(n),) they are the frames of a film",
            content,
        )
    elif "frame" not in varied and (
        videos := list(filter(_has_frames, by_content.values()))
    ):
        logging.warning(
            "content %r is a film, of which only frame %d is transferred; "
            "axes=(Frames(n),) makes a member of each frame",
            *(videos[0].content, videos[0].frame),
        )
    later = [experiment for experiment in experiments if experiment.frame]
    if later and all(map(_is_same_in_all_frames, later)):
        logging.warning(
            "frame=%d has no effect: content %r is a still picture, and neither "
            "film.motion nor canvas.per_frame makes its frames differ",
            *(later[0].frame, later[0].content),
        )


def _is_same_in_all_frames(experiment: Experiment) -> bool:
    canvas = experiment.canvas
    return not (
        experiment.film.motion != "still"
        or canvas.per_frame != "nothing"
        or canvas.kind == "previous"
        or _has_frames(experiment)
    )


def _has_frames(experiment: Experiment) -> bool:
    content = experiment.content
    return find_folder(content) is not None or is_film(content)


def _warn_determinism(plan: Plan) -> None:
    for group in plan.groups:
        with group.default_device():
            (device, *_) = jnp.zeros(()).devices()
        if group.network.numerics.deterministic and device.platform != "cpu":
            logging.warning(
                "numerics.deterministic is guaranteed on a CPU only; on this %s it is "
                "requested, and configs/determinism.py measures whether it holds",
                device.device_kind,
            )
            return


def _warn_unused_fields(experiments: list[Experiment]) -> None:
    for (part, field), needed in _NEEDED_FIELDS.items():
        options = [getattr(experiment, part) for experiment in experiments]
        if any(getattr(option, name) for option in options for name in needed):
            continue
        default = getattr(type(options[0])(), field)
        if any(getattr(option, field) != default for option in options):
            wanted = " or ".join(f"{part}.{name}" for name in needed)
            logging.warning("%s.%s has no effect without %s", part, field, wanted)


def _warn_unused_propagation(plan: Plan, experiments: list[Experiment]) -> None:
    default = Masks().propagation
    if all(experiment.masks.propagation == default for experiment in experiments):
        return
    scenes = [scene for group in plan.groups for scene in group.scenes]
    if all(scene.regions is None for scene in scenes):
        logging.warning(
            "masks.propagation has no effect without masks.content and masks.styles, "
            "or a picture that is transparent in parts"
        )


def _warn_unstyled_regions(plan: Plan) -> None:
    for (path, colour), share in plan.unstyled.items():
        logging.warning(
            "masks.content: the region %s of %r, %.3g %% of the canvas, has no style: "
            "no mask in masks.styles has this colour within %d of 255 levels",
            *(colour, path, 100 * share, TOLERANCE),
        )


def _warn_single_stage_ladder(experiments: list[Experiment]) -> None:
    for experiment in experiments:
        ladder = experiment.ladder
        if ladder.start and len(experiment.stages()) == 1:
            logging.warning(
                "ladder.start=%d and ladder.factor=%g give no stage below size %d",
                *(ladder.start, ladder.factor, experiment.size),
            )
            return


def _warn_stochastic_loss(plan: Plan) -> None:
    """Warn of L-BFGS, which needs gradients of one loss, with a stochastic loss."""
    for group in plan.groups:
        experiment, terms = group.experiment, group.objectives[0].terms
        causes = [term.name for term in terms if term.is_stochastic]
        causes += ["tile"] if experiment.tile else []
        if causes and experiment.solver.name.startswith("lbfgs"):
            logging.warning(
                "%s: the loss is random at each step, which misleads %s; use "
                "solver.name='adam'",
                *(", ".join(causes), experiment.solver.name),
            )
            return
