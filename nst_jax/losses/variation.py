"""Total variation: how rough the canvas is."""

import math

import jax
import jax.numpy as jnp

from nst_jax.core.errors import RequestError
from nst_jax.losses.base import Target, Term, View, static, term, total
from nst_jax.losses.conventions import CONVENTIONS, Variation, convention

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
    255^(2·exponent); its convention, if one is named, does the conversion.

    Attributes:
      kind: as above.
      exponent: of "power".
      convention: the tool that the weight is from, which has a kind, an exponent
        and a scale of its own; "" for those above.
    """

    name: str = static(default="total_variation")
    kind: str = static(default="l1")
    exponent: float = static(default=1.25)
    convention: str = static(default="")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in KINDS:
            raise RequestError(
                f"{self.name}.kind must be one of {KINDS}, got {self.kind!r}"
            )
        if not 1 <= self.exponent < math.inf:
            raise RequestError(
                f"{self.name}.exponent must be finite and at least 1, or flat colour "
                f"has no gradient; got {self.exponent}"
            )
        if not self.convention:
            return
        if convention(self.convention).variation is None:
            known = [name for name, tool in CONVENTIONS.items() if tool.variation]
            raise RequestError(
                f"{self.name}.convention must be one of {', '.join(known)}, for "
                f"{self.convention!r} has no total variation"
            )
        if (self.kind, self.exponent) != ("l1", 1.25):
            raise RequestError(
                f"{self.name}.kind and exponent come with convention "
                f"{self.convention!r}, got kind {self.kind!r} and exponent "
                f"{self.exponent}; leave out either them or the convention"
            )

    def variation(self) -> Variation:
        """What is computed: the convention's, or the means that the fields say."""
        tool = self.convention and convention(self.convention).variation
        return tool or Variation(self.kind, self.exponent, mean=True)

    def __call__(self, view: View, target: Target) -> jax.Array:
        form = self.variation()
        dy = view.image[1:] - view.image[:-1]
        dx = view.image[:, 1:] - view.image[:, :-1]
        if form.kind == "l1":
            # Not jnp.abs: its gradient at 0 is 1, which moves the rim of flat colour.
            steps = [dx * jnp.sign(dx), dy * jnp.sign(dy)]
        elif form.kind == "squared":
            steps = [dx**2, dy**2]
        else:
            steps = [(dx[:-1] ** 2 + dy[:, :-1] ** 2) ** form.exponent]
        gathered = total(step.mean() if form.mean else step.sum() for step in steps)
        return form.factor * gathered
