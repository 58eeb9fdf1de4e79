"""Dispersion against the trace of styles: planted effects, and planted confounders."""

import dataclasses
import math
import re

import numpy as np
import pytest
from known_dispersion import SEED, noisy, parsed
from made_up_runs import make_manifest
from pictures import smooth_picture
from scipy import stats

from nst_jax.metrics.feature_distances import gram_traces
from nst_jax.studies.registry import run_studies
from nst_jax.studies.results import StudyResult
from nst_jax.studies.run_data import RunData
from nst_jax.studies.stability import study_stability
from nst_jax.workdir.schema import GradientEntry

LAYERS = ("relu1_1", "relu2_1")
#: Contrasts of the style images, not in order.
CONTRASTS = (0.5, 0.1, 1.1, 0.3, 0.9, 0.7)
STYLES = ("styles", "style", list("abcdef"))
TERMS = [
    {"type": "Gram", "name": "style", "layers": list(LAYERS), "blend": []},
    {"type": "Content", "name": "content", "layers": ["relu4_2"]},
]
#: Factors of the contrast of the results by rank of the trace.
RISING = (0.2, 0.3, 0.45, 0.6, 0.8, 1.0)


def style_pictures():
    return [0.5 + c * (smooth_picture(9, 16, 16) - 0.5) for c in CONTRASTS]


