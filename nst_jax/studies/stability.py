"""Whether seeds are the more dispersed the stronger the style's features are."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy

from nst_jax.metrics.feature_distances import gram_traces
from nst_jax.metrics.statistics import RankCorrelation, rank_correlation
from nst_jax.models.vgg import Network
from nst_jax.studies.formatting import bars, text
from nst_jax.studies.results import Line, Plot, RunData, StudyResult, Table, rounded

#: What makes a style setting.
STYLES = {"styles", "style_scale"}
#: Settings, at least, that are compared, and styles, that a correlation is told from.
SETTINGS = 5
#: p below which a correlation is one.
SIGNIFICANT = 0.05


class Setting(NamedTuple):
    """The seeds of one style setting.

    Attributes:
      line: they.
      style: what picture it is of; settings of one are no independent points.
      trace: of its style's Gram matrices.
    """

    line: Line
    style: str
    trace: float


def study_stability(evidence: RunData) -> StudyResult:
    """The dispersion of seeds against the trace of the Gram of their style.

    Gupta, Johnson, Alahi and Fei-Fei 2017, "Characterizing and Improving Stability in
    Neural Style Transfer" (arXiv 1705.02092): features that have a style's
    Gram matrix FFᵀ lie on a sphere whose radius is the root of its trace, so solutions
    may be the farther apart the larger that is. Here the Gram matrix is over the P
    positions, and the radius the root of P times its trace. Asked where nothing but
    styles, their scale and seeds vary; of the settings of one picture the correlation
    takes the mean.
    """
    others = [set(paths) for paths in evidence.fields if paths != ("seeds",)]
    layers = _style_layers(evidence)
    if not others or not layers or not all(paths <= STYLES for paths in others):
        return StudyResult()
    lines = [line for line in evidence.seed_lines if _styles(evidence, line)]
    if len(lines) < SETTINGS or (network := evidence.network()) is None:
        return StudyResult()
    settings = [
        Setting(
            line,
            str(evidence.run["members"][line.members[0]]["varies"].get("styles")),
            _trace(network, _styles(evidence, line), layers),
        )
        for line in lines
    ]
    traces = [setting.trace for setting in settings]
    spreads = [setting.line.dispersion.std for setting in settings]
    values = [spread.value for spread in spreads]
    if np.ptp(traces) == 0 or np.ptp(values) == 0:
        return StudyResult()
    head = evidence.other_names(evidence.fields.index(("seeds",)))
    title = "The dispersion of seeds against the trace of the style's Gram matrices"
    return StudyResult(
        (_said(settings),),
        (
            Table(
                f"{title} (geometric mean over {', '.join(layers)})",
                (head, "trace", "standard deviation (levels of 255)"),
                tuple(
                    (line.label, rounded(trace), text(line.dispersion.std, 255))
                    for line, _, trace in sorted(settings, key=lambda s: s.trace)
                ),
            ),
        ),
        (
            Plot(
                title,
                (bars("", traces, spreads, 255),),
                *("trace of the Gram matrix", "standard deviation (levels)", "log"),
                lines=False,
            ),
        ),
    )


def _style_layers(evidence: RunData) -> list[str]:
    """What the style terms look at: those that have a blend."""
    terms = evidence.run.get("config", {}).get("terms", [])
    names = [x for term in terms if "blend" in term for x in term["layers"]]
    return list(dict.fromkeys(names))


def _styles(evidence: RunData, line: Line) -> Sequence[np.ndarray]:
    """The style pictures of a line, whose seeds share them."""
    return evidence.styles.get(line.members[0], ())


def _trace(
    network: Network, styles: Sequence[np.ndarray], layers: Sequence[str]
) -> float:
    """The geometric mean over layers, and over the pictures if there are several."""
    traces = [gram_traces(network, style, layers).values() for style in styles]
    return float(scipy.stats.gmean([trace for own in traces for trace in own]))


def _said(settings: Sequence[Setting]) -> str:
    styles: dict[str, list[Setting]] = {}
    for setting in settings:
        styles.setdefault(setting.style, []).append(setting)
    count = f"{len(settings)} settings of {len(styles)} styles"
    if len(settings) == len(styles):
        count = f"{len(styles)} styles"
    trace = "the trace of the style's Gram matrices"
    here = "for the stability of feed-forward stylisation of video; here it is the "
    here += "spread of seeds"
    found = _correlation(list(styles.values()))
    if found is None or found.p >= SIGNIFICANT:
        numbers = f" ({_numbers(found, count)})" if found else ""
        return (
            f"No relation of the dispersion of seeds to {trace} can be told from "
            f"{count}{numbers}. Gupta et al. 2017 (arXiv 1705.02092) report one {here}."
        )
    way, report = ("more", "this") if found.rho.value > 0 else ("less", "the opposite")
    return (
        f"Over {count} seeds are the {way} dispersed the larger {trace} is "
        f"({_numbers(found, count)}). Gupta et al. 2017 (arXiv 1705.02092) report "
        f"{report} {here}."
    )


def _correlation(styles: Sequence[Sequence[Setting]]) -> RankCorrelation | None:
    """Of one point a picture, the mean of its settings; None if that is too little."""
    traces = [scipy.stats.gmean([own.trace for own in style]) for style in styles]
    spreads = [
        np.mean([own.line.dispersion.std.value for own in style]) for style in styles
    ]
    if len(styles) < SETTINGS or np.ptp(traces) == 0 or np.ptp(spreads) == 0:
        return None
    return rank_correlation(traces, spreads)


def _numbers(found: RankCorrelation, count: str) -> str:
    rho = found.rho
    interval = (
        f", 95 %: {rho.low:.2f} to {rho.high:.2f}"
        if rho.low is not None and rho.high is not None
        else ""
    )
    of = ", of one point a style" if "settings" in count else ""
    return f"Spearman's rho {rho.value:.2f}{interval}, p = {found.p:.2g}{of}"
