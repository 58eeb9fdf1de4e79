"""Checks of a term's behaviour: its loss, its gradient, and both in a batch."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.flatten_util import ravel_pytree

from nst_jax.check.sample_inputs import (
    FAILED,
    OK,
    REMARK,
    SIZE,
    CheckResult,
    SampleInputs,
    compute_target,
    is_finite,
    loss_and_gradient,
    relative_difference,
    sample_image,
    weighted_loss,
)
from nst_jax.losses import StyleTerm, Term, View
from nst_jax.losses.guides import layer_guides

#: Relative steps of the central differences; the one that agrees best counts. Large
#: steps suit a loss that rounds to float32 inside, small steps a curved one.
STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
DIRECTIONS = 4
#: Allowed error of the gradient, and of one region against none.
TOLERANCE = 1e-3
#: Allowed loss at the target's own image, relative to the loss at other images.
ZERO = 1e-4
#: Allowed difference between two computations of the same numbers.
ROUNDING = 1e-5

_loss = jax.jit(weighted_loss)
_loss_and_gradient = jax.jit(loss_and_gradient)
_over_views = jax.jit(jax.vmap(loss_and_gradient, in_axes=(None, 0, 0)))
_over_terms = jax.jit(jax.vmap(weighted_loss, in_axes=(0, None, None)))


def check_gradient(inputs: SampleInputs) -> CheckResult:
    """Compare the gradient with central differences in random directions."""
    canvas, target = inputs.canvas_and_target()
    rng = np.random.default_rng(0)
    arrays = jax.tree.map(
        # Away from the zeros of a ReLU, where an absolute value has a kink.
        lambda x: np.asarray(x) + 0.01 * _rms(x) * rng.normal(size=x.shape),
        (canvas.image, dict(canvas.features)),
    )
    point, unravel = ravel_pytree(arrays)
    scale, _ = ravel_pytree(jax.tree.map(lambda x: np.full(x.shape, _rms(x)), arrays))
    directions = np.asarray(scale)[None] * rng.normal(size=(DIRECTIONS, point.size))

    def loss(point: jax.Array) -> jax.Array:
        return _loss(inputs.term, View(*unravel(point)), target)

    _, tree = _loss_and_gradient(inputs.term, View(*unravel(point)), target)
    gradient, _ = ravel_pytree(tree)
    slopes = directions @ np.asarray(gradient)
    by_step = np.array(
        [
            [(loss(point + h * d) - loss(point - h * d)) / (2 * h) for h in STEPS]
            for d in directions
        ]
    )
    errors = np.nan_to_num(np.abs(by_step - slopes[:, None]), nan=np.inf)
    nearest = np.argmin(errors, 1, keepdims=True)
    differences = np.take_along_axis(by_step, nearest, 1)[:, 0]
    if not is_finite((slopes, differences)):
        return CheckResult(
            FAILED, f"it is not finite, along directions {slopes.tolist()}"
        )
    if not any(slopes):
        return CheckResult(FAILED, "it is 0 in every direction: no canvas would change")
    error = _rms(slopes - differences) / (_rms(differences) or _rms(slopes))
    return CheckResult(
        OK if error <= TOLERANCE else FAILED,
        f"off by {error:.1e} from central differences in {DIRECTIONS} directions, "
        f"allowed {TOLERANCE:.0e}",
    )


def check_minimum(inputs: SampleInputs) -> CheckResult:
    """Check that the loss is 0 at the target's own image, and larger elsewhere."""
    term = inputs.term
    first, second, third, fourth = inputs.views(4)
    target = compute_target(term, first, [second])
    flat = inputs.view(np.full((*SIZE, 3), 0.5))
    if not jax.tree.leaves(target):
        return CheckResult(
            REMARK,
            f"it has no target; the loss is {_loss(term, first, target):.3g} at an "
            f"image and {_loss(term, flat, target):.3g} at flat grey",
        )
    uses_content, uses_style = (
        relative_difference(target, compute_target(term, content, [style])) > 0
        for content, style in ((third, second), (first, third))
    )
    if not (uses_content or uses_style):
        return CheckResult(REMARK, "the target depends on neither content nor style")
    source, source_name, seed = first, "content", 0
    if not uses_content:
        source, source_name, seed = second, "style", 1
    elif uses_style:
        target, source_name = compute_target(term, first, [first]), "content and style"
    near = inputs.view(sample_image(seed) + 0.1 * sample_image(9))
    at_source = float(_loss(term, source, target))
    elsewhere = [float(_loss(term, x, target)) for x in (third, fourth, flat, near)]
    least, most = min(elsewhere), max(map(abs, elsewhere))
    text = (
        f"{at_source:.1e} at the {source_name} itself, {least:.3g} to {most:.3g} "
        "elsewhere"
    )
    if least < min(at_source, 0.0) - ROUNDING * most:
        return CheckResult(FAILED, f"{text}: the loss must not be lower elsewhere")
    if not abs(at_source) <= ZERO * most:
        return CheckResult(FAILED, f"{text}: the loss must be 0 at its own target")
    return CheckResult(OK, text)


