"""The images of each member at each of its stages."""

import dataclasses
import json
from collections.abc import Sequence

from nst_jax.config.experiment import Experiment, Member
from nst_jax.config.jsonable import to_jsonable
from nst_jax.core.errors import RequestError
from nst_jax.images import colour
from nst_jax.images.image import FITS
from nst_jax.plan.group import Scene
from nst_jax.plan.reader import Reader


def with_size(reader: Reader, member: Member) -> Member:
    """Return a member whose size 0 is replaced by its content image's own size."""
    experiment = member.experiment
    if experiment.size:
        return member
    height, width, _ = reader.content(experiment).shape
    size = max(1, round(FITS[experiment.fit](height, width)))
    experiment = dataclasses.replace(experiment, size=size)
    try:
        experiment.check()
    except RequestError as error:
        raise RequestError(f"{error} (at {member.label})") from None
    return dataclasses.replace(member, experiment=experiment)


def read_stages(
    reader: Reader, members: Sequence[Member], resized: Sequence[bool]
) -> list[list[tuple[Member, Scene]]]:
    """Return each member's stages, coarse to fine, with their images.

    Args:
      reader: records the inputs of the last stages.
      members: members of known size.
      resized: whether each member's last content image is resized; a size is rounded,
        and may differ from the image's own by a pixel.
    """
    # Coarser stages read the same files, so their inputs are not recorded.
    coarse_reader = reader.for_coarser_stages()
    stages = []
    for member, is_resized in zip(members, resized, strict=True):
        *coarser, last = member.experiment.stages()
        as_read = last
        if not is_resized:
            style_size = last.style_size or last.size
            as_read = dataclasses.replace(last, size=0, style_size=style_size)
        # First, so that a message is about the size that was requested.
        last_scene = _read_scene(reader, as_read)
        read = [(stage, _read_scene(coarse_reader, stage)) for stage in coarser]
        read.append((last, last_scene))
        stages.append(
            [
                (dataclasses.replace(member, experiment=experiment), scene)
                for experiment, scene in read
            ]
        )
    return stages


def _read_scene(reader: Reader, experiment: Experiment) -> Scene:
    """Return the images of an experiment; scenes share the arrays that are equal."""
    original = reader.content(experiment)
    originals = tuple(
        reader.picture(f"styles[{i}]", experiment, path, style=True)
        for i, path in enumerate(experiment.styles)
    )
    images = (original, *originals)
    alphas = tuple(map(reader.alpha, images))
    ids = tuple(map(id, images))
    masks = json.dumps(to_jsonable(experiment.masks))
    content, styles = reader.cached(
        ("colour", experiment.colour, ids),
        lambda: colour.prepare(experiment.colour, original, originals, alphas),
    )
    canvas = reader.canvas(experiment)
    if canvas is not None:
        canvas = colour.prepare_canvas(experiment.colour, canvas)
    return Scene(
        content=content,
        styles=styles,
        original=original,
        alpha=alphas[0],
        regions=reader.cached(
            ("regions", masks, ids),
            lambda: reader.regions(experiment, original, originals),
        ),
        frozen=reader.cached(
            ("frozen", masks, id(original)),
            lambda: reader.frozen(experiment, original),
        ),
        canvas=canvas,
        alphas=alphas,
        content_input=reader.input_index(original),
        style_inputs=tuple(map(reader.input_index, originals)),
    )
