"""A group's stages with their compiled programs."""

import contextlib
import dataclasses
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
from absl import logging

from nst_jax.ensemble import strategies
from nst_jax.ensemble.ensemble import Ensemble
from nst_jax.ensemble.memory import fitting_batch
from nst_jax.optim.problem import Problem
from nst_jax.plan.group import Group


@dataclasses.dataclass(frozen=True)
class Stage:
    """A group at one size.

    Attributes:
      number: from 0.
      group: its members at that size.
      problems: theirs.
      program: their program, compiled or to be.
      before: steps of the stages before.
      total: steps of all stages.
    """

    number: int
    group: Group
    problems: list[Problem]
    program: Future[Ensemble]
    before: int
    total: int

    @property
    def ensemble(self) -> Ensemble:
        """The compiled program, which is waited for."""
        return self.program.result()

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
    if not size and count == 1:
        size = 1  # However large it is, there is nothing to choose.
    elif not size:
        size = fitting_batch(problem, group.content.shape, devices[0])
        size *= len(devices) if options.strategy == "shard" else 1
        size = min(count, size)
    return strategies.batch_size(options.strategy, size, len(devices))


class Compiler:
    """Compiles each program once, whichever groups it serves.

    In a thread of its own, one after another: while a stage runs, the program of the
    next is compiled. As a context, it gives up at the end what nothing waits for; the
    process does not end before the one under way is compiled.

    Attributes:
      compile_s: seconds spent so far.
      programs: how many there are.
    """

    def __init__(self, expected: int = 0) -> None:
        """
        Args:
          expected: number of programs to come at most, for the log.
        """
        self.compile_s = 0.0
        self._expected = expected
        self._programs: dict[Hashable, Future[Ensemble]] = {}
        self._thread = ThreadPoolExecutor(1, "compiler")

    def __enter__(self) -> "Compiler":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

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
        total = sum(stage.experiment.steps for stage in group.stages)
        coarser: tuple[Hashable, Future[Ensemble]] | None = None
        for stage in group.stages:
            own = problems if stage is group else stage.problems()
            coarser = self._program(stage, own, size, coarser)
            before = sum(earlier.steps for earlier in stages)
            steps = before, total
            stages.append(Stage(len(stages), stage, own, coarser[1], *steps))
        return stages

    def drop(self, stages: list[Stage]) -> None:
        """Gives up programs that there turned out to be no room for."""
        unfit = {stage.program for stage in stages}
        for signature, program in list(self._programs.items()):
            if program in unfit:
                program.cancel()
                del self._programs[signature]

    def _program(
        self,
        group: Group,
        problems: list[Problem],
        size: int,
        coarser: tuple[Hashable, Future[Ensemble]] | None,
    ) -> tuple[Hashable, Future[Ensemble]]:
        """The group's program, under what it is known by: another group's if equal."""
        options: dict[str, Any] = {
            "batch_size": size,
            "strategy": group.experiment.ensemble.strategy,
            "devices": group.devices,
        }
        posed = problems, group.content.shape
        signature = Ensemble.signature(*posed, **options), coarser and coarser[0]
        known = self._programs.get(signature)
        if known is None:
            before = coarser and coarser[1]
            number = len(self._programs) + 1
            compile_ = _here(self._compiled)
            known = self._thread.submit(compile_, posed, options, before, number)
            self._programs[signature] = known
        else:
            self._expected -= 1
        return signature, known

    def _compiled(
        self,
        posed: tuple[list[Problem], tuple[int, ...]],
        options: dict[str, Any],
        coarser: Future[Ensemble] | None,
        number: int,
    ) -> Ensemble:
        # What is coarser was asked for before, so that this thread is done with it.
        before = coarser.result() if coarser else None
        height, width, _ = posed[1]
        logging.info(
            "compiling program %d of %d: %d×%d px, batch of %d",
            *(number, max(number, self._expected), width, height),
            options["batch_size"],
        )
        ensemble = Ensemble.compile(*posed, **options, coarser=before)
        self.compile_s += ensemble.compile_s
        logging.info("compiled in %.1f s", ensemble.compile_s)
        return ensemble


def _here(function: Callable) -> Callable:
    """As it would run in this thread: contexts of JAX are a thread's own."""
    config: Any = jax.config
    contexts = {
        jax.default_device: config.jax_default_device,
        jax.enable_x64: config.jax_enable_x64,
        jax.debug_nans: config.jax_debug_nans,
        jax.numpy_rank_promotion: config.jax_numpy_rank_promotion,
    }

    def there(*args: Any) -> Any:
        with contextlib.ExitStack() as stack:
            for context, value in contexts.items():
                stack.enter_context(context(value))
            return function(*args)

    return there
