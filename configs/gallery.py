"""Which statistic of a style is the best bargain? Methods side by side, on three pairs.

    python launch.py --config=configs/gallery.py

A picture nearer to the style is farther from the content, and a weight says how much
of the one is given for the other: so methods are not to be compared at one weight, but
by their curves. Each method of `METHODS` is run at four style weights on the same three
pairs, and measured at layers of the network that no term looks at. The first is the
plain method at one size for 500 steps, the others go through two sizes, 100 steps each;
the last has the terms of this project's own preset.

The page has a plot for each pair with a curve for each method, the lower left the
better, and a table with what is wrong with the pictures: frames at the border, grey
patches, values that no screen shows. To add a method, write it and its style terms into
`METHODS`, with weights of such a size that at style weight 1 it is about as strong as
the others. An hour and a quarter on two CPU cores, most of it for Wasserstein, sliced
Wasserstein and histograms; `--shard` and `--merge` split it.
"""

import dataclasses
from typing import NamedTuple

import nst_jax
from nst_jax import losses


class Method(NamedTuple):
    """How a style is matched.

    Attributes:
      terms: of the style. At these weights each has a gradient as long as `Gram`'s at
        the cat, in the manner of the swirls, at 128 px.
      content: the term of the content.
      steps: at each size.
      start: the least of these; 0 for the last alone.
    """

    terms: tuple[nst_jax.Term, ...]
    content: nst_jax.Term = nst_jax.Content(weight=1000.0)
    steps: int = 100
    start: int = 64


_CONTENT, *_STYLE = nst_jax.preset("nst_jax", content="", styles=()).terms
METHODS = {
    "Gatys": Method((losses.Gram(),), steps=500, start=0),
    "gram": Method((losses.Gram(),)),
    "mean and deviation": Method((losses.MeanStd(weight=28.0),)),
    "gram and histogram": Method(
        (losses.Gram(weight=0.5), losses.Histogram(weight=14.0))
    ),
    "sliced Wasserstein": Method((losses.SlicedWasserstein(weight=30.0),)),
    "Wasserstein": Method((losses.Wasserstein(weight=32.0),)),
    "nst_jax": Method(tuple(_STYLE), _CONTENT),
}
#: What a pair is called, its content and its styles.
PAIRS = {
    "cat, swirls": ("samples/chelsea.png", ("samples/swirls.jpg",)),
    "coffee, mosaic": ("samples/coffee.png", ("samples/mosaic.jpg",)),
    "astronaut, woodcut": ("samples/astronaut.png", ("samples/woodcut.jpg",)),
}
WEIGHTS = (0.1, 1.0, 10.0, 100.0)


@dataclasses.dataclass
class Gallery(nst_jax.Experiment):
    """An experiment whose terms follow from a method and one weight.

    Attributes:
      method: a key of `METHODS`.
      style_weight: times the weight of each of its style's terms.
    """

    method: str = "Gatys"
    style_weight: float = 1.0

    def resolved(self) -> "Gallery":
        if self.method not in METHODS:
            raise nst_jax.RequestError(
                f"method must be one of {tuple(METHODS)}, got {self.method!r}"
            )
        method = METHODS[self.method]
        style = [
            dataclasses.replace(term, weight=self.style_weight * term.weight)
            for term in method.terms
        ]
        return dataclasses.replace(self, terms=(method.content, *style))


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = Gallery(
        content="samples/chelsea.png",
        styles=("samples/swirls.jpg",),
        terms=(nst_jax.Content(weight=1000.0), nst_jax.Gram()),
        size=128,
        ladder=nst_jax.Ladder(factor=2.0),
        solver=nst_jax.SolverOptions(name="lbfgs_fixed"),
        output=nst_jax.OutputOptions(quality=True),
        axes=(
            nst_jax.Vary(
                ("content", "styles"), tuple(PAIRS.values()), tuple(PAIRS), "pair"
            ),
            nst_jax.Vary(
                ("method", "steps", "ladder.start"),
                tuple((name, own.steps, own.start) for name, own in METHODS.items()),
                tuple(METHODS),
                "method",
            ),
            nst_jax.Vary("style_weight", WEIGHTS),
        ),
    )
    return nst_jax.variant(config, arg)
