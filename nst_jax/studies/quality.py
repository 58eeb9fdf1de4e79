"""Quality of the results of each setting."""

from collections.abc import Sequence

import numpy as np

from nst_jax.losses import Photorealism
from nst_jax.metrics.artefacts import (
    MIN_BORDER_SIDE,
    PATCH_SIDE,
    border_error,
    gamut_excess,
    grey_patch_share,
)
from nst_jax.metrics.feature_distances import (
    content_distance,
    extract_features,
    style_distance,
)
from nst_jax.metrics.photorealism import edge_distortion
from nst_jax.metrics.statistics import Estimate, jackknife
from nst_jax.models.layers import smallest_side
from nst_jax.studies.formatting import format_estimate
from nst_jax.studies.results import StudyResult, Table
from nst_jax.studies.run_data import RunData
from nst_jax.studies.tradeoff import CONTENT, STYLE, QualitySetting, study_tradeoff

#: Layers at which results are compared with style and content, unless a loss term
#: reads them.
HELD_OUT = ("relu1_2", "relu2_2", "relu3_2", "relu3_4", "relu4_2", "relu4_4")
#: Measured if a loss term is `Photorealism`.
EDGES, WINDOWS = "edges turned (°)", "no colour map (%)"
#: Column -> factor from a measurement to its unit, in the order of the table.
COLUMNS = {
    STYLE: 1,
    CONTENT: 1,
    EDGES: 1,
    WINDOWS: 100,
    "border (levels)": 255,
    "border floor": 255,
    "grey (%)": 100,
    "out of gamut (%)": 100,
    "excess (levels)": 255,
}


def study_quality(run_data: RunData) -> StudyResult:
    """Measure style and content distances and artefacts, if `output.quality` is set.

    Distances are those of `nst_jax.metrics.feature_distances`, mean over the layers of
    `HELD_OUT` that no loss term reads; without the weights they are left out.
    """
    if not run_data.run.get("config", {}).get("output", {}).get("quality"):
        return StudyResult()
    layers = _unused_layers(run_data)
    axis = run_data.seed_axis
    settings = []
    for label, members in run_data.groups_along(axis):
        if finished := run_data.finished(members):
            means = _means(_measure(run_data, finished, layers))
            settings.append(QualitySetting(label, finished, means))
    if not settings:
        return StudyResult()
    columns = [name for name in COLUMNS if any(name in s.means for s in settings)]
    title = "Quality of the results (means over seeds, with 95 % confidence intervals"
    if STYLE in columns or CONTENT in columns:
        title += f"; distances at {', '.join(layers)}, which no loss term reads"
    rows = []
    for label, members, means in settings:
        cells = (format_estimate(means.get(name), COLUMNS[name]) for name in columns)
        rows.append((label, len(members), *cells))
    head = run_data.other_names(axis), "seeds", *columns
    table = Table(title + ")", head, tuple(rows))
    compared = [s for s in settings if {STYLE, CONTENT} <= s.means.keys()]
    sentences = tuple(_nearest_sentences(compared))
    return StudyResult(sentences, (table,)) + study_tradeoff(run_data, compared)


def _unused_layers(run_data: RunData) -> list[str]:
    """Layers of `HELD_OUT` that no term reads before or after the ReLU, if known."""
    members = run_data.run["members"]
    if any("layers" not in member for member in members):
        return []
    used = {layer for member in members for layer in member["layers"]}
    used |= {layer.replace("conv", "relu") for layer in used}
    return [layer for layer in HELD_OUT if layer not in used]


def _measure(
    run_data: RunData, members: Sequence[int], layers: Sequence[str]
) -> list[dict[str, float]]:
    """Column -> value for each of some members that differ in their seeds only."""
    return [
        distances | _photorealism(run_data, member) | _artefacts(run_data, member)
        for member, distances in zip(
            members, _distances(run_data, members, layers), strict=True
        )
    ]


def _distances(
    run_data: RunData, members: Sequence[int], layers: Sequence[str]
) -> list[dict[str, float]]:
    """Style and content distance of members that share their input images."""
    finals = [run_data.finals[m] for m in members]
    styles = run_data.styles.get(members[0], ())
    content = run_data.contents.get(members[0])
    if content is not None and content.shape != finals[0].shape:
        content = None
    network = run_data.network() if layers else None
    images = [*finals, *styles, *([] if content is None else [content])]
    sides = [min(image.shape[:2]) for image in images]
    if network is None or min(sides) < smallest_side(layers):
        return [{} for _ in finals]
    style_features = [extract_features(network, style, layers) for style in styles]
    if content is not None:
        content_features = extract_features(network, content, layers)
    results = []
    for final in finals:
        features = extract_features(network, final, layers)
        by_layer: dict[str, dict[str, float]] = {}
        if style_features:
            by_layer[STYLE] = style_distance(features, style_features)
        if content is not None:
            by_layer[CONTENT] = content_distance(features, content_features)
        results.append({k: float(np.mean([*v.values()])) for k, v in by_layer.items()})
    return results


def _photorealism(run_data: RunData, member: int) -> dict[str, float]:
    """Distortion of the edges, if a term preserves them."""
    if all(term.get("type") != Photorealism.__name__ for term in run_data.terms):
        return {}
    final, content = run_data.finals[member], run_data.contents.get(member)
    if content is None or content.shape != final.shape or min(final.shape[:2]) < 3:
        return {}
    distortion = edge_distortion(final, content)
    return {EDGES: distortion.angle, WINDOWS: distortion.residual}


def _artefacts(run_data: RunData, member: int) -> dict[str, float]:
    final = run_data.finals[member]
    side = min(final.shape[:2])
    values: dict[str, float] = {}
    if side >= MIN_BORDER_SIDE:
        border = border_error(final)
        values |= {"border (levels)": border.error, "border floor": border.floor}
    if side >= PATCH_SIDE:
        values["grey (%)"] = grey_patch_share(final)
    canvas = _last_canvas(run_data, member)
    if canvas is not None and np.isfinite(canvas).all():
        gamut = gamut_excess(canvas)
        values |= {"out of gamut (%)": gamut.share, "excess (levels)": gamut.excess}
    return values


def _last_canvas(run_data: RunData, member: int) -> np.ndarray | None:
    """The exact canvas of the last step (−1 if it has no number), if recorded."""
    if run_data.trajectory is None:
        return None
    steps, canvases = run_data.trajectory(member)
    last = {-1} | {row["step"] for row in run_data.rows.get(member, [])[-1:]}
    return canvases[-1] if steps and steps[-1] in last else None


def _means(measurements: list[dict[str, float]]) -> dict[str, Estimate]:
    """Mean of each column that is finite for all members."""
    means = {}
    for name in measurements[0]:
        values = np.array([values.get(name, np.nan) for values in measurements])
        if np.isfinite(values).all():
            means[name] = _mean(values)
    return means


def _mean(values: np.ndarray) -> Estimate:
    return jackknife(lambda members: float(values[members].mean()), len(values))


def _nearest_sentences(settings: list[QualitySetting]) -> list[str]:
    """Name the settings with the least distances, if there is a choice."""
    if len(settings) < 2:
        return []
    style, content = (
        min(settings, key=lambda s: s.means[name].value) for name in (STYLE, CONTENT)
    )
    return [
        f"At layers that no loss term reads, “{style.label}” has the lowest {STYLE}, "
        f"{format_estimate(style.means[STYLE])}, and “{content.label}” the lowest "
        f"{CONTENT}, {format_estimate(content.means[CONTENT])}."
    ]
