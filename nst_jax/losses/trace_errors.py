"""Errors that a term's code raises during tracing, each as one sentence."""

import re
import traceback
from collections.abc import Callable
from typing import Any

import jax

from nst_jax.core.errors import RequestError
from nst_jax.losses.base import Term
from nst_jax.losses.objective import Objective
from nst_jax.models.layers import canonical_layer
from nst_jax.models.vgg import Network

#: Exceptions of JAX where Python needs the value of a traced array.
TRACER_ERRORS = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)


def describe_tracer_error(error: BaseException, leaf: str = "") -> str:
    """Describe one of `TRACER_ERRORS` and its remedy.

    Args:
      error: the exception.
      leaf: the leaf whose value is needed; "" for a pixel or feature.
    """
    value = f"the leaf {leaf!r}" if leaf else "a pixel or feature"
    if isinstance(error, jax.errors.TracerArrayConversionError):
        return f"the code converts {value} to NumPy; use jax.numpy instead"
    field = leaf.partition(".")[0]
    static = f"declare it static, {field}: … = nst_jax.static(…), or " if leaf else ""
    return (
        f"the code needs the value of {value}, which is unknown during tracing; "
        f"{static}use jnp.where"
    )


def describe_exception(error: BaseException) -> str:
    """Describe an exception in one line, with the remedy for a missing layer."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    key = error.args[0] if isinstance(error, KeyError) and error.args else None
    if isinstance(key, str) and _is_layer(key):
        return (
            f"{reason}: the term uses a layer that is not in its field layers; add "
            f"{key!r} there"
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
      objective: first argument of `function`.
      network: second argument of `function`.
      function: the function to trace.
      *args: its other arguments.

    Raises:
      RequestError: a term's code raises, or needs the value of a traced array.
    """
    try:
        return jax.eval_shape(function, objective, network, *args)
    except TRACER_ERRORS as error:
        names = ", ".join(objective.names)
        needed = find_needed_leaf(function, objective, network, *args)
        path, cause = needed or ("", error)
        if path:
            _, index, path = path.split(".", 2)
            names = objective.terms[int(index)].name
        raise RequestError(
            f"terms ({names}): {describe_tracer_error(cause, path)}"
        ) from None
    except RequestError:
        raise
    except (Exception, SystemExit) as error:  # A term's code may raise anything.
        source = _raising_method(error) or f"one of {', '.join(objective.names)}"
        raise RequestError(f"terms: {source}: {describe_exception(error)}") from error


def find_needed_leaf(
    function: Callable[..., Any], tree: Any, *args: Any
) -> tuple[str, Exception] | None:
    """Find the leaf whose value Python needs to trace `function(tree, *args)`.

    Returns:
      The leaf's path, or "" if Python needs a value of `args`, and the exception of
      JAX; None if every leaf may be traced alone.
    """
    leaves, structure = jax.tree.flatten(tree)
    traced: dict[str, dict[int, Any]] = {"": {}}
    for i, (path, leaf) in enumerate(jax.tree.leaves_with_path(tree)):
        traced[jax.tree_util.keystr(path, simple=True, separator=".")] = {i: leaf}

    def call(traced_leaves: dict[int, Any], *args: Any) -> Any:
        merged = [traced_leaves.get(i, leaf) for i, leaf in enumerate(leaves)]
        return function(jax.tree.unflatten(structure, merged), *args)

    for name, traced_leaves in traced.items():
        try:
            jax.eval_shape(call, traced_leaves, *args)
        except TRACER_ERRORS as error:
            return name, error
    return None


def _raising_method(error: BaseException) -> str | None:
    """Return the class, file and line of the innermost term method that raised."""
    source = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if isinstance(term := frame.f_locals.get("self"), Term):
            file = re.split(r"[/\\]", frame.f_code.co_filename)[-1]
            source = f"{type(term).__name__} ({file}, line {line})"
    return source
