"""Relation of the dispersion across seeds to the strength of the style's features."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nst_jax.metrics.statistics import (
    Estimate,
    RankCorrelation,
    jackknife,
    rank_correlation,
)
from nst_jax.studies.formatting import (
    format_estimate,
    format_interval,
    round_digits,
    series_with_intervals,
)
from nst_jax.studies.results import Plot, StudyResult, Table
from nst_jax.studies.run_data import RunData
from nst_jax.studies.style_settings import (
    StyleSetting,
    arm_axes,
    has_gradients,
    style_layers,
    style_settings,
)

#: Settings that are compared, and style images of a correlation, at least.
MIN_SETTINGS = 5
#: Significance level of the correlations.
SIGNIFICANCE = 0.05
#: Largest factor between ratios of style to content that count as equal.
EQUAL_RATIO = 1.1
PAPER = "Gupta et al. 2017 (arXiv 1705.02092)"
#: Quantity -> its value in a setting.
QUANTITIES: dict[str, Callable[[StyleSetting], float]] = {
    "standard deviation": lambda setting: setting.dispersion.std.value,
    "share": lambda setting: setting.dispersion.share.value,
    "contrast": lambda setting: setting.dispersion.unrelated.value,
}
LEVELS, SHARE, CONTRAST = QUANTITIES
RATIO = "style over content"


def study_stability(run_data: RunData) -> StudyResult:
    """Correlate the dispersion across seeds with the trace of the Gram matrices.

    Gupta, Johnson, Alahi and Fei-Fei 2017, "Characterizing and Improving Stability in
    Neural Style Transfer" (arXiv 1705.02092): features with the Gram matrix FFᵀ of a
    style lie on a sphere. Its radius is the root of the trace, so solutions may be
    farther apart for a larger trace. Here the Gram matrix is divided by the P
    positions, so the radius is the root of P times the trace.

    Two confounders are measured. A larger trace may give pictures of more contrast,
    which are farther apart even if they are unrelated: the share is corrected for it.
    At fixed weights, it may also change the ratio of style to content. Axes beside
    styles and seeds are arms, each with its own correlation; arms of one style that
    differ in the ratio show the effect of the ratio.
    """
    settings = style_settings(run_data)
    arms: dict[str, list[StyleSetting]] = {}
    for setting in settings:
        arms.setdefault(setting.arm, []).append(setting)
    arms = {arm: x for arm, x in arms.items() if len(x) >= MIN_SETTINGS and _vary(x)}
    if not arms:
        return StudyResult()
    time = "at the start" if has_gradients(run_data) else "at the end"
    correlations = {arm: _correlations(x) for arm, x in arms.items()}
    sentences = [
        sentence
        for arm, members in arms.items()
        for sentence in (
            _correlation_sentence(arm, members, correlations[arm]),
            *_ratio_sentences(arm, members, correlations[arm].get(RATIO), time),
        )
    ]
    title = "Dispersion across seeds by the trace of the style's Gram matrices"
    layers = ", ".join(style_layers(run_data))
    series = tuple(
        series_with_intervals(
            arm, [x.trace for x in members], [x.dispersion.std for x in members], 255
        )
        for arm, members in arms.items()
    )
    axes = "trace of the Gram matrix", "standard deviation (levels)"
    if all(
        path.startswith("terms.")
        for axis in arm_axes(run_data)
        for path in run_data.fields[axis]
    ):
        sentences += _held_trace_sentences(arms)
    return StudyResult(
        tuple(sentences),
        (
            _settings_table(run_data, f"{title} (geometric mean over {layers})", arms),
            _correlation_table(correlations),
        ),
        (Plot(title, series, *axes, x_scale="log", lines=False),),
    )


def _vary(settings: Sequence[StyleSetting]) -> bool:
    """True if the trace and the dispersion of settings differ."""
    stds = [QUANTITIES[LEVELS](setting) for setting in settings]
    return len({x.trace for x in settings}) > 1 and np.ptp(stds) > 0


def _correlations(settings: Sequence[StyleSetting]) -> dict[str, RankCorrelation]:
    """Correlate quantities with the trace, one point for each style.

    A quantity that is constant or unknown is left out, as is all with few styles.
    """
    from scipy import stats  # A slow import.

    styles: dict[str, list[StyleSetting]] = {}
    for setting in settings:
        styles.setdefault(setting.style, []).append(setting)
    points = list(styles.values())
    columns = {
        name: [float(np.mean([value(x) for x in point])) for point in points]
        for name, value in QUANTITIES.items()
    }
    ratios = [x.ratio for x in settings]
    if None not in ratios:
        columns[RATIO] = [stats.gmean([x.ratio for x in point]) for point in points]
    traces = [stats.gmean([x.trace for x in point]) for point in points]
    if len(points) < MIN_SETTINGS or np.ptp(traces) == 0:
        return {}
    return {
        name: rank_correlation(traces, values)
        for name, values in columns.items()
        if np.ptp(values) > 1e-6 * np.mean(values)  # More than rounding.
    }


def _sign(correlation: RankCorrelation | None) -> int:
    """Sign of a significant correlation, else 0."""
    if correlation is None or correlation.p >= SIGNIFICANCE:
        return 0
    return 1 if correlation.rho.value > 0 else -1


def _describe(correlation: RankCorrelation | None, note: str | None = None) -> str:
    """ " (Spearman's rho, interval, p, note)", or nothing."""
    if correlation is None:
        return ""
    rho = correlation.rho
    parts = (
        f"Spearman's rho {rho.value:.2f}",
        format_interval(rho, "{:.2f}".format),
        f"p = {correlation.p:.2g}",
        note,
    )
    return f" ({', '.join(filter(None, parts))})"


def _correlation_sentence(
    arm: str, settings: Sequence[StyleSetting], measured: Mapping[str, RankCorrelation]
) -> str:
    """Say whether levels and share follow the trace, and whether contrast explains."""
    styles = len({setting.style for setting in settings})
    is_averaged = styles < len(settings)
    count = f"{len(settings)} settings of {styles} styles"
    head = f"Over {count if is_averaged else f'{styles} styles'}"
    if arm:
        head += f" with {arm}"
    note = "one point per style" if is_averaged else None
    levels, share = (measured.get(name) for name in (LEVELS, SHARE))
    verbs = {1: "increases", -1: "decreases", 0: "shows no significant correlation"}
    text = (
        f"{head}, dispersion across seeds {verbs[_sign(levels)]} with the trace of the "
        f"style's Gram matrices{_describe(levels, note)}."
    )
    if share:
        text += (
            " As a share of that of unrelated pictures of the same contrast, it "
            f"{verbs[_sign(share)]} with the trace{_describe(share)}."
        )
    if _sign(levels) and _sign(share) != _sign(levels):
        text += (
            " The effect in levels is confounded with the contrast of the results"
            f"{_describe(measured.get(CONTRAST))}."
        )
    agreement = {1: "the same", -1: "the opposite", 0: "a positive one"}[_sign(share)]
    return (
        f"{text} {PAPER} report {agreement} for the instability of feed-forward video "
        "stylisation, not for seeds."
    )


def _ratio_sentences(
    arm: str,
    settings: Sequence[StyleSetting],
    correlation: RankCorrelation | None,
    time: str,
) -> list[str]:
    """Say whether the ratio of style to content varies along the styles."""
    where = f" with {arm}" if arm else ""
    ratios = [setting.ratio for setting in settings if setting.ratio is not None]
    if len(ratios) < len(settings):
        if len({setting.weights for setting in settings}) == 1:
            return []
        names = ", ".join(path for path, _ in settings[0].weights)
        return [
            f"Trace and ratio vary together{where}: {names} differs between styles, "
            "and gradients were not recorded. Their effects cannot be told apart."
        ]
    factor = max(ratios) / min(ratios)
    range_ = f"varies by a factor of {factor:.3g} between styles{where}"
    if factor <= EQUAL_RATIO:
        return [f"The ratio of style to content is held: {time} it {range_}."]
    text = f"The ratio of style to content {time} {range_}{_describe(correlation)}."
    if _sign(correlation):
        text += " Trace and ratio vary together: their effects cannot be told apart."
    return [text]


def _held_trace_sentences(arms: Mapping[str, Sequence[StyleSetting]]) -> list[str]:
    """Describe the effect of the ratio at one style, from arms of different ratios."""
    by_key: dict[str, list[StyleSetting]] = {}
    for setting in (x for members in arms.values() for x in members if x.ratio):
        by_key.setdefault(setting.key, []).append(setting)
    slopes: dict[str, list[tuple[float, ...]]] = {}
    for settings in by_key.values():
        ratios = [setting.ratio or 1.0 for setting in settings]
        values = [
            [value(setting) for setting in settings]
            for value in (QUANTITIES[LEVELS], QUANTITIES[SHARE])
        ]
        if max(ratios) > EQUAL_RATIO * min(ratios) and np.all(np.array(values) > 0):
            fits = (np.polyfit(np.log10(ratios), np.log(y), 1)[0] for y in values)
            slopes.setdefault(settings[0].style, []).append(tuple(map(float, fits)))
    if len(slopes) < MIN_SETTINGS:
        return []
    means = np.array([np.mean(fits, axis=0) for fits in slopes.values()])
    levels, share = (_factor(column) for column in means.T)
    return [
        "At one style, whose trace is held, a tenfold ratio of style to content "
        f"multiplies the dispersion in levels by {format_estimate(levels)} and the "
        f"share by {format_estimate(share)} (means over {len(means)} styles)."
    ]


def _factor(slopes: np.ndarray) -> Estimate:
    """Geometric mean of factors, given by their logarithms [n]."""
    return jackknife(
        lambda kept: math.exp(slopes[kept].mean()), len(slopes), positive=True
    )


def _settings_table(
    run_data: RunData, title: str, arms: Mapping[str, Sequence[StyleSetting]]
) -> Table:
    records = []
    for members in arms.values():
        for setting in sorted(members, key=lambda x: x.trace):
            record: dict[str, Any] = {
                "trace": round_digits(setting.trace),
                RATIO: round_digits(setting.ratio),
                "standard deviation": format_estimate(setting.dispersion.std, 255),
                "of unrelated pictures": format_estimate(
                    setting.dispersion.unrelated, 255
                ),
                "share": format_estimate(setting.dispersion.share),
            }
            if run_data.twins:
                record["of twins"] = format_estimate(setting.group.floor, 255)
            records.append(([setting.group.label], record))
    head = run_data.other_names(run_data.seed_axis)
    return Table.from_records(f"{title}, levels of 255", [head], records)


def _correlation_table(
    correlations: Mapping[str, Mapping[str, RankCorrelation]],
) -> Table:
    rows = tuple(
        (arm, name, format_estimate(x.rho), round_digits(x.p, 2), x.count)
        for arm, by_name in correlations.items()
        for name, x in by_name.items()
    )
    columns = "arm", "quantity", "Spearman's rho", "p", "styles"
    return Table("Rank correlation with the trace, one point per style", columns, rows)
