"""Photorealism of a result: distortion of the content's edges and colours."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from nst_jax.images.colour import luma
from nst_jax.losses import Photorealism, View
from nst_jax.metrics.validation import as_displayed, check_same_shape


@dataclasses.dataclass(frozen=True)
class Distortion:
    """Distance of a result from its content in new colours.

    Attributes:
      angle: mean rotation of the content's edges in degrees; 45 for unrelated images.
      residual: share, 0 to 1, of the result's variance in windows of 3 × 3 pixels that
        is no affine map of the content's colours. For noise it is 5/8: an affine map
        fits 4 of 9 numbers, the mean among them.
    """

    angle: float
    residual: float


def edge_distortion(result: ArrayLike, content: ArrayLike) -> Distortion:
    """Measure the distortion of the content's edges and windows in a result.

    Both images [H, W, 3] are clipped to [0, 1]. The angle is between lines of constant
    luma, so an inverted gradient has angle 0. It is a mean over pixels, weighted by the
    content's gradient. Flat pixels of the result count as 45°, the mean of random
    lines. The residual is the matting Laplacian of `Photorealism`, over that of a
    content without colours.

    Raises:
      RequestError: the shapes differ, a side is below 3 pixels, or an image holds NaN.
    """
    images = check_same_shape(min_side=3, result=result, content=content)
    displayed = [as_displayed(image) for image in images]
    return Distortion(_angle(*displayed), _residual(*displayed))


def _angle(result: np.ndarray, content: np.ndarray) -> float:
    (ry, rx), (cy, cx) = (np.gradient(luma(image)) for image in (result, content))
    # The arc cosine would lose half of the digits at 0.
    angles = np.arctan2(np.abs(ry * cx - rx * cy), np.abs(ry * cy + rx * cx))
    angles = np.where((ry == 0) & (rx == 0), np.pi / 4, angles)
    weights = np.hypot(cy, cx)
    if not weights.any():
        return 0.0  # The content has no edge.
    return float(np.degrees(np.average(angles, weights=weights)))


def _residual(result: np.ndarray, content: np.ndarray) -> float:
    # A flat content maps to constants only: all of the variance.
    total = float(_laplacian_energy(result, np.zeros_like(content)))
    return float(_laplacian_energy(result, content)) / total if total else 0.0


@jax.jit
def _laplacian_energy(result: jax.Array, content: jax.Array) -> jax.Array:
    with jax.default_matmul_precision("highest"):
        term = Photorealism()
        fit = term.target(View(jnp.asarray(content), {}), ())
        return term(View(jnp.asarray(result), {}), fit)
