"""Evenness of style at the four borders, by size, pooling and its rounding.

    python -m benchmarks.strips

A square content image is styled from itself in each of its four orientations, with
`Content` of weight 20, `Gram` and L-BFGS without a line search. Each border thus has
each side of the photograph once. A row has the mean change of the outer 4 px on each
side, and the ratio of the weakest to the strongest. For the last column each side is
first divided by its change at the nearest multiple of 16, where no pooling has an odd
row. The network treats up and down differently, so the first ratio is below 1 at every
size; the second isolates the effect of an odd size.
"""

import functools

import numpy as np
from absl import flags

import nst_jax
from benchmarks import script
from benchmarks.padding_error import strip_changes
from nst_jax.models.vgg import POOLINGS, ROUNDINGS

_CONTENT = flags.DEFINE_string("content", "samples/chelsea.png", "Content image.")
_STYLE = flags.DEFINE_string("style", "samples/swirls.jpg", "Style image.")
_STEPS = script.count_flag("steps", 80, "Steps of L-BFGS.")
_SIZES = script.numbers_flag(
    "sizes", (95, 97, 111, 127, 130), "Sides of the square in pixels.", least=32
)
_POOLINGS = script.names_flag("poolings", POOLINGS, POOLINGS, "Poolings.")
_ROUNDINGS = script.names_flag("roundings", ROUNDINGS, ROUNDINGS, "Roundings.")


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
        problems, np.stack(contents), steps=steps, log_every=steps, strategy="loop"
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
