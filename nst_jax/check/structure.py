"""Checks of a term's structure: whether a compiled program can take it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.check.result import FAILED, OK, CheckResult
from nst_jax.check.sample_inputs import SampleInputs
from nst_jax.losses import Term, View
from nst_jax.losses.trace_errors import describe_tracer_error, find_needed_leaf


def check_pytree(term: object) -> CheckResult:
    """Check that a term is a pytree of numbers whose static fields are hashable."""
    name = type(term).__name__
    if not isinstance(term, Term):
        return CheckResult(
            FAILED, f"{name} is not an nst_jax.Term; subclass it or one of its kinds"
        )
    if jax.tree_util.all_leaves([term]):
        return CheckResult(
            FAILED,
            f"{name} is not a registered pytree; write @nst_jax.term above the class",
        )
    static = 0
    for field in dataclasses.fields(term):
        value = getattr(term, field.name)
        if field.metadata.get("static"):
            static += 1
            try:
                hash(value)
            except TypeError:
                return CheckResult(
                    FAILED,
                    f"static field {field.name!r} is a {type(value).__name__}, which "
                    "cannot be hashed; use a tuple",
                )
            continue
        for leaf in jax.tree.leaves(value):
            if not isinstance(leaf, int | float | np.ndarray | jax.Array):
                return CheckResult(
                    FAILED,
                    f"field {field.name!r} has the value {leaf!r}, which is not a "
                    f"number; declare it static, {field.name}: … = nst_jax.static(…)",
                )
    leaves = len(jax.tree.leaves(term))
    return CheckResult(OK, f"leaves: {leaves}, all numbers; static fields: {static}")


def check_fields(inputs: SampleInputs) -> CheckResult:
    """Check that tracing needs the values of neither leaves nor images."""
    if needed := find_needed_leaf(_parts, inputs.term, inputs.views(3)):
        path, error = needed
        return CheckResult(FAILED, describe_tracer_error(error, path))
    return CheckResult(OK, "one program takes any values of leaves and images")


def check_scalar(inputs: SampleInputs) -> CheckResult:
    """Check that each part of the loss is one real number."""
    parts = jax.eval_shape(lambda views: _parts(inputs.term, views), inputs.views(3))
    for name, part in parts.items():
        if part.shape or not jnp.issubdtype(part.dtype, jnp.floating):
            return CheckResult(
                FAILED,
                f"{name} must be one real number, got shape {part.shape} and dtype "
                f"{part.dtype}",
            )
    return CheckResult(OK, f"one number for each of {', '.join(parts)}")


def _parts(term: Term, views: list[View]) -> dict[str, jax.Array]:
    canvas, content, style = views
    return term.parts(canvas, term.target(content, [style]))
