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
      RequestError: the problems differ in more than numbers: no program has them all.
    """
    first, *others = problems
    if not all(share_weights(first.network, other.network) for other in others):
        raise RequestError("problems of one ensemble must share one network")
    leaves: list[Any] = jax.tree.leaves(first)
    tree: Any = jax.tree.structure(first)
    for other in others:
        if jax.tree.structure(other) != tree or any(
            jnp.shape(a) != jnp.shape(b)
            for a, b in zip(leaves, jax.tree.leaves(other), strict=True)
        ):
            raise RequestError(
                "problems of one ensemble may differ in numbers alone, not in layers, "
                "switches or shapes"
            )
    columns = zip(*map(jax.tree.leaves, problems), strict=True)
    axes = [None if _alike(column) else 0 for column in columns]
    return jax.tree.unflatten(tree, axes)


def share_weights(one: Network, other: Network) -> bool:
    """Whether two networks hold the same arrays, not copies."""
    leaves = jax.tree.leaves(one), jax.tree.leaves(other)
    return all(a is b for a, b in zip(*leaves, strict=True))


def _alike(column: Sequence[Any]) -> bool:
    """Whether the members' entries are one: numbers by value, arrays by identity."""
    first = column[0]
    if isinstance(first, jax.Array | np.ndarray):
        return all(leaf is first for leaf in column)
    return all(leaf == first for leaf in column)


def stack(problems: Sequence[Problem], axes: Problem) -> Problem:
    """Return one problem with a leading member axis where `axes` is 0."""

    def stacked(axis: int | None, *entries: Any) -> Any:
        if axis is None:
            return entries[0]
        if isinstance(entries[0], jax.Array | np.ndarray):
            return jnp.stack(entries)
        # As a number by itself is computed with, also where 64 bits are enabled.
        wide = problems[0].network.numerics.feature_dtype == "float64"
        return np.asarray(entries, np.float64 if wide else np.float32)

    return jax.tree.map(stacked, axes, *problems, is_leaf=lambda node: node is None)


def as_list(problems: Problem | Sequence[Problem]) -> Sequence[Problem]:
    """Return the problems of an ensemble; one problem stands for all members."""
    return [problems] if isinstance(problems, Problem) else problems
