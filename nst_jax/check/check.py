"""The checks of a term in their order, beginning with those of its structure."""

import dataclasses
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.check import behaviour
from nst_jax.check.sample_inputs import FAILED, OK, CheckResult, SampleInputs
from nst_jax.losses import Term, View
from nst_jax.losses.trace_errors import (
    describe_exception,
    describe_tracer_error,
    find_needed_leaf,
)
from nst_jax.models.vgg import Network

#: Names of the checks without which the checks of the behaviour cannot run.
STRUCTURE = "fields", "scalar"


def check(
    term: object, network: Callable[[], Network]
) -> Iterator[tuple[str, CheckResult]]:
    """Check what the optimisation assumes about a term.

    The checks use small synthetic images in float64, and the network's own weights. The
    term's weight is ignored.

    Args:
      term: a loss term.
      network: returns the network; called only if the term has layers.

    Yields:
      Name and result of each check. The first failure of the structure is the last
      result.
    """
    result = check_pytree(term)
    yield "pytree", result
    if result.verdict == FAILED or not isinstance(term, Term):
        return
    inputs = SampleInputs.from_term(term, network() if term.layers else None)
    for name, run in CHECKS.items():
        # Not around the loop, because the caller's code runs between the results.
        with jax.enable_x64(True):
            try:
                checked = run(inputs)
            except (Exception, SystemExit) as error:  # The term's code may raise any.
                checked = CheckResult(FAILED, describe_exception(error))
        if checked is not None:
            yield name, checked
            if checked.verdict == FAILED and name in STRUCTURE:
                return


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


CHECKS: dict[str, Callable[[SampleInputs], CheckResult | None]] = {
    "fields": check_fields,
    "scalar": check_scalar,
    "gradient": behaviour.check_gradient,
    "minimum": behaviour.check_minimum,
    "vmap": behaviour.check_vmap,
    "weight": behaviour.check_weight,
    "size": behaviour.check_size,
    "degenerate": behaviour.check_degenerate,
    "regions": behaviour.check_regions,
}
