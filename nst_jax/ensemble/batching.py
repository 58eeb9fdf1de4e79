"""Problems of several members as one problem with a member axis."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.core.errors import RequestError
from nst_jax.models.vgg import Network
from nst_jax.optim.problem import Problem


def member_axes(problems: Sequence[Problem]) -> Problem:
    """Return a problem whose leaves are 0 where the problems differ, None elsewhere.

    Raises:
      RequestError: the problems differ in more than numbers, so that they cannot share
        a program.
    """
    first, *rest = problems
    if not all(has_same_weights(first.network, problem.network) for problem in rest):
        raise RequestError("problems of one ensemble must share one network")
    if any(_form(problem) != _form(first) for problem in rest):
        raise RequestError(
            "problems of one ensemble may differ only in numbers, not in layers, "
            "switches or shapes"
        )
    columns = zip(*map(jax.tree.leaves, problems), strict=True)
    axes = [None if _is_constant(column) else 0 for column in columns]
    return jax.tree.unflatten(jax.tree.structure(first), axes)


def has_same_weights(a: Network, b: Network) -> bool:
    """Return whether two networks hold the same arrays, not copies."""
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(x is y for x, y in leaves)


def _form(problem: Problem) -> tuple[Any, list[tuple[int, ...]]]:
    leaves, structure = jax.tree.flatten(problem)
    return structure, list(map(jnp.shape, leaves))


def _is_constant(column: Sequence[Any]) -> bool:
    """Return whether all entries are equal: numbers by value, arrays by identity."""
    first = column[0]
    if isinstance(first, jax.Array | np.ndarray):
        return all(leaf is first for leaf in column)
    return all(leaf == first for leaf in column)


def stack(problems: Sequence[Problem], axes: Problem) -> Problem:
    """Return one problem with a leading member axis where `axes` is 0."""
    # The dtype in which JAX computes with a Python float.
    wide = problems[0].network.numerics.feature_dtype == "float64"
    dtype = np.float64 if wide else np.float32

    def stack_leaves(axis: int | None, *leaves: Any) -> Any:
        if axis is None:
            return leaves[0]
        if isinstance(leaves[0], jax.Array | np.ndarray):
            return jnp.stack(leaves)
        return np.asarray(leaves, dtype)

    return jax.tree.map(stack_leaves, axes, *problems, is_leaf=lambda x: x is None)


def as_list(problems: Problem | Sequence[Problem]) -> list[Problem]:
    """Return the problems of an ensemble; one problem stands for all members."""
    return [problems] if isinstance(problems, Problem) else list(problems)
