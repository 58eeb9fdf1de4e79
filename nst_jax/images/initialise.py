"""Starting pictures.

A seed's noise is drawn by a key of its own, `fold_in(root, seed)`, one picture at
a time and on the CPU: it is the same array whatever batch it goes into and
whatever device it is sent to.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from nst_jax.core.config_record import ConfigRecord
from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import Array, PictureSource, as_picture, check_sequence
from nst_jax.core.keys import seed_key
from nst_jax.core.validation import Range, check_integer
from nst_jax.images.image import resize
from nst_jax.models.preprocessing import CAFFE

#: Kinds with noise.
NOISY = ("noise", "blend", "previous")
#: The colour that noise is around, RGB.
CENTRES = {
    "grey": (0.5, 0.5, 0.5),
    "mean": tuple(mean / 255 for mean in reversed(CAFFE.mean)),
    "black": (0.0, 0.0, 0.0),
}


@dataclasses.dataclass
class Canvas(ConfigRecord, path="canvas", renamed={"new": "per_frame"}):
    """The starting canvas of the optimisation.

    Attributes:
      kind: "content"; "style", the first style picture, resized; "noise" around a
        colour; "blend" of noise and content; "file", the picture at `path`, resized;
        "previous", the result of the frame before, or noise for the first frame.
      noise: "uniform" in ±amplitude, or "normal" with that standard deviation.
      amplitude: noise amplitude in [0, 1] picture units; uniform noise of 0.5 fills the
        gamut. Published tools use 4e-7 to 1.
      centre: colour around which the noise is: "grey", "black", or "mean", the mean of
        ImageNet, which tools subtract from their input.
      mix: share of noise in a blend, from 0 to 1.
      path: picture of kind "file". A run's `final.npy`, or its array, continues that
        run exactly at the same size, except with the colours "luminance" and
        "luma_swap".
      per_frame: change of the start from frame to frame of a film: "nothing"; new
        "noise"; or "rounding", one more unit in the last place of the first value.
      ulps: units in the last place that are added to the first value, to study how the
        smallest possible difference grows.
    """

    kind: Literal["content", "style", "noise", "blend", "file", "previous"] = "content"
    noise: Literal["uniform", "normal"] = "uniform"
    amplitude: Annotated[float, Range(0, below=math.inf)] = 0.5
    centre: Literal["grey", "mean", "black"] = "grey"
    mix: Annotated[float, Range(0, 1)] = 0.5
    path: PictureSource = ""
    per_frame: Literal["nothing", "noise", "rounding"] = "nothing"
    ulps: Annotated[int, Range(-1000, 1000)] = 0

    def check_relations(self) -> None:
        if self.per_frame == "noise" and self.kind not in NOISY:
            raise RequestError(
                f"canvas.per_frame='noise' needs a canvas.kind of {NOISY}, "
                f"got {self.kind!r}"
            )
        if (self.kind == "file") != bool(self.path):
            raise RequestError(
                "canvas.path goes with canvas.kind='file', got "
                f"kind {self.kind!r} and path {self.path!r}"
            )

    @property
    def seeded(self) -> bool:
        """True if the start depends on the seed."""
        noisy = ("noise", "previous")
        return self.kind in noisy or (self.kind == "blend" and self.mix > 0)


def add_ulps(picture: np.ndarray, ulps: int) -> np.ndarray:
    """The picture, its first value moved by so many units in the last place."""
    picture = np.array(picture, np.float32)
    towards = np.float32(np.inf if ulps > 0 else -np.inf)
    for _ in range(abs(ulps)):
        picture[0, 0, 0] = np.nextafter(picture[0, 0, 0], towards)
    return picture


@functools.partial(jax.jit, static_argnums=(1, 2))
def unit_noise(key: jax.Array, shape: tuple[int, int, int], kind: str) -> jax.Array:
    """Noise of a shape [H, W, 3]: uniform in ±1, or standard normal.

    float32, so that its values stay the same where 64-bit arrays are enabled.
    """
    if kind == "uniform":
        return jax.random.uniform(key, shape, jnp.float32, -1.0, 1.0)
    return jax.random.normal(key, shape, jnp.float32)


def starting_canvas(
    canvas: Canvas,
    seed: int,
    content: ArrayLike,
    styles: Sequence[ArrayLike] = (),
    picture: ArrayLike | None = None,
    frame: int = 0,
) -> np.ndarray:
    """The canvas that a seed starts from.

    Args:
      canvas: what kind.
      seed: any integer from 0 to 2³²−1.
      content: [H, W, 3], floats in [0, 1], uint8 or uint16; the canvas has its shape.
      styles: the style pictures, likewise; kind "style" takes the first.
      picture: what kind "file" has read, of any size; for kind "previous" the
        result of the frame before, None if there is none. It may leave [0, 1].
      frame: which frame of a film, from 0.

    Returns:
      float32 [H, W, 3]. Noise is not clipped to [0, 1].

    Raises:
      RequestError: an argument is outside of what it allows, or the kind needs a
        picture that is not given.
    """
    canvas.check()
    check_integer("seed", seed, 0, 2**32 - 1)
    check_integer("frame", frame, 0)
    check_sequence(styles, "styles")
    if canvas.kind == "file" and picture is None:
        raise RequestError("canvas.kind='file' needs the argument picture, got none")
    pictures = tuple(as_picture(s, f"styles[{i}]") for i, s in enumerate(styles))
    if picture is not None:
        picture = as_picture(picture, "picture", optimised=True)
    content = as_picture(content, "content")
    return draw_canvas(canvas, int(seed), content, pictures, picture, int(frame))


def draw_canvas(
    canvas: Canvas,
    seed: int,
    content: Array,
    styles: tuple[Array, ...],
    picture: Array | None,
    frame: int,
) -> np.ndarray:
    """Return `starting_canvas` of arguments that need no check."""
    key = seed_key(seed)
    if canvas.per_frame == "noise" and frame:
        key = jax.random.fold_in(key, frame)
    with jax.default_device(_host()):
        start = np.asarray(_start(canvas, key, content, styles, picture), np.float32)
    ulps = canvas.ulps + (frame if canvas.per_frame == "rounding" else 0)
    return add_ulps(start, ulps) if ulps else start


def _host() -> jax.Device:
    """The CPU; where JAX was told to do without it, what there is."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return jax.local_devices()[0]


def _start(
    canvas: Canvas,
    key: jax.Array,
    content: Array,
    styles: tuple[Array, ...],
    picture: Array | None,
) -> Array:
    height, width, _ = content.shape
    if canvas.kind == "content":
        return content
    if canvas.kind == "style":
        if not styles:
            raise RequestError("canvas.kind='style' needs a style picture, got none")
        return resize(jnp.asarray(styles[0]), height, width)
    assert picture is not None or canvas.kind != "file"
    if canvas.kind in ("file", "previous") and picture is not None:
        if picture.shape == content.shape:
            return picture
        return resize(jnp.asarray(picture), height, width)
    unit = unit_noise(key, content.shape, canvas.noise)
    drawn = canvas.amplitude * unit  # Outside of `unit_noise`: rounded as written.
    noisy = jnp.asarray([[CENTRES[canvas.centre]]], jnp.float32) + drawn
    if canvas.kind == "blend":
        return canvas.mix * noisy + (1 - canvas.mix) * content
    return noisy