def check_vmap(inputs: SampleInputs) -> CheckResult:
    """Compare a batch of images or leaves with a loop over its members."""
    views = inputs.views(4)
    targets = [compute_target(inputs.term, views[i], [views[i + 1]]) for i in range(3)]
    canvases = [views[i] for i in (2, 3, 0)]
    batch = _over_views(inputs.term, _stack(canvases), _stack(targets))
    members = [
        _loss_and_gradient(inputs.term, canvas, target)
        for canvas, target in zip(canvases, targets, strict=True)
    ]
    over_images = relative_difference(batch, _stack(members))
    terms = _with_scaled_leaves(inputs)
    losses = [_loss(term, views[2], targets[0]) for term in terms]
    batch = _over_terms(_stack(terms), views[2], targets[0])
    over_leaves = relative_difference(batch, np.stack(losses))
    return CheckResult(
        OK if max(over_images, over_leaves) <= ROUNDING else FAILED,
        f"off by {over_images:.1e} from a loop over 3 images, and {over_leaves:.1e} "
        f"from a loop over 3 values of each leaf, allowed {ROUNDING:.0e}",
    )


def check_weight(inputs: SampleInputs) -> CheckResult:
    """Check that the term leaves the weight to the objective."""
    canvas, target = inputs.canvas_and_target()
    once, twice = (
        float(_loss(dataclasses.replace(inputs.term, weight=factor), canvas, target))
        for factor in (1.0, 2.0)
    )
    if abs(twice - 2 * once) <= ROUNDING * abs(twice):
        return CheckResult(OK, "twice the weight is twice the loss")
    return CheckResult(
        FAILED,
        f"twice the weight is {_ratio(twice, once)} the loss; leave the weight to the "
        "objective, which multiplies the term by it",
    )


def check_size(inputs: SampleInputs) -> CheckResult:
    """Compare the loss of the same images at two sizes."""
    height, width = SIZE
    small, large = (
        float(_loss(inputs.term, *inputs.canvas_and_target(size)))
        for size in (SIZE, (2 * height, 2 * width))
    )
    text = (
        f"at {2 * width}×{2 * height} px {_ratio(large, small)} the loss of "
        f"{width}×{height} px"
    )
    if 0.5 <= large / (small or 1) <= 2:
        return CheckResult(OK, f"{text}; a weight keeps its effect")
    return CheckResult(REMARK, f"{text}: the weight depends on the size")


def check_degenerate(inputs: SampleInputs) -> CheckResult:
    """Check that loss and gradient are finite in float32 for degenerate images."""
    height, width = inputs.odd_size
    images = {
        "an image": sample_image(0, (height, width)),
        "flat grey": np.full((height, width, 3), 0.5),
        "zeros": np.zeros((height, width, 3)),
    }
    with jax.enable_x64(False):
        views = {name: inputs.view(image) for name, image in images.items()}
        sources = {name: (view, view) for name, view in views.items()}
        other_size = inputs.view(sample_image(1, (width, height)))
        sources["a style of another size"] = (views["an image"], other_size)
        for source_name, (content, style) in sources.items():
            target = compute_target(inputs.term, content, [style])
            for name, view in views.items():
                if not is_finite(_loss_and_gradient(inputs.term, view, target)):
                    return CheckResult(
                        FAILED,
                        f"NaN or infinity at {width}×{height} px for the canvas {name} "
                        f"and the target of {source_name}",
                    )
    return CheckResult(
        OK,
        f"finite at {width}×{height} px, for flat grey, zeros and styles of any size",
    )


def check_regions(inputs: SampleInputs) -> CheckResult | None:
    """Compare one region with none, and check a region that a style lacks."""
    term = inputs.term
    if not isinstance(term, StyleTerm):
        return None
    if not term.has_weighted_statistic:
        return CheckResult(
            REMARK, "statistic takes no weights, which images with regions need"
        )
    canvas, content, style = inputs.views(3)

    def with_regions(view: View, *regions: np.ndarray) -> View:
        guides = layer_guides(jnp.asarray(np.stack(regions)), term.layers)
        return view._replace(guides=guides)

    def target(content: View, style: View) -> Any:
        return compute_target(term, content, [style])

    ones, zeros, left = np.ones(SIZE), np.zeros(SIZE), np.zeros(SIZE)
    left[:, : SIZE[1] // 2] = 1
    one_region = target(with_regions(content, ones), with_regions(style, ones))
    error = relative_difference(
        _loss(term, canvas, one_region), _loss(term, canvas, target(content, style))
    )
    lacking = target(
        with_regions(content, left, 1 - left), with_regions(style, ones, zeros)
    )
    if not is_finite(_loss_and_gradient(term, canvas, lacking)):
        return CheckResult(
            FAILED, "NaN or infinity if a style lacks a region: its weights are all 0"
        )
    return CheckResult(
        OK if error <= TOLERANCE else FAILED,
        f"one region is off by {error:.1e} from none, allowed {TOLERANCE:.0e}; a style "
        "may lack a region",
    )


def _with_scaled_leaves(inputs: SampleInputs) -> list[Term]:
    """Return terms with half of each leaf, the leaf itself and twice the leaf."""
    leaves, tree = jax.tree.flatten(inputs.term)
    return [
        jax.tree.unflatten(tree, [*leaves[:i], factor * leaf, *leaves[i + 1 :]])
        for i, leaf in enumerate(leaves)
        for factor in (0.5, 1, 2)
    ]


def _stack(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def _rms(x: npt.ArrayLike) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(x)))))


def _ratio(after: float, before: float) -> str:
    return f"{after / before:.3g} times" if before else f"{after:.3g} instead of 0 as"
