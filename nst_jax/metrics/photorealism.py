"""Whether a result is still a photograph of its content: what became of its lines."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import as_floats
from nst_jax.images.colour import luma
from nst_jax.losses import Photorealism, View


@dataclasses.dataclass(frozen=True)
class Distortion:
    """How far a result is from its content in new colours.

    Attributes:
      angle: in degrees, by how much the edges of the content are turned; 45 is what
        unrelated pictures have.
      residual: the share, from 0 to 1, of the result's variance within windows of
        3 × 3 pixels that is no affine map of the content's colours. Of noise it is
        5/8: an affine map has 4 of 9 numbers free, the mean among them.
    """

    angle: float
    residual: float


def edge_distortion(result: ArrayLike, content: ArrayLike) -> Distortion:
    """What became of the content's edges and windows in a result.

    Both pictures [H, W, 3] are taken as they are seen, clipped to [0, 1].

    The angle is between the lines along which luma does not change: a gradient that
    is turned round, dark for light, has the same one. It is a mean over pixels, each
    counting by the content's gradient; where the result is flat there is no line, and
    45° is what chance would give. The residual is the matting Laplacian's, as
    `Photorealism` has it, over the same of a content without colours.

    Raises:
      RequestError: the shapes differ, are of less than 3 × 3 pixels, or a picture
        holds NaN.
    """
    pictures = [
        np.asarray(as_floats(picture, name), np.float64)
        for name, picture in (("result", result), ("content", content))
    ]
    shapes = [picture.shape for picture in pictures]
    if shapes[0] != shapes[1] or len(shapes[0]) != 3 or min(shapes[0]) < 3:
        raise RequestError(
            "result and content must be pictures of one shape [H, W, 3], 3 × 3 pixels "
            f"at least, got {list(shapes[0])} and {list(shapes[1])}"
        )
    for name, picture in zip(("result", "content"), pictures, strict=True):
        if not np.isfinite(picture).all():
            raise RequestError(f"{name} holds NaN or infinity, wanted a finite picture")
    seen = [np.clip(picture, 0, 1) for picture in pictures]
    return Distortion(_angle(*seen), _residual(*seen))


def _angle(result: np.ndarray, content: np.ndarray) -> float:
    (ry, rx), (cy, cx) = (np.gradient(luma(picture)) for picture in (result, content))
    # Not by the arc cosine: it loses half of the digits at 0.
    turned = np.arctan2(np.abs(ry * cx - rx * cy), np.abs(ry * cy + rx * cx))
    turned = np.where((ry == 0) & (rx == 0), np.pi / 4, turned)
    weights = np.hypot(cy, cx)
    if not weights.any():
        return 0.0  # No edge, none turned.
    return float(np.degrees(np.average(turned, weights=weights)))


def _residual(result: np.ndarray, content: np.ndarray) -> float:
    # Of a flat content nothing can be made but a constant: all of the variance.
    whole = float(_energy(result, np.zeros_like(content)))
    return float(_energy(result, content)) / whole if whole else 0.0


@jax.jit
def _energy(result: jax.Array, content: jax.Array) -> jax.Array:
    with jax.default_matmul_precision("highest"):
        term = Photorealism()
        fit = term.target(View(jnp.asarray(content), {}), ())
        return term(View(jnp.asarray(result), {}), fit)
