"""Style statistics compared: methods side by side on three pairs.

    python launch.py --config=configs/gallery.py

A picture nearer to the style is farther from the content, and the weight sets the
balance. Methods are therefore compared by curves, not at one weight. Each method of
`METHODS` runs at four style weights on the same three pairs and is measured at layers
that no term uses. The first is Gatys' method at one size for 500 steps. The others take
100 steps at each of two sizes.

The page has a plot for each pair with a curve for each method; lower left is better.
Tables list likeness to style and content, and defects; see docs/quality.md. To add a
method, add its style terms to `METHODS`, with weights that make it about as strong as
the others at style weight 1. An hour and a quarter on two CPU cores, most of it for
Wasserstein, sliced Wasserstein and histograms; `--shard` and `--merge` split it.
"""

import dataclasses
from typing import NamedTuple

import nst_jax
from nst_jax import losses
from nst_jax.core.validation import check_choice
from nst_jax.losses.style import STYLE_LAYERS


class Method(NamedTuple):
    """Loss terms and schedule of a method.

    Attributes:
      terms: style terms, weighted so that the gradient of each is as long as `Gram`'s
        on the pair "cat, swirls" at 128 px.
      content: content term.
      steps: steps at each size.
      start: smallest size; 0 for the last size alone.
    """

    terms: tuple[nst_jax.Term, ...]
    content: nst_jax.Term = nst_jax.Content(weight=1000.0)
    steps: int = 100
    start: int = 64


#: Novak & Nikulin 2016 (arXiv 1605.04603): more layers than Gatys.
_SEVEN_LAYERS = tuple(sorted((*STYLE_LAYERS, "relu3_3", "relu4_3")))
METHODS = {
    "Gatys": Method((losses.Gram(),), steps=500, start=0),
    "gram": Method((losses.Gram(),)),
    "mean and deviation": Method((losses.MeanStd(weight=28.0),)),
    "gram and histogram": Method(
        (losses.Gram(weight=0.5), losses.Histogram(weight=14.0))
    ),
    "sliced Wasserstein": Method((losses.SlicedWasserstein(weight=30.0),)),
    "Wasserstein": Method((losses.Wasserstein(weight=32.0),)),
    "mean and deviation, 7 layers": Method(
        (losses.MeanStd(weight=28.0, layers=_SEVEN_LAYERS),),
        nst_jax.Content(weight=1000.0, layers=("relu3_1", "relu4_2")),
    ),
}
#: Name of a pair -> its content and its styles.
PAIRS = {
    "cat, swirls": ("samples/chelsea.png", ("samples/swirls.jpg",)),
    "coffee, mosaic": ("samples/coffee.png", ("samples/mosaic.jpg",)),
    "astronaut, woodcut": ("samples/astronaut.png", ("samples/woodcut.jpg",)),
}
WEIGHTS = (0.1, 1.0, 10.0, 100.0)


@dataclasses.dataclass
class Gallery(nst_jax.Experiment):
    """An experiment that derives its terms from a method and one weight.

    Attributes:
      method: a key of `METHODS`.
      style_weight: factor on the weight of each style term.
    """

    method: str = "Gatys"
    style_weight: float = 1.0

    def resolved(self) -> "Gallery":
        check_choice("method", self.method, METHODS)
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
                tuple((name, m.steps, m.start) for name, m in METHODS.items()),
                tuple(METHODS),
                "method",
            ),
            nst_jax.Vary("style_weight", WEIGHTS),
        ),
    )
    return nst_jax.variant(config, arg)
