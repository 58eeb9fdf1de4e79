"""Strategies that map an optimisation over the members of a batch.

Code of lower modules handles one image. Exceptions: `convolution` chooses direct or
Winograd form from the batch's total pixel count, and `transfer.advance` ends with the
last member of a batch. The strategies are:

* "vmap": all members of a batch in one batched computation;
* "shard": as "vmap", with an equal share of the members on each local device;
* "map": one after the other inside one program;
* "loop": one after the other, each a call of the program for one image;
* "rows": as "loop", with the rows of an image divided over the local devices.

All strategies start a seed from the same canvas. "map" and "loop" return the same bits.
A batched convolution may use another form or order of summation than a single one, and
the optimisation amplifies the difference.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
from absl import logging

from nst_jax.models.vgg import Network
from nst_jax.optim.problem import Problem
from nst_jax.optim.transfer import Evaluate

STRATEGIES = ("vmap", "shard", "map", "loop", "rows")


def batch_size(strategy: str, requested: int, devices: int) -> int:
    """Return the number of members in a batch.

    It is 1 for "loop" and "rows", and for "shard" the next multiple of the number of
    devices.
    """
    if strategy in ("loop", "rows"):
        return 1
    return requested + -requested % devices if strategy == "shard" else requested


def map_over_members(
    function: Callable,
    in_axes: Problem | None = None,
    *,
    shape: Sequence[int],
    batched: bool,
) -> Callable:
    """Map a function of `transfer` over a leading member axis of canvas or state.

    Args:
      function: `start`, `start_from_coarse` or `advance`.
      in_axes: 0 for each leaf of the problem with a member axis, None for the others;
        None if all members share the problem.
      shape: shape [H, W, 3] of one canvas.
      batched: whether to use `vmap`, for `advance` only; otherwise members are computed
        one by one.
    """

    def over_members(problem: Problem, members: Any, *shared: Any) -> Any:
        def single(problem: Problem, member: Any) -> Any:
            return function(problem, member, *shared)

        def batch_member(problem: Problem, member: Any) -> Any:
            evaluate = _with_shared_network(problem, shape)
            return function(problem, member, *shared, evaluate=evaluate)

        if batched:
            return jax.vmap(batch_member, in_axes=(in_axes, 0))(problem, members)
        return _map_one_by_one(single, problem, in_axes, members)

    return over_members


def shard_over_devices(
    over_members: Callable,
    in_axes: Problem | None,
    replicated_sharding: jax.sharding.NamedSharding,
) -> Callable:
    """Return a function from `map_over_members`, with its members over the devices.

    The devices do not communicate. `check_vma` is off because it rejects the gradient
    with respect to replicated weights in `convolve`, which differs between devices.
    """
    mesh, replicated = replicated_sharding.mesh, replicated_sharding.spec
    over_mesh = jax.P(*mesh.axis_names)
    problem_specs = jax.tree.map(
        lambda axis: replicated if axis is None else over_mesh,
        in_axes,
        is_leaf=lambda node: node is None,
    )

    def over_devices(problem: Problem, members: Any, *shared: Any) -> Any:
        return jax.shard_map(
            over_members,
            mesh=mesh,
            in_specs=(problem_specs, over_mesh, *[replicated] * len(shared)),
            out_specs=over_mesh,
            check_vma=False,
        )(problem, members, *shared)

    return over_devices


def replicated_sharding(
    strategy: str, shape: Sequence[int], devices: Sequence[jax.Device]
) -> jax.sharding.NamedSharding | None:
    """Return the sharding of arrays that every device holds whole.

    "rows" uses the largest number of devices that divides the rows of a canvas.

    Args:
      strategy: one of `STRATEGIES`.
      shape: shape [H, W, 3] of a canvas.
      devices: the available devices.

    Returns:
      A sharding for "shard" and "rows"; None for strategies on JAX's default device.
    """
    if strategy not in ("shard", "rows"):
        return None
    count, axis = len(devices), "members"
    if strategy == "rows":
        count = max(n for n in range(1, count + 1) if shape[0] % n == 0)
        axis = "rows"
        if count < len(devices):
            logging.warning(
                "strategy 'rows' uses %d of %d devices: no larger number divides the "
                "%d rows of the canvas",
                *(count, len(devices), shape[0]),
            )
    mesh = jax.sharding.Mesh(np.asarray(devices[:count]), (axis,))
    return jax.sharding.NamedSharding(mesh, jax.P())


def split_rows(
    function: Callable, replicated_sharding: jax.sharding.NamedSharding
) -> Callable:
    """Return a function of a problem whose network divides image rows over devices.

    The compiler inserts the exchange of neighbouring rows and the sums over devices.
    Convolutions are direct: Winograd tiles would cross the borders between devices.
    """
    rows = jax.sharding.NamedSharding(
        replicated_sharding.mesh, jax.P(*replicated_sharding.mesh.axis_names)
    )

    def over_rows(problem: Problem, *args: Any) -> Any:
        numerics = dataclasses.replace(problem.network.numerics, convolution="direct")
        network = dataclasses.replace(problem.network, layout=rows, numerics=numerics)
        return function(dataclasses.replace(problem, network=network), *args)

    return over_rows


def _with_shared_network(problem: Problem, shape: Sequence[int]) -> Evaluate:
    """Return `problem.evaluate`, with one network for all members of a `vmap`.

    A conditional on a batched predicate, as in a line search, gives each operand a
    batch axis. A network with a batch axis is computed as grouped convolutions on N
    copies of the weights. All copies are equal, so the first one serves all members;
    the same holds for the constants of terms.
    """

    def evaluate(network: Network, rest: Problem, *point: Any) -> Any:
        return dataclasses.replace(rest, network=network).evaluate(*point)

    rest = dataclasses.replace(problem, network=None)  # type: ignore[arg-type]
    canvas = jax.ShapeDtypeStruct(tuple(shape), jnp.float32)
    variable = jax.eval_shape(problem.parametrisation.encode, canvas)
    step = jax.ShapeDtypeStruct((), jnp.int32)
    matches = jax.eval_shape(problem.match, variable)
    jaxpr, result = jax.make_jaxpr(evaluate, return_shape=True)(
        problem.network, rest, variable, step, matches
    )
    shared = [*jaxpr.consts, *jax.tree.leaves(problem.network)]
    count = len(jaxpr.consts)

    @jax.custom_batching.custom_vmap
    @jax.jit  # Batched once, although a solver calls it in several places.
    def call(shared: list, rest: list, *point: jax.Array) -> list:
        closed = jax.extend.core.ClosedJaxpr(jaxpr.jaxpr, shared[:count])
        return jax.extend.core.jaxpr_as_fun(closed)(*shared[count:], *rest, *point)

    @call.def_vmap
    def over_members(
        size: int, is_batched: Any, shared: list, rest: list, *point: jax.Array
    ) -> tuple[list, list]:
        first = [
            x[0] if batched else x
            for x, batched in zip(shared, is_batched[0], strict=True)
        ]
        axes = jax.tree.map(
            lambda batched: 0 if batched else None, tuple(is_batched[1:])
        )
        batch_call = jax.vmap(call.fun, in_axes=(None, *axes), axis_size=size)
        leaves = batch_call(first, rest, *point)
        return leaves, [True] * len(leaves)

    leaves, tree = jax.tree.leaves(rest), jax.tree.structure(result)
    return lambda *point: jax.tree.unflatten(
        tree, call(shared, leaves, *jax.tree.leaves(point))
    )


def _map_one_by_one(
    function: Callable, problem: Problem, in_axes: Problem | None, members: Any
) -> Any:
    """Apply a function to each member in turn, compiled alike for any number of them.

    The number is hidden from the compiler, which would unroll a loop of one. Barriers
    keep the compiler from fusing a member's computation with the loop. Either would
    change the rounding, so that "map" and "loop" would differ.
    """
    count = len(jax.tree.leaves(members)[0])

    def problem_of(i: jax.Array | int) -> Problem:
        return member_problem(problem, in_axes, i)

    single = jax.eval_shape(lambda x: jax.tree.map(lambda leaf: leaf[0], x), members)
    shapes = jax.eval_shape(lambda member: function(problem_of(0), member), single)
    # A step returns a state of the same form, and may overwrite it.
    in_place = shapes == single
    buffers = jax.tree.map(lambda s: jnp.zeros((count, *s.shape), s.dtype), shapes)

    def body(i: jax.Array, results: Any) -> Any:
        source = results if in_place else members
        member = jax.tree.map(lambda leaf: leaf[i], source)
        result = function(problem_of(i), jax.lax.optimization_barrier(member))
        result = jax.lax.optimization_barrier(result)
        return jax.tree.map(lambda leaf, x: leaf.at[i].set(x), results, result)

    hidden_count = jax.lax.optimization_barrier(jnp.asarray(count))
    return jax.lax.fori_loop(0, hidden_count, body, members if in_place else buffers)


def member_problem(
    problem: Problem, in_axes: Problem | None, i: jax.Array | int
) -> Problem:
    """Return the problem of member `i`, without member axes."""
    if in_axes is None:
        return problem

    def select(axis: int | None, leaf: Any) -> Any:
        return leaf if axis is None else jax.lax.optimization_barrier(leaf[i])

    return jax.tree.map(select, in_axes, problem, is_leaf=lambda node: node is None)
