"""The behaviour of a term: its loss, its gradient and what they do in a batch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.flatten_util import ravel_pytree

from nst_jax.check.result import FAILED, OK, REMARK, Line
from nst_jax.check.sample_inputs import (
    SIZE,
    SampleInputs,
    apart,
    finite,
    loss,
    picture,
    slope,
    target,
)
from nst_jax.losses import StyleTerm, Term, View
from nst_jax.losses.guides import guides

#: Steps of the differences, relative to what is stepped from; the one that agrees best
#: counts. Large ones suit a loss that rounds to float32 inside, small ones a bent one.
STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
DIRECTIONS = 4
#: What a gradient may be off from differences, and one region from none.
ALLOWED = 1e-3
#: What the loss at the own target may be, relative to that of other pictures.
ZERO = 1e-4
#: What the same numbers may differ by, computed otherwise.
ROUNDING = 1e-5


def gradient(inputs: SampleInputs) -> Line:
    """The gradient is what differences are, in random directions."""
    canvas, content, style = inputs.views(3)
    goal = target(inputs.term, content, [style])
    rng = np.random.default_rng(0)
    seen = jax.tree.map(
        # Off the zeros of a ReLU, where an absolute value has a kink.
        lambda x: np.asarray(x) + 0.01 * _rms(x) * rng.normal(size=x.shape),
        (canvas.image, dict(canvas.features)),
    )
    point, unravel = ravel_pytree(seen)
    scale, _ = ravel_pytree(jax.tree.map(lambda x: np.full(x.shape, _rms(x)), seen))
    directions = np.asarray(scale)[None] * rng.normal(size=(DIRECTIONS, point.size))

    def at(point: jax.Array) -> View:
        return View(*unravel(point))

    found, _ = ravel_pytree(_slope(inputs.term, at(point), goal)[1])
    slopes, differences = [], []
    for direction in directions:
        slopes.append(float(found @ direction))
        by_step = []
        for step in STEPS:
            ahead = _value(inputs.term, at(point + step * direction), goal)
            behind = _value(inputs.term, at(point - step * direction), goal)
            by_step.append(float(ahead - behind) / (2 * step))
        differences.append(min(by_step, key=lambda x: abs(x - slopes[-1])))
    if not finite((slopes, differences)):
        return Line("gradient", f"it is not finite, along directions {slopes}", FAILED)
    if not any(slopes):
        reason = "it is 0 in every direction: nothing moves a canvas"
        return Line("gradient", reason, FAILED)
    off = _rms(np.subtract(slopes, differences))
    error = off / (_rms(differences) or _rms(slopes))
    return Line(
        "gradient",
        f"off by {error:.1e} of central differences in {DIRECTIONS} directions, "
        f"allowed {ALLOWED:.0e}",
        OK if error <= ALLOWED else FAILED,
    )


def own_target(inputs: SampleInputs) -> Line:
    """The loss is 0 at the picture that the target is of, and above it elsewhere."""
    name = "own target"
    one, two, three, four = inputs.views(4)
    goal = target(inputs.term, one, [two])
    flat = inputs.view(np.full((*SIZE, 3), 0.5))
    if not jax.tree.leaves(goal):
        there, nothing = (_value(inputs.term, view, goal) for view in (one, flat))
        return Line(
            name,
            f"it has none; the loss is {there:.3g} at a picture, {nothing:.3g} where "
            "all is flat",
            REMARK,
        )
    of_content = apart(goal, target(inputs.term, three, [two])) > 0
    of_style = apart(goal, target(inputs.term, one, [three])) > 0
    if not (of_content or of_style):
        return Line(name, "it is of neither picture", REMARK)
    own, whose, seed = (one, "content", 0) if of_content else (two, "style", 1)
    if of_content and of_style:
        goal, whose = target(inputs.term, one, [one]), "content and style"
    near = inputs.view(picture(seed) + 0.1 * picture(9))
    at = float(_value(inputs.term, own, goal))
    others = [float(_value(inputs.term, v, goal)) for v in (three, four, flat, near)]
    least, most = min(others), max(map(abs, others))
    text = f"{at:.1e} at the {whose} itself, {least:.3g} to {most:.3g} elsewhere"
    if least < min(at, 0.0) - ROUNDING * most:
        return Line(name, f"{text}: it is lower there", FAILED)
    if not abs(at) <= ZERO * most:
        return Line(name, f"{text}: it should be 0 where nothing is wrong", FAILED)
    return Line(name, text)


def vmap(inputs: SampleInputs) -> Line:
    """A batch, of pictures or of values of the leaves, is its members one by one."""
    views = inputs.views(4)
    goals = [target(inputs.term, views[i], [views[i + 1]]) for i in range(3)]
    stacked_views, stacked_goals = (
        jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
        for trees in ([views[i] for i in (2, 3, 0)], goals)
    )
    found = _over_pictures(inputs.term, stacked_views, stacked_goals)
    alone = [
        _slope(inputs.term, views[i], goal)
        for i, goal in zip((2, 3, 0), goals, strict=True)
    ]
    pictures = apart(found, jax.tree.map(lambda *leaves: np.stack(leaves), *alone))
    terms = _with_other_leaves(inputs)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *terms)
    values = [_value(term, views[2], goals[0]) for term in terms]
    leaves = apart(_over_terms(stacked, views[2], goals[0]), np.stack(values))
    return Line(
        "vmap",
        f"off by {pictures:.1e} from a loop over 3 pictures, by {leaves:.1e} over "
        f"3 values of each leaf, allowed {ROUNDING:.0e}",
        OK if max(pictures, leaves) <= ROUNDING else FAILED,
    )


def weight(inputs: SampleInputs) -> Line:
    """The loss goes with the weight, which the objective multiplies it by."""
    canvas, content, style = inputs.views(3)
    goal = target(inputs.term, content, [style])
    once, twice = (
        float(_value(dataclasses.replace(inputs.term, weight=factor), canvas, goal))
        for factor in (1.0, 2.0)
    )
    if abs(twice - 2 * once) <= ROUNDING * abs(twice):
        return Line("weight", "twice the weight is twice the loss")
    return Line(
        "weight",
        f"twice the weight is {_times(twice, once)} the loss: it is for the objective "
        "to multiply by it, not for the term",
        FAILED,
    )


def size(inputs: SampleInputs) -> Line:
    """What the same pictures at twice the side make of the loss."""
    losses = []
    for side in (1, 2):
        views = inputs.views(3, (side * SIZE[0], side * SIZE[1]))
        canvas, content, style = views
        goal = target(inputs.term, content, [style])
        losses.append(float(_value(inputs.term, canvas, goal)))
    height, width = SIZE
    text = (
        f"at {2 * width}×{2 * height} px {_times(losses[1], losses[0])} the loss of "
        f"{width}×{height} px"
    )
    if 0.5 <= losses[1] / (losses[0] or 1) <= 2:
        return Line("size", f"{text}; a weight keeps its effect")
    return Line("size", f"{text}: another size wants another weight", REMARK)


def degenerate(inputs: SampleInputs) -> Line:
    """Loss and gradient are finite, as float32 has them, where little is to be seen."""
    height, width = inputs.odd
    images = {
        "a picture": picture(0, (height, width)),
        "flat grey": np.full((height, width, 3), 0.5),
        "zeros": np.zeros((height, width, 3)),
    }
    where = f"{width}×{height} px"
    with jax.enable_x64(False):
        views = {name: inputs.view(image) for name, image in images.items()}
        turned = inputs.view(picture(1, (width, height)))
        goals = {
            name: target(inputs.term, view, [view]) for name, view in views.items()
        }
        goals["a style of another size"] = target(
            inputs.term, views["a picture"], [turned]
        )
        for goal_name, goal in goals.items():
            for name, view in views.items():
                if not finite(_slope(inputs.term, view, goal)):
                    return Line(
                        "degenerate",
                        f"NaN or infinity at {where}, the canvas being {name} and the "
                        f"target of {goal_name}",
                        FAILED,
                    )
    return Line("degenerate", f"finite at {where}, flat, zeros, and styles of any size")


def regions(inputs: SampleInputs) -> Line | None:
    """One region is none, and one that a style lacks does no harm."""
    term = inputs.term
    if not isinstance(term, StyleTerm):
        return None
    if not term.knows_regions:
        return Line(
            "regions",
            "statistic takes no weights, so it is not for pictures with regions",
            REMARK,
        )
    canvas, content, style = inputs.views(3)

    def guided(view: View, regions: np.ndarray) -> View:
        return view._replace(guides=guides(jnp.asarray(regions), term.layers))

    whole = np.ones((1, *SIZE))
    goal = target(term, guided(content, whole), [guided(style, whole)])
    one = _value(term, canvas, goal)
    none = _value(term, canvas, target(term, content, [style]))
    error = apart(one, none)
    left = np.zeros((2, *SIZE))
    left[0, :, : SIZE[1] // 2], left[1, :, SIZE[1] // 2 :] = 1, 1
    first = np.stack([np.ones(SIZE), np.zeros(SIZE)])
    goal = target(term, guided(content, left), [guided(style, first)])
    if not finite(_slope(term, canvas, goal)):
        reason = "NaN or infinity where a style lacks a region: its weights are all 0"
        return Line("regions", reason, FAILED)
    return Line(
        "regions",
        f"one region is off by {error:.1e} from none, allowed {ALLOWED:.0e}; one that "
        "a style lacks does no harm",
        OK if error <= ALLOWED else FAILED,
    )


_value = jax.jit(loss)
_slope = jax.jit(slope)
_over_pictures = jax.jit(jax.vmap(slope, in_axes=(None, 0, 0)))
_over_terms = jax.jit(jax.vmap(loss, in_axes=(0, None, None)))


def _with_other_leaves(inputs: SampleInputs) -> list[Term]:
    """The term with half of each leaf, with the leaf itself and with twice of it."""
    leaves, tree = jax.tree.flatten(inputs.term)
    return [
        jax.tree.unflatten(tree, [*leaves[:i], value, *leaves[i + 1 :]])
        for i, leaf in enumerate(leaves)
        for value in (0.5 * leaf, leaf, 2 * leaf)
    ]


def _rms(x: npt.ArrayLike) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(x)))))


def _times(after: float, before: float) -> str:
    return f"{after / before:.3g} times" if before else f"{after:.3g} instead of 0 as"
