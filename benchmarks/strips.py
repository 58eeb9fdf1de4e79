"""How evenly the four borders are styled, by size, pooling and its rounding.

    python -m benchmarks.strips

A square content is styled from itself in each of its four orientations, with `Content`
of weight 20, `Gram` and L-BFGS without a line search: so each border has each side of
the photograph once. A row has the mean change of the outer 4 px on each side, the
weakest over the strongest, and the same after each side is divided by what it changes
by at the nearest multiple of 16, where no pooling has an odd row. The network treats
up and down differently, so that not even there the first ratio is 1; the second tells
what an odd size adds.
"""

import functools

import numpy as np
from absl import flags

import nst_jax
from benchmarks import lists, script
from nst_jax.metrics.padding_error import strip_changes
from nst_jax.models.vgg import POOLINGS, ROUNDINGS

_CONTENT = flags.DEFINE_string("content", "samples/chelsea.png", "Content picture.")
_STYLE = flags.DEFINE_string("style", "samples/swirls.jpg", "Style picture.")
_STEPS = flags.DEFINE_integer("steps", 80, "Steps of L-BFGS.", lower_bound=1)
_SIZES = lists.numbers(
    "sizes", (95, 97, 111, 127, 130), "Sides of the square in pixels.", least=32
)
_POOLINGS = lists.names("poolings", POOLINGS, POOLINGS, "Poolings.")
_ROUNDINGS = lists.names("roundings", ROUNDINGS, ROUNDINGS, "Roundings.")


@functools.cache
def changes(size: int, pooling: str, rounding: str) -> np.ndarray:
    """Return the changes of the left, right, top and bottom strips, [4]."""
    picture = nst_jax.read_image(_CONTENT.value, size, fit="short")
    top, left = ((side - size) // 2 for side in picture.shape[:2])
    square = picture[top : top + size, left : left + size]
    style = nst_jax.read_image(_STYLE.value, size)
    network = nst_jax.load_network(pooling=pooling, pool_rounding=rounding)
    objective = nst_jax.Objective((nst_jax.Content(weight=20.0), nst_jax.Gram()))
    contents = [np.ascontiguousarray(np.rot90(square, turn)) for turn in range(4)]
    problems = [
        nst_jax.Problem.from_images(
            network, objective, x, [style], nst_jax.FixedLBFGS()
        )
        for x in contents
    ]
    steps = _STEPS.value
    result = nst_jax.run(
        problems, np.stack(contents), steps=steps, look_every=steps, strategy="loop"
    )
    pairs = zip(contents, result.canvas, strict=True)
    return np.mean([[*strip_changes(*pair).values()] for pair in pairs], axis=0)


def main() -> None:
    print(
        "| px | pooling | rounding | left | right | top | bottom | ratio | relative |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for size in map(int, _SIZES.value):
        aligned = 16 * round(size / 16)
        for pooling in _POOLINGS.value:
            even = changes(aligned, pooling, "ceil")
            for rounding in _ROUNDINGS.value:
                strips = changes(size, pooling, rounding)
                figures = " | ".join(f"{strip:.3f}" for strip in strips)
                ratio = strips.min() / strips.max()
                relative = (strips / even).min() / (strips / even).max()
                print(
                    f"| {size} | {pooling} | {rounding} | {figures} | {ratio:.2f} "
                    f"| {relative:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    script.run(main)
