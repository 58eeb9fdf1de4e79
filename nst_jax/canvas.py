"""Starting pictures.

A seed's noise is drawn by a key of its own, `fold_in(root, seed)`, one picture at
a time and on the CPU: it is the same array whatever batch it goes into and
whatever device it is sent to.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.errors import RequestError, nearest
from nst_jax.image import resize
from nst_jax.preprocessing import CAFFE

KINDS = ("content", "style", "noise", "blend", "file")
NOISES = ("uniform", "normal")
#: The colour that noise is around, RGB.
CENTRES = {
    "grey": (0.5, 0.5, 0.5),
    "mean": tuple(mean / 255 for mean in reversed(CAFFE.mean)),
    "black": (0.0, 0.0, 0.0),
}


@dataclasses.dataclass
class Canvas:
    """Where a transfer starts.

    Attributes:
      kind: "content"; "style", the first one, resized; "noise" around a colour;
        "blend" of noise and content; "file", the picture at `path`, resized.
      noise: "uniform" in ±amplitude, or "normal" of that standard deviation.
      amplitude: of the noise, in [0, 1] picture units; uniform noise of 0.5 fills
        the gamut. Tools that start from "noise" differ in it by six orders of
        magnitude, from 4e-7 to 1.
      centre: the colour that noise is around: "grey"; "mean", that of ImageNet, where
        a tool starts whose noise is around 0 after the mean is taken off; "black".
      mix: the share of noise in a blend, from 0 to 1.
      path: the picture of kind "file"; a run's `final.npy` goes on exactly where
        that run ended, unless its colours were put back afterwards ("luminance" and
        "luma_swap"): then close by.
    """

    kind: str = "content"
    noise: str = "uniform"
    amplitude: float = 0.5
    centre: str = "grey"
    mix: float = 0.5
    path: str = ""

    def check(self) -> None:
        """Raises RequestError if a field is outside what it allows."""
        if self.kind not in KINDS:
            raise RequestError(
                f"canvas.kind must be one of {KINDS}, got {self.kind!r}"
                f"{nearest(self.kind, KINDS)}"
            )
        if self.noise not in NOISES:
            raise RequestError(
                f"canvas.noise must be one of {NOISES}, got {self.noise!r}"
            )
        if not 0 <= self.amplitude < float("inf"):
            raise RequestError(
                "canvas.amplitude must be finite and not negative, got "
                f"{self.amplitude}"
            )
        if self.centre not in CENTRES:
            raise RequestError(
                f"canvas.centre must be one of {tuple(CENTRES)}, got {self.centre!r}"
                f"{nearest(self.centre, CENTRES)}"
            )
        if not 0 <= self.mix <= 1:
            raise RequestError(f"canvas.mix must be from 0 to 1, got {self.mix}")
        if (self.kind == "file") != bool(self.path):
            raise RequestError(
                "canvas.path goes with canvas.kind='file', got "
                f"kind {self.kind!r} and path {self.path!r}"
            )

    @property
    def seeded(self) -> bool:
        """Whether the start depends on the seed."""
        return self.kind == "noise" or (self.kind == "blend" and self.mix > 0)


def seed_key(seed: int) -> jax.Array:
    """The key of one seed: by identity, so that no seed depends on another."""
    return jax.random.fold_in(jax.random.key(0, impl="threefry2x32"), seed)


@functools.partial(jax.jit, static_argnums=(1, 2))
def noise(key: jax.Array, shape: tuple[int, int, int], kind: str) -> jax.Array:
    """Noise of a shape [H, W, 3]: uniform in ±1, or standard normal.

    float32, so that its values stay the same where 64-bit arrays are enabled.
    """
    if kind == "uniform":
        return jax.random.uniform(key, shape, jnp.float32, -1.0, 1.0)
    return jax.random.normal(key, shape, jnp.float32)


def starting_canvas(
    canvas: Canvas,
    seed: int,
    content: np.ndarray,
    styles: tuple[np.ndarray, ...] = (),
    picture: np.ndarray | None = None,
) -> np.ndarray:
    """The canvas that a seed starts from.

    Args:
      canvas: what kind.
      seed: any integer from 0 to 2³²−1.
      content: [H, W, 3]; the canvas has its shape.
      styles: the style pictures; kind "style" takes the first.
      picture: what kind "file" has read, of any size.

    Returns:
      float32 [H, W, 3]. Noise is not clipped to [0, 1].
    """
    with jax.default_device(_host()):
        return np.asarray(_start(canvas, seed, content, styles, picture), np.float32)


def _host() -> jax.Device:
    """The CPU; where JAX was told to do without it, what there is."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return jax.local_devices()[0]


def _start(
    canvas: Canvas,
    seed: int,
    content: np.ndarray,
    styles: tuple[np.ndarray, ...],
    picture: np.ndarray | None,
) -> np.ndarray | jax.Array:
    height, width, _ = content.shape
    if canvas.kind == "content":
        return content
    if canvas.kind == "style":
        if not styles:
            raise RequestError("canvas.kind='style' needs a style picture, got none")
        return resize(jnp.asarray(styles[0]), height, width)
    if canvas.kind == "file":
        assert picture is not None
        if picture.shape == content.shape:
            return picture
        return resize(jnp.asarray(picture), height, width)
    unit = noise(seed_key(seed), content.shape, canvas.noise)
    drawn = canvas.amplitude * unit  # Outside of `noise`: rounded as written.
    noisy = jnp.asarray([[CENTRES[canvas.centre]]], jnp.float32) + drawn
    if canvas.kind == "noise":
        return noisy
    return canvas.mix * noisy + (1 - canvas.mix) * content
