"""What a run will be, from its programs and a few steps of each: nothing is written."""

import time
from typing import NamedTuple

import jax

from nst_jax.core.errors import OutOfMemory
from nst_jax.ensemble.memory import out_of_memory, used_bytes
from nst_jax.optim.transfer import State
from nst_jax.plan.build import Plan
from nst_jax.plan.group import Group
from nst_jax.plan.stages import Compiler, Stage, batch_size

#: For so long the steps are made that tell what one takes, if there are so many.
_SECONDS = 0.3


class Forecast(NamedTuple):
    """A group as it will run.

    Attributes:
      members: how many.
      batch_size: how many are held at a time.
      sizes: (height, width) of its stages, coarse to fine.
      programs: how many are compiled for it that no group before it has.
      compile_s: what compiling them took.
      step_s: seconds of a batch's step at each stage.
      run_s: seconds of optimising all of its members, after compiling.
      peak_bytes: the most that will be taken of a device's memory, this process and
        all that it holds included.
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
    """One entry a group; each of its programs is compiled, and makes a few steps.

    Seconds are of the machine as it is now, and of steps as the first ones are: a line
    search may need more evaluations later. What a run directory holds already is not
    asked, and groups with processes of their own are taken as if they had none.

    Raises:
      OutOfMemory: a batch does not fit, which a run would make smaller.
    """
    expected = sum(len(group.stages) for group in plan.groups)
    with Compiler(expected) as compiler:
        return [
            _forecast_of(number, group, compiler)
            for number, group in enumerate(plan.groups)
        ]


def _forecast_of(number: int, group: Group, compiler: Compiler) -> Forecast:
    try:
        with group.placed():
            return _forecast(group, compiler)
    except jax.errors.JaxRuntimeError as error:
        if not out_of_memory(error):
            raise
        raise OutOfMemory(
            f"a batch of group {number} does not fit into memory; a run would make "
            "it smaller: lower ensemble.batch_size for a forecast"
        ) from None


def _forecast(group: Group, compiler: Compiler) -> Forecast:
    problems = group.problems()
    size = batch_size(group, problems[0])
    before = compiler.programs, compiler.compile_s
    # Before compiling, whose memory on a CPU is free again when the steps need some.
    held = used_bytes(group.devices[0])
    stages = compiler.stages(group, problems, size)
    # All are compiled before the first step is timed.
    peak = held + max(stage.ensemble.needed_bytes for stage in stages)
    steps, seconds, coarse = [], 0.0, None
    for stage in stages:
        start_s, step_s, coarse = _probe(stage, coarse)
        steps.append(step_s)
        seconds += start_s + step_s * stage.steps
    made = Forecast(
        members=len(group.members),
        batch_size=size,
        sizes=tuple(stage.group.content.shape[:2] for stage in stages),
        programs=compiler.programs - before[0],
        compile_s=compiler.compile_s - before[1],
        step_s=tuple(steps),
        run_s=seconds,
        peak_bytes=peak,
    )
    return made._replace(run_s=seconds * made.batches)


def _probe(stage: Stage, coarse: State | None) -> tuple[float, float, State | None]:
    """Seconds of a batch's start and of a step, and a state to start the next from."""
    group, ensemble = stage.group, stage.ensemble
    places = range(min(len(group.members), ensemble.batch_size))
    # What starts from another member's result starts from the content here.
    starts = group.starts(places, lambda _: group.content)

    def seconds(steps: int) -> tuple[float, State | None]:
        began = time.perf_counter()
        *_, last = ensemble.optimise(
            starts,
            steps,
            problems=[stage.problems[i] for i in places],
            look_every=steps,
            coarse=coarse,
        )
        return time.perf_counter() - began, last.state

    seconds(1)  # The first time, memory is fetched and pages are touched.
    one, _ = seconds(1)
    steps = 3
    many, state = seconds(steps)
    # Small pictures' and a GPU's steps are over too soon to be timed by the two.
    while many - one < _SECONDS and steps < stage.steps:
        steps = min(4 * steps, stage.steps)
        many, state = seconds(steps)
    step = max(many - one, 0.0) / (steps - 1)
    return max(one - step, 0.0), step, state


def format_forecast(forecasts: list[Forecast]) -> str:
    """Forecasts in words, for a person who decides whether to start the run."""
    members = sum(group.members for group in forecasts)
    programs = sum(group.programs for group in forecasts)
    compiling = sum(group.compile_s for group in forecasts)
    lines = [
        f"{_count(members, 'member')} in {_count(len(forecasts), 'group')}, "
        f"{_count(programs, 'program')}, compiled in {compiling:.0f} s"
    ]
    for number, group in enumerate(forecasts):
        sizes = " → ".join(f"{width}×{height}" for height, width in group.sizes)
        steps = " → ".join(f"{seconds:.3g}" for seconds in group.step_s)
        lines.append(
            f"  group {number}: {_count(group.members, 'member')} of {sizes} px in "
            f"{_count(group.batches, 'batch', 'es')} of {group.batch_size}, {steps} s "
            f"a batch's step, {group.run_s:.0f} s"
        )
    seconds = sum(group.run_s for group in forecasts)
    peak = max(group.peak_bytes for group in forecasts)
    lines.append(
        f"optimising {seconds:.0f} s, at most {peak / 2**30:.2f} GiB of memory"
    )
    return "\n".join(lines)


def _count(number: int, noun: str, plural: str = "s") -> str:
    return f"{number} {noun}{plural if number != 1 else ''}"
