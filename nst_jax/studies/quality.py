"""Quality of the results of each setting."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from nst_jax.losses import Photorealism
from nst_jax.metrics import quality
from nst_jax.metrics.artefacts import gamut_excess
from nst_jax.metrics.photorealism import edge_distortion
from nst_jax.metrics.quality import Comparison
from nst_jax.metrics.statistics import Estimate, jackknife
from nst_jax.models.layers import trunk_layers
from nst_jax.models.vgg import Network
from nst_jax.studies.formatting import format_estimate
from nst_jax.studies.results import StudyResult, Table
from nst_jax.studies.run_data import RunData
from nst_jax.studies.tradeoff import CONTENT, STYLE, QualitySetting, study_tradeoff

#: Measured if a loss term is `Photorealism`.
ANGLE, RESIDUAL = "edges turned", "no colour map"
SCORE, GAMUT, EXCESS = "score", "out of gamut", "excess"
#: Measure -> (column, factor to its unit), in the order of the table.
LIKENESS = {
    SCORE: ("score", 1),
    quality.PALETTE: ("palette distance", 1),
    quality.STROKES: ("stroke distance", 1),
    **{name: (name, 1) for name in quality.STROKES_AT.values()},
    quality.EDGES: ("edge agreement", 1),
    quality.STRUCTURE: ("structure distance", 1),
    ANGLE: ("edges turned (°)", 1),
    RESIDUAL: ("no colour map (%)", 100),
}
DEFECTS = {
    quality.FLAT: ("flat (%)", 100),
    quality.SPECKLE: ("speckle (%)", 100),
    quality.CLIPPED: ("clipped (%)", 100),
    quality.WEAVE: ("weave (0.01)", 100),
    quality.SEAM: ("seam (0.01)", 100),
    quality.BORDER: ("border (levels)", 255),
    quality.BORDER_FLOOR: ("border floor", 255),
    GAMUT: ("out of gamut (%)", 100),
    EXCESS: ("excess (levels)", 255),
}


def study_quality(run_data: RunData) -> StudyResult:
    """Measure likeness to style and content, and defects, if `output.quality` is set.

    Measures are those of `nst_jax.metrics.quality`, with the network at those of its
    layers that no loss term reads. Without the weights, measures of features are left
    out.
    """
    if not run_data.run.config["output"].get("quality"):
        return StudyResult()
    layers = _unused_layers(run_data)
    network = run_data.network() if layers else None
    if network is not None:
        layers = [layer for layer in layers if layer in trunk_layers(network.trunk)]
    axis = run_data.seed_axis
    settings: list[QualitySetting] = []
    inputs, comparison = None, None
    for label, members in run_data.groups_along(axis, run_data.finals):
        if comparison is None or inputs != _inputs(run_data, members[0]):
            inputs = _inputs(run_data, members[0])
            comparison = _comparison(run_data, members[0], network, layers)
        measured = [_measure(run_data, member, comparison) for member in members]
        settings.append(QualitySetting(label, members, _means(measured)))
    if not settings:
        return StudyResult()
    title = "Likeness to style and content (means over seeds, with 95 % confidence "
    title += "intervals"
    if any(
        quality.STROKES in s.means or quality.STRUCTURE in s.means for s in settings
    ):
        title += f"; features at {', '.join(layers)}, which no loss term reads"
    names = run_data.other_names(axis), "seeds"
    tables = (
        _table(title + ")", names, settings, LIKENESS),
        _table("Defects (means over seeds)", names, settings, DEFECTS),
    )
    compared = [s for s in settings if {STYLE, CONTENT} <= s.means.keys()]
    sentences = tuple(_best_sentences(settings))
    return StudyResult(
        sentences, tuple(table for table in tables if table.rows)
    ) + study_tradeoff(run_data, compared)


def _unused_layers(run_data: RunData) -> list[str]:
    """Layers of `Comparison` that no term reads before or after the ReLU."""
    used = {layer for member in run_data.run.members for layer in member.layers}
    used |= {layer.replace("conv", "relu") for layer in used}
    return [layer for layer in quality.LAYERS if layer not in used]


def _inputs(run_data: RunData, member: int) -> tuple[object, object]:
    """Numbers of a member's content and styles among the inputs of the run."""
    entry = run_data.run.members[member]
    return entry.content, entry.styles


def _comparison(
    run_data: RunData, member: int, network: Network | None, layers: Sequence[str]
) -> Comparison:
    content, styles = run_data.contents.get(member), run_data.styles.get(member, ())
    return Comparison(content, styles, network if layers else None, layers)


def _measure(
    run_data: RunData, member: int, comparison: Comparison
) -> dict[str, float]:
    """Return the measures of one member by name."""
    measures = comparison.measure(run_data.finals[member])
    score = comparison.score(measures)
    if score is not None:
        measures[SCORE] = score
    canvas = _last_canvas(run_data, member)
    if canvas is not None and np.isfinite(canvas).all():
        gamut = gamut_excess(canvas)
        measures |= {GAMUT: gamut.share, EXCESS: gamut.excess}
    return measures | _photorealism(run_data, member)


def _photorealism(run_data: RunData, member: int) -> dict[str, float]:
    """Distortion of the edges, if a term preserves them."""
    if all(term.get("type") != Photorealism.__name__ for term in run_data.terms):
        return {}
    final, content = run_data.finals[member], run_data.contents.get(member)
    if content is None or content.shape != final.shape or min(final.shape[:2]) < 3:
        return {}
    distortion = edge_distortion(final, content)
    return {ANGLE: distortion.angle, RESIDUAL: distortion.residual}


def _last_canvas(run_data: RunData, member: int) -> np.ndarray | None:
    """The exact canvas of the last step (−1 if it has no number), if recorded."""
    steps, canvases = run_data.trajectory(member)
    last = {-1} | {row["step"] for row in run_data.rows.get(member, [])[-1:]}
    return canvases[-1] if steps and steps[-1] in last else None


def _table(
    title: str,
    names: tuple[str, str],
    settings: Sequence[QualitySetting],
    columns: Mapping[str, tuple[str, float]],
) -> Table:
    """Return a row for each setting that has one of the measures."""
    records = []
    for setting in settings:
        cells = {
            column: format_estimate(setting.means[name], factor)
            for name, (column, factor) in columns.items()
            if name in setting.means
        }
        if cells:
            records.append(((setting.label, len(setting.members)), cells))
    return Table.from_records(title, names, records)


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


def _best_sentences(settings: Iterable[QualitySetting]) -> list[str]:
    """Name the setting with the lowest score, if there is a choice."""
    scored = [setting for setting in settings if SCORE in setting.means]
    if len(scored) < 2:
        return []
    best = min(scored, key=lambda setting: setting.means[SCORE].value)
    return [
        f"“{best.label}” has the lowest score of likeness and defects, "
        f"{format_estimate(best.means[SCORE])}."
    ]
