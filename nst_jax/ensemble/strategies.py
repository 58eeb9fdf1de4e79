"""Ways to map a transfer over the members of a batch.

Nothing below this module is written for a batch, but for the choice of a convolution's
form, which goes by the pixels of all its pictures. Here the functions of one picture
are mapped over members, in one of five ways with one signature:

* "vmap": all members of a batch at once, in one batched computation;
* "shard": as "vmap", each device of the process with its share of the members;
* "map": one after the other inside one program;
* "loop": one after the other, each a call of the program for one picture;
* "rows": as "loop", each device of the process with its share of a picture's rows.

A seed's starting canvas is the same in all of them. "map" and "loop" compute it alike,
to the same bits. In a batch its result may be another: a convolution of many may be
computed in another form, or add in another order, than a single one, and an
optimisation amplifies the last bit.
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


def batch_size(strategy: str, asked: int, devices: int) -> int:
    """Members that a batch holds where so many are asked for.

    "loop" and "rows" have 1, and "shard" the next multiple of the number of devices.
    """
    if strategy in ("loop", "rows"):
        return 1
    return asked + -asked % devices if strategy == "shard" else asked


def mapped(
    function: Callable,
    in_axes: Problem | None = None,
    *,
    shape: Sequence[int],
    together: bool,
) -> Callable:
    """`transfer.start`, `carry` or `advance` over a leading axis of canvas or state.

    Args:
      function: of a problem, a canvas or state, and what all members share.
      along: which leaves of the problem have a member axis too, as 0 or None in
        their places; None if the members share the whole problem.
      shape: of one canvas, [H, W, 3].
      together: whether the members are one batched computation, or go one by one.
    """

    def over_members(problem: Problem, members: Any, *rest: Any) -> Any:
        def alone(problem: Problem, member: Any) -> Any:
            return function(problem, member, *rest)

        def in_a_batch(problem: Problem, member: Any) -> Any:
            evaluate = _with_one_network(problem, shape)
            return function(problem, member, *rest, evaluate=evaluate)

        if together:
            return jax.vmap(in_a_batch, in_axes=(in_axes, 0))(problem, members)
        return _one_by_one(alone, problem, in_axes, members)

    return over_members


def sharded(
    over_members: Callable,
    in_axes: Problem | None,
    replicated_sharding: jax.sharding.NamedSharding,
) -> Callable:
    """Return what `mapped` gave, with an equal share of the members on each device.

    No device waits for another, nor do they speak: every one has the whole of what
    the members share, and its own of what they do not.

    JAX does not check what varies over the mesh (`check_vma`): it would refuse the
    gradient that `convolve` gives to weights that all devices share, which varies.
    """
    own, shared = jax.P(*replicated_sharding.mesh.axis_names), replicated_sharding.spec
    problem = jax.tree.map(
        lambda axis: shared if axis is None else own,
        in_axes,
        is_leaf=lambda node: node is None,
    )

    def over_devices(problem_: Problem, members: Any, *rest: Any) -> Any:
        return jax.shard_map(
            over_members,
            mesh=replicated_sharding.mesh,
            in_specs=(problem, own, *[shared] * len(rest)),
            out_specs=own,
            check_vma=False,
        )(problem_, members, *rest)

    return over_devices


def replicated_sharding(
    strategy: str, shape: Sequence[int], devices: Sequence[jax.Device]
) -> jax.sharding.NamedSharding | None:
    """Where a strategy has what its devices share: whole, on each of them.

    "rows" takes as many of the devices as divide the rows of a canvas of `shape`.
    None for a strategy of one device, JAX's default one.
    """
    if strategy not in ("shard", "rows"):
        return None
    count, axis = len(devices), "members"
    if strategy == "rows":
        count = max(n for n in range(1, count + 1) if shape[0] % n == 0)
        axis = "rows"
        if count < len(devices):
            logging.warning(
                "%d rows are divided over %d of %d devices: as many as divide them",
                *(shape[0], count, len(devices)),
            )
    mesh = jax.sharding.Mesh(np.asarray(devices[:count]), (axis,))
    return jax.sharding.NamedSharding(mesh, jax.P())


def in_rows(
    function: Callable, replicated_sharding: jax.sharding.NamedSharding
) -> Callable:
    """A function of a problem, whose network has a picture in rows over devices.

    The compiler makes of that what it needs: at each convolution a device has the
    next row of either neighbour, and a sum over pixels is one over devices. They are
    direct, for tiles of Winograd's form would lie across the borders between devices.
    """
    rows = jax.sharding.NamedSharding(
        replicated_sharding.mesh, jax.P(*replicated_sharding.mesh.axis_names)
    )

    def over_rows(problem: Problem, *rest: Any) -> Any:
        numerics = dataclasses.replace(problem.network.numerics, convolution="direct")
        network = dataclasses.replace(problem.network, layout=rows, numerics=numerics)
        return function(dataclasses.replace(problem, network=network), *rest)

    return over_rows


def _with_one_network(problem: Problem, shape: Sequence[int]) -> Evaluate:
    """`problem.evaluate`, with one network for all members of a `vmap`.

    A conditional on a batched predicate, as in a line search, gives every one of
    its operands a batch axis. A network with such an axis is N networks: grouped
    convolutions on N copies of the weights. They are copies, for an ensemble has one
    network, so any one will do; likewise of the constants that terms bring.
    """

    def evaluate(network: Network, rest: Problem, *at: jax.Array) -> Any:
        return dataclasses.replace(rest, network=network).evaluate(*at)

    rest = dataclasses.replace(problem, network=None)  # type: ignore[arg-type]
    canvas = jax.ShapeDtypeStruct(tuple(shape), jnp.float32)
    variable = jax.eval_shape(problem.parametrisation.encode, canvas)
    step = jax.ShapeDtypeStruct((), jnp.int32)
    jaxpr, result = jax.make_jaxpr(evaluate, return_shape=True)(
        problem.network, rest, variable, step
    )
    shared = [*jaxpr.consts, *jax.tree.leaves(problem.network)]
    count = len(jaxpr.consts)

    @jax.custom_batching.custom_vmap
    @jax.jit  # Mapped once, wherever a solver asks for it.
    def call(shared: list, rest: list, *at: jax.Array) -> list:
        closed = jax.extend.core.ClosedJaxpr(jaxpr.jaxpr, shared[:count])
        return jax.extend.core.jaxpr_as_fun(closed)(*shared[count:], *rest, *at)

    @call.def_vmap
    def over_members(
        size: int, batched: Any, shared: list, rest: list, *at: jax.Array
    ) -> tuple[list, list]:
        one = [x[0] if axis else x for x, axis in zip(shared, batched[0], strict=True)]
        axes = jax.tree.map(lambda axis: 0 if axis else None, tuple(batched[1:]))
        over = jax.vmap(call.fun, in_axes=(None, *axes), axis_size=size)
        found = over(one, rest, *at)
        return found, [True] * len(found)

    leaves, tree = jax.tree.leaves(rest), jax.tree.structure(result)
    return lambda *at: jax.tree.unflatten(tree, call(shared, leaves, *at))


def _one_by_one(
    one: Callable, problem: Problem, in_axes: Problem | None, members: Any
) -> Any:
    """`one` of each member in turn, compiled alike whatever their number.

    The number is hidden from the compiler, which would unroll a loop of one, and
    what a member goes through is fenced off from the loop around it, with which it
    would fuse: either would round differently. So a member alone, as "loop" runs
    it, and one of a "map" of many come to the same bits.
    """
    count = len(jax.tree.leaves(members)[0])

    def of_member(i: jax.Array | int) -> Problem:
        return member_of(problem, in_axes, i)

    alone = jax.eval_shape(lambda x: jax.tree.map(lambda leaf: leaf[0], x), members)
    shapes = jax.eval_shape(lambda member: one(of_member(0), member), alone)
    # A step turns a state into one of the same form, and may do so in place.
    in_place = shapes == alone
    room = jax.tree.map(lambda s: jnp.zeros((count, *s.shape), s.dtype), shapes)

    def body(i: jax.Array, results: Any) -> Any:
        source = results if in_place else members
        member = jax.tree.map(lambda leaf: leaf[i], source)
        result = one(of_member(i), jax.lax.optimization_barrier(member))
        result = jax.lax.optimization_barrier(result)
        return jax.tree.map(lambda all_, x: all_.at[i].set(x), results, result)

    hidden = jax.lax.optimization_barrier(jnp.asarray(count))
    return jax.lax.fori_loop(0, hidden, body, members if in_place else room)


def member_of(problem: Problem, in_axes: Problem | None, i: jax.Array | int) -> Problem:
    """The problem of the member at `i`: its own entry of what has a member axis."""
    if in_axes is None:
        return problem

    def entry(axis: int | None, leaf: Any) -> Any:
        return leaf if axis is None else jax.lax.optimization_barrier(leaf[i])

    return jax.tree.map(entry, in_axes, problem, is_leaf=lambda node: node is None)
