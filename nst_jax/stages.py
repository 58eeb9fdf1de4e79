"""A group's stages with their compiled programs."""

import dataclasses
import functools
from collections.abc import Hashable

from absl import logging

from nst_jax import strategies
from nst_jax.ensemble import Ensemble
from nst_jax.group import Group
from nst_jax.memory import fitting_batch
from nst_jax.transfer import Problem


@dataclasses.dataclass(frozen=True)
class Stage:
    """A group at one size.

    Attributes:
      number: from 0.
      group: its members at that size.
      problems: theirs.
      ensemble: their program.
      before: steps of the stages before.
    """

    number: int
    group: Group
    problems: list[Problem]
    ensemble: Ensemble
    before: int

    @property
    def steps(self) -> int:
        return self.group.experiment.steps

    def shows(self, step: int) -> bool:
        """Whether a picture of that step, counted over all stages, is of this one."""
        return step > self.before or self.number == 0


def batch_size(group: Group, problem: Problem, asked: int = 0) -> int:
    """Members of a group held at a time: so many, or as memory has room for.

    Args:
      problem: of a member at the last stage, which is the largest.
      asked: how many; 0 for what the experiment asks for.
    """
    options, count = group.experiment.ensemble, len(group.members)
    devices = group.devices
    size = asked or options.batch_size
    if not size:
        size = fitting_batch(problem, group.content.shape, devices[0])
        size *= len(devices) if options.strategy == "shard" else 1
        size = min(count, size)
    return strategies.batch_size(options.strategy, size, len(devices))


class Compiler:
    """Compiles each program once, whichever groups it serves.

    Attributes:
      compile_s: seconds spent so far.
      programs: how many there are.
    """

    def __init__(self) -> None:
        self.compile_s = 0.0
        self._programs: dict[Hashable, Ensemble] = {}

    @property
    def programs(self) -> int:
        return len(self._programs)

    def stages(self, group: Group, problems: list[Problem], size: int) -> list[Stage]:
        """A group's stages, coarse to fine.

        Args:
          problems: the group's own, those of its last stage.
          size: members of a batch.
        """
        stages: list[Stage] = []
        for stage in group.stages:
            own = problems if stage is group else stage.problems()
            coarser = stages[-1].ensemble if stages else None
            ensemble = self._ensemble(stage, own, size, coarser)
            before = sum(earlier.steps for earlier in stages)
            stages.append(Stage(len(stages), stage, own, ensemble, before))
        return stages

    def _ensemble(
        self,
        group: Group,
        problems: list[Problem],
        size: int,
        coarser: Ensemble | None,
    ) -> Ensemble:
        """The group's program, compiled unless another group has the same."""
        program = functools.partial(
            Ensemble.compile,
            problems,
            group.content.shape,
            batch_size=size,
            strategy=group.experiment.ensemble.strategy,
            coarser=coarser,
            devices=group.devices,
        )
        signature = Ensemble.signature(*program.args, **program.keywords)
        if signature not in self._programs:
            ensemble = program()
            self.compile_s += ensemble.compile_s
            logging.info("compiled in %.1f s", ensemble.compile_s)
            self._programs[signature] = ensemble
        return self._programs[signature]
