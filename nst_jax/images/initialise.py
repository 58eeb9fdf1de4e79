"""Starting canvases.

The noise of a seed has the key `fold_in(root, seed)`. It is drawn for one canvas at a
time and on the CPU, so it does not depend on the batch or the device.
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
#: Mean colour of the noise, RGB.
CENTRES = {
    "grey": (0.5, 0.5, 0.5),
    "mean": tuple(mean / 255 for mean in reversed(CAFFE.mean)),
    "black": (0.0, 0.0, 0.0),
}


@dataclasses.dataclass
class Canvas(ConfigRecord, path="canvas", renamed={"new": "per_frame"}):
    """The starting canvas of the optimisation.

    Attributes:
      kind: "content"; "style", the first style picture, resized; "details" of the
        content around the mean colour of the first style, as in STROTSS; "noise" around
        a colour; "blend" of noise and content; "file", the picture at `path`, resized;
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

    kind: Literal[
        "content", "style", "details", "noise", "blend", "file", "previous"
    ] = "content"
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


def add_ulps(image: np.ndarray, ulps: int) -> np.ndarray:
    """Return a copy with the first value moved by so many units in the last place."""
    image = np.array(image, np.float32)
    direction = np.float32(np.inf if ulps > 0 else -np.inf)
    for _ in range(abs(ulps)):
        image[0, 0, 0] = np.nextafter(image[0, 0, 0], direction)
    return image


@functools.partial(jax.jit, static_argnums=(1, 2))
def unit_noise(key: jax.Array, shape: tuple[int, int, int], kind: str) -> jax.Array:
    """Return noise [H, W, 3], "uniform" in ±1 or standard "normal".

    Always float32, so values do not depend on the 64-bit mode.
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
    """Return the canvas array from which a seed starts.

    Args:
      canvas: config of the canvas.
      seed: integer from 0 to 2³²−1.
      content: [H, W, 3], floats in [0, 1], uint8 or uint16; the result has its shape.
      styles: style images of the same types; kinds "style" and "details" use the
        first.
      picture: image of any size for kind "file"; for kind "previous" the result of the
        frame before, or None. It may leave [0, 1].
      frame: index of the frame in a film, from 0.

    Returns:
      float32 [H, W, 3]. Noise is not clipped to [0, 1].

    Raises:
      RequestError: an argument is out of range, or the kind needs an image that is not
        given.
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
    """Return `starting_canvas` of checked arguments."""
    key = seed_key(seed)
    if canvas.per_frame == "noise" and frame:
        key = jax.random.fold_in(key, frame)
    with jax.default_device(_host_device()):
        start = np.asarray(_start(canvas, key, content, styles, picture), np.float32)
    ulps = canvas.ulps + (frame if canvas.per_frame == "rounding" else 0)
    return add_ulps(start, ulps) if ulps else start


@jax.jit
def finest_band(image: Array) -> jax.Array:
    """Return an image minus its copy at half the size: [H, W, 3] around 0."""
    height, width, channels = image.shape
    half = max(height // 2, 1), max(width // 2, 1), channels
    low = jax.image.resize(
        jax.image.resize(image, half, "linear"), image.shape, "linear"
    )
    return image - low


def _host_device() -> jax.Device:
    """Return the CPU, or the default device if JAX runs without it."""
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
    if canvas.kind in ("style", "details"):
        if not styles:
            raise RequestError(
                f"canvas.kind={canvas.kind!r} needs a style picture, got none"
            )
        style = jnp.asarray(styles[0])
        if canvas.kind == "style":
            return resize(style, height, width)
        return finest_band(content) + style.mean((0, 1), keepdims=True)
    assert picture is not None or canvas.kind != "file"
    if canvas.kind in ("file", "previous") and picture is not None:
        if picture.shape == content.shape:
            return picture
        return resize(jnp.asarray(picture), height, width)
    unit = unit_noise(key, content.shape, canvas.noise)
    # Scaled outside of the compiled `unit_noise`, so it is rounded as written.
    noise = canvas.amplitude * unit
    noisy = jnp.asarray([[CENTRES[canvas.centre]]], jnp.float32) + noise
    if canvas.kind == "blend":
        return canvas.mix * noisy + (1 - canvas.mix) * content
    return noisy
