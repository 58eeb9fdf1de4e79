"""Forecast of a run: compile its programs, time a few steps, write nothing."""

import time
from typing import NamedTuple

import jax

from nst_jax.core.errors import OutOfMemoryError
from nst_jax.ensemble.memory import out_of_memory, used_bytes
from nst_jax.optim.state import State
from nst_jax.plan.batch_size import choose_batch_size
from nst_jax.plan.build import Plan
from nst_jax.plan.group import Group
from nst_jax.plan.stages import Compiler, Stage

#: Steps are timed for at least this long, if there are enough of them.
_SECONDS = 0.3


class Forecast(NamedTuple):
    """The forecast of a group.

    Attributes:
      members: number of members.
      batch_size: number of members in a batch.
      sizes: (height, width) of its stages, coarse to fine.
      programs: number of programs compiled for it, without those of earlier groups.
      compile_s: seconds of compiling them.
      step_s: seconds of a batch's step at each stage.
      run_s: seconds of optimising all of its members, without compiling.
      peak_bytes: peak memory of a device, including all that this process holds.
    """

    members: int
    batch_size: int
    sizes: tuple[tuple[int, int], ...]
    programs: int
    compile_s: float
    step_s: tuple[float, ...]
    run_s: float
    peak_bytes: int

    @property
    def batches(self) -> int:
        return -(-self.members // self.batch_size)


def forecast(plan: Plan) -> list[Forecast]:
    """Compile each program, time a few steps, and return a forecast of each group.

    A line search may need more evaluations in later steps than in the timed ones. The
    forecast is of the whole run, computed in this process.

    Raises:
      OutOfMemory: a batch does not fit; a run would make it smaller.
    """
    forecasts = []
    with Compiler(sum(len(group.stages) for group in plan.groups)) as compiler:
        for number, group in enumerate(plan.groups):
            try:
                with group.default_device():
                    forecasts.append(_forecast(group, compiler))
            except jax.errors.JaxRuntimeError as error:
                if not out_of_memory(error):
                    raise
                raise OutOfMemoryError(
                    f"a batch of group {number} does not fit into memory; a run would "
                    "make it smaller: lower ensemble.batch_size for a forecast"
                ) from None
    return forecasts


def _forecast(group: Group, compiler: Compiler) -> Forecast:
    problems = group.problems()
    size = choose_batch_size(group, problems[0])
    programs, compile_s = compiler.program_count, compiler.compile_s
    # Measured before compiling: on a CPU, steps reuse the memory of the compiler.
    held = used_bytes(group.devices[0])
    stages = compiler.stages(group, problems, size)
    # This waits for all programs before the first step is timed.
    peak = held + max(stage.ensemble.needed_bytes for stage in stages)
    step_s, batch_s, coarse = [], 0.0, None
    for stage in stages:
        start_s, seconds, coarse = _time_stage(stage, coarse)
        step_s.append(seconds)
        batch_s += start_s + seconds * stage.steps
    result = Forecast(
        members=len(group.members),
        batch_size=size,
        sizes=tuple(stage.group.content.shape[:2] for stage in stages),
        programs=compiler.program_count - programs,
        compile_s=compiler.compile_s - compile_s,
        step_s=tuple(step_s),
        run_s=batch_s,
        peak_bytes=peak,
    )
    return result._replace(run_s=batch_s * result.batches)


def _time_stage(
    stage: Stage, coarse: State | None
) -> tuple[float, float, State | None]:
    """Return seconds of a batch's start and of a step, and the state at the end."""
    group, ensemble = stage.group, stage.ensemble
    indices = range(min(len(group.members), ensemble.batch_size))
    # The content image stands for results of other members.
    images = group.starting_images(indices, lambda _: group.content)

    def run(steps: int) -> tuple[float, State | None]:
        began = time.perf_counter()
        *_, last = ensemble.optimise(
            images,
            steps,
            problems=[stage.problems[i] for i in indices],
            log_every=steps,
            coarse=coarse,
        )
        return time.perf_counter() - began, last.state

    run(1)  # Warm-up: memory is allocated.
    one, _ = run(1)
    steps = 3
    many, state = run(steps)
    # Steps of small images, or on a GPU, need longer runs to be timed.
    while many - one < _SECONDS and steps < stage.steps:
        steps = min(4 * steps, stage.steps)
        many, state = run(steps)
    step_s = max(many - one, 0.0) / (steps - 1)
    return max(one - step_s, 0.0), step_s, state


def format_forecast(forecasts: list[Forecast]) -> str:
    """Return forecasts as text."""
    members = sum(group.members for group in forecasts)
    programs = sum(group.programs for group in forecasts)
    compile_s = sum(group.compile_s for group in forecasts)
    lines = [
        f"{_count(members, 'member')} in {_count(len(forecasts), 'group')}, "
        f"{_count(programs, 'program')}, compiled in {compile_s:.0f} s"
    ]
    for number, group in enumerate(forecasts):
        sizes = " → ".join(f"{width}×{height}" for height, width in group.sizes)
        steps = " → ".join(f"{seconds:.3g}" for seconds in group.step_s)
        lines.append(
            f"  group {number}: {_count(group.members, 'member')} of {sizes} px in "
            f"{_count(group.batches, 'batch', 'es')} of {group.batch_size}, {steps} s "
            f"for a batch's step, {group.run_s:.0f} s"
        )
    seconds = sum(group.run_s for group in forecasts)
    peak = max(group.peak_bytes for group in forecasts)
    lines.append(
        f"optimising {seconds:.0f} s, at most {peak / 2**30:.2f} GiB of memory"
    )
    return "\n".join(lines)


def _count(number: int, noun: str, plural: str = "s") -> str:
    return f"{number} {noun}{plural if number != 1 else ''}"
