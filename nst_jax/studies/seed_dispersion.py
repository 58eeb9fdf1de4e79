"""How dispersed seeds are: along another axis, over the steps and to the network."""

import math
from typing import Any

import numpy as np

from nst_jax.metrics.dispersion import coefficient_of_variation, mean_image, std_image
from nst_jax.metrics.distances import CUTOFF, pairwise_rms
from nst_jax.metrics.feature_distances import layer_distances
from nst_jax.metrics.statistics import MIN_MEMBERS, Estimate, mean_of_pairs
from nst_jax.models.layers import smallest_side
from nst_jax.studies.formatting import bars, few, text
from nst_jax.studies.results import (
    Line,
    Matrix,
    Picture,
    Plot,
    RunData,
    StudyResult,
    Table,
)
from nst_jax.studies.seed_divergence import change, divergence_curves, plot

#: Lines, at most, that are shown in pictures, as matrices and by layer.
PICTURED, MATRICES, BY_LAYER = 4, 2, 8
#: Pictures of a line, at most, whose features are held, or that are shown.
HELD = 16
#: Pictures in a row of those that are shown, and pixels between them.
ACROSS, GAP = 4, 4


def study_seed_dispersion(evidence: RunData) -> StudyResult:
    """How far apart the seeds of one request end, and what that goes with.

    All pictures are clipped to [0, 1]; over the steps they are the exact canvases,
    else what was written, in whole levels.
    """
    lines = evidence.seed_lines
    if not lines:
        return StudyResult()
    axis = evidence.fields.index(("seeds",))
    head = evidence.other_names(axis)
    over_steps = divergence_curves(evidence, lines)
    return StudyResult(
        (_extremes(lines), *change(over_steps)),
        (
            _table(evidence, head, lines),
            *_terms(evidence, head, lines),
            *_layers(evidence, head, lines),
        ),
        (*_along(evidence, axis, lines), *plot(over_steps)),
        tuple(_matrix(evidence, axis, line) for line in few(lines, MATRICES)),
        tuple(p for line in few(lines, PICTURED) for p in _pictures(evidence, line)),
    )


def _extremes(lines: list[Line]) -> str:
    least = min(lines, key=lambda line: line.dispersion.std.value)
    most = max(lines, key=lambda line: line.dispersion.std.value)
    if len(lines) == 1:
        return (
            f"The {len(least.members)} seeds have a standard deviation of "
            f"{text(least.dispersion.std, 255)} of 255 levels and an SSIM of "
            f"{text(least.dispersion.ssim)} to each other."
        )
    spreads = [(line, line.dispersion.std) for line in lines]
    known = [
        (line, x.low, x.high)
        for line, x in spreads
        if x.low is not None and x.high is not None
    ]
    if len(known) < len(lines):
        return "So few seeds do not tell which of the settings disperse them more."
    least, _, high = min(known, key=lambda line: line[2])
    most, low, _ = max(known, key=lambda line: line[1])
    if low <= high:
        return (
            f"No two of the {len(lines)} settings can be told from each other by how "
            "dispersed their seeds are: their 95 % intervals overlap."
        )
    return (
        f"Seeds are least dispersed at {least.label}, with a standard deviation of "
        f"{text(least.dispersion.std, 255)} of 255 levels, and most at {most.label}, "
        f"with {text(most.dispersion.std, 255)}."
    )


def _table(evidence: RunData, head: str, lines: list[Line]) -> Table:
    return Table(
        "How dispersed seeds are (of 255 levels, with 95 % intervals; coarse is what "
        f"is coarser than {1 / CUTOFF:.0f} pixels)",
        (
            *(head, "seeds", "standard deviation", "RMS of two"),
            *("coarse", "fine", "SSIM of two", "loss, % of its mean"),
        ),
        tuple(
            (
                line.label,
                len(line.members),
                *(text(x, 255) for x in (line.dispersion.std, line.dispersion.rms)),
                *(text(x, 255) for x in (line.dispersion.coarse, line.dispersion.fine)),
                text(line.dispersion.ssim),
                text(_spread([row.get("loss") for row in _last(evidence, line)]), 100),
            )
            for line in lines
        ),
    )


def _terms(evidence: RunData, head: str, lines: list[Line]) -> list[Table]:
    """What of the loss differs: a column for each term and layer."""
    parts = [[row["terms"] for row in _last(evidence, line)] for line in lines]
    names = list(dict.fromkeys(name for own in parts for row in own for name in row))
    if not names:
        return []
    return [
        Table(
            "How much the terms differ among seeds (standard deviation, % of the mean)",
            (head, *names),
            tuple(
                (
                    line.label,
                    *(text(_spread([r.get(n) for r in own]), 100) for n in names),
                )
                for line, own in zip(lines, parts, strict=True)
            ),
        )
    ]


