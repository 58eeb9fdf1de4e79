"""The optimisation of one picture."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.extend.core
import jax.numpy as jnp
from jax.typing import ArrayLike

from nst_jax.losses import Objective
from nst_jax.pytree import record
from nst_jax.solvers import Parts, Report, Solver, ValueAndGrad
from nst_jax.vgg import Network


@record
class Problem:
    """Everything that a transfer's compiled program takes, but for the canvas.

    Attributes:
      network: VGG-19; its weights are leaves.
      objective: the sum of terms; their weights are leaves.
      targets: one a term, from `objective.targets`.
      solver: its numbers are leaves.
      tolerance: a canvas whose gradient norm is not above it is left as it is.
        The default stops for nothing but a gradient that is exactly zero.
    """

    network: Network
    objective: Objective
    targets: tuple[Any, ...]
    solver: Solver
    tolerance: float | jax.Array = 0.0

    @classmethod
    def of(
        cls,
        network: Network,
        objective: Objective,
        content: ArrayLike,
        styles: Sequence[ArrayLike],
        solver: Solver,
        *,
        tolerance: float = 0.0,
    ) -> "Problem":
        """The problem whose targets come from a content and style pictures.

        Args:
          content: [H, W, 3] in [0, 1].
          styles: pictures [h, w, 3], each of its own size.
        """
        targets = jax.jit(lambda o, n, c, s: o.targets(n, c, s))(
            objective, network, content, tuple(styles)
        )
        return cls(network, objective, targets, solver, tolerance)

    def value_and_grad(self, canvas: jax.Array) -> ValueAndGrad:
        """canvas [H, W, 3] -> ((loss, parts), gradient [H, W, 3]).

        Args:
          canvas: one of the shape that it will be called with.
        """

        def evaluate(network: Network, rest: Problem, canvas: jax.Array) -> Any:
            def loss(canvas: jax.Array) -> tuple[jax.Array, Parts]:
                return rest.objective(network, canvas, rest.targets)

            return jax.value_and_grad(loss, has_aux=True)(canvas)

        rest = dataclasses.replace(self, network=None)  # type: ignore[arg-type]
        return _share_first(evaluate, self.network, rest, canvas)


def _share_first(function: Callable, first: Any, second: Any, example: Any) -> Callable:
    """`lambda x: function(first, second, x)` that under `vmap` has one `first`.

    A conditional on a batched predicate, as in a line search, gives every one of
    its operands a batch axis. A network with such an axis is N networks: grouped
    convolutions on N copies of the weights. They are copies, so any one will do;
    likewise of the constants that terms bring along.
    """
    jaxpr, shape = jax.make_jaxpr(function, return_shape=True)(first, second, example)
    tree = jax.tree.structure(shape)
    shared = [*jaxpr.consts, *jax.tree.leaves(first)]
    count = len(jaxpr.consts)

    def flat(shared: list, second: list, x: jax.Array) -> list:
        closed = jax.extend.core.ClosedJaxpr(jaxpr.jaxpr, shared[:count])
        return jax.extend.core.jaxpr_as_fun(closed)(*shared[count:], *second, x)

    call = jax.custom_batching.custom_vmap(flat)

    @call.def_vmap
    def over_members(
        size: int, batched: Any, shared: list, second: list, x: jax.Array
    ) -> tuple[list, list]:
        one = [v[0] if axis else v for v, axis in zip(shared, batched[0], strict=True)]
        axes = [0 if axis else None for axis in batched[1]], 0 if batched[2] else None
        result = jax.vmap(flat, in_axes=(None, *axes), axis_size=size)(one, second, x)
        return result, [True] * len(result)

    leaves = jax.tree.leaves(second)
    return lambda x: jax.tree.unflatten(tree, call(shared, leaves, x))


class State(NamedTuple):
    """A transfer under way: what a checkpoint holds."""

    canvas: jax.Array
    solver: Any
    report: Report


def start(problem: Problem, canvas: jax.Array) -> State:
    """The state at a starting canvas [H, W, 3]: one evaluation, no step."""
    solver_state, report = problem.solver.init(problem.value_and_grad(canvas), canvas)
    return State(canvas, solver_state, report)


def advance(problem: Problem, state: State, steps: jax.Array | int) -> State:
    """`steps` steps further.

    The number is traced: one compiled program serves chunks of any length, so
    that snapshots may lie where they like and the last chunk may be short.
    """
    fun = problem.value_and_grad(state.canvas)

    def step(_: jax.Array, state: State) -> State:
        stepped = State(*problem.solver.step(fun, state.canvas, state.solver))
        # False for NaN too: a canvas that has none is not led further astray. A
        # select, not a conditional: under vmap that would be one all the same.
        moving = state.report.grad_norm > problem.tolerance
        return jax.tree.map(
            lambda new, old: jnp.where(moving, new, old), stepped, state
        )

    return jax.lax.fori_loop(0, steps, step, state)