def planted(network, shares=(1,) * 6, contrasts=(1,) * 6, axes=(STYLES,), of=1):
    """Return a run whose dispersion is planted by the rank of the style's trace.

    Args:
      network: computes the traces.
      shares: share of independent noise in the variance of the results.
      contrasts: factors of the contrast of the results.
      axes: axes other than seeds, styles last.
      of: settings of one style image.
    """
    run = make_manifest(*axes, SEED, terms=TERMS)
    pictures = style_pictures()
    traces = [
        math.prod(gram_traces(network, picture, LAYERS).values()) ** 0.5
        for picture in pictures
    ]
    ranks = np.argsort(np.argsort(traces))
    count = len(pictures)
    settings = {m.member: m.member // 4 % count for m in run.members}
    spreads = {i: (shares[ranks[i]], contrasts[ranks[i]]) for i in range(count)}
    finals = noisy(run, [spreads[settings[m.member]] for m in run.members])
    styles = {}
    for m in run.members:
        setting = settings[m.member]
        m.varies = {"styles": [f"{setting // of}.jpg"]}
        styles[m.member] = [pictures[setting]]
    run_data = RunData(run, finals, styles=styles, network=lambda: network)
    return run_data, traces


def rho(text, name):
    """Return Spearman's rho that a sentence gives after some words."""
    return float(re.search(rf"{name}[^()]*\(Spearman's rho (-?[\d.]+)", text)[1])


def record_gradients(run_data, ratio):
    """Give each member gradients of a ratio of style to content, by its number."""
    for m in run_data.run.members:
        style = {"style/relu1_1": 0.4 * ratio(m), "style/relu2_1": 0.6 * ratio(m)}
        norms = {**style, "content/relu4_2": 1.0, "loss": 2.0}
        m.gradients = GradientEntry(norms, norms)


def test_an_effect_on_the_share_is_an_effect(network):
    shares = (0.1, 0.2, 0.35, 0.5, 0.7, 0.95)
    run_data, traces = planted(network, shares)
    result = study_stability(run_data)
    (sentence,) = result.summary
    assert "Over 6 styles, dispersion across seeds increases with the trace" in sentence
    assert "rho 1.00" in sentence and "p = 0.0028" in sentence  # 2 of 6! orders.
    assert "same contrast, it increases with the trace (Spearman's rho 1.00" in sentence
    assert "confounded" not in sentence and "one point per style" not in sentence
    assert (
        "Gupta et al. 2017 (arXiv 1705.02092) report the same for the insta" in sentence
    )
    (series,) = result.plots[0].series
    assert series.x == pytest.approx(traces, rel=1e-5)
    table, correlations = result.tables
    assert [row[1] for row in table.rows] == pytest.approx(sorted(traces), rel=5e-3)
    found = [parsed(row[table.columns.index("share")])[0] for row in table.rows]
    assert found == pytest.approx(np.sqrt(shares), rel=0.1)
    by_name = {row[1]: row[2:] for row in correlations.rows}
    assert parsed(by_name["share"][0])[0] == 1 and by_name["share"][2] == 6
    assert sentence in run_studies(run_data).summary


def test_an_effect_of_the_contrast_is_confounded(network):
    """Independent pictures whose contrast rises with the trace of the style."""
    run_data, _ = planted(network, contrasts=RISING)
    (sentence,) = study_stability(run_data).summary
    assert "Over 6 styles, dispersion across seeds increases with the trace" in sentence
    assert "same contrast, it shows no significant correlation" in sentence
    assert "in levels is confounded with the contrast of the results" in sentence
    assert rho(sentence, "contrast of the results") == 1
    assert "report a positive one for" in sentence


def test_an_effect_of_the_share_that_the_contrast_hides_is_reported(network):
    """The share falls with the trace, and the contrast rises as fast."""
    shares = tuple(0.04 / np.square(RISING))
    run_data, _ = planted(network, shares, RISING)
    (sentence,) = study_stability(run_data).summary
    assert "same contrast, it decreases with the trace" in sentence
    assert "report the opposite for" in sentence


def test_a_dispersion_of_random_order_is_not_reported(network):
    order = (2, 0, 5, 3, 1, 4)
    run_data, _ = planted(network, tuple(0.1 + 0.15 * rank for rank in order))
    (sentence,) = study_stability(run_data).summary
    assert "dispersion across seeds shows no significant correlation" in sentence
    assert "report a positive one for" in sentence and "confounded" not in sentence
    expected = stats.spearmanr(range(6), order).statistic
    assert f"rho {expected:.2f}" in sentence


def test_a_hidden_ratio_that_varies_with_the_trace_is_named(network):
    shares = (0.1, 0.2, 0.35, 0.5, 0.7, 0.95)
    run_data, traces = planted(network, shares)
    record_gradients(run_data, lambda m: traces[m.member // 4])
    dispersion, ratio = study_stability(run_data).summary
    assert "it increases with the trace" in dispersion
    factor = max(traces) / min(traces)
    assert f"style to content at the start varies by a factor of {factor:.3g} " in ratio
    assert rho(ratio, "between styles") == 1
    assert ratio.endswith(
        "Trace and ratio vary together: their effects cannot be told apart."
    )
    record_gradients(run_data, lambda m: 7.0)
    *_, ratio = study_stability(run_data).summary
    assert ratio == (
        "The ratio of style to content is held: at the start it varies by a factor of "
        "1 between styles."
    )


def test_without_gradients_the_ratio_is_that_of_the_last_losses(network):
    run_data, _ = planted(network, (0.1, 0.2, 0.35, 0.5, 0.7, 0.95))
    rows = {
        m.member: [{"terms": {"style/relu1_1": 2.0 + m.member // 4, "content/x": 2.0}}]
        for m in run_data.run.members
    }
    run_data = dataclasses.replace(run_data, rows=rows)
    *_, ratio = study_stability(run_data).summary
    assert ratio.startswith(
        "The ratio of style to content at the end varies by a factor of 3.5 between"
    )


def test_weights_that_vary_with_the_styles_are_named(network):
    axis = ("styles, terms.style.weight", "style", list("abcdef"))
    run_data, _ = planted(network, (0.1, 0.2, 0.35, 0.5, 0.7, 0.95), axes=(axis,))
    for m in run_data.run.members:
        m.varies["terms.style.weight"] = float(1 + m.member // 4)
    *_, ratio = study_stability(run_data).summary
    assert ratio.startswith("Trace and ratio vary together: terms.style.weight differs")
    for m in run_data.run.members:
        m.varies["terms.style.weight"] = 1.0
    assert len(study_stability(run_data).summary) == 1


def test_the_effect_of_the_ratio_at_one_style_comes_from_the_arms(network):
    """The share falls with the root of the ratio, which the trace does not change."""
    weights = ("terms.style.weight", "weight", ["1", "10", "100"])
    run_data, _ = planted(network, axes=(weights, STYLES))
    arms = {m.member: m.index[0] for m in run_data.run.members}
    spreads = [(0.9 / 10 ** arms[m.member], 1) for m in run_data.run.members]
    finals = noisy(run_data.run, spreads)
    run_data = dataclasses.replace(run_data, finals=finals)
    record_gradients(run_data, lambda m: 10.0 ** m.index[0])
    result = study_stability(run_data)
    assert [text.split(",")[0] for text in result.summary[:6:2]] == [
        f"Over 6 styles with weight {label}" for label in weights[2]
    ]
    (factors,) = re.findall(
        r"levels by (.*) and the share by (.*?) \(m", result.summary[-1]
    )
    for factor in factors:
        value, low, high = parsed(factor)
        assert value == pytest.approx(10**-0.5, rel=0.05)
        assert low < value < high
    assert [series.label for series in result.plots[0].series] == [
        f"weight {label}" for label in weights[2]
    ]


def test_settings_of_one_style_image_are_one_point(network):
    """Six settings of three images are too few points for a correlation."""
    scales = [("styles", "style", list("abc")), ("style_scale", "scale", ["1", "0.5"])]
    both = [("styles, style_scale", "style", list("abcdef"))]
    for axes in (scales, both):
        run_data, _ = planted(network, contrasts=RISING, axes=axes, of=2)
        (sentence,) = study_stability(run_data).summary
        assert "Over 6 settings of 3 styles, " in sentence
        assert "Gram matrices. Gupta" in sentence


def test_scales_of_a_style_do_not_lower_the_p_value(network, monkeypatch):
    """Twelve settings of six styles have the p-value of six points, 2 / 6!."""
    monkeypatch.setitem(globals(), "CONTRASTS", tuple(np.linspace(0.2, 1.1, 12)))
    axes = [STYLES, ("style_scale", "scale", ["1", "0.5"])]
    contrasts = tuple(np.linspace(0.2, 1, 12))
    run_data, _ = planted(network, (1,) * 12, contrasts, axes, of=2)
    (sentence,) = study_stability(run_data).summary
    assert "Over 12 settings of 6 styles, dispersion across seeds increases" in sentence
    assert "p = 0.0028, one point per style" in sentence


def test_few_settings_and_other_axes_are_not_correlated(network):
    few = ("styles", "style", list("abcd"))
    weights = ("terms.style.weight", "weight", list("abcdef"))
    mixed = [("size", "size", ["1", "2"]), ("styles", "style", list("abc"))]
    for axes in ([few], [weights], mixed):
        run_data, _ = planted(network, contrasts=RISING, axes=axes)
        assert study_stability(run_data) == StudyResult()