def _last(evidence: RunData, line: Line) -> list[Any]:
    """The last row of metrics of each member, of those that have any."""
    return [evidence.rows[m][-1] for m in line.members if evidence.rows.get(m)]


def _spread(values: list[float | None]) -> Estimate | None:
    """`coefficient_of_variation`, None where a value is missing or below 0."""
    known = [v for v in values if v is not None and 0 <= v < math.inf]
    if len(known) < max(MIN_MEMBERS, len(values)):
        return None
    return coefficient_of_variation(known)


def _layers(evidence: RunData, head: str, lines: list[Line]) -> list[Table]:
    """How far apart seeds are in what the terms look at."""
    terms = evidence.run.get("config", {}).get("terms", [])
    layers = list(dict.fromkeys(x for term in terms for x in term.get("layers", ())))
    network = evidence.network() if layers else None
    if network is None:
        return []
    rows = []
    for line in few(lines, BY_LAYER):
        pictures = line.pictures[:HELD]
        side = min(pictures.shape[1:3])
        reached = [layer for layer in layers if smallest_side([layer]) <= side]
        apart = layer_distances(network, pictures, reached)
        rows += [
            (
                line.label,
                layer,
                *(text(mean_of_pairs(d, positive=True)) for d in apart[layer]),
            )
            for layer in reached
        ]
    return [
        Table(
            "How far apart seeds are to the network (of two, over their norm)",
            (head, "layer", "features", "Gram matrices"),
            tuple(rows),
        )
    ]


def _pictures(evidence: RunData, line: Line) -> list[Picture]:
    """The members in the order of their loss, their mean and their deviation."""
    count = len(line.members)
    deviation = std_image(line.pictures)
    shown = [
        *_by_loss(evidence, line),
        Picture(f"{line.label}: mean of {count} seeds", mean_image(line.pictures)),
    ]
    if largest := deviation.max():
        title = f"{line.label}: standard deviation of {count} seeds"
        gain = 1 / largest
        shown.append(Picture(f"{title}, × {gain:.3g}", gain * deviation))
    return shown


def _by_loss(evidence: RunData, line: Line) -> list[Picture]:
    """The pictures row by row, that of the least loss first; none if one has none."""
    losses = [row.get("loss") for row in _last(evidence, line)]
    known = [loss for loss in losses if loss is not None]
    if len(known) < len(line.members):
        return []
    order = sorted(range(len(known)), key=known.__getitem__)
    chosen = few(order, HELD)
    count, height, width, channels = len(chosen), *line.pictures.shape[1:]
    across = min(count, ACROSS)
    rows = math.ceil(count / across)
    sheet = np.ones((rows * (height + GAP), across * (width + GAP), channels))
    for i, member in enumerate(chosen):
        y, x = i // across * (height + GAP), i % across * (width + GAP)
        sheet[y : y + height, x : x + width] = line.pictures[member]
    which = "" if count == len(order) else f"{count} of "
    title = (
        f"{line.label}: {which}{len(order)} seeds in the order of their loss, row by "
        f"row, from {known[order[0]]:.4g} to {known[order[-1]]:.4g}"
    )
    return [Picture(title, sheet[:-GAP, :-GAP])]


def _matrix(evidence: RunData, axis: int, line: Line) -> Matrix:
    labels = evidence.run["axes"][axis]["labels"]
    return Matrix(
        f"{line.label}: how far apart two seeds are (RMS of 255 levels)",
        tuple(labels[evidence.run["members"][m]["index"][axis]] for m in line.members),
        255 * pairwise_rms(line.pictures),
    )


def _along(evidence: RunData, axis: int, lines: list[Line]) -> list[Plot]:
    """Against the other axis, if there is one and no more."""
    spreads = [line.dispersion.std for line in lines]
    if len(evidence.fields) != 2 or len(lines) < 2 or not any(s.value for s in spreads):
        return []
    x, scale = _positions([line.label for line in lines])
    name = evidence.other_names(axis)
    return [
        Plot(
            f"How dispersed seeds are, by {name}",
            (bars("", x, spreads, 255),),
            *(name, "standard deviation (levels)", scale),
        )
    ]


def _positions(labels: list[str]) -> tuple[list[Any], str]:
    """Labels as numbers if all of them are, and the scale that they need."""
    try:
        numbers = [float(label) for label in labels]
    except ValueError:
        return list(labels), "linear"
    wide = min(numbers) > 0 and max(numbers) > 100 * min(numbers)
    return numbers, "log" if wide else "linear"
