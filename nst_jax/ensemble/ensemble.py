"""N transfers as compiled programs that carry a batch of members each.

Members differ in where they start, and may differ in any number of their problem: a
term's weight, a learning rate. What all share is an argument without a member axis,
what they do not share has one; which is which is seen from the problems themselves.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.core.errors import RequestError, check_integer
from nst_jax.core.image_array import as_floats
from nst_jax.core.representation import short_repr
from nst_jax.ensemble import strategies
from nst_jax.ensemble.batching import as_list, member_axes, share_weights, stack
from nst_jax.ensemble.diagnosis import faulty_terms
from nst_jax.ensemble.strategies import STRATEGIES, in_rows, mapped, sharded
from nst_jax.models.vgg import Network
from nst_jax.optim import transfer
from nst_jax.optim.problem import Problem
from nst_jax.optim.solvers import Report
from nst_jax.optim.transfer import State


class StepResult(NamedTuple):
    """What the host sees of a batch at one step; arrays have a member axis first.

    Attributes:
      step: how many steps have been made; 0 is the start.
      report: the solver's, fetched.
      rollbacks: int [N], how many times each went back to its best canvas.
      stuck: bool [N], whether that is its start, from where no step led to numbers.
      canvas: float32 [N, H, W, 3] at a step that a snapshot was asked for, where
        `show` asked for one, and at the end; else None.
      state: the batch, on the device at the last look and copied to the host where
        it was asked for, else None (each chunk of steps overwrites the buffers of
        the one before).
      overflowed: float [N] at the end, else None: the share of each member's values in
        whose solver state a number is not finite.
      faulty_terms: at the end, names of the terms that have no finite loss or gradient
        at the first member without a finite one.
    """

    step: int
    report: Report
    rollbacks: np.ndarray
    is_stalled: np.ndarray
    canvas: np.ndarray | None
    state: State | None
    overflowed: np.ndarray | None = None
    faulty_terms: tuple[str, ...] = ()

    @property
    def diverged(self) -> np.ndarray:
        """bool [N], whose canvas, loss or gradient is not finite, or who is stuck."""
        report = self.report
        finite = np.isfinite(report.loss) & np.isfinite(report.grad_norm)
        if self.canvas is not None:
            finite &= np.isfinite(self.canvas).all((1, 2, 3))
        return ~finite | self.is_stalled

    def __repr__(self) -> str:
        return short_repr(self)


@dataclasses.dataclass
class Ensemble:
    """The compiled programs that carry a batch of members.

    Attributes:
      problem: what the members share, if they share all of it.
      batch_size: how many members a batch has.
      compile_s: seconds spent compiling.
      coarser: the stage whose end is the start of this one; None for the first.
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
    _sent: tuple[Network, Network] | None = None

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
        """Compiles for canvases of `shape` [H, W, 3].

        Args:
          problems: of all members that will come; one if they share it. They may
            differ in numbers: what differs has a member axis in the program.
          batch_size: members in a batch, as `strategies.batch_size` takes it.
          strategy: one of `strategies.STRATEGIES`. Where the numerics are to be
            batch-invariant, members go one by one.
          coarser: what these start from the ends of, compiled for the same members;
            None if they start from canvases.
          devices: those that "shard" and "rows" use, the others being computed on
            JAX's default device; None for all of JAX's default platform.
        """
        if strategy not in STRATEGIES:
            raise RequestError(
                f"strategy must be one of {STRATEGIES}, got {strategy!r}"
            )
        check_integer("batch_size", batch_size, 1)
        devices = devices or jax.local_devices()
        batch_size = strategies.batch_size(strategy, batch_size, len(devices))
        if strategy in ("vmap", "map") and batch_size == 1:
            strategy = "loop"  # One picture is computed alone.
        problems = as_list(problems)
        in_axes = member_axes(problems)
        replicated_sharding = strategies.replicated_sharding(strategy, shape, devices)
        problem = stack([problems[0]] * batch_size, in_axes)
        numerics = problem.network.numerics
        together = strategy in ("vmap", "shard") and not numerics.batch_invariant

        def over(function: Callable) -> Callable:
            if replicated_sharding and strategy == "rows":
                function = in_rows(function, replicated_sharding)
            over_members = mapped(function, in_axes, shape=shape, together=together)
            if replicated_sharding and strategy == "shard":
                over_members = sharded(over_members, in_axes, replicated_sharding)
            return over_members

        began = time.perf_counter()
        canvases = jax.ShapeDtypeStruct((batch_size, *shape), jnp.float32)
        options: dict[str, Any] = {"compiler_options": numerics.compiler_options}
        if strategy == "rows":
            # The picture is in rows inside of the network alone; a state is no matter.
            options |= {
                "in_shardings": replicated_sharding,
                "out_shardings": replicated_sharding,
            }
        first, source = transfer.start, canvases
        if coarser:
            first = functools.partial(transfer.start_from_coarse, shape=tuple(shape))
            source = coarser._structure
        started = jax.jit(over(first), **options).lower(problem, source)
        advance = jax.jit(over(transfer.advance), donate_argnums=1, **options).lower(
            problem, started.out_info, 0
        )
        programs = started.compile(), advance.compile()
        elapsed = time.perf_counter() - began
        return cls(
            # In a tree, None is no leaf: what differs is all that is there.
            problem=None if jax.tree.leaves(in_axes) else problems[0],
            batch_size=batch_size,
            compile_s=elapsed,
            coarser=coarser,
            _in_axes=in_axes,
            _start=programs[0],
            _advance=programs[1],
            _structure=started.out_info,
            _replicated_sharding=replicated_sharding,
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
        """What `compile` depends on, but for what is coarser.

        Where it is equal, one ensemble serves both.
        """
        problems = as_list(problems)
        leaves, tree = jax.tree.flatten(problems[0])
        kinds = tuple(
            (jnp.shape(leaf), str(jnp.result_type(leaf)), isinstance(leaf, float))
            for leaf in leaves
        )
        axes = tuple(
            jax.tree.leaves(member_axes(problems), is_leaf=lambda x: x is None)
        )
        where = tuple(devices or jax.local_devices())
        static = tuple(shape), batch_size, strategy, where
        return tree, kinds, axes, *static

    @property
    def needed_bytes(self) -> int:
        """What a batch takes beside the problem, as the compiler reckons it."""
        needs = [program.memory_analysis() for program in (self._start, self._advance)]
        # The state that goes in is overwritten by the one that comes out.
        return max(
            need.output_size_in_bytes + need.temp_size_in_bytes for need in needs
        )

    def restore(self, leaves: Sequence[np.ndarray]) -> State | None:
        """The state whose leaves those are; None if they are of another program."""
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
        look_every: int = 10,
        snapshots: Sequence[int] = (),
        every_canvas: bool = False,
        coarse: State | None = None,
        resume: tuple[int, State] | None = None,
        stop: Callable[[], bool] = lambda: False,
        keep: Callable[[], bool] = lambda: False,
        show: Callable[[], bool] = lambda: False,
    ) -> Iterator[StepResult]:
        """Optimises one batch, and yields what there is to see on the way.

        The next chunk of steps is dispatched before the last one's numbers are
        fetched: the device does not wait for the host.

        Args:
          canvases: float32 [n, H, W, 3] with n at most `batch_size`.
          steps: how many steps each member makes in all.
          problems: the members', one each or one for all; None for the one that was
            compiled for.
          position: the place in the batch of the first of them.
          look_every: steps between two looks.
          snapshots: steps at which a look bears the canvases.
          every_canvas: whether every look bears them.
          coarse: the state of the `coarser` ensemble's last look at the same batch,
            which is gone on from in place of `canvases`' start.
          resume: step and state of an earlier batch to go on from, likewise.
          stop: asked before each chunk; if true, the batch ends early.
          keep: asked after each chunk; if true, the look at its end bears the state.
          show: asked after each chunk; if true, the look at its end bears the canvases.

        Raises:
          RequestError: an argument is not of a batch, or no such number.
        """
        check_integer("look_every", look_every, 1)
        check_integer("steps", steps, 0)
        count = len(canvases := as_floats(canvases, "canvases"))
        if not 1 <= count <= self.batch_size:
            raise RequestError(
                f"a batch holds 1 to {self.batch_size} canvases, got {count}"
            )
        # A short batch is filled up with its last member: one program for all.
        filled = np.minimum(np.arange(self.batch_size), count - 1)
        order = np.roll(filled, position)
        batch_slots = (position + np.arange(count)) % self.batch_size
        problem = self._posed(problems, count, order)
        if resume is not None:
            step, state = resume
        elif self.coarser is not None:
            if coarse is None:
                raise RequestError("coarse is None, and this stage starts from another")
            if self._replicated_sharding != self.coarser._replicated_sharding:
                coarse = jax.device_put(coarse, self._replicated_sharding)
            step, state = 0, self._start(problem, coarse)
        else:
            batch = jnp.asarray(canvases, jnp.float32)[order]
            step, state = 0, self._start(problem, batch)
        tolerance = np.broadcast_to(problem.tolerance, self.batch_size)[batch_slots]
        resting = False
        shown = range(steps + 1) if every_canvas else snapshots
        pending = self._look(step, state, step in shown, batch_slots)
        while step < steps and not stop():
            ahead = [s for s in (*snapshots, steps) if s > step]
            following = min(step + look_every, *ahead)
            if not resting:
                state = self._advance(problem, state, following - step)
            step = following
            look = pending()
            yield look
            # Once all members rest, or have come to NaN, nothing would change.
            resting = not (look.report.grad_norm > tolerance).any()
            fetched = step in shown or show()
            pending = self._look(step, state, fetched, batch_slots, keep())
        overflowed = jax.vmap(transfer.overflowed_share)(state)
        last = pending()._replace(
            canvas=_fetch(state.canvas, batch_slots),
            state=state,
            overflowed=_fetch(overflowed, batch_slots),
        )
        faulty = np.flatnonzero(~np.isfinite(last.report.grad_norm))
        if faulty.size and step >= steps:
            asked = self.problem if problems is None else problems
            assert asked is not None
            first, listed = faulty[0], as_list(asked)
            own = listed[first if len(listed) > 1 else 0]
            at = (state.variable[batch_slots[first]], state.step[batch_slots[first]])
            last = last._replace(faulty_terms=faulty_terms(own, *at))
        yield last

    def _posed(
        self,
        problems: Problem | Sequence[Problem] | None,
        count: int,
        order: np.ndarray,
    ) -> Problem:
        """The program's argument for so many members, `order` those of the places."""
        if problems is None:
            problems = self.problem
        if problems is None:
            raise RequestError("problems is None, and the members do not share one")
        listed = list(as_list(problems))
        listed = listed * count if len(listed) == 1 else listed
        if len(listed) != count:
            raise RequestError(
                f"problems has {len(listed)} entries for {count} canvases"
            )
        differing = jax.tree.leaves(member_axes(listed), is_leaf=lambda x: x is None)
        batched = jax.tree.leaves(self._in_axes, is_leaf=lambda x: x is None)
        if any(a == 0 and b is None for a, b in zip(differing, batched, strict=True)):
            raise RequestError(
                "problems differ in numbers that those compiled for had in common"
            )
        batched_problem = stack([listed[i] for i in order], self._in_axes)
        if self._replicated_sharding is None:
            return batched_problem
        # Sent to the devices once, not with each batch.
        if self._sent is None or not share_weights(
            self._sent[0], batched_problem.network
        ):
            self._sent = (
                batched_problem.network,
                jax.device_put(batched_problem.network, self._replicated_sharding),
            )
        return dataclasses.replace(batched_problem, network=self._sent[1])

    def _look(
        self,
        step: int,
        state: State,
        snapshot: bool,
        batch_slots: np.ndarray,
        keep: bool = False,
    ) -> Callable[[], StepResult]:
        """A look that is fetched when called; what it needs outlives the state."""
        shown = state.report, state.rollbacks, transfer.is_stalled(state)
        seen = jax.tree.map(jnp.copy, shown)
        canvas = jnp.copy(state.canvas) if snapshot else None
        # A copy in the host's memory: the device may have no room for a second one.
        kept = jax.tree.map(np.array, state) if keep else None

        def fetch() -> StepResult:
            picture = None if canvas is None else _fetch(canvas, batch_slots)
            fetched = jax.tree.map(lambda x: _fetch(x, batch_slots), seen)
            report, rollbacks, is_stalled = fetched
            return StepResult(step, report, rollbacks, is_stalled, picture, kept)

        return fetch


def _fetch(leaf: jax.Array, batch_slots: np.ndarray) -> np.ndarray:
    return np.asarray(leaf)[batch_slots]  # Cut on the host: the device has other work.
