"""Numbers with error bars, as they are shown."""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from nst_jax.metrics.statistics import Estimate
from nst_jax.studies.results import Series

_T = TypeVar("_T")


def text(estimate: Estimate | None, scale: float = 1.0) -> str | None:
    """`scale` times an estimate and its interval: "12.3 (11.5 to 13.6)".

    To two digits of the shorter side of the interval, and four of the value at most.
    """
    if estimate is None:
        return None
    if estimate.low is None or estimate.high is None:
        return f"{scale * estimate.value:.3g}"
    near = min(estimate.high - estimate.value, estimate.value - estimate.low)
    form = ".3g"
    if near > 0:
        places = 1 - math.floor(math.log10(scale * near))
        if estimate.value:
            size = math.floor(math.log10(abs(scale * estimate.value)))
            places = min(places, 3 - size)
        form = f".{max(0, places)}f"
    value, low, high = (
        f"{scale * x:{form}}" for x in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} ({low} to {high})"


def bars(
    label: str, x: Sequence[Any], estimates: Sequence[Estimate], scale: float = 1.0
) -> Series:
    """`scale` times some estimates on a logarithmic axis: a gap where not above 0."""
    low, y, high = (
        tuple(scale * x if x is not None and x > 0 else None for x in own)
        for own in zip(*((e.low, e.value, e.high) for e in estimates), strict=True)
    )
    return Series(label, tuple(x), y, low, high)


def few(items: Sequence[_T], most: int) -> list[_T]:
    """So many of them at most, evenly, with both ends."""
    places = np.linspace(0, len(items) - 1, min(len(items), most))
    return [items[round(place)] for place in places]
