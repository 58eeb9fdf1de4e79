"""Photorealism: colours may change, but by affine maps of them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nst_jax.core.errors import RequestError
from nst_jax.losses.base import Term, View, check_integers, static, term


class Fit(NamedTuple):
    """What a window of the canvas is fitted to.

    Attributes:
      content: [H, W, 3].
      whitening: [h, w, 3, 3], W with W Wᵀ = (XᵀX + eps)⁻¹, X the n colours of a
        window of the content less their mean, as rows.
    """

    content: jax.Array
    whitening: jax.Array


@term
class Photorealism(Term):
    """Σ_c V_cᵀ M V_c over the number of windows, V_c a channel of the canvas.

    Luan, Paris, Shechtman & Bala 2017 (arXiv 1703.07511), equation 2; M is the
    matting Laplacian of the content (Levin, Lischinski & Weiss 2008, PAMI, equation
    12). No matrix is made: V_cᵀ M V_c is what is left where each window is fitted by
    an affine map of the content's colours, by its own least squares (their equations 5
    to 9),

        Σ_k min over a_k, b_k of Σ_{i∈w_k} (V_i − a_k·I_i − b_k)² + eps |a_k|².

    Windows are those that lie in the picture. A mean over them, so that a weight keeps
    its effect at any size: the paper's sum with λ, of pictures in [0, 1] as its code
    has them too, is λ (H − 2)(W − 2) here, for λ = 10⁴ at 256 × 192 px 4.8e8.

    Attributes:
      radius: of the windows: 1 for 3 × 3 pixels.
      eps: what a slope of 1 costs a window, positive. It alone decides where a window
        of the content has less than three directions of colour. A leaf.
    """

    name: str = static(default="photorealism")
    radius: int = static(default=1)
    eps: float = 1e-7

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integers(self, radius=1)
        if isinstance(self.eps, int | float) and not 0 < self.eps < math.inf:
            raise RequestError(
                f"{self.name}.eps must be positive and finite, got {self.eps}"
            )

    def target(self, content: View, styles: Sequence[View]) -> Fit:
        side = 2 * self.radius + 1
        height, width, channels = content.image.shape
        if min(height, width) < side:
            raise RequestError(
                f"{self.name} needs a content of at least {side} × {side} pixels for "
                f"its radius of {self.radius}, got {height} × {width}"
            )
        # R of X = QR, with the rows √eps, is a root of XᵀX + eps. To form that, and
        # take its root, would square how much eps is below the colours: 1e-7 is then
        # lost in float32.
        colours = _windows(content.image, self.radius)
        shape = (*colours.shape[:2], channels, channels)
        one = jnp.broadcast_to(jnp.eye(channels, dtype=colours.dtype), shape)
        ridge = jnp.sqrt(jnp.asarray(self.eps, colours.dtype))
        rows = jnp.concatenate([colours, ridge * one], axis=2)
        root = jnp.linalg.qr(rows, mode="r")
        inverse = jax.lax.linalg.triangular_solve(root, one, left_side=True)
        return Fit(content.image, inverse)

    def __call__(self, view: View, target: Fit) -> jax.Array:
        values = _windows(view.image, self.radius)
        colours = _windows(target.content, self.radius)
        whitening = target.whitening
        # W (Wᵀ XᵀV), from the right: their product would be as ill-conditioned.
        white = jnp.einsum("hwni,hwij->hwnj", colours, whitening)
        slopes = whitening @ jnp.einsum("hwnj,hwnc->hwjc", white, values)
        left = values - colours @ slopes
        windows = values.shape[0] * values.shape[1]
        return ((left**2).sum() + self.eps * (slopes**2).sum()) / windows


def _windows(picture: jax.Array, radius: int) -> jax.Array:
    """The windows of a picture [H, W, C], less their means: [h, w, n, C].

    Centred before anything is multiplied: the variance of a window is small beside
    its mean's square.
    """
    side = 2 * radius + 1
    height, width = picture.shape[0] - side + 1, picture.shape[1] - side + 1
    shifted = [
        picture[y : y + height, x : x + width] for y in range(side) for x in range(side)
    ]
    windows = jnp.stack(shifted, axis=2)
    return windows - windows.mean(2, keepdims=True)
