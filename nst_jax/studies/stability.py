"""Whether seeds are the more dispersed the stronger the style's features are."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from nst_jax.studies.estimate import RankCorrelation, rank_correlation
from nst_jax.studies.found import Evidence, Findings, Plot, Table, rounded
from nst_jax.studies.lines import Line, bars, seed_lines, text
from nst_jax.studies.perception import gram_traces
from nst_jax.vgg import Network

#: What makes a style setting.
STYLES = {"styles", "style_scale"}
#: Settings, at least, that a correlation is told from.
SETTINGS = 5
#: p below which a correlation is one.
SIGNIFICANT = 0.05


class Setting(NamedTuple):
    """The seeds of one style setting, and the trace of its style's Gram matrices."""

    line: Line
    trace: float


def stability(evidence: Evidence) -> Findings:
    """The dispersion of seeds against the trace of the Gram of their style.

    Gupta, Johnson, Alahi and Fei-Fei 2017, "Characterizing and Improving Stability in
    Neural Style Transfer" (arXiv 1705.02092): features that have a style's
    Gram matrix lie on a sphere whose radius is the root of its trace, so solutions
    may be the farther apart the larger that is. Asked where nothing but styles, their
    scale and seeds vary.
    """
    others = [set(paths) for paths in evidence.fields if paths != ("seeds",)]
    layers = _style_layers(evidence)
    if not others or not layers or not all(paths <= STYLES for paths in others):
        return Findings()
    lines = [line for line in seed_lines(evidence) if _styles(evidence, line)]
    if len(lines) < SETTINGS or (network := evidence.network()) is None:
        return Findings()
    settings = [
        Setting(line, _trace(network, _styles(evidence, line), layers))
        for line in lines
    ]
    traces = [setting.trace for setting in settings]
    spreads = [setting.line.dispersion.std for setting in settings]
    values = [spread.value for spread in spreads]
    if np.ptp(traces) == 0 or np.ptp(values) == 0:
        return Findings()
    together = len(set.union(*others)) > 1
    head = evidence.other_names(evidence.fields.index(("seeds",)))
    title = "The dispersion of seeds against the trace of the style's Gram matrices"
    return Findings(
        (_said(rank_correlation(traces, values), together),),
        (
            Table(
                f"{title} (geometric mean over {', '.join(layers)})",
                (head, "trace", "standard deviation (levels of 255)"),
                tuple(
                    (line.label, rounded(trace), text(line.dispersion.std, 255))
                    for line, trace in sorted(settings, key=lambda s: s.trace)
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


def _style_layers(evidence: Evidence) -> list[str]:
    """What the style terms look at: those that have a blend."""
    terms = evidence.run.get("config", {}).get("terms", [])
    names = [x for term in terms if "blend" in term for x in term["layers"]]
    return list(dict.fromkeys(names))


def _styles(evidence: Evidence, line: Line) -> Sequence[np.ndarray]:
    """The style pictures of a line, whose seeds share them."""
    return evidence.styles.get(line.members[0], ())


def _trace(
    network: Network, styles: Sequence[np.ndarray], layers: Sequence[str]
) -> float:
    """The geometric mean over layers, and over the pictures if there are several."""
    traces = [gram_traces(network, style, layers).values() for style in styles]
    return float(stats.gmean([trace for own in traces for trace in own]))


def _said(found: RankCorrelation, together: bool) -> str:
    rho = found.rho
    interval = (
        f", 95 %: {rho.low:.2f} to {rho.high:.2f}"
        if rho.low is not None and rho.high is not None
        else ""
    )
    numbers = f"Spearman's rho {rho.value:.2f}{interval}, p = {found.p:.2g}"
    trace = "the trace of the style's Gram matrices"
    if found.p >= SIGNIFICANT:
        result = f"the dispersion of seeds shows no relation to {trace}"
        others = (
            "where Gupta et al. 2017 (arXiv 1705.02092) have instability grow with it"
        )
    else:
        way = "more" if rho.value > 0 else "less"
        result = f"seeds are the {way} dispersed the larger {trace} is"
        whether = "as" if rho.value > 0 else "the opposite of what"
        others = f"{whether} Gupta et al. 2017 (arXiv 1705.02092) found"
    caution = (
        " Settings that share a picture go together: the interval is rather too narrow."
        if together
        else ""
    )
    return f"Over {found.count} styles {result} ({numbers}), {others}.{caution}"
