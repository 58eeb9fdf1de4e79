"""Gradient norms of the parts of each member's loss, for the report."""

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from nst_jax.ensemble.memory import out_of_memory
from nst_jax.images.colour import prepare_canvas
from nst_jax.optim.part_gradients import part_gradients
from nst_jax.optim.problem import Problem
from nst_jax.plan.group import Group
from nst_jax.workdir.schema import UNSET, GradientEntry
from nst_jax.workdir.writer import RunWriter

_part_gradients = jax.jit(part_gradients)


def record_gradients(writer: RunWriter) -> None:
    """Add the gradient norms of finished members to their entries in run.json.

    They are those of the starting image in the first stage, and of the result in the
    last stage. Members that have them are left out, as are twins, to which an axis adds
    units in the last place. So are those with tiles, whose whole gradient may not fit
    into memory. If it does not, a warning is logged.
    """
    for group in writer.plan.groups:
        indices = [
            i
            for i, number in enumerate(group.numbers)
            if group.experiment.output.gradients
            and not group.experiment.tile
            and not group.members[i].varies.get("canvas.ulps")
            and writer.is_finished([number])
            and writer.manifest.members[number].gradients is UNSET
        ]
        if indices:
            logging.info("measuring the gradients of %d members", len(indices))
            try:
                with group.default_device():
                    _record_group(writer, group, indices)
            except (jax.errors.JaxRuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                logging.warning("the gradients of the parts do not fit into memory")


def _record_group(writer: RunWriter, group: Group, indices: list[int]) -> None:
    first_stage = group.stages[0]
    problems = group.problems()
    first_problems = problems if first_stage is group else first_stage.problems()
    starts = first_stage.starting_images(indices, writer.read_result)
    for i, start in zip(indices, starts, strict=True):
        experiment, number = group.members[i].experiment, group.numbers[i]
        end = prepare_canvas(experiment.colour, writer.read_result(number))
        writer.manifest.members[number].gradients = GradientEntry(
            start=_measure(first_problems[i], start, 0),
            end=_measure(problems[i], end, experiment.steps),
        )


def _measure(problem: Problem, image: np.ndarray, step: int) -> dict[str, float | None]:
    """Return `part_gradients` at an image."""
    variable = problem.parametrisation.encode(jnp.asarray(image))
    return {k: v.item() for k, v in _part_gradients(problem, variable, step).items()}
