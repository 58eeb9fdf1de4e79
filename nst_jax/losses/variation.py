"""Total variation: how rough the canvas is."""

import jax
import jax.numpy as jnp

from nst_jax.errors import RequestError
from nst_jax.losses.base import Target, Term, View, static, term

KINDS = ("l1", "squared", "power")


@term
class TotalVariation(Term):
    """Differences of neighbouring pixels, averaged over positions and channels.

    With dx and dy the steps to the right and lower neighbour, in [0, 1] units:

    * "l1": mean |dx| + mean |dy| (Rudin, Osher & Fatemi 1992, anisotropic);
    * "squared": mean dx² + mean dy²;
    * "power": mean (dx² + dy²)^exponent over the pixels that have both
      neighbours; Keras' example, after Mahendran & Vedaldi 2015, has 1.25.

    Means, so that a weight keeps its effect at any size. A tool that sums over
    pixels in 0–255 units has weights smaller by their number and by 255, 255² or
    255^(2·exponent).
    """

    name: str = static(default="total_variation")
    kind: str = static(default="l1")
    exponent: float = static(default=1.25)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in KINDS:
            raise RequestError(
                f"{self.name}.kind must be one of {KINDS}, got {self.kind!r}"
            )
        if not self.exponent >= 1:
            raise RequestError(
                f"{self.name}.exponent must be at least 1, or flat colour has no "
                f"gradient; got {self.exponent}"
            )

    def __call__(self, view: View, target: Target) -> jax.Array:
        dy = view.image[1:] - view.image[:-1]
        dx = view.image[:, 1:] - view.image[:, :-1]
        if self.kind == "l1":
            # Not jnp.abs: its gradient at 0 is 1, which moves the rim of flat colour.
            return (dx * jnp.sign(dx)).mean() + (dy * jnp.sign(dy)).mean()
        if self.kind == "squared":
            return (dx**2).mean() + (dy**2).mean()
        return ((dx[:-1] ** 2 + dy[:, :-1] ** 2) ** self.exponent).mean()
