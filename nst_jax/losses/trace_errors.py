"""Errors that a term's code raises while it is traced, each as one sentence."""

import re
import traceback
from collections.abc import Callable
from typing import Any

import jax

from nst_jax.core.errors import RequestError
from nst_jax.losses.base import Objective, Term
from nst_jax.models.layers import canonical_layer
from nst_jax.models.vgg import Network

#: What JAX raises where Python asks for a number that is not there yet.
UNKNOWN = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)


def unknown(error: BaseException, leaf: str = "") -> str:
    """Describe one of `UNKNOWN`, and how to write the code instead.

    Args:
      error: it.
      leaf: the field whose number was asked for; "" for what is in a picture.
    """
    what = f"the leaf {leaf!r}" if leaf else "what is in a picture"
    if isinstance(error, jax.errors.TracerArrayConversionError):
        return f"it takes {what} out of JAX, as np.asarray does; compute with jax.numpy"
    field = leaf.rpartition(".")[2]
    static = f"declare it static, {field}: … = nst_jax.static(…), or " if leaf else ""
    return (
        f"Python decides by {what}, which is unknown while the program is traced: "
        f"{static}let jnp.where decide"
    )


def raised(error: BaseException) -> str:
    """Describe any other exception in one line; one about a layer with its remedy."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    key = error.args[0] if isinstance(error, KeyError) and error.args else None
    if isinstance(key, str) and _is_layer(key):
        return (
            f"{reason}: the term looks at a layer that its field layers does not "
            f"name; add {key!r} there"
        )
    return reason


def _is_layer(name: str) -> bool:
    try:
        canonical_layer(name)
    except RequestError:
        return False
    return True


def trace(
    objective: Objective, network: Network, function: Callable[..., Any], *args: Any
) -> Any:
    """Return the shapes of a function's results, traced as in the compiled program.

    Args:
      function: takes the objective, the network and `args`.

    Raises:
      RequestError: a term's code raises, or decides by a number that is traced.
    """
    try:
        return jax.eval_shape(function, objective, network, *args)
    except UNKNOWN as error:
        name, leaf = _undecided(objective, network, function, args)
        raise RequestError(f"terms ({name}): {unknown(error, leaf)}") from None
    except RequestError:
        raise
    except (Exception, SystemExit) as error:  # A term is code, and may raise anything.
        place = _place(error) or f"one of {', '.join(objective.names)}"
        raise RequestError(f"terms: {place}: {raised(error)}") from error


def _undecided(
    objective: Objective, network: Network, function: Callable[..., Any], args: Any
) -> tuple[str, str]:
    """The name of the term whose number Python asks for, and the number's field.

    All names and "" where what is in the pictures is asked for.
    """

    def is_traced(*unknown_leaves: int) -> bool:
        """Whether a trace succeeds in which all leaves but these have their numbers."""

        def with_given(numbers: dict[int, Any], *args: Any) -> Any:
            given = [numbers.get(i, leaf) for i, leaf in enumerate(leaves)]
            return function(jax.tree.unflatten(tree, given), *args)

        try:
            jax.eval_shape(
                with_given, {i: leaves[i] for i in unknown_leaves}, network, *args
            )
        except UNKNOWN:
            return False
        return True

    leaves, tree = jax.tree.flatten(objective)
    names = ", ".join(objective.names)
    if not is_traced():
        return names, ""
    for i, (path, _) in enumerate(jax.tree_util.tree_leaves_with_path(objective)):
        if not is_traced(i):
            keys = jax.tree_util.keystr(path, simple=True, separator=".").split(".", 2)
            return objective.terms[int(keys[1])].name, keys[2]
    return names, ""


def _place(error: BaseException) -> str | None:
    """The innermost of the terms' methods that raised, and where; None if none did."""
    place = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if isinstance(term := frame.f_locals.get("self"), Term):
            file = re.split(r"[/\\]", frame.f_code.co_filename)[-1]
            place = f"{type(term).__name__} ({file}, line {line})"
    return place
