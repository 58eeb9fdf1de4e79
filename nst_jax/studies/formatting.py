"""Numbers and intervals as the studies print them."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from nst_jax.metrics.statistics import Estimate
from nst_jax.studies.results import Series

_T = TypeVar("_T")


def format_estimate(estimate: Estimate | None, scale: float = 1.0) -> str | None:
    """Return `scale` times an estimate with its interval: "12.3 (11.5 to 13.6)".

    The shorter side of the interval has two digits, the value at most four.
    """
    if estimate is None:
        return None
    if estimate.low is None or estimate.high is None:
        return f"{scale * estimate.value:.3g}"
    margin = min(estimate.high - estimate.value, estimate.value - estimate.low)
    form = ".3g"
    if margin > 0:
        decimals = 1 - math.floor(math.log10(scale * margin))
        if estimate.value:
            size = math.floor(math.log10(abs(scale * estimate.value)))
            decimals = min(decimals, 3 - size)
        form = f".{max(0, decimals)}f"
    value, low, high = (
        f"{scale * x:{form}}" for x in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} ({low} to {high})"


def format_interval(
    estimate: Estimate, format_end: Callable[[float], object]
) -> str | None:
    """Return the interval of an estimate in words, or None if it has none."""
    if estimate.low is None or estimate.high is None:
        return None
    low, high = format_end(estimate.low), format_end(estimate.high)
    return f"95 % confidence interval {low} to {high}"


def format_percent(share: float) -> str:
    """Return a share in per cent, with two digits: "9.9", "100"."""
    return f"{float(f'{100 * share:.2g}'):g}"


def round_digits(number: float | None, digits: int = 3) -> float | None:
    """Round to significant digits; None for a number that is not finite."""
    if number is None or not np.isfinite(number):
        return None
    return float(f"{number:.{digits}g}")


def to_levels(distance: float | None) -> float | None:
    """Return a distance of images in [0, 1] in levels of 255, with three digits."""
    return None if distance is None else round_digits(255 * distance)


def series_with_intervals(
    label: str, x: Sequence[Any], estimates: Sequence[Estimate], scale: float = 1.0
) -> Series:
    """Return a curve with error bars for a logarithmic axis: None replaces y ≤ 0."""
    low, y, high = (
        tuple(scale * x if x is not None and x > 0 else None for x in values)
        for values in zip(*((e.low, e.value, e.high) for e in estimates), strict=True)
    )
    return Series(label, tuple(x), y, low, high)


def evenly_spaced(items: Sequence[_T], count: int) -> list[_T]:
    """Return at most `count` items, evenly spaced, with the first and the last."""
    indices = np.linspace(0, len(items) - 1, min(len(items), count))
    return [items[round(i)] for i in indices]
