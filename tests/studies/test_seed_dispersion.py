"""Dispersion across seeds and its relation to style, on images of known dispersion."""

import dataclasses
import itertools
import math
import re

import numpy as np
import pytest
from known_dispersion import LEVELS, SEED, flat, interval_factor, noisy, parsed, scaled
from made_up_runs import make_manifest
from pictures import smooth_picture

import nst_jax
from nst_jax.metrics.feature_distances import gram_traces, layer_distances
from nst_jax.metrics.statistics import Estimate
from nst_jax.studies.formatting import format_estimate
from nst_jax.studies.registry import run_studies
from nst_jax.studies.results import StudyResult
from nst_jax.studies.run_data import RunData
from nst_jax.studies.seed_dispersion import GAP, study_seed_dispersion

LAYERS = ("relu1_1", "relu2_1")
A, B, C = (smooth_picture(i, 16, 20) for i in range(3))


def pair_mean(values):
    return np.mean([abs(a - b) for a, b in itertools.combinations(values, 2)])


def pair_rms(values):
    pairs = itertools.combinations(values, 2)
    return math.sqrt(np.mean([(a - b) ** 2 for a, b in pairs]))


# Dispersion


def test_the_dispersion_of_flat_images_is_that_of_their_levels():
    run = make_manifest(SEED)
    finals = {m: flat(level) for m, level in enumerate(LEVELS)}
    result = study_seed_dispersion(RunData(run, finals))
    (table,) = result.tables
    (row,) = table.rows
    assert row[:2] == ("all", 4)
    deviation = np.std(LEVELS, ddof=1)
    expected = [
        (deviation, interval_factor(lambda x: np.std(x, ddof=1), LEVELS)),
        (pair_mean(LEVELS), interval_factor(pair_mean, LEVELS)),
        (pair_rms(LEVELS), interval_factor(pair_rms, LEVELS)),
    ]
    cells = dict(zip(table.columns, row, strict=True))
    names = "standard deviation", "RMS of pairs", "coarse"
    for cell, (value, factor) in zip(map(cells.get, names), expected, strict=True):
        assert parsed(cell) == pytest.approx(
            (value, value / factor, value * factor), abs=0.06
        )
    # Flat images have no fine part.
    assert parsed(cells["fine"])[0] == pytest.approx(0, abs=1e-3)
    # Shifts of flat images change nothing.
    assert cells["of unrelated pictures"] == cells["standard deviation"]
    assert parsed(cells["share"])[0] == pytest.approx(1)
    c1 = (0.01 * 255) ** 2
    similarities = [
        (2 * a * b + c1) / (a * a + b * b + c1)
        for a, b in itertools.combinations(LEVELS, 2)
    ]
    assert parsed(cells["SSIM of pairs"])[0] == pytest.approx(
        np.mean(similarities), abs=1e-4
    )
    assert result.summary[0].startswith(
        "The 4 seeds have a standard deviation of 3.3 (0.7 to 15.7) "
    )
    (matrix,) = result.matrices
    assert matrix.labels == ("0", "1", "2", "3")
    differences = np.abs(np.subtract.outer(LEVELS, LEVELS))
    np.testing.assert_allclose(matrix.values, differences, atol=1e-4)


def test_pictures_show_the_mean_and_the_standard_deviation():
    run = make_manifest(SEED)
    finals = {m: flat(level) for m, level in enumerate(LEVELS)}
    for final in finals.values():
        final[:8] = 0.5  # Where the seeds agree.
    mean, deviation = study_seed_dispersion(RunData(run, finals)).pictures
    assert mean.title == "all: mean of 4 seeds"
    assert mean.picture[12, 3] == pytest.approx(np.mean(LEVELS) / 255)
    gain = float(deviation.title.rsplit("× ", 1)[1])
    assert gain == pytest.approx(255 / np.std(LEVELS, ddof=1), rel=5e-3)
    assert deviation.picture[:8].max() == 0
    assert deviation.picture[8:] == pytest.approx(1)


def test_members_are_shown_by_ascending_loss():
    run = make_manifest(SEED)
    finals = {m: flat(level) for m, level in enumerate(LEVELS)}
    losses = {0: 3.0, 1: 1.0, 2: 4.0, 3: 2.0}
    rows = {m: [{"loss": loss, "terms": {}}] for m, loss in losses.items()}
    shown = study_seed_dispersion(RunData(run, finals, rows)).pictures[0]
    assert shown.title.endswith("row by row, from 1 to 4")
    side = finals[0].shape[1]
    order = sorted(losses, key=losses.__getitem__)
    levels = [shown.picture[0, i * (side + GAP) + 1, 0] * 255 for i in range(4)]
    assert levels == pytest.approx([LEVELS[m] for m in order])
    missing = {m: history for m, history in rows.items() if m != 2}
    titles = [
        p.title for p in study_seed_dispersion(RunData(run, finals, missing)).pictures
    ]
    assert not any("ascending loss" in title for title in titles)


