"""Lines of seeds: the ensembles of a grid, and their numbers as they are shown."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nst_jax.studies.comparison import CUTOFF
from nst_jax.studies.dispersion import WINDOW, Dispersion, dispersion
from nst_jax.studies.estimate import LEAST, Estimate
from nst_jax.studies.found import Evidence, Series


class Line(NamedTuple):
    """The seeds at one place on the other axes.

    Attributes:
      label: where that is.
      members: those that are finished, at least `LEAST`.
      pictures: theirs, [N, H, W, 3].
      dispersion: of these.
    """

    label: str
    members: list[int]
    pictures: np.ndarray
    dispersion: Dispersion


def seed_lines(evidence: Evidence) -> list[Line]:
    """The lines along an axis of nothing but seeds that are wide enough for SSIM."""
    if ("seeds",) not in evidence.fields:
        return []
    lines = []
    for label, members in evidence.lines(evidence.fields.index(("seeds",))):
        there = [m for m in members if m in evidence.finals]
        if len(there) < LEAST or min(evidence.finals[there[0]].shape[:2]) < WINDOW:
            continue
        pictures = np.stack([evidence.finals[m] for m in there])
        lines.append(Line(label, there, pictures, dispersion(pictures, CUTOFF)))
    return lines


def text(estimate: Estimate | None, scale: float = 1.0) -> str | None:
    """`scale` times an estimate, to two digits of its error: "12.34 ± 0.81"."""
    if estimate is None:
        return None
    value, error = scale * estimate.value, scale * (estimate.error or 0)
    if not error:
        return f"{value:.3g}" + ("" if estimate.error is None else " ± 0")
    places = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{places}f} ± {error:.{places}f}"


def bars(
    label: str, x: Sequence[Any], estimates: Sequence[Estimate], scale: float = 1.0
) -> Series:
    """`scale` times some estimates, on a logarithmic axis: one of 0 is a gap."""
    ends = [
        (e.low, e.value, e.high) if e.value > 0 else (None, None, None)
        for e in estimates
    ]
    low, y, high = (
        tuple(None if end is None else scale * end for end in own)
        for own in zip(*ends, strict=True)
    )
    return Series(label, tuple(x), y, low, high)
