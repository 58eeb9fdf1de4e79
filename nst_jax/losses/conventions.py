"""Scalings of the losses of published tools, which give a weight its meaning.

Every tool sums Σ (F − P)² over features, Σ (G − A)² over Gram matrices and some power
of the differences of pixels, and divides each by something else. Here G = FFᵀ/M, M the
number of positions of a layer: each image's Gram matrix is divided by its own M, so
that a style image may have any size. Tools that divide FFᵀ − AAᵀ once assume one M for
both and resize the style image to the content's (keras, app; the paper). At that size
their loss equals ours.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from nst_jax.core.errors import RequestError
from nst_jax.core.validation import check_choice
from nst_jax.losses.base import View


class LayerShape(NamedTuple):
    """Sizes on which the scale of a layer's loss depends.

    Attributes:
      view: view of the canvas.
      layer: canonical name.
      layers: number of layers of the term, L.
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
      kind: "l1", "squared" or "power", see `TotalVariation`.
      exponent: exponent of "power".
      mean: whether to take the mean, which does not depend on the image's size.
      factor: factor of the sum or mean, for dx and dy in [0, 1] units.
    """

    kind: str = "l1"
    exponent: float = 1.0
    mean: bool = False
    factor: float = 1.0


@dataclasses.dataclass(frozen=True)
class Convention:
    """Factors of one tool.

    Attributes:
      content: factor of Σ (F − P)² at a layer.
      style: factor of Σ (G − A)² at a layer.
      source: source of the factors.
      variation: total variation of the tool; None if it has none.
    """

    content: Callable[[LayerShape], float]
    style: Callable[[LayerShape], float]
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


def _activation(shape: LayerShape) -> float:
    """Return the mean activation of a ReLU, or of a convolution's ReLU."""
    if shape.layer.startswith("pool"):
        raise RequestError(
            "convention 'paper_normalised' needs convolutions or ReLUs as layers, "
            f"got layer {shape.layer!r}"
        )
    block, conv = map(int, shape.layer[4:].split("_"))
    return MEAN_ACTIVATIONS[block][conv - 1]


def _mean_square(shape: LayerShape) -> float:
    return 1 / (shape.channels * shape.positions)


CONVENTIONS = {
    "paper": Convention(
        content=lambda shape: 1 / 2,
        style=lambda shape: 1 / (4 * shape.channels**2),
        source="Gatys, Ecker & Bethge 2016 (CVPR), equations 1 and 4",
    ),
    "paper_normalised": Convention(
        content=lambda shape: 1 / 2 / _activation(shape) ** 2,
        style=lambda shape: 1 / (4 * shape.channels**2) / _activation(shape) ** 4,
        source="paper, for features rescaled to a mean of 1 as in the paper",
    ),
    "gatys": Convention(
        content=_mean_square,
        style=lambda shape: 1e3 / shape.channels**4,
        source="leongatys/PytorchNeuralStyleTransfer: mean squares, 1e3/C² a layer",
    ),
    "johnson": Convention(
        content=_mean_square,
        style=lambda shape: 1 / shape.channels**4,
        # The tool defines only its gradient, and white is 256.
        variation=Variation("power", factor=256**2 / 2),
        source="jcjohnson/neural-style: mean squares, of Gram matrices FFᵀ/(CM)",
    ),
    "keras": Convention(
        content=lambda shape: 1.0,
        # FFᵀ − AAᵀ over 4·3²·P² for every layer, and the mean of the layers.
        style=lambda shape: shape.positions**2 / (36 * shape.pixels**2 * shape.layers),
        variation=Variation("power", exponent=1.25, factor=255**2.5),
        source="keras-io, neural_style_transfer.py: sums, 3 channels for all layers",
    ),
    "pastiche": Convention(
        content=lambda shape: 0.01 * _mean_square(shape),
        style=lambda shape: 10 / shape.channels**4,
        variation=Variation("l1", mean=True, factor=255 / 2),
        source="dstein64/pastiche 1.6: mean squares, 0.01 and 10/C² a layer",
    ),
    "app": Convention(
        content=_mean_square,
        # The mean over C² of (FFᵀ − AAᵀ)², over 4CM².
        style=lambda shape: 1 / (4 * shape.channels**3),
        variation=Variation("l1", mean=True),
        source="priyam314/NeuralStyleTransfer-App, nst.py; its layers weigh 1e3/n²",
    ),
    "gordicaleksa": Convention(
        content=_mean_square,
        style=lambda shape: 1 / (shape.channels**2 * shape.layers),
        variation=Variation("l1", factor=255),
        source="gordicaleksa/pytorch-neural-style-transfer: sums over FFᵀ/(CM)",
    ),
}


def convention(name: str) -> Convention:
    """Return the convention of that name.

    Raises:
      RequestError: the name is unknown.
    """
    check_choice("convention", name, CONVENTIONS)
    return CONVENTIONS[name]