@pytest.mark.parametrize(
    ("labels", "x", "scale"),
    [
        (["0.01", "1", "100"], (0.01, 1, 100), "log"),
        (["1", "2", "3"], (1, 2, 3), "linear"),
        (["-1", "0", "1000"], (-1, 0, 1000), "linear"),
        (["none", "1", "2"], ("none", "1", "2"), "linear"),
    ],
)
def test_dispersion_is_plotted_against_the_other_axis(labels, x, scale):
    run = make_manifest(("canvas.amplitude", "amplitude", labels), SEED)
    result = study_seed_dispersion(RunData(run, scaled(run, (0, 1, 4))))
    (plot,) = result.plots
    assert (plot.x_label, plot.x_scale, plot.y_scale) == ("amplitude", scale, "log")
    (series,) = plot.series
    deviation = np.std(LEVELS, ddof=1)
    assert series.x == x
    assert series.y[0] is None  # 0 has no logarithm.
    assert series.y[1:] == pytest.approx((deviation, 4 * deviation), rel=1e-5)
    factor = interval_factor(lambda v: np.std(v, ddof=1), LEVELS)
    assert series.high[2] / series.y[2] == pytest.approx(factor, rel=1e-4)
    assert series.y[2] / series.low[2] == pytest.approx(factor, rel=1e-4)
    assert f"lowest for {labels[0]}, " in result.summary[0]
    assert f"highest for {labels[2]}, with 13 (" in result.summary[0]


def test_extremes_are_named_if_their_intervals_do_not_overlap():
    run = make_manifest(("x", "x", ["a", "b", "c"]), SEED)
    close, *_ = study_seed_dispersion(RunData(run, scaled(run, (1, 1.1, 1.2)))).summary
    assert close.startswith("The 3 settings do not differ measurably")
    apart, *rest = study_seed_dispersion(
        RunData(run, scaled(run, (0.05, 1.1, 20)))
    ).summary
    assert "is 1 to 1 without a measurable difference" in rest[0]
    assert len(rest) == 2  # Levels of flat images are all their contrast.
    assert apart.startswith("Dispersion across seeds is lowest for a, ")
    assert "highest for c, " in apart


def test_intervals_of_all_settings_are_compared():
    """The extreme values have wide intervals; two settings between do not overlap."""
    spreads = {
        "a": Estimate(0.10, 0.01, 0.40),
        "b": Estimate(0.12, 0.119, 0.121),
        "c": Estimate(0.30, 0.29, 0.31),
        "d": Estimate(0.31, 0.05, 0.60),
    }
    run = make_manifest(("x", "x", list(spreads)), SEED)
    run_data = RunData(run, scaled(run, (1, 1, 1, 1)))
    vars(run_data)["seed_groups"] = [
        group._replace(
            dispersion=dataclasses.replace(group.dispersion, std=spreads[group.label])
        )
        for group in run_data.seed_groups
    ]
    sentence, *_ = study_seed_dispersion(run_data).summary
    assert sentence.startswith("Dispersion across seeds is lowest for b, ")
    assert "highest for c, " in sentence


def test_differences_that_follow_the_contrast_are_named():
    """Independent pictures of four contrasts, and pictures of one contrast."""
    run = make_manifest(("x", "x", ["flat", "pale", "vivid"]), SEED)
    finals = noisy(run, ((1, 0.1), (1, 0.3), (1, 1)))
    levels, shares, verdict = study_seed_dispersion(RunData(run, finals)).summary
    assert "is lowest for flat, " in levels and "highest for vivid, " in levels
    assert "without a measurable difference between settings" in shares
    assert float(re.findall(r"dispersion is ([\d.]+) to", shares)[0]) > 0.97
    assert verdict == (
        "Differences in levels follow the contrast of the pictures: by share, "
        "dispersion is not measurably higher for vivid than for flat."
    )


def test_differences_beyond_the_contrast_are_named():
    run = make_manifest(("x", "x", ["calm", "wild"]), SEED)
    finals = noisy(run, ((0.01, 1), (0.8, 1)))
    levels, shares = study_seed_dispersion(RunData(run, finals)).summary
    assert "is lowest for calm, " in levels and "highest for wild, " in levels
    assert "is lowest for calm, with 0.1" in shares and "highest for wild, " in shares


