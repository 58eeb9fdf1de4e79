"""Parametrisations: linear maps from the optimised variable to the canvas.

The loss and the set of canvases do not depend on the parametrisation. The direction of
a step does: in a basis of bands or frequencies, coarse structure, to which each pixel
contributes little, moves as fast as fine structure.
"""

import math
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.core.pytree import record, static
from nst_jax.core.validation import check_choice

#: The names that `parametrisation` accepts.
PARAMETRISATIONS = ("pixels", "pyramid", "fourier", "spectrum")
#: The least side of the coarsest band of a pyramid, and the largest number of bands.
_MIN_SIDE, _MAX_BANDS = 8, 5
#: A root of the colour covariance of natural images, channel × direction: Olah,
#: Mordvintsev & Schubert 2017, "Feature Visualization" (Distill), from its code.
COLOUR_ROOT = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))


class Parametrisation(Protocol):
    """A pytree without leaves with two linear maps; decode(encode(x)) is x."""

    def encode(self, canvas: jax.Array) -> jax.Array:
        """Return the optimised variable of a canvas [H, W, 3]."""

    def decode(self, variable: jax.Array) -> jax.Array:
        """Return the canvas [H, W, 3] of an optimised variable."""


@record
class Pixels:
    """The pixels of the canvas."""

    def encode(self, canvas: jax.Array) -> jax.Array:
        return canvas

    def decode(self, variable: jax.Array) -> jax.Array:
        return variable


@record
class Pyramid:
    """The bands of a Laplacian pyramid, concatenated to one vector [D].

    Burt & Adelson 1983, with bilinear filters; as an optimised variable by Kolkin,
    Salavon & Shakhnarovich 2019 (STROTSS). A band is the difference between an image
    and the image of half its size.

    Attributes:
      shape: shape [H, W, 3] of the canvas.
    """

    shape: tuple[int, int, int] = static()

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """Shapes of the bands, finest first."""
        shapes = [self.shape]
        while len(shapes) < _MAX_BANDS and min(shapes[-1][:2]) >= 2 * _MIN_SIDE:
            height, width, channels = shapes[-1]
            shapes.append((height // 2, width // 2, channels))
        return shapes

    def encode(self, canvas: jax.Array) -> jax.Array:
        bands, image = [], canvas
        for finer, coarser in zip(self.shapes, self.shapes[1:], strict=False):
            low = jax.image.resize(image, coarser, "linear")
            bands.append(image - jax.image.resize(low, finer, "linear"))
            image = low
        return jnp.concatenate([band.ravel() for band in (*bands, image)])

    def decode(self, variable: jax.Array) -> jax.Array:
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])
        vectors = jnp.split(variable, ends[:-1].tolist())
        bands = [v.reshape(s) for v, s in zip(vectors, self.shapes, strict=True)]
        canvas = bands.pop()
        for band in reversed(bands):
            canvas = band + jax.image.resize(canvas, band.shape, "linear")
        return canvas


@record
class Fourier:
    """Frequencies of decorrelated colours, scaled by the spectrum of natural images.

    Olah, Mordvintsev & Schubert 2017, "Feature Visualization" (Distill). A coefficient
    at frequency f is divided by 1/f and by the square root of the colour covariance of
    natural images. f is in cycles a pixel, at least one cycle an image. The mean square
    gain over frequencies is 1. The transform is Hartley's, Re F − Im F: it is real, of
    shape [H, W, 3], and its own inverse.

    Attributes:
      power: exponent of 1/f.
      decorrelated: whether to decorrelate colours; otherwise RGB is used.
    """

    power: float = static(default=1.0)
    decorrelated: bool = static(default=True)

    def encode(self, canvas: jax.Array) -> jax.Array:
        if self.decorrelated:
            canvas = canvas @ jnp.asarray(_TO_DECORRELATED.T, canvas.dtype)
        return _hartley(canvas) / self._amplitudes(canvas.shape)

    def decode(self, variable: jax.Array) -> jax.Array:
        canvas = _hartley(variable * self._amplitudes(variable.shape))
        if self.decorrelated:
            canvas = canvas @ jnp.asarray(_FROM_DECORRELATED.T, canvas.dtype)
        return canvas

    def _amplitudes(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the factor of each frequency, [H, W, 1]."""
        height, width, _ = shape
        y, x = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
        cycles = np.maximum(np.hypot(y, x), 1 / max(height, width))
        amplitude = cycles**-self.power
        amplitude /= np.sqrt(np.mean(amplitude**2))
        return amplitude[..., None].astype(np.float32)


#: Half the natural slope, in RGB. With L-BFGS on a photograph at 256 px, 150 steps
#: reach the loss of 195 steps on pixels; see docs/performance.md.
_SPECTRUM = Fourier(power=0.5, decorrelated=False)


def parametrisation(name: str, shape: tuple[int, int, int]) -> Parametrisation:
    """Return the parametrisation of a name, for canvases of a shape [H, W, 3].

    Raises:
      RequestError: the name is not in `PARAMETRISATIONS`.
    """
    check_choice("parametrisation", name, PARAMETRISATIONS)
    if name == "pyramid":
        return Pyramid(shape)
    if name == "fourier":
        return Fourier()
    return Pixels() if name == "pixels" else _SPECTRUM


def _hartley(x: jax.Array) -> jax.Array:
    """Return the orthonormal Hartley transform over height and width."""
    spectrum = jnp.fft.fft2(x, axes=(0, 1), norm="ortho")
    return spectrum.real - spectrum.imag


#: `COLOUR_ROOT` scaled to a root mean square gain of 1, and its inverse.
_FROM_DECORRELATED = np.array(COLOUR_ROOT) * math.sqrt(
    3 / np.sum(np.square(COLOUR_ROOT))
)
_TO_DECORRELATED = np.linalg.inv(_FROM_DECORRELATED)
