"""Photorealism regularisation: only locally affine colour changes are free."""

import math
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from nst_jax.core.errors import RequestError
from nst_jax.core.validation import Range
from nst_jax.losses.base import Term, View, static, term


class WindowFit(NamedTuple):
    """Regressors of the canvas in each window.

    Attributes:
      content: [H, W, 3].
      whitening: [h, w, 3, 3], W with W Wᵀ = (XᵀX + eps)⁻¹. The n rows of X are the
        centred colours of a window of the content image.
    """

    content: jax.Array
    whitening: jax.Array


@term
class Photorealism(Term):
    """Σ_c V_cᵀ M V_c over the number of windows, V_c a channel of the canvas.

    Luan, Paris, Shechtman & Bala 2017 (arXiv 1703.07511), equation 2. M is the matting
    Laplacian of the content image (Levin, Lischinski & Weiss 2008, PAMI, equation 12).
    M is not formed: V_cᵀ M V_c is the residual of fitting each window by an affine map
    of the content's colours, by its own least squares (their equations 5 to 9),

        Σ_k min over a_k, b_k of Σ_{i∈w_k} (V_i − a_k·I_i − b_k)² + eps |a_k|².

    Windows lie inside the image. The loss is a mean over windows, so that a weight
    keeps its effect at any size. The paper's sum with weight λ, for images in [0, 1] as
    in its code, is λ (H − 2)(W − 2) here: 4.8e8 for λ = 10⁴ at 256 × 192 px.

    Attributes:
      radius: radius of the windows: 1 for 3 × 3 pixels.
      eps: cost of a slope of 1 in a window. It alone decides in windows whose colours
        do not span three dimensions. A leaf.
    """

    name: str = static(default="photorealism")
    radius: Annotated[int, Range(at_least=1)] = static(default=1)
    eps: Annotated[float, Range(above=0, below=math.inf)] = 1e-7

    def target(self, content: View, styles: Sequence[View]) -> WindowFit:
        side = 2 * self.radius + 1
        height, width, channels = content.image.shape
        if min(height, width) < side:
            raise RequestError(
                f"{self.name} needs a content image of at least {side} × {side} pixels "
                f"for its radius of {self.radius}, got {height} × {width}"
            )
        # R of X = QR, with the rows √eps, is a root of XᵀX + eps. Forming XᵀX would
        # square the ratio of eps to the colours, and float32 would lose 1e-7.
        colours = _centred_windows(content.image, self.radius)
        shape = (*colours.shape[:2], channels, channels)
        identity = jnp.broadcast_to(jnp.eye(channels, dtype=colours.dtype), shape)
        ridge = jnp.sqrt(jnp.asarray(self.eps, colours.dtype))
        rows = jnp.concatenate([colours, ridge * identity], axis=2)
        root = jnp.linalg.qr(rows, mode="r")
        inverse = jax.lax.linalg.triangular_solve(root, identity, left_side=True)
        return WindowFit(content.image, inverse)

    def __call__(self, view: View, target: WindowFit) -> jax.Array:
        values = _centred_windows(view.image, self.radius)
        colours = _centred_windows(target.content, self.radius)
        whitening = target.whitening
        # W (Wᵀ XᵀV) from the right, because W Wᵀ would be as ill-conditioned as XᵀX.
        whitened = jnp.einsum("hwni,hwij->hwnj", colours, whitening)
        slopes = whitening @ jnp.einsum("hwnj,hwnc->hwjc", whitened, values)
        residuals = values - colours @ slopes
        windows = values.shape[0] * values.shape[1]
        return ((residuals**2).sum() + self.eps * (slopes**2).sum()) / windows


def _centred_windows(image: jax.Array, radius: int) -> jax.Array:
    """Return the windows of an image [H, W, C] minus their means: [h, w, n, C].

    They are centred first, because a window's variance is small against its mean.
    """
    side = 2 * radius + 1
    height, width = image.shape[0] - side + 1, image.shape[1] - side + 1
    shifted = [
        image[y : y + height, x : x + width] for y in range(side) for x in range(side)
    ]
    windows = jnp.stack(shifted, axis=2)
    return windows - windows.mean(2, keepdims=True)
