"""Relation of the dispersion across seeds to the strength of the style's features."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nst_jax.metrics.feature_distances import gram_traces
from nst_jax.metrics.statistics import Estimate, RankCorrelation, rank_correlation
from nst_jax.models.vgg import Network
from nst_jax.studies.formatting import (
    format_estimate,
    format_interval,
    round_digits,
    series_with_intervals,
)
from nst_jax.studies.results import Plot, StudyResult, Table
from nst_jax.studies.run_data import RunData

#: Config paths that define a style setting.
STYLE_PATHS = {"styles", "style_scale"}
#: Settings that are compared, and style images of a correlation, at least.
MIN_SETTINGS = 5
#: Significance level of the correlation.
SIGNIFICANCE = 0.05
PAPER = "Gupta et al. 2017 (arXiv 1705.02092)"


class StyleSetting(NamedTuple):
    """Dispersion of the seeds of one style setting.

    Attributes:
      label: label of the setting.
      style: style image; settings of the same image are not independent.
      trace: trace of the style's Gram matrices, geometric mean over layers.
      std: standard deviation across seeds.
    """

    label: str
    style: str
    trace: float
    std: Estimate


def study_stability(run_data: RunData) -> StudyResult:
    """Correlate the dispersion across seeds with the trace of the Gram matrices.

    Gupta, Johnson, Alahi and Fei-Fei 2017, "Characterizing and Improving Stability in
    Neural Style Transfer" (arXiv 1705.02092): features with the Gram matrix FFᵀ of a
    style lie on a sphere. Its radius is the root of the trace, so solutions may be
    farther apart for a larger trace. Here the Gram matrix is divided by the P
    positions, so the radius is the root of P times the trace. The study applies if
    only styles, their scale and seeds vary; settings of one style image are averaged.
    """
    varied = [set(paths) for paths in run_data.fields if paths != ("seeds",)]
    style_terms = [term for term in run_data.terms if "blend" in term]
    layers = list(dict.fromkeys(x for term in style_terms for x in term["layers"]))
    if not varied or not layers or not all(paths <= STYLE_PATHS for paths in varied):
        return StudyResult()
    groups = [g for g in run_data.seed_groups if run_data.styles.get(g.members[0])]
    if len(groups) < MIN_SETTINGS or (network := run_data.network()) is None:
        return StudyResult()
    settings = []
    for label, (member, *_), _, dispersion in groups:
        style = str(run_data.run["members"][member]["varies"].get("styles"))
        trace = _mean_trace(network, run_data.styles[member], layers)
        settings.append(StyleSetting(label, style, trace, dispersion.std))
    traces = [setting.trace for setting in settings]
    stds = [setting.std for setting in settings]
    if np.ptp(traces) == 0 or np.ptp([std.value for std in stds]) == 0:
        return StudyResult()
    title = "Dispersion across seeds by the trace of the style's Gram matrices"
    head = run_data.other_names(run_data.seed_axis)
    table = Table(
        f"{title} (geometric mean over {', '.join(layers)})",
        (head, "trace", "standard deviation (levels of 255)"),
        tuple(
            (
                setting.label,
                round_digits(setting.trace),
                format_estimate(setting.std, 255),
            )
            for setting in sorted(settings, key=lambda setting: setting.trace)
        ),
    )
    series = (series_with_intervals("", traces, stds, 255),)
    labels = "trace of the Gram matrix", "standard deviation (levels)"
    plot = Plot(title, series, *labels, x_scale="log", lines=False)
    return StudyResult((_correlation_sentence(settings),), (table,), (plot,))


def _mean_trace(
    network: Network, styles: Sequence[np.ndarray], layers: Sequence[str]
) -> float:
    """Geometric mean of the Gram traces over layers and style images."""
    from scipy import stats  # A slow import.

    traces = [gram_traces(network, style, layers).values() for style in styles]
    return float(stats.gmean([trace for by_layer in traces for trace in by_layer]))


def _correlation_sentence(settings: Sequence[StyleSetting]) -> str:
    styles: dict[str, list[StyleSetting]] = {}
    for setting in settings:
        styles.setdefault(setting.style, []).append(setting)
    averaged = len(settings) > len(styles)
    count = f"{len(styles)} styles"
    if averaged:
        count = f"{len(settings)} settings of {count}"
    context = "for the instability of feed-forward video stylisation, not for seeds"
    correlation = _correlate(list(styles.values()))
    numbers = _format_correlation(correlation, averaged)
    if correlation is None or correlation.p >= SIGNIFICANCE:
        return (
            f"Over {count}, dispersion across seeds shows no significant correlation "
            f"with the trace of the style's Gram matrices{numbers}. {PAPER} report a "
            f"positive one {context}."
        )
    is_positive = correlation.rho.value > 0
    return (
        f"Over {count}, dispersion across seeds "
        f"{'increases' if is_positive else 'decreases'} with the trace of the style's "
        f"Gram matrices{numbers}. {PAPER} report "
        f"{'the same' if is_positive else 'the opposite'} {context}."
    )


def _correlate(styles: Sequence[Sequence[StyleSetting]]) -> RankCorrelation | None:
    """Correlation with one point per style image; None for too few or equal points."""
    from scipy import stats

    traces = [stats.gmean([setting.trace for setting in style]) for style in styles]
    stds = [np.mean([setting.std.value for setting in style]) for style in styles]
    if len(styles) < MIN_SETTINGS or np.ptp(traces) == 0 or np.ptp(stds) == 0:
        return None
    return rank_correlation(traces, stds)


def _format_correlation(correlation: RankCorrelation | None, averaged: bool) -> str:
    if correlation is None:
        return ""
    rho = correlation.rho
    interval = format_interval(rho, "{:.2f}".format)
    numbers = [
        f"Spearman's rho {rho.value:.2f}",
        interval,
        f"p = {correlation.p:.2g}",
        "one point per style" if averaged else None,
    ]
    return f" ({', '.join(filter(None, numbers))})"
