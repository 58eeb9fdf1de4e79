"""How good the pictures of each setting are."""

from collections.abc import Sequence

import numpy as np

from nst_jax.losses import Photorealism
from nst_jax.metrics.artefacts import (
    PATCH_SIDE,
    border_error,
    gamut_share,
    grey_patch_share,
    min_border_side,
)
from nst_jax.metrics.photorealism import edge_distortion
from nst_jax.metrics.quality import content_distance, extract_features, style_distance
from nst_jax.metrics.statistics import Estimate, jackknife
from nst_jax.models.layers import smallest_side
from nst_jax.studies.formatting import text
from nst_jax.studies.results import RunData, StudyResult, Table
from nst_jax.studies.tradeoff import CONTENT, STYLE, Setting, trade

#: Where pictures are compared with their style and content, unless a term looks there.
HELD_OUT = ("relu1_2", "relu2_2", "relu3_2", "relu3_4", "relu4_2", "relu4_4")
#: Asked where a term is `Photorealism`.
EDGES, WINDOWS = "edges turned (°)", "no colour map (%)"
#: What is measured of a picture: its column, and what it is multiplied by there.
COLUMNS = {
    STYLE: 1,
    CONTENT: 1,
    EDGES: 1,
    WINDOWS: 100,
    "border (levels)": 255,
    "its floor": 255,
    "grey (%)": 100,
    "out of gamut (%)": 100,
    "by (levels)": 255,
}


def study_quality(evidence: RunData) -> StudyResult:
    """How near pictures are to style and content, and what is wrong with them.

    Asked where the config has `output.quality`. The distances are those of
    `quality`, mean over the layers of `HELD_OUT` that no term looks at, if the weights
    are there.
    """
    if not evidence.run.get("config", {}).get("output", {}).get("quality"):
        return StudyResult()
    layers = _held_out(evidence)
    fields = evidence.fields
    seeds = fields.index(("seeds",)) if ("seeds",) in fields else len(fields)
    settings = [
        Setting(label, _place(evidence, there[0]), len(there), _means(own))
        for label, members in evidence.lines(seeds)
        if (there := [m for m in members if m in evidence.finals])
        and (own := _measured(evidence, there, layers))
    ]
    if not settings:
        return StudyResult()
    told = [s for s in settings if {STYLE, CONTENT} <= s.merits.keys()]
    columns = [name for name in COLUMNS if any(name in s.merits for s in settings)]
    title = "How good the pictures are (means over seeds, with 95 % intervals"
    if any(name in columns for name in (STYLE, CONTENT)):
        title += f"; distances at {', '.join(layers)}, where no term looks"
    table = Table(
        f"{title})",
        (evidence.other_names(seeds), "seeds", *columns),
        tuple(
            (
                *(s.label, s.finished),
                *(text(s.merits.get(name), COLUMNS[name]) for name in columns),
            )
            for s in settings
        ),
    )
    return StudyResult(tuple(_nearest(told)), (table,)) + trade(evidence, told, seeds)


def _place(evidence: RunData, member: int) -> list[int]:
    return evidence.run["members"][member]["index"]


def _held_out(evidence: RunData) -> list[str]:
    """Those of `HELD_OUT` that no term looks at, before the ReLU or after it.

    Empty where that is not known.
    """
    members = evidence.run["members"]
    if any("layers" not in member for member in members):
        return []
    used = {layer for member in members for layer in member["layers"]}
    used |= {layer.replace("conv", "relu") for layer in used}
    return [layer for layer in HELD_OUT if layer not in used]


def _measured(
    evidence: RunData, members: Sequence[int], layers: Sequence[str]
) -> list[dict[str, float]]:
    """Column -> value, of members that differ in their seeds alone."""
    distances = _distances(evidence, members, layers)
    return [
        own | _lines(evidence, member) | _faults(evidence, member)
        for member, own in zip(members, distances, strict=True)
    ]


def _distances(
    evidence: RunData, members: Sequence[int], layers: Sequence[str]
) -> list[dict[str, float]]:
    """How far each is from the pictures that all of them were given."""
    finals = [evidence.finals[m] for m in members]
    content = evidence.contents.get(members[0])
    styles = evidence.styles.get(members[0], ())
    if content is not None and content.shape != finals[0].shape:
        content = None
    shown = [*finals, *styles, *([] if content is None else [content])]
    network = evidence.network() if layers else None
    if network is None or min(min(x.shape[:2]) for x in shown) < smallest_side(layers):
        return [{} for _ in finals]
    goals = [extract_features(network, style, layers) for style in styles]
    goal = None if content is None else extract_features(network, content, layers)
    found = []
    for final in finals:
        features = extract_features(network, final, layers)
        own: dict[str, dict[str, float]] = {}
        if goals:
            own[STYLE] = style_distance(features, goals)
        if goal is not None:
            own[CONTENT] = content_distance(features, goal)
        found.append({k: float(np.mean([*v.values()])) for k, v in own.items()})
    return found


def _lines(evidence: RunData, member: int) -> dict[str, float]:
    """What became of a photograph's, where that is what a term is for."""
    terms = evidence.run["config"].get("terms", [])
    final, content = evidence.finals[member], evidence.contents.get(member)
    if all(term.get("type") != Photorealism.__name__ for term in terms):
        return {}
    if content is None or content.shape != final.shape or min(final.shape[:2]) < 3:
        return {}
    found = edge_distortion(final, content)
    return {EDGES: found.angle, WINDOWS: found.residual}


def _faults(evidence: RunData, member: int) -> dict[str, float]:
    final = evidence.finals[member]
    found: dict[str, float] = {}
    if min(final.shape[:2]) >= min_border_side():
        border = border_error(final)
        found |= {"border (levels)": border.error, "its floor": border.floor}
    if min(final.shape[:2]) >= PATCH_SIDE:
        found["grey (%)"] = grey_patch_share(final)
    canvas = _last_canvas(evidence, member)
    if canvas is not None and np.isfinite(canvas).all():
        gamut = gamut_share(canvas)
        found |= {"out of gamut (%)": gamut.share, "by (levels)": gamut.excess}
    return found


def _last_canvas(evidence: RunData, member: int) -> np.ndarray | None:
    """As it was computed, if it was kept: it is of no step, or of the last."""
    rows = evidence.rows.get(member)
    if evidence.trajectory is None:
        return None
    steps, canvases = evidence.trajectory(member)
    last = {-1, rows[-1]["step"]} if rows else {-1}
    return canvases[-1] if steps and steps[-1] in last else None


def _means(own: list[dict[str, float]]) -> dict[str, Estimate]:
    """Of those columns that all members have a finite value in."""
    means = {}
    for name in own[0]:
        values = np.array([one.get(name, np.nan) for one in own])
        if np.isfinite(values).all():
            means[name] = _mean(values)
    return means


def _mean(values: np.ndarray) -> Estimate:
    return jackknife(lambda chosen: float(values[chosen].mean()), len(values))


def _nearest(settings: list[Setting]) -> list[str]:
    """Which settings are nearest to what, if there is a choice."""
    if len(settings) < 2:
        return []
    style, content = (
        min(settings, key=lambda s: s.merits[name].value) for name in (STYLE, CONTENT)
    )
    return [
        f"At layers where no term looks, “{style.label}” is nearest to the style "
        f"({text(style.merits[STYLE])}) and “{content.label}” to the content "
        f"({text(content.merits[CONTENT])})."
    ]
