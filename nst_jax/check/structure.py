"""The form of a term: what a compiled program can take."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.check.result import FAILED, Line
from nst_jax.check.sample_inputs import SampleInputs
from nst_jax.losses import Term, View
from nst_jax.losses.trace_errors import UNKNOWN, unknown

Parts = dict[str, jax.Array]


def pytree(term: object) -> Line:
    """It is a term whose leaves are numbers, and whose other fields are hashable."""
    name = type(term).__name__

    def wrong(text: str) -> Line:
        return Line("pytree", text, FAILED)

    if not isinstance(term, Term):
        return wrong(f"{name} is no nst_jax.Term; subclass it, or one of its kinds")
    if jax.tree_util.all_leaves([term]):
        return wrong(
            f"{name} is not registered as a pytree: write @nst_jax.term above the class"
        )
    static = 0
    for field in dataclasses.fields(term):
        content = getattr(term, field.name)
        if not field.metadata.get("static"):
            for leaf in jax.tree.leaves(content):
                if not isinstance(leaf, int | float | np.ndarray | jax.Array):
                    return wrong(
                        f"field {field.name!r} holds {leaf!r}, which is no number: "
                        f"declare it static, {field.name}: … = nst_jax.static(…)"
                    )
            continue
        static += 1
        try:
            hash(content)
        except TypeError:
            return wrong(
                f"static field {field.name!r} is a {type(content).__name__}, which "
                "cannot be hashed: a tuple can"
            )
    leaves = len(jax.tree.leaves(term))
    return Line("pytree", f"leaves: {leaves}, all numbers; static fields: {static}")


def fields(inputs: SampleInputs) -> Line:
    """Python asks neither for a leaf nor for what is in a picture."""
    pictures = inputs.views(3)
    leaves, tree = jax.tree.flatten(inputs.term)
    names = [
        jax.tree_util.keystr(path, simple=True)
        for path, _ in jax.tree.leaves_with_path(inputs.term)
    ]
    try:
        jax.eval_shape(lambda pictures: _parts(inputs.term, pictures), pictures)
    except UNKNOWN as error:
        return Line("fields", unknown(error), FAILED)
    for i, name in enumerate(names):

        def of_one(leaf: Any, pictures: list[View], i: int = i) -> Parts:
            term = jax.tree.unflatten(tree, [*leaves[:i], leaf, *leaves[i + 1 :]])
            return _parts(term, pictures)

        try:
            jax.eval_shape(of_one, leaves[i], pictures)
        except UNKNOWN as error:
            return Line("fields", unknown(error, name), FAILED)
    return Line("fields", f"of {', '.join(names)} one program takes any value")


def scalar(inputs: SampleInputs) -> Line:
    """Each part of the loss is one number."""
    parts = jax.eval_shape(
        lambda pictures: _parts(inputs.term, pictures), inputs.views(3)
    )
    for name, part in parts.items():
        if part.shape or not jnp.issubdtype(part.dtype, jnp.floating):
            return Line(
                "scalar",
                f"{name} must be one real number, is of shape {part.shape} and dtype "
                f"{part.dtype}",
                FAILED,
            )
    return Line("scalar", f"one number for each of {', '.join(parts)}")


def _parts(term: Term, pictures: list[View]) -> Parts:
    canvas, content, style = pictures
    return term.parts(canvas, term.target(content, [style]))
