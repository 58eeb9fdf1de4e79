"""The number of members of a group in memory at a time."""

from absl import logging

from nst_jax.core.errors import OutOfMemoryError
from nst_jax.ensemble import strategies
from nst_jax.ensemble.memory import fitting_batch
from nst_jax.optim.problem import Problem
from nst_jax.plan.group import Group


def choose_batch_size(group: Group, problem: Problem, requested: int = 0) -> int:
    """Return a group's batch size: a given one, or the largest that fits into memory.

    Args:
      group: the group at its last stage, the largest.
      problem: the problem of a member.
      requested: a size; 0 for `ensemble.batch_size` of the experiment.
    """
    options, count = group.experiment.ensemble, len(group.members)
    devices = group.devices
    size = requested or options.batch_size
    if not size:
        size = 1
        if count > 1:
            size = fitting_batch(problem, group.content.shape, devices[0])
            size *= len(devices) if options.strategy == "shard" else 1
            size = min(count, size)
    return strategies.batch_size(options.strategy, size, len(devices))


def smaller_batch_size(group: Group, problem: Problem, size: int) -> int:
    """Return the largest divisor of a size that did not fit, up to its half.

    With a divisor, batches that are finished stay whole.

    Raises:
      OutOfMemory: no smaller batch is possible.
    """
    smallest = group.experiment.ensemble.position + 1
    for smaller in range(size // 2, smallest - 1, -1):
        possible = size % smaller == 0
        if possible and choose_batch_size(group, problem, smaller) == smaller:
            logging.warning(
                "a batch of %d does not fit into memory; continuing with batches of "
                "%d: results may differ in the last bits",
                *(size, smaller),
            )
            return smaller
    height, width, _ = group.content.shape
    raise OutOfMemoryError(
        f"a batch of {size} at {width}×{height} px does not fit into memory, and no "
        "smaller batch is possible: lower size, or set tile"
    )
