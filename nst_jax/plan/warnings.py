"""Warnings about options of a request that have no effect, or may not hold."""

from collections.abc import Iterator

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
    for rule in (
        *(_equal_members, _frames, _determinism, _unused_fields),
        *(_regions, _single_stage_ladder, _stochastic_loss),
    ):
        for sentence in rule(plan, experiments):
            logging.warning("%s", sentence)


def _equal_members(plan: Plan, experiments: list[Experiment]) -> Iterator[str]:
    canvases = [experiment.canvas for experiment in experiments]
    has_seeds = len({member.seed for member in plan.members}) > 1
    if has_seeds and not any(canvas.seeded for canvas in canvases):
        yield (
            f"a canvas of kind {canvases[0].kind!r} does not depend on the seed: its "
            "members start alike"
        )


def _frames(plan: Plan, experiments: list[Experiment]) -> Iterator[str]:
    """Log how a folder is read; yield frames that are left out or change nothing."""
    explicit = {path for axis in plan.experiment.axes for path in axis.paths}
    varied = {path for axis in plan.experiment.grid_axes for path in axis.paths}
    by_content = {experiment.content: experiment for experiment in experiments}
    if "content" in varied - explicit:
        logging.info(
            "content %r is a folder: each of its pictures is a member; with "
            "axes=(Frames(n),) they are the frames of a film",
            plan.experiment.content,
        )
    elif "frame" not in varied:
        for film in [*filter(_has_frames, by_content.values())][:1]:
            yield (
                f"content {film.content!r} is a film, of which only frame {film.frame} "
                "is transferred; axes=(Frames(n),) makes a member of each frame"
            )
    later = [experiment for experiment in experiments if experiment.frame]
    if later and all(
        experiment.film.motion == "still"
        and experiment.canvas.per_frame == "nothing"
        and experiment.canvas.kind != "previous"
        and not _has_frames(experiment)
        for experiment in later
    ):
        yield (
            f"frame={later[0].frame} has no effect: content {later[0].content!r} is a "
            "still picture, and neither film.motion nor canvas.per_frame makes its "
            "frames differ"
        )


def _has_frames(experiment: Experiment) -> bool:
    content = experiment.content
    return find_folder(content) is not None or is_film(content)


def _determinism(plan: Plan, _: list[Experiment]) -> Iterator[str]:
    for group in plan.groups:
        with group.default_device():
            (device, *_) = jnp.zeros(()).devices()
        if group.network.numerics.deterministic and device.platform != "cpu":
            yield (
                "numerics.deterministic is guaranteed on a CPU only; on this "
                f"{device.device_kind} it is requested, and configs/determinism.py "
                "measures whether it holds"
            )
            return


def _unused_fields(_: Plan, experiments: list[Experiment]) -> Iterator[str]:
    for (part, field), needed in _NEEDED_FIELDS.items():
        options = [getattr(experiment, part) for experiment in experiments]
        if any(getattr(option, name) for option in options for name in needed):
            continue
        default = getattr(type(options[0])(), field)
        if any(getattr(option, field) != default for option in options):
            wanted = " or ".join(f"{part}.{name}" for name in needed)
            yield f"{part}.{field} has no effect without {wanted}"


def _regions(plan: Plan, experiments: list[Experiment]) -> Iterator[str]:
    default = Masks().propagation
    scenes = [scene for group in plan.groups for scene in group.scenes]
    if any(experiment.masks.propagation != default for experiment in experiments) and (
        all(scene.regions is None for scene in scenes)
    ):
        yield (
            "masks.propagation has no effect without masks.content and masks.styles, "
            "or a picture that is transparent in parts"
        )
    for (path, colour), share in plan.unstyled.items():
        yield (
            f"masks.content: the region {colour} of {path!r}, {100 * share:.3g} % of "
            "the canvas, has no style: no mask in masks.styles has this colour within "
            f"{TOLERANCE} of 255 levels"
        )


def _single_stage_ladder(_: Plan, experiments: list[Experiment]) -> Iterator[str]:
    for experiment in experiments:
        ladder = experiment.ladder
        if ladder.start and len(experiment.stages()) == 1:
            yield (
                f"ladder.start={ladder.start} and ladder.factor={ladder.factor:g} give "
                f"no stage below size {experiment.size}"
            )
            return


def _stochastic_loss(plan: Plan, _: list[Experiment]) -> Iterator[str]:
    """Warn of L-BFGS, which needs gradients of one loss, with a stochastic loss."""
    for group in plan.groups:
        experiment, terms = group.experiment, group.objectives[0].terms
        causes = [term.name for term in terms if term.is_stochastic]
        causes += ["tile"] if experiment.tile else []
        if causes and experiment.solver.name.startswith("lbfgs"):
            yield (
                f"{', '.join(causes)}: the loss is random at each step, which misleads "
                f"{experiment.solver.name}; use solver.name='adam'"
            )
            return
