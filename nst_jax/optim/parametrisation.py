"""What a solver moves in place of pixels.

The loss is the same, and so is the set of pictures; but a step of one length in another
basis is another change of the picture. Coarse bands and low frequencies, which each
pixel moves only a little of, then move as readily as fine ones.
"""

import math
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.core.errors import RequestError, nearest
from nst_jax.core.pytree import record, static

#: What `parametrisation` knows.
PARAMETRISATIONS = ("pixels", "pyramid", "fourier", "spectrum")
#: The least side of a pyramid's coarsest band, and its bands, at most.
_COARSEST, _BANDS = 8, 5
#: A root of the covariance of natural images' colours, channel by direction: Olah,
#: Mordvintsev & Schubert 2017, "Feature Visualization" (Distill), in its code, lucid.
COLOUR_ROOT = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))


class Parametrisation(Protocol):
    """Two linear functions, pytrees without leaves: decode(encode(x)) is x."""

    def encode(self, canvas: jax.Array) -> jax.Array:
        """What the solver moves, of a canvas [H, W, 3]."""

    def decode(self, variable: jax.Array) -> jax.Array:
        """The canvas [H, W, 3] of what the solver moves."""


@record
class Pixels:
    """The canvas itself."""

    def encode(self, canvas: jax.Array) -> jax.Array:
        return canvas

    def decode(self, variable: jax.Array) -> jax.Array:
        return variable


@record
class Pyramid:
    """The bands of a Laplacian pyramid, one after the other in one vector [D].

    Burt & Adelson 1983, with bilinear filters; optimised so by Kolkin, Salavon &
    Shakhnarovich 2019 (STROTSS). Each band is what the next coarser one, of half the
    sides, leaves of a picture.

    Attributes:
      shape: of the canvas, [H, W, 3].
    """

    shape: tuple[int, int, int] = static()

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """Those of the bands, finest first."""
        shapes = [self.shape]
        while len(shapes) < _BANDS and min(shapes[-1][:2]) >= 2 * _COARSEST:
            height, width, channels = shapes[-1]
            shapes.append((height // 2, width // 2, channels))
        return shapes

    def encode(self, canvas: jax.Array) -> jax.Array:
        bands, rest = [], canvas
        for finer, coarser in zip(self.shapes, self.shapes[1:], strict=False):
            low = jax.image.resize(rest, coarser, "linear")
            bands.append(rest - jax.image.resize(low, finer, "linear"))
            rest = low
        return jnp.concatenate([band.ravel() for band in (*bands, rest)])

    def decode(self, variable: jax.Array) -> jax.Array:
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])
        parts = jnp.split(variable, ends[:-1].tolist())
        bands = [p.reshape(s) for p, s in zip(parts, self.shapes, strict=True)]
        canvas = bands.pop()
        for band in reversed(bands):
            canvas = band + jax.image.resize(canvas, band.shape, "linear")
        return canvas


@record
class Fourier:
    """Frequencies of decorrelated colours, those of natural pictures of one size.

    Olah, Mordvintsev & Schubert 2017, "Feature Visualization" (Distill). A frequency
    is divided by 1/f, and a colour by the root of the covariance of natural colours,
    so that a step of equal length in all moves a picture as natural ones differ.
    The transform is Hartley's, Re F − Im F, which is Fourier's in real numbers: [H, W,
    3] as the canvas is, and its own inverse. f is in cycles a pixel, at least one
    cycle a picture; the whole is scaled to move a canvas, on average over
    frequencies, by as much as pixels do.

    Attributes:
      power: of 1/f that a frequency is divided by.
      decorrelated: whether colours are those of natural pictures, or red, green, blue.
    """

    power: float = static(default=1.0)
    decorrelated: bool = static(default=True)

    def encode(self, canvas: jax.Array) -> jax.Array:
        if self.decorrelated:
            canvas = canvas @ jnp.asarray(_UNCOLOURED.T, canvas.dtype)
        return _hartley(canvas) / self._amplitudes(canvas.shape)

    def decode(self, variable: jax.Array) -> jax.Array:
        canvas = _hartley(variable * self._amplitudes(variable.shape))
        if self.decorrelated:
            canvas = canvas @ jnp.asarray(_COLOURS.T, canvas.dtype)
        return canvas

    def _amplitudes(self, shape: tuple[int, ...]) -> np.ndarray:
        """What each frequency is multiplied by, [H, W, 1]."""
        height, width, _ = shape
        y, x = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
        cycles = np.maximum(np.hypot(y, x), 1 / max(height, width))
        amplitude = cycles**-self.power
        amplitude /= np.sqrt(np.mean(amplitude**2))
        return amplitude[..., None].astype(np.float32)


#: Half of the way there, in the colours of a screen. With L-BFGS, from a photograph at
#: 256 px, 150 steps come as far as 195 of pixels do; other slopes come less far
#: (docs/performance.md).
_SPECTRUM = Fourier(power=0.5, decorrelated=False)


def parametrisation(name: str, shape: tuple[int, int, int]) -> Parametrisation:
    """The one of that name for canvases of a shape [H, W, 3].

    Raises:
      RequestError: there is none of that name.
    """
    check(name)
    if name == "pyramid":
        return Pyramid(shape)
    if name == "spectrum":
        return _SPECTRUM
    return Fourier() if name == "fourier" else Pixels()


def check(name: str) -> None:
    """Raises RequestError if there is no parametrisation of that name."""
    if name not in PARAMETRISATIONS:
        raise RequestError(
            f"parametrisation must be one of {PARAMETRISATIONS}, got {name!r}"
            f"{nearest(name, PARAMETRISATIONS)}"
        )


def _hartley(x: jax.Array) -> jax.Array:
    """Over height and width, orthonormal."""
    spectrum = jnp.fft.fft2(x, axes=(0, 1), norm="ortho")
    return spectrum.real - spectrum.imag


#: `COLOUR_ROOT` scaled to a root mean square gain of 1, and its inverse.
_COLOURS = np.array(COLOUR_ROOT) * math.sqrt(3 / np.sum(np.square(COLOUR_ROOT)))
_UNCOLOURED = np.linalg.inv(_COLOURS)
