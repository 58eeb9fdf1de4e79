"""N transfers of one problem from different starts, as one compiled program.

Nothing below this module knows of a batch. Here the functions of one picture are
mapped over members, in one of three ways with one signature:

* "vmap": all members of a batch at once, in one batched computation;
* "map": one after the other inside one program;
* "loop": one after the other, each a call of the program for one picture.

A seed's starting canvas is the same in all three. The last two compute it alike, to
the same bits. In a batch its result may be another: a convolution of many may add in
another order than a single one, and an optimisation amplifies the last bit.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from nst_jax import transfer
from nst_jax.errors import RequestError
from nst_jax.solvers import Report, ValueAndGrad
from nst_jax.transfer import Problem, State
from nst_jax.vgg import Network

STRATEGIES = ("vmap", "map", "loop")


class Look(NamedTuple):
    """What the host sees of a batch at one step; arrays have a member axis first.

    Attributes:
      step: how many steps have been made; 0 is the start.
      report: the solver's, fetched.
      canvas: float32 [N, H, W, 3] at a step that a snapshot was asked for and at
        the end, else None.
      state: the batch on the device, at the last look alone (each chunk of steps
        overwrites the buffers of the one before).
    """

    step: int
    report: Report
    canvas: np.ndarray | None
    state: State | None


def _mapped(function: Callable, strategy: str) -> Callable:
    """`transfer.start` or `advance` over a leading axis of the canvas or state."""

    def over_members(problem: Problem, members: Any, *rest: Any) -> Any:
        def alone(member: Any) -> Any:
            return function(problem, member, *rest)

        def in_a_batch(member: Any) -> Any:
            canvas = member.canvas if isinstance(member, State) else member
            fun = _with_one_network(problem, canvas)
            return function(problem, member, *rest, fun=fun)

        if strategy == "vmap":
            return jax.vmap(in_a_batch)(members)
        return _one_by_one(alone, members)

    return over_members


def _with_one_network(problem: Problem, canvas: jax.Array) -> ValueAndGrad:
    """`problem.value_and_grad()`, with one network for all members of a `vmap`.

    A conditional on a batched predicate, as in a line search, gives every one of
    its operands a batch axis. A network with such an axis is N networks: grouped
    convolutions on N copies of the weights. They are copies, for the members share
    the problem, so any one will do; likewise of the constants that terms bring.
    """

    def evaluate(network: Network, rest: Problem, canvas: jax.Array) -> Any:
        return dataclasses.replace(rest, network=network).value_and_grad()(canvas)

    rest = dataclasses.replace(problem, network=None)  # type: ignore[arg-type]
    jaxpr, shape = jax.make_jaxpr(evaluate, return_shape=True)(
        problem.network, rest, canvas
    )
    shared = [*jaxpr.consts, *jax.tree.leaves(problem.network)]
    count = len(jaxpr.consts)

    @jax.custom_batching.custom_vmap
    def call(shared: list, rest: list, canvas: jax.Array) -> list:
        closed = jax.extend.core.ClosedJaxpr(jaxpr.jaxpr, shared[:count])
        return jax.extend.core.jaxpr_as_fun(closed)(*shared[count:], *rest, canvas)

    @call.def_vmap
    def over_members(
        size: int, batched: Any, shared: list, rest: list, canvas: jax.Array
    ) -> tuple[list, list]:
        one = [x[0] if axis else x for x, axis in zip(shared, batched[0], strict=True)]
        axes = [0 if axis else None for axis in batched[1]], 0 if batched[2] else None
        over = jax.vmap(call.fun, in_axes=(None, *axes), axis_size=size)
        result = over(one, rest, canvas)
        return result, [True] * len(result)

    leaves, tree = jax.tree.leaves(rest), jax.tree.structure(shape)
    return lambda canvas: jax.tree.unflatten(tree, call(shared, leaves, canvas))


def _one_by_one(one: Callable, members: Any) -> Any:
    """`one` of each member in turn, compiled alike whatever their number.

    The number is hidden from the compiler, which would unroll a loop of one, and
    what a member goes through is fenced off from the loop around it, with which it
    would fuse: either would round differently. So a member alone, as "loop" runs
    it, and one of a "map" of many come to the same bits.
    """
    count = len(jax.tree.leaves(members)[0])
    alone = jax.eval_shape(lambda x: jax.tree.map(lambda leaf: leaf[0], x), members)
    shapes = jax.eval_shape(one, alone)
    # A step turns a state into one of the same form, and may do so in place.
    in_place = isinstance(members, State)
    room = jax.tree.map(lambda s: jnp.zeros((count, *s.shape), s.dtype), shapes)

    def body(i: jax.Array, results: Any) -> Any:
        source = results if in_place else members
        member = jax.tree.map(lambda leaf: leaf[i], source)
        result = jax.lax.optimization_barrier(one(jax.lax.optimization_barrier(member)))
        return jax.tree.map(lambda all_, x: all_.at[i].set(x), results, result)

    hidden = jax.lax.optimization_barrier(jnp.asarray(count))
    return jax.lax.fori_loop(0, hidden, body, members if in_place else room)


@dataclasses.dataclass
class Ensemble:
    """The compiled programs that carry a batch of members.

    Attributes:
      problem: what the members share.
      batch_size: how many members a batch has.
      compile_s: seconds spent compiling.
    """

    problem: Problem
    batch_size: int
    compile_s: float
    _start: Callable[..., State]
    _advance: Callable[..., State]
    _structure: Any

    @classmethod
    def compile(
        cls,
        problem: Problem,
        shape: Sequence[int],
        *,
        batch_size: int,
        strategy: str = "vmap",
    ) -> "Ensemble":
        """Compiles for canvases of `shape` [H, W, 3].

        Args:
          batch_size: members in a batch; "loop" has 1, whatever is asked for.
          strategy: "vmap", "map" or "loop".
        """
        if strategy not in STRATEGIES:
            raise RequestError(
                f"strategy must be one of {STRATEGIES}, got {strategy!r}"
            )
        if batch_size < 1:
            raise RequestError(f"batch_size must be at least 1, got {batch_size}")
        if strategy == "loop" or batch_size == 1:
            batch_size, strategy = 1, "loop"  # One picture is computed alone.
        options = problem.network.numerics.compiler_options
        began = time.perf_counter()
        canvases = jax.ShapeDtypeStruct((batch_size, *shape), jnp.float32)
        start = jax.jit(_mapped(transfer.start, strategy), compiler_options=options)
        started = start.lower(problem, canvases)
        advance = jax.jit(
            _mapped(transfer.advance, strategy),
            donate_argnums=1,
            compiler_options=options,
        ).lower(problem, started.out_info, 0)
        compiled = started.compile(), advance.compile()
        elapsed = time.perf_counter() - began
        return cls(problem, batch_size, elapsed, *compiled, started.out_info)

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
        look_every: int = 10,
        snapshots: Sequence[int] = (),
        resume: tuple[int, State] | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Look]:
        """Optimises one batch, and yields what there is to see on the way.

        The next chunk of steps is dispatched before the last one's numbers are
        fetched: the device does not wait for the host.

        Args:
          canvases: float32 [n, H, W, 3] with n at most `batch_size`.
          steps: how many steps each member makes in all.
          look_every: steps between two looks.
          snapshots: steps at which a look bears the canvases.
          resume: step and state of an earlier batch to go on from, in place of
            `canvases`' start.
          stop: asked before each chunk; if true, the batch ends early.
        """
        count = len(canvases)
        if resume is None:
            step, state = 0, self._start(self.problem, self._padded(canvases))
        else:
            step, state = resume
        resting = False
        pending = self._look(step, state, step in snapshots, count)
        while step < steps and not stop():
            ahead = [s for s in (*snapshots, steps) if s > step]
            following = min(step + look_every, *ahead)
            if not resting:
                state = self._advance(self.problem, state, following - step)
            step = following
            look = pending()
            yield look
            # Once all members rest, or have come to NaN, nothing would change.
            resting = not (look.report.grad_norm > self.problem.tolerance).any()
            pending = self._look(step, state, step in snapshots, count)
        yield pending()._replace(canvas=_fetch(state.canvas, count), state=state)

    def _padded(self, canvases: np.ndarray | jax.Array) -> jax.Array:
        """A short batch filled up with its last member: one program for all."""
        missing = self.batch_size - len(canvases)
        if missing < 0 or not len(canvases):
            raise RequestError(
                f"a batch holds 1 to {self.batch_size} canvases, got {len(canvases)}"
            )
        canvases = jnp.asarray(canvases, jnp.float32)
        return jnp.concatenate([canvases, *[canvases[-1:]] * missing])

    def _look(
        self, step: int, state: State, snapshot: bool, count: int
    ) -> Callable[[], Look]:
        """A look that is fetched when called; what it needs outlives the state."""
        report = jax.tree.map(jnp.copy, state.report)
        canvas = jnp.copy(state.canvas) if snapshot else None

        def fetch() -> Look:
            picture = None if canvas is None else _fetch(canvas, count)
            return Look(
                step, jax.tree.map(lambda x: _fetch(x, count), report), picture, None
            )

        return fetch


def _fetch(leaf: jax.Array, count: int) -> np.ndarray:
    return np.asarray(leaf)[:count]  # Cut on the host: the device has other work.


class Result(NamedTuple):
    """Where an ensemble ended.

    Attributes:
      canvas: float32 [N, H, W, 3].
      history: one report a look, from step 0 on; its leaves are [N].
      steps: the steps of the looks.
    """

    canvas: np.ndarray
    history: list[Report]
    steps: list[int]


def run(
    problem: Problem,
    canvases: ArrayLike | Sequence[ArrayLike],
    *,
    steps: int,
    strategy: str = "vmap",
    batch_size: int | None = None,
    look_every: int = 10,
) -> Result:
    """Optimises N canvases, and waits.

    Args:
      problem: what they share.
      canvases: float32 [N, H, W, 3], one start a member.
      steps: steps that each makes.
      strategy: "vmap", "map" or "loop".
      batch_size: members held at a time; None for all.
      look_every: steps between two entries of the history.
    """
    canvases = np.asarray(canvases, np.float32)
    if canvases.ndim != 4 or canvases.shape[3] != 3 or not len(canvases):
        raise RequestError(
            "canvases must be one or more pictures [N, H, W, 3], got an array of shape "
            f"{list(canvases.shape)}"
        )
    ensemble = Ensemble.compile(
        problem,
        canvases.shape[1:],
        batch_size=batch_size or len(canvases),
        strategy=strategy,
    )
    size = ensemble.batch_size
    batches = [
        list(ensemble.optimise(canvases[i : i + size], steps, look_every=look_every))
        for i in range(0, len(canvases), size)
    ]
    together = [
        jax.tree.map(lambda *leaves: np.concatenate(leaves), *(x.report for x in looks))
        for looks in zip(*batches, strict=True)
    ]
    finals = np.concatenate([looks[-1].canvas for looks in batches])
    return Result(finals, together, [look.step for look in batches[0]])
