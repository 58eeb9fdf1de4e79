"""The stages of a group, and the thread that compiles their programs."""

import contextlib
import dataclasses
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
from absl import logging

from nst_jax.ensemble.ensemble import Ensemble
from nst_jax.optim.problem import Problem
from nst_jax.plan.group import Group

#: Number of compiled programs that a run keeps for later groups.
MAX_PROGRAMS = 16


@dataclasses.dataclass(frozen=True)
class Stage:
    """A group at one size.

    Attributes:
      number: index among the group's stages, coarse to fine.
      group: its members at that size.
      problems: one for each member.
      program: the compiled program, or its compilation.
      steps_before: number of steps of the coarser stages.
      total_steps: number of steps of all stages.
    """

    number: int
    group: Group
    problems: list[Problem]
    program: Future[Ensemble]
    steps_before: int
    total_steps: int

    @property
    def ensemble(self) -> Ensemble:
        """The compiled program; waits for its compilation."""
        return self.program.result()

    @property
    def steps(self) -> int:
        return self.group.experiment.steps

    def has_step(self, step: int) -> bool:
        """Return whether a step, counted over all stages, has its picture here.

        The last step of a stage is also the first of the next, and has its picture in
        the former.
        """
        return step > self.steps_before or self.number == 0


class Compiler:
    """Compiles each program once, in a thread, one after another.

    A program is compiled while the stage before it runs. The last `MAX_PROGRAMS` are
    kept for later groups. On leaving the context, compilations that have not begun are
    cancelled.

    Attributes:
      compile_s: seconds of compiling so far.
      program_count: number of programs so far.
    """

    def __init__(self, expected: int = 0) -> None:
        """
        Args:
          expected: largest number of programs to come, for the log.
        """
        self.compile_s = 0.0
        self.program_count = 0
        self._expected = expected
        self._programs: dict[Hashable, Future[Ensemble]] = {}
        self._thread = ThreadPoolExecutor(1, "compiler")

    def __enter__(self) -> "Compiler":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def stages(self, group: Group, problems: list[Problem], size: int) -> list[Stage]:
        """Return a group's stages, coarse to fine; their compilation begins.

        Args:
          group: the group at its last stage.
          problems: its problems.
          size: number of members in a batch.
        """
        self._free_programs()
        stages: list[Stage] = []
        total_steps = sum(stage.experiment.steps for stage in group.stages)
        signature: Hashable = None
        program: Future[Ensemble] | None = None
        for number, stage in enumerate(group.stages):
            stage_problems = problems if stage is group else stage.problems()
            options: dict[str, Any] = {
                "batch_size": size,
                "strategy": stage.experiment.ensemble.strategy,
                "devices": stage.devices,
            }
            arguments = stage_problems, stage.content.shape
            signature = Ensemble.signature(*arguments, **options), signature
            program = self._program(signature, arguments, options, coarser=program)
            steps_before = sum(earlier.steps for earlier in stages)
            steps = steps_before, total_steps
            stages.append(Stage(number, stage, stage_problems, program, *steps))
        return stages

    def discard(self, stages: list[Stage]) -> None:
        """Cancel and forget programs that do not fit into memory."""
        discarded = {stage.program for stage in stages}
        for signature, program in list(self._programs.items()):
            if program in discarded:
                program.cancel()
                del self._programs[signature]

    def _free_programs(self) -> None:
        """Free the least recently used programs beyond `MAX_PROGRAMS`.

        JAX's own caches are emptied with them. On a CPU a program takes up to 2,000
        memory mappings, and Linux allows 65,530.
        """
        excess = len(self._programs) - MAX_PROGRAMS
        if excess > 0:
            for signature in list(self._programs)[:excess]:
                del self._programs[signature]
            jax.clear_caches()

    def _program(
        self,
        signature: Hashable,
        arguments: tuple[list[Problem], tuple[int, ...]],
        options: dict[str, Any],
        coarser: Future[Ensemble] | None,
    ) -> Future[Ensemble]:
        """Return the program of a signature, which is compiled at its first use."""
        if signature in self._programs:
            self._expected -= 1
            self._programs[signature] = self._programs.pop(signature)
        else:
            compile_ = _with_current_config(self._compile)
            self.program_count += 1
            self._programs[signature] = self._thread.submit(
                compile_, self.program_count, arguments, options, coarser
            )
        return self._programs[signature]

    def _compile(
        self,
        number: int,
        arguments: tuple[list[Problem], tuple[int, ...]],
        options: dict[str, Any],
        coarser: Future[Ensemble] | None,
    ) -> Ensemble:
        # This thread compiles in order, so the coarser program is finished.
        before = coarser.result() if coarser else None
        height, width, _ = arguments[1]
        logging.info(
            "compiling program %d of %d: %d×%d px, batch of %d",
            *(number, max(number, self._expected), width, height),
            options["batch_size"],
        )
        ensemble = Ensemble.compile(*arguments, **options, coarser=before)
        self.compile_s += ensemble.compile_s
        logging.info("compiled in %.1f s", ensemble.compile_s)
        return ensemble


def _with_current_config(function: Callable) -> Callable:
    """Return a function that runs in another thread under this thread's JAX config."""
    config: Any = jax.config
    contexts = {
        jax.default_device: config.jax_default_device,
        jax.enable_x64: config.jax_enable_x64,
        jax.debug_nans: config.jax_debug_nans,
        jax.numpy_rank_promotion: config.jax_numpy_rank_promotion,
    }

    def run(*args: Any) -> Any:
        with contextlib.ExitStack() as stack:
            for context, value in contexts.items():
                stack.enter_context(context(value))
            return function(*args)

    return run
