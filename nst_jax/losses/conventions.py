"""How published tools scale their losses: a weight means nothing without it.

Every tool sums Σ (F − P)² over features, Σ (G − A)² over Gram matrices and some
power of the differences of pixels, and each divides by something else. Here
G = FFᵀ/M, M the number of positions of a layer: each picture's Gram matrix is
divided by its own M, so that a style picture may have any size. The tools that
divide FFᵀ − AAᵀ once presume one M for both, and resize the style picture to the
content's (keras, app; the paper): theirs is ours at that size.
"""

import dataclasses
from collections.abc import Callable

from nst_jax.core.errors import RequestError, nearest
from nst_jax.losses.base import View


@dataclasses.dataclass(frozen=True)
class Site:
    """Where a factor is asked for: one layer of a canvas.

    Attributes:
      view: the canvas.
      layer: its canonical name.
      layers: how many the term has, L.
    """

    view: View
    layer: str
    layers: int

    @property
    def channels(self) -> int:
        """C, of the layer."""
        return self.view.features[self.layer].shape[-1]

    @property
    def positions(self) -> int:
        """M, of the layer."""
        height, width, _ = self.view.features[self.layer].shape
        return height * width

    @property
    def pixels(self) -> int:
        """P, of the canvas."""
        height, width, _ = self.view.image.shape
        return height * width


@dataclasses.dataclass(frozen=True)
class Variation:
    """A total variation: `factor` times the sum or mean over pixels and channels.

    Attributes:
      kind: "l1", "squared" or "power", as `TotalVariation` has them.
      exponent: of "power".
      mean: whether it is the mean, which a picture's size does not change.
      factor: what it is multiplied by; dx and dy are in [0, 1] units.
    """

    kind: str = "l1"
    exponent: float = 1.0
    mean: bool = False
    factor: float = 1.0


@dataclasses.dataclass(frozen=True)
class Convention:
    """What one tool multiplies its sums by.

    Attributes:
      content: the factor of Σ (F − P)² at a site.
      style: the factor of Σ (G − A)² at a site.
      source: where the factors are from.
      variation: its total variation; None where it has none.
    """

    content: Callable[[Site], float]
    style: Callable[[Site], float]
    source: str
    variation: Variation | None = None


#: Mean activations of the bundled network, with maximum pooling, at the ReLU of each
#: block's convolutions, over the three photographs in samples/ at 256 px.
MEAN_ACTIVATIONS = {
    1: (22.48, 101.9),
    2: (125.1, 113.9),
    3: (138.5, 173.9, 368.7, 554.3),
    4: (559.8, 381.2, 217.8, 58.56),
    5: (57.54, 26.37, 11.74, 1.598),
}


def _activation(site: Site) -> float:
    """The mean activation of a ReLU; for a convolution, that of its ReLU."""
    if site.layer.startswith("pool"):
        raise RequestError(
            "convention 'paper_normalised' knows convolutions and their ReLUs, "
            f"got layer {site.layer!r}"
        )
    block, conv = map(int, site.layer[4:].split("_"))
    return MEAN_ACTIVATIONS[block][conv - 1]


def _mean_square(site: Site) -> float:
    return 1 / (site.channels * site.positions)


CONVENTIONS = {
    "paper": Convention(
        content=lambda site: 1 / 2,
        style=lambda site: 1 / (4 * site.channels**2),
        source="Gatys, Ecker & Bethge 2016 (CVPR), equations 1 and 4",
    ),
    "paper_normalised": Convention(
        content=lambda site: 1 / 2 / _activation(site) ** 2,
        style=lambda site: 1 / (4 * site.channels**2) / _activation(site) ** 4,
        source="the same, of features rescaled to a mean of 1 as the paper's were",
    ),
    "gatys": Convention(
        content=_mean_square,
        style=lambda site: 1e3 / site.channels**4,
        source="leongatys/PytorchNeuralStyleTransfer: mean squares, 1e3/C² a layer",
    ),
    "johnson": Convention(
        content=_mean_square,
        style=lambda site: 1 / site.channels**4,
        # The tool has its gradient alone, and feeds white as 256.
        variation=Variation("power", factor=256**2 / 2),
        source="jcjohnson/neural-style: mean squares, of Gram matrices FFᵀ/(CM)",
    ),
    "keras": Convention(
        content=lambda site: 1.0,
        # FFᵀ − AAᵀ over 4·3²·P², of whatever layer, and the mean of the layers.
        style=lambda site: site.positions**2 / (36 * site.pixels**2 * site.layers),
        variation=Variation("power", exponent=1.25, factor=255**2.5),
        source="keras-io, neural_style_transfer.py: sums, 3 channels for all layers",
    ),
    "pastiche": Convention(
        content=lambda site: 0.01 * _mean_square(site),
        style=lambda site: 10 / site.channels**4,
        variation=Variation("l1", mean=True, factor=255 / 2),
        source="dstein64/pastiche 1.6: mean squares, 0.01 and 10/C² a layer",
    ),
    "app": Convention(
        content=_mean_square,
        # The mean over C² of (FFᵀ − AAᵀ)², over 4CM².
        style=lambda site: 1 / (4 * site.channels**3),
        variation=Variation("l1", mean=True),
        source="priyam314/NeuralStyleTransfer-App, nst.py; its layers weigh 1e3/n²",
    ),
    "gordicaleksa": Convention(
        content=_mean_square,
        style=lambda site: 1 / (site.channels**2 * site.layers),
        variation=Variation("l1", factor=255),
        source="gordicaleksa/pytorch-neural-style-transfer: sums over FFᵀ/(CM)",
    ),
}


def convention(name: str) -> Convention:
    """The convention of that name.

    Raises:
      RequestError: there is none.
    """
    if name not in CONVENTIONS:
        raise RequestError(
            f"unknown convention {name!r}{nearest(name, CONVENTIONS)} "
            f"(conventions are {', '.join(CONVENTIONS)})"
        )
    return CONVENTIONS[name]
