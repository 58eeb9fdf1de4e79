"""How published tools scale their losses: a weight means nothing without it.

Every tool sums Σ (F − P)² over features and Σ (G − A)² over Gram matrices, and
each divides by something else. Here C is the number of channels of a layer, M
the number of its positions, and G = FFᵀ/M: each picture's Gram matrix is divided
by its own M, so that a style picture may have any size.
"""

import dataclasses
from collections.abc import Callable

from nst_jax.errors import RequestError, nearest


@dataclasses.dataclass(frozen=True)
class Convention:
    """The factors of one tool, per layer.

    Attributes:
      content: (C, M) -> factor of Σ (F − P)².
      style: C -> factor of Σ (G − A)².
      source: where the factors are from.
    """

    content: Callable[[int, int], float]
    style: Callable[[int], float]
    source: str


CONVENTIONS = {
    "paper": Convention(
        content=lambda channels, positions: 1 / 2,
        style=lambda channels: 1 / (4 * channels**2),
        source="Gatys, Ecker & Bethge 2016 (CVPR), equations 1 and 4",
    ),
    "gatys": Convention(
        content=lambda channels, positions: 1 / (channels * positions),
        style=lambda channels: 1e3 / channels**4,
        source="leongatys/PytorchNeuralStyleTransfer: mean squares, 1e3/C² a layer",
    ),
    "pastiche": Convention(
        content=lambda channels, positions: 0.01 / (channels * positions),
        style=lambda channels: 10 / channels**4,
        source="dstein64/pastiche 1.6: mean squares, 0.01 and 10/C² a layer",
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
