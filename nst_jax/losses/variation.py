"""Total variation: the roughness of the canvas."""

import math
from typing import Annotated, Literal

import jax

from nst_jax.core.errors import RequestError
from nst_jax.core.validation import Range, check_choice
from nst_jax.losses.base import Target, Term, View, static, term, total
from nst_jax.losses.conventions import CONVENTIONS, Variation, convention
from nst_jax.losses.statistics import absolute


@term
class TotalVariation(Term):
    """Differences of neighbouring pixels, averaged over positions and channels.

    With the differences dx and dy to the right and lower neighbour, in [0, 1] units:

    * "l1": mean |dx| + mean |dy| (Rudin, Osher & Fatemi 1992, anisotropic);
    * "squared": mean dx² + mean dy²;
    * "power": mean (dx² + dy²)^exponent over the pixels with both neighbours. Keras'
      example, after Mahendran & Vedaldi 2015, has 1.25.

    Means keep the effect of a weight at any size. A tool that sums over pixels in 0–255
    units needs a weight smaller by the number of pixels and by 255, 255² or
    255^(2·exponent); naming its convention does the conversion.

    Attributes:
      kind: see above.
      exponent: exponent of "power", at least 1: below, flat colour has no gradient.
      convention: tool whose kind, exponent and scale are used; "" for the fields above.
    """

    name: str = static(default="total_variation")
    kind: Literal["l1", "squared", "power"] = static(default="l1")
    exponent: Annotated[float, Range(at_least=1, below=math.inf)] = static(default=1.25)
    convention: str = static(default="")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.convention:
            return
        with_variation = [name for name, tool in CONVENTIONS.items() if tool.variation]
        check_choice(f"{self.name}.convention", self.convention, with_variation)
        if (self.kind, self.exponent) != ("l1", 1.25):
            raise RequestError(
                f"{self.name}.convention {self.convention!r} sets kind and exponent, "
                f"got kind {self.kind!r} and exponent {self.exponent}; set either the "
                "convention or kind and exponent"
            )

    def variation(self) -> Variation:
        """Return the convention's variation, or the one of the fields."""
        tool = self.convention and convention(self.convention).variation
        return tool or Variation(self.kind, self.exponent, mean=True)

    def __call__(self, view: View, target: Target) -> jax.Array:
        form = self.variation()
        dy = view.image[1:] - view.image[:-1]
        dx = view.image[:, 1:] - view.image[:, :-1]
        if form.kind == "l1":
            differences = [absolute(dx), absolute(dy)]
        elif form.kind == "squared":
            differences = [dx**2, dy**2]
        else:
            differences = [(dx[:-1] ** 2 + dy[:, :-1] ** 2) ** form.exponent]
        return form.factor * total(
            array.mean() if form.mean else array.sum() for array in differences
        )