def test_an_order_by_levels_that_turns_by_share_is_named():
    run = make_manifest(("x", "x", ["calm", "vivid"]), SEED)
    finals = noisy(run, ((0.8, 0.1), (0.2, 1)))
    levels, shares, verdict = study_seed_dispersion(RunData(run, finals)).summary
    assert "is lowest for calm, " in levels
    assert "is lowest for vivid, " in shares
    assert verdict.startswith("Differences in levels follow the contrast")


def test_twins_are_the_floor_of_a_group():
    """Twins are 2 levels apart; seeds of the second setting no more than that."""
    twins = ("canvas.ulps", "ulps", ["0", "1"])
    run = make_manifest(("x", "x", ["a", "b"]), SEED, twins)
    finals = {}
    for m in run.members:
        setting, seed, twin = m.index
        m.varies = {"canvas.ulps": twin}
        level = 104 + (10, 0.1)[setting] * (LEVELS[seed] - 104) + 2 * twin
        finals[m.member] = flat(level)
    run_data = RunData(run, finals)
    result = study_seed_dispersion(run_data)
    table = result.tables[0]
    assert table.columns[:2] == ("x", "seeds")
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [row["seeds"] for row in rows] == [4, 4]
    assert [parsed(row["of twins"])[0] for row in rows] == pytest.approx(
        [math.sqrt(2)] * 2, rel=5e-3
    )
    deviation = np.std(LEVELS, ddof=1)
    found = parsed(rows[0]["standard deviation"])[0]
    assert found == pytest.approx(10 * deviation, abs=0.6)
    sentence = result.summary[-1]
    assert "end with a standard deviation of 1.4 levels of 255" in sentence
    assert " levels of 255, 4.3 to 430 % of that of seeds." in sentence
    assert sentence.endswith("Seeds do not differ measurably more than twins for b.")
    assert sentence in run_studies(run_data).summary


def test_two_other_axes_are_not_plotted():
    other = ("terms.style.weight", "weight", ["1", "2"])
    run = make_manifest(other, ("size", "size", ["16", "24"]), SEED)
    finals = {m.member: flat(LEVELS[m.index[2]]) for m in run.members}
    result = study_seed_dispersion(RunData(run, finals))
    assert result.plots == ()
    labels = [row[0] for row in result.tables[0].rows]
    assert labels == ["1, 16", "1, 24", "2, 16", "2, 24"]


def test_a_few_settings_are_pictured_with_the_first_and_last():
    run = make_manifest(("x", "x", list("abcdefg")), SEED)
    result = study_seed_dispersion(RunData(run, scaled(run, range(1, 8))))
    assert len(result.tables[0].rows) == 7
    assert [p.title[0] for p in result.pictures] == list("aacceegg")
    assert [m.title[0] for m in result.matrices] == ["a", "g"]


def test_the_variation_of_terms_is_their_relative_standard_deviation():
    run = make_manifest(SEED)
    finals = {m: flat(level) for m, level in enumerate(LEVELS)}
    losses = (10.0, 12.0, 11.0, 13.0)
    rows = {
        m: [
            {"step": 0, "loss": 1e6, "terms": {"style": 1e6}},
            {"step": 9, "loss": x, "terms": {"style": x - 5, "content": 5.0}},
        ]
        for m, x in enumerate(losses)
    }
    first, terms = study_seed_dispersion(RunData(run, finals, rows)).tables
    spread = 100 * np.std(losses, ddof=1)
    assert parsed(first.rows[0][-1])[0] == pytest.approx(spread / 11.5, abs=0.5)
    assert terms.columns == ("member", "style", "content")
    _, style, content = terms.rows[0]
    assert parsed(style)[0] == pytest.approx(spread / 6.5, abs=0.5)
    assert content == "0 (0 to 0)"
    rows[2][-1] = {"step": 9, "loss": None, "terms": {"style": 1.0}}
    first, terms = study_seed_dispersion(RunData(run, finals, rows)).tables
    assert first.rows[0][-1] is None and terms.rows[0][2] is None


def test_fewer_than_three_seeds_and_small_images_give_no_result():
    run = make_manifest(SEED)
    finals = {m: flat(level) for m, level in enumerate(LEVELS)}
    assert (
        study_seed_dispersion(RunData(run, {m: finals[m] for m in (0, 2)}))
        == StudyResult()
    )
    (row,) = (
        study_seed_dispersion(RunData(run, {m: finals[m] for m in (0, 2, 3)}))
        .tables[0]
        .rows
    )
    assert row[1] == 3
    together = make_manifest(("seeds, size", "seed", ["0", "1", "2", "3"]))
    assert study_seed_dispersion(RunData(together, finals)) == StudyResult()
    small = {m: final[:10] for m, final in finals.items()}  # Less than SSIM's window.
    assert study_seed_dispersion(RunData(run, small)) == StudyResult()


