"""N optimisations as compiled programs that advance a batch of members.

Members differ in their starting canvases, and may differ in numbers of their problems,
such as the weight of a term or a learning rate. Leaves that differ between the problems
have a member axis in the program; shared leaves have none.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import as_floats
from nst_jax.core.validation import check_choice, check_integer
from nst_jax.ensemble import strategies
from nst_jax.ensemble.batching import as_list, has_same_weights, member_axes, stack
from nst_jax.ensemble.outcome import faulty_terms
from nst_jax.ensemble.step_result import StepResult, copy_result, fetch_members
from nst_jax.models.vgg import Network
from nst_jax.optim import transfer
from nst_jax.optim.problem import Problem
from nst_jax.optim.state import State, overflowed_share


@dataclasses.dataclass
class Ensemble:
    """The compiled programs that start and advance a batch of members.

    Attributes:
      problem: the problem, if all members share it; else None.
      batch_size: number of members in a batch.
      compile_s: seconds spent compiling.
      coarser: the stage whose end is the start of this one; None for the first stage.
    """

    problem: Problem | None
    batch_size: int
    compile_s: float
    coarser: "Ensemble | None"
    _in_axes: Problem
    _start: Any
    _advance: Any
    _structure: Any
    _replicated_sharding: jax.sharding.NamedSharding | None
    _replicated_network: tuple[Network, Network] | None = None

    def __repr__(self) -> str:
        return f"Ensemble(canvases {list(self._structure.canvas.shape)})"

    @classmethod
    def compile(
        cls,
        problems: Problem | Sequence[Problem],
        shape: Sequence[int],
        *,
        batch_size: int,
        strategy: str = "vmap",
        coarser: "Ensemble | None" = None,
        devices: Sequence[jax.Device] | None = None,
    ) -> "Ensemble":
        """Compile the programs for canvases of `shape` [H, W, 3].

        Args:
          problems: of all later members, or one shared problem. They may differ in
            numbers only.
          shape: shape of a canvas.
          batch_size: requested number of members in a batch; `strategies.batch_size`
            adapts it to the strategy.
          strategy: one of `strategies.STRATEGIES`. With batch-invariant numerics all
            strategies compute members one by one.
          coarser: the ensemble of the coarser stage, compiled for the same members;
            None if members start from canvases.
          devices: for "shard" and "rows"; None for JAX's local devices. Other
            strategies use JAX's default device.

        Raises:
          RequestError: an argument is out of range, or the problems differ in more
            than numbers.
        """
        check_choice("strategy", strategy, strategies.STRATEGIES)
        check_integer("batch_size", batch_size, 1)
        devices = devices or jax.local_devices()
        batch_size = strategies.batch_size(strategy, batch_size, len(devices))
        if strategy in ("vmap", "map") and batch_size == 1:
            strategy = "loop"
        problems = as_list(problems)
        in_axes = member_axes(problems)
        replicated = strategies.replicated_sharding(strategy, shape, devices)
        problem = stack([problems[0]] * batch_size, in_axes)
        numerics = problem.network.numerics
        batched = strategy in ("vmap", "shard") and not numerics.batch_invariant

        def over_members(function: Callable, batched: bool) -> Callable:
            if replicated and strategy == "rows":
                function = strategies.split_rows(function, replicated)
            mapped = strategies.map_over_members(
                function, in_axes, shape=shape, batched=batched
            )
            if replicated and strategy == "shard":
                mapped = strategies.shard_over_devices(mapped, in_axes, replicated)
            return mapped

        began = time.perf_counter()
        options: dict[str, Any] = {"compiler_options": numerics.compiler_options}
        if strategy == "rows":  # Only arrays inside the network are divided.
            options |= {"in_shardings": replicated, "out_shardings": replicated}
        if coarser:
            first: Callable = functools.partial(
                transfer.start_from_coarse, shape=tuple(shape)
            )
            source = coarser._structure
        else:
            first = transfer.start
            source = jax.ShapeDtypeStruct((batch_size, *shape), jnp.float32)
        start = jax.jit(over_members(first, False), **options).lower(problem, source)
        advance = jax.jit(
            over_members(transfer.advance, batched), donate_argnums=1, **options
        ).lower(problem, start.out_info, 0)
        programs = start.compile(), advance.compile()
        elapsed = time.perf_counter() - began
        return cls(
            # None is no leaf: any leaf of `in_axes` is a difference.
            problem=None if jax.tree.leaves(in_axes) else problems[0],
            batch_size=batch_size,
            compile_s=elapsed,
            coarser=coarser,
            _in_axes=in_axes,
            _start=programs[0],
            _advance=programs[1],
            _structure=start.out_info,
            _replicated_sharding=replicated,
        )

    @staticmethod
    def signature(
        problems: Problem | Sequence[Problem],
        shape: Sequence[int],
        *,
        batch_size: int,
        strategy: str,
        devices: Sequence[jax.Device] | None = None,
    ) -> Hashable:
        """Return a key of the programs of `compile`, apart from the coarser stage.

        Equal keys mean equal programs.
        """
        problems = as_list(problems)
        leaves, tree = jax.tree.flatten(problems[0])
        kinds = tuple(
            (jnp.shape(leaf), str(jnp.result_type(leaf)), isinstance(leaf, float))
            for leaf in leaves
        )
        axes = tuple(_leaves_and_none(member_axes(problems)))
        local = tuple(devices or jax.local_devices())
        return tree, kinds, axes, tuple(shape), batch_size, strategy, local

    @property
    def needed_bytes(self) -> int:
        """Memory of a batch without the problem, as estimated by the compiler."""
        needs = [program.memory_analysis() for program in (self._start, self._advance)]
        # The output state overwrites the input state.
        return max(
            need.output_size_in_bytes + need.temp_size_in_bytes for need in needs
        )

    def restore(self, leaves: Sequence[np.ndarray]) -> State | None:
        """Return the state of these leaves; None if they belong to another program."""
        expected, treedef = jax.tree.flatten(self._structure)
        fits = len(leaves) == len(expected) and all(
            leaf.shape == like.shape and leaf.dtype == like.dtype
            for leaf, like in zip(leaves, expected, strict=True)
        )
        return jax.tree.unflatten(treedef, leaves) if fits else None

    def optimise(
        self,
        canvases: np.ndarray | jax.Array,
        steps: int,
        *,
        problems: Problem | Sequence[Problem] | None = None,
        position: int = 0,
        log_every: int = 10,
        snapshots: Sequence[int] = (),
        every_canvas: bool = False,
        coarse: State | None = None,
        resume: tuple[int, State] | None = None,
        stop: Callable[[], bool] = lambda: False,
        fetch_state: Callable[[], bool] = lambda: False,
        fetch_canvas: Callable[[], bool] = lambda: False,
    ) -> Iterator[StepResult]:
        """Optimise one batch, and yield a result after each chunk of steps.

        The next chunk is dispatched before the last result is fetched, so that the
        device does not wait for the host.

        Args:
          canvases: float32 [n, H, W, 3] with n at most `batch_size`.
          steps: total number of steps of each member.
          problems: one for each member, or one for all; None for the problem of
            `compile`.
          position: index of the first member in the batch.
          log_every: number of steps between results.
          snapshots: steps whose results include the canvases.
          every_canvas: whether all results include the canvases.
          coarse: last state of this batch in the `coarser` ensemble; the members start
            from it in place of `canvases`.
          resume: step and state of this batch in an interrupted run.
          stop: called before each chunk; True ends the batch early.
          fetch_state: called after each chunk; True includes the state in its result.
          fetch_canvas: called after each chunk; True includes the canvases.

        Raises:
          RequestError: an argument is out of range or does not fit the batch.
        """
        check_integer("log_every", log_every, 1)
        check_integer("steps", steps, 0)
        canvases = as_floats(canvases, "canvases")
        count = len(canvases)
        if not 1 <= count <= self.batch_size:
            raise RequestError(
                f"canvases must have 1 to {self.batch_size} entries, got {count}"
            )
        # The last member fills a short batch, so that one program serves all batches.
        padded = np.minimum(np.arange(self.batch_size), count - 1)
        order = np.roll(padded, position)
        batch_slots = (position + np.arange(count)) % self.batch_size
        problem = self._batched_problem(problems, count, order)
        if resume is not None:
            step, state = resume
        else:
            step, state = 0, self._started(problem, canvases, order, coarse)
        tolerance = np.broadcast_to(problem.tolerance, self.batch_size)[batch_slots]
        all_at_rest = False
        shown = range(steps + 1) if every_canvas else snapshots
        pending = copy_result(step, state, batch_slots, canvas=step in shown)
        while step < steps and not stop():
            next_step = min(
                step + log_every, *(s for s in (*snapshots, steps) if s > step)
            )
            if not all_at_rest:
                state = self._advance(problem, state, next_step - step)
            step = next_step
            result = pending()
            yield result
            # Members at the tolerance, or at NaN, do not change any more.
            all_at_rest = not (result.report.grad_norm > tolerance).any()
            canvas = step in shown or fetch_canvas()
            pending = copy_result(
                step, state, batch_slots, canvas=canvas, whole_state=fetch_state()
            )
        overflowed = jax.vmap(overflowed_share)(state)
        last = pending()._replace(
            canvas=fetch_members(state.canvas, batch_slots),
            state=state,
            overflowed=fetch_members(overflowed, batch_slots),
        )
        faulty = np.flatnonzero(~np.isfinite(last.report.grad_norm))
        if faulty.size and step >= steps:
            member_problems = self._member_problems(problems, count)
            slot = batch_slots[faulty[0]]
            names = faulty_terms(
                member_problems[faulty[0]], state.variable[slot], state.step[slot]
            )
            last = last._replace(faulty_terms=names)
        yield last

    def _started(
        self,
        problem: Problem,
        canvases: np.ndarray | jax.Array,
        order: np.ndarray,
        coarse: State | None,
    ) -> State:
        if self.coarser is None:
            state = self._start(problem, jnp.asarray(canvases, jnp.float32)[order])
            return self._advance(problem, state, 0)
        if coarse is None:
            raise RequestError(
                "coarse is None, but this stage starts from a coarser one"
            )
        if self._replicated_sharding != self.coarser._replicated_sharding:
            coarse = jax.device_put(coarse, self._replicated_sharding)
        return self._advance(problem, self._start(problem, coarse), 0)

    def _member_problems(
        self, problems: Problem | Sequence[Problem] | None, count: int
    ) -> list[Problem]:
        problems = self.problem if problems is None else problems
        if problems is None:
            raise RequestError("problems is None, but the members do not share one")
        members = as_list(problems)
        members = members * count if len(members) == 1 else members
        if len(members) != count:
            raise RequestError(
                f"problems has {len(members)} entries for {count} canvases"
            )
        return members

    def _batched_problem(
        self,
        problems: Problem | Sequence[Problem] | None,
        count: int,
        order: np.ndarray,
    ) -> Problem:
        """Return the program's argument; `order` has the member of each slot."""
        members = self._member_problems(problems, count)
        axes = _leaves_and_none(member_axes(members)), _leaves_and_none(self._in_axes)
        if any(a == 0 and b is None for a, b in zip(*axes, strict=True)):
            raise RequestError(
                "problems differ in numbers that the compiled problems have in common"
            )
        problem = stack([members[i] for i in order], self._in_axes)
        if self._replicated_sharding is None:
            return problem
        # The network is sent to the devices once, not with each batch.
        sent = self._replicated_network
        if sent is None or not has_same_weights(sent[0], problem.network):
            copies = jax.device_put(problem.network, self._replicated_sharding)
            sent = self._replicated_network = problem.network, copies
        return dataclasses.replace(problem, network=sent[1])


def _leaves_and_none(axes: Problem) -> list[int | None]:
    return jax.tree.leaves(axes, is_leaf=lambda node: node is None)
