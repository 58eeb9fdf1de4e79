"""Relation of the dispersion across seeds to the strength of the style's features."""

import numpy as np

from nst_jax.metrics.feature_distances import gram_traces
from nst_jax.metrics.statistics import rank_correlation
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


def study_stability(run_data: RunData) -> StudyResult:
    """Correlate the dispersion across seeds with the trace of the Gram matrices.

    Gupta, Johnson, Alahi and Fei-Fei 2017, "Characterizing and Improving Stability in
    Neural Style Transfer" (arXiv 1705.02092): features with the Gram matrix FFᵀ of a
    style lie on a sphere. Its radius is the root of the trace, so solutions may be
    farther apart for a larger trace. Here the Gram matrix is divided by the P
    positions, so the radius is the root of P times the trace. The study applies if
    only styles, their scale and seeds vary; settings of one style image are averaged.
    """
    from scipy import stats  # A slow import.

    varied = [set(paths) for paths in run_data.fields if paths != ("seeds",)]
    style_terms = [term for term in run_data.terms if "blend" in term]
    layers = list(dict.fromkeys(x for term in style_terms for x in term["layers"]))
    if not varied or not layers or not all(paths <= STYLE_PATHS for paths in varied):
        return StudyResult()
    groups = [g for g in run_data.seed_groups if run_data.styles.get(g.members[0])]
    if len(groups) < MIN_SETTINGS or (network := run_data.network()) is None:
        return StudyResult()
    traces = []  # Geometric means over layers and style images.
    for group in groups:
        images = run_data.styles[group.members[0]]
        by_layer = [gram_traces(network, image, layers).values() for image in images]
        traces.append(float(stats.gmean([x for values in by_layer for x in values])))
    stds = [group.dispersion.std for group in groups]
    if np.ptp(traces) == 0 or np.ptp([std.value for std in stds]) == 0:
        return StudyResult()
    by_style: dict[str, list[tuple[float, float]]] = {}
    for group, trace in zip(groups, traces, strict=True):
        style = str(run_data.run.members[group.members[0]].varies.get("styles"))
        point = trace, group.dispersion.std.value
        by_style.setdefault(style, []).append(point)
    rows = sorted(zip(traces, groups, strict=True), key=lambda row: row[0])
    title = "Dispersion across seeds by the trace of the style's Gram matrices"
    head = run_data.other_names(run_data.seed_axis)
    table = Table(
        f"{title} (geometric mean over {', '.join(layers)})",
        (head, "trace", "standard deviation (levels of 255)"),
        tuple(
            (group.label, round_digits(x), format_estimate(group.dispersion.std, 255))
            for x, group in rows
        ),
    )
    series = (series_with_intervals("", traces, stds, 255),)
    labels = "trace of the Gram matrix", "standard deviation (levels)"
    plot = Plot(title, series, *labels, x_scale="log", lines=False)
    return StudyResult((_correlation_sentence(by_style),), (table,), (plot,))


def _correlation_sentence(by_style: dict[str, list[tuple[float, float]]]) -> str:
    """Correlate (trace, standard deviation) of settings, one point per style image."""
    from scipy import stats

    traces = [stats.gmean([x for x, _ in points]) for points in by_style.values()]
    stds = [np.mean([std for _, std in points]) for points in by_style.values()]
    count, settings = f"{len(by_style)} styles", sum(map(len, by_style.values()))
    is_averaged = settings > len(by_style)
    if is_averaged:
        count = f"{settings} settings of {count}"
    verb, agreement, numbers = "shows no significant correlation", "a positive one", ""
    if len(by_style) >= MIN_SETTINGS and np.ptp(traces) > 0 and np.ptp(stds) > 0:
        correlation = rank_correlation(traces, stds)
        rho = correlation.rho
        parts = (
            f"Spearman's rho {rho.value:.2f}",
            format_interval(rho, "{:.2f}".format),
            f"p = {correlation.p:.2g}",
            "one point per style" if is_averaged else None,
        )
        numbers = f" ({', '.join(filter(None, parts))})"
        if correlation.p < SIGNIFICANCE:
            verb = "increases" if rho.value > 0 else "decreases"
            agreement = "the same" if rho.value > 0 else "the opposite"
    return (
        f"Over {count}, dispersion across seeds {verb} with the trace of the style's "
        f"Gram matrices{numbers}. {PAPER} report {agreement} for the instability of "
        "feed-forward video stylisation, not for seeds."
    )