@pytest.mark.parametrize(
    ("estimate", "words"),
    [
        (Estimate(12.3456, 11.5, 13.1912), "12.35 (11.50 to 13.19)"),
        (Estimate(123.4, 100, 156.8), "123 (100 to 157)"),
        (Estimate(0.00123, 0.00120, 0.00126), "0.001230 (0.001200 to 0.001260)"),
        (Estimate(0.0, 0.0, 0.0), "0 (0 to 0)"),
        (Estimate(1.2345, 1.2344999, 1.2345001), "1.234 (1.234 to 1.235)"),
        (Estimate(1.2345), "1.23"),
        (None, None),
    ],
)
def test_estimates_have_the_digits_of_their_interval(estimate, words):
    assert format_estimate(estimate) == words


# Features


def test_layer_distances_are_those_of_features_and_gram_matrices(network):
    result = layer_distances(network, np.stack([A, B, A, C]), LAYERS)
    assert tuple(result) == LAYERS
    for layer, (features, unrelated, grams) in result.items():
        features_by_image = [
            np.float64(network(x, LAYERS)[layer]).reshape(-1, 64 * int(layer[4]))
            for x in (A, B, A, C)
        ]
        for matrix, arrays in (
            (features, features_by_image),
            (grams, [f.T @ f / len(f) for f in features_by_image]),
        ):
            norm = math.sqrt(np.mean([(x**2).sum() for x in arrays]))
            expected = [[np.linalg.norm(a - b) / norm for b in arrays] for a in arrays]
            np.testing.assert_allclose(matrix, expected, rtol=1e-4, atol=1e-7)
            assert matrix[0, 2] < 1e-7 < matrix[0, 1]
        maps = [np.float64(network(x, LAYERS)[layer]) for x in (A, B)]
        squares = [
            np.square(maps[0] - np.roll(maps[1], offset, (0, 1))).sum()
            for offset in itertools.product(*map(range, maps[0].shape[:2]))
        ]
        norm = math.sqrt(np.mean([(x**2).sum() for x in features_by_image]))
        expected = math.sqrt(np.mean(squares)) / norm
        assert unrelated[0, 1] == pytest.approx(expected, rel=1e-4)


def test_the_gram_trace_is_the_mean_energy_of_a_position(network):
    result = gram_traces(network, A, LAYERS)
    for layer in LAYERS:
        features = np.float64(network(A, LAYERS)[layer])
        assert result[layer] == pytest.approx((features**2).sum(2).mean(), rel=1e-5)


def test_the_layer_table_has_the_layers_of_the_terms(network):
    terms = [{"layers": ["relu2_1"]}, {"layers": ["relu1_1", "relu2_1"]}, {}]
    run = make_manifest(("seeds", "seed", ["0", "1", "2"]), terms=terms)
    finals = dict(enumerate((A, B, C)))
    table = study_seed_dispersion(RunData(run, finals, network=lambda: network)).tables[
        -1
    ]
    assert [row[:2] for row in table.rows] == [("all", "relu2_1"), ("all", "relu1_1")]
    expected = layer_distances(network, np.stack([A, B, C]), LAYERS)
    columns = "features", "unrelated features", "share", "Gram matrices"
    assert table.columns == ("member", "layer", *columns)
    for _, layer, features, unrelated, share, grams in table.rows:
        shares = [(x**2)[np.triu_indices(3, 1)].sum() for x in expected[layer][:2]]
        assert parsed(share)[0] == pytest.approx(
            math.sqrt(shares[0] / shares[1]), abs=2e-3
        )
        cells = features, unrelated, grams
        for cell, matrix in zip(cells, expected[layer], strict=True):
            mean = matrix[np.triu_indices(3, 1)].mean()
            value, low, high = parsed(cell)
            assert value == pytest.approx(mean, abs=max(0.06 * (high - low), 1e-3))
    assert (
        len(study_seed_dispersion(RunData(run, finals)).tables) < 3
    )  # Without a network.


def test_an_image_too_small_for_a_layer_is_refused(network):
    with pytest.raises(nst_jax.RequestError, match=r"does not reach relu5_1"):
        gram_traces(network, A[:8], ["relu5_1"])


def test_the_first_of_very_many_seeds_are_compared():
    """Later seeds are far away, and change no number."""
    few, many = (
        study_seed_dispersion(
            RunData(
                make_manifest(("seeds", "seed", list(map(str, range(count))))),
                {i: flat(100 + i % 7 if i < 64 else 250) for i in range(count)},
            )
        )
        for count in (64, 90)
    )
    label, *numbers = many.tables[0].rows[0]
    assert label == "all (the first 64 of 90 seeds)"
    assert numbers == list(few.tables[0].rows[0][1:])
