"""What is said of the quality of pictures, where it is planted."""

import itertools
import re

import numpy as np
import pytest
from made_up_runs import make_manifest
from pictures import smooth_picture
from scipy import stats

from nst_jax.metrics import quality
from nst_jax.metrics.artefacts import border_error, flat_share
from nst_jax.metrics.photorealism import edge_distortion
from nst_jax.metrics.quality import Comparison
from nst_jax.studies.quality import ANGLE, LIKENESS, RESIDUAL, study_quality
from nst_jax.studies.registry import run_studies
from nst_jax.studies.results import StudyResult
from nst_jax.studies.run_data import RunData
from nst_jax.studies.tradeoff import STYLE, compare_curves

#: All that could be held out but relu1_2, which keeps the network small.
LAYERS = ["relu4_2", "conv2_2", *quality.LAYERS[2:4], "relu4_4"]
ROWS = [{"step": 9, "terms": {"variation": 2.0}}]
SEED = ("seeds", "seed", ["0", "1", "2"])
WEIGHT = ("terms.style.weight", "weight", ["1", "10"])
CONTENT, PAINTING = (smooth_picture(i, 16, 16) for i in (8, 9))


def make_run(*axes, layers=LAYERS, terms=(), quality=True):
    """Return a manifest whose loss terms read some layers."""
    run = make_manifest(*axes, terms=list(terms), output={"quality": quality})
    for member in run.members:
        member.layers = list(layers)
    return run


def mixed(share, seed=0):
    """Nearer to the style the larger the share is."""
    noise = np.random.default_rng(seed).normal(0, 0.02, PAINTING.shape)
    return ((1 - share) * CONTENT + share * PAINTING + noise).astype(np.float32)


def evidence_of(run, finals, network=None, **more):
    members = range(len(finals))
    return RunData(
        run,
        dict(enumerate(finals)),
        dict.fromkeys(members, ROWS),
        dict.fromkeys(members, CONTENT),
        {member: [PAINTING] for member in members},
        network=lambda: network,
        **more,
    )


def distances(network, picture):
    """(of the strokes, of the structure) at relu1_2."""
    comparison = Comparison(CONTENT, (PAINTING,), network, ("relu1_2",))
    measures = comparison.measure(picture)
    return measures[quality.STROKES], measures[quality.STRUCTURE]


def parsed(cell):
    """(value, half of its interval), of "12.3 (11.5 to 13.1)"."""
    value, low, high = map(float, re.findall(r"[-\d.e]+", cell))
    return value, (high - low) / 2


def test_the_table_has_means_over_seeds_with_their_interval(network):
    run = make_run(WEIGHT, SEED)
    finals = [mixed(*key) for key in itertools.product((0.1, 0.9), range(3))]
    table, defects = study_quality(evidence_of(run, finals, network)).tables
    assert "features at relu1_2, which no loss term reads" in table.title
    assert table.columns == (
        "weight",
        "seeds",
        "score",
        "palette distance",
        "stroke distance",
        "strokes at 1",
        "strokes at 1/2",
        "strokes at 1/4",
        "edge agreement",
        "structure distance",
    )
    assert defects.columns == (
        "weight",
        "seeds",
        "flat (%)",
        "speckle (%)",
        "clipped (%)",
        "seam (0.01)",
    )
    strokes, structure = map(
        table.columns.index, ("stroke distance", "structure distance")
    )
    for row, pictures in zip(table.rows, (finals[:3], finals[3:]), strict=True):
        assert row[1] == 3
        measured = np.transpose([distances(network, x) for x in pictures])
        for cell, values in zip((row[strokes], row[structure]), measured, strict=True):
            value, error = parsed(cell)
            half = stats.t.ppf(0.975, 2) * values.std(ddof=1) / np.sqrt(3)
            assert value == pytest.approx(values.mean(), abs=0.1 * half)
            assert error == pytest.approx(half, rel=0.1)
    assert [row[0] for row in table.rows] == ["1", "10"]


def test_a_weight_trades_the_content_for_the_style(network):
    """A plot for each pair, a curve for each method, and their ends in words."""
    axes = ("content, styles", "pair", ["cat", "cup"]), ("method", "method", ["a", "b"])
    run = make_run(*axes, WEIGHT)
    shares = [0.1, 0.9, 0.3, 0.8, 0.2, 0.7, 0.4, 0.6]
    finals = [mixed(share) for share in shares]
    evidence = evidence_of(run, finals, network)
    found = study_quality(evidence)
    measured = np.array([distances(network, x) for x in finals])
    pairs = measured.reshape(2, 2, 2, 2)
    for plot, name, pair in zip(found.plots, ("cat", "cup"), pairs, strict=True):
        assert plot.title == f"Distances along weight: {name}"
        assert [series.label for series in plot.series] == ["a", "b"]
        for series, curve in zip(plot.series, pair, strict=True):
            style, content = curve.T
            assert series.y == pytest.approx(style, rel=1e-6)
            assert series.x == pytest.approx(content, rel=1e-6)
            assert style[0] > style[1] and content[0] < content[1]
            assert series.low == ()
    near, traded, compared = found.summary
    comparison = Comparison(CONTENT, (PAINTING,), network, ("relu1_2",))
    scores = [comparison.score(comparison.measure(x)) for x in finals]
    labels = [f"{p}, {m}, {w}" for p in ("cat", "cup") for m in "ab" for w in (1, 10)]
    assert near == (
        f"“{labels[np.argmin(scores)]}” has the lowest score of likeness and defects, "
        f"{min(scores):.3g}."
    )
    (one, other), (first, last) = pairs.mean((0, 1)).T
    assert traded == (
        f"From weight 1 to 10, stroke distance changes from {one:.3g} to {other:.3g} "
        f"and structure distance changes from {first:.3g} to {last:.3g} "
        "(mean of 4 curves)."
    )
    assert near in run_studies(evidence).summary
    (table,) = found.tables[2:]
    assert table.title.startswith("Ratio of the stroke distance to a")
    bargains = [
        compare_curves(*(c[:, ::-1].tolist() for c in pair[::-1])) for pair in pairs
    ]
    wanted = [f"{own.mean:.2f}" for own in bargains]
    assert [row[:3] for row in table.rows] == [
        ("cat", "b", wanted[0]),
        ("cup", "b", wanted[1]),
    ]
    mean = np.mean([own.mean for own in bargains])
    nearer = sum(own.mean < 1 for own in bargains)
    assert compared == (
        f"At equal structure distance, b has {mean:.2f} times the stroke distance of "
        f"a; it is lower for {nearer} of 2 inputs."
    )


def test_curves_have_the_intervals_of_seeds_and_the_order_of_the_weight(network):
    run = make_run(SEED, WEIGHT, ("terms.content.weight", "other", ["1"]))
    finals = [mixed(share, seed) for seed in range(3) for share in (0.2, 0.8)]
    (plot,) = study_quality(evidence_of(run, finals, network)).plots
    (series,) = plot.series
    assert series.label == "1" and "weight" in plot.title
    assert series.y[0] > series.y[1]
    for low, y, high in zip(series.low, series.y, series.high, strict=True):
        assert low < y < high and y - low == pytest.approx(high - y)


def test_without_a_weight_there_is_no_curve_and_without_a_choice_no_winner(network):
    finals = [mixed(share) for share in (0.1, 0.5, 0.9)]
    found = study_quality(
        evidence_of(make_run(("size", "size", list("abc"))), finals, network)
    )
    assert found.plots == () and len(found.summary) == 1
    found = study_quality(evidence_of(make_run(SEED), finals, network))
    assert found.plots == found.summary == ()
    assert found.tables[0].rows[0][:2] == ("all", 3)


def test_without_weights_or_held_out_layers_the_pixels_are_measured(network):
    finals = [np.full((64, 60, 3), 0.5, np.float32), np.zeros((64, 60, 3), np.float32)]
    finals[1][8:-8, 8:-8] = 0.2
    finals[1][:8, :8, 0] = 1.0
    everything = make_run(WEIGHT, layers=["conv1_2", *quality.LAYERS[1:]])
    for run, own in ((make_run(WEIGHT), None), (everything, network)):
        found = study_quality(evidence_of(run, finals, own))
        assert found.summary == () and found.plots == ()
        likeness, defects = found.tables
        assert likeness.columns[2:] == ("palette distance",)
        first, second = (
            dict(zip(defects.columns, row, strict=True)) for row in defects.rows
        )
        border = border_error(finals[1])
        for column, value in (
            ("border (levels)", 255 * border.error),
            ("border floor", 255 * border.floor),
            ("flat (%)", 100 * flat_share(finals[1], PAINTING)),
        ):
            assert float(second[column]) == pytest.approx(value, rel=5e-3, abs=1e-6)
        assert first["flat (%)"] == "100" and float(first["weave (0.01)"]) == 0


def test_the_last_canvas_is_seen_beyond_the_gamut():
    canvas = np.full((16, 16, 3), 0.5, np.float32)
    canvas[:4] = 1.2
    for steps, there in (([-1], True), ([0, 9], True), ([0, 8], False), ([], False)):
        kept = [canvas * 0, canvas][-len(steps) :] if steps else []
        evidence = evidence_of(
            make_run(), [canvas], trajectory=lambda _, s=steps, k=kept: (s, k)
        )
        *_, table = study_quality(evidence).tables
        cells = dict(zip(table.columns, table.rows[0], strict=True))
        assert ("out of gamut (%)" in cells) == there
        if there:
            assert float(cells["out of gamut (%)"]) == pytest.approx(25)
            assert float(cells["excess (levels)"]) == pytest.approx(
                255 * 0.05, rel=5e-3
            )


def test_another_size_than_the_contents_has_no_distance_from_it(network):
    run = make_run(SEED)
    large = [np.pad(mixed(0.5, s), ((0, 1), (0, 0), (0, 0))) for s in range(3)]
    table, _ = study_quality(evidence_of(run, large, network)).tables
    assert "stroke distance" in table.columns
    assert "structure distance" not in table.columns and "score" not in table.columns


def test_it_is_asked_where_the_config_wants_it(network):
    finals = [mixed(0.1), mixed(0.9)]
    for run in (make_run(WEIGHT, quality=False), make_manifest(WEIGHT)):
        assert study_quality(evidence_of(run, finals, network)) == StudyResult()
    assert study_quality(evidence_of(make_run(WEIGHT), [], network)) == StudyResult()


def test_of_a_photograph_is_said_what_became_of_its_lines(network):
    """Where a term is for them. Darker by half, all edges stay; transposed, none do."""
    terms = [{"type": "Photorealism"}]
    finals = [CONTENT / 2, CONTENT.swapaxes(0, 1)]
    table, _ = study_quality(
        evidence_of(make_run(WEIGHT, terms=terms), finals, network)
    ).tables
    edges, windows = (table.columns.index(LIKENESS[x][0]) for x in (ANGLE, RESIDUAL))
    kept, turned = table.rows
    assert float(kept[edges]) < 0.1 and float(kept[windows]) < 0.1
    expected = edge_distortion(finals[1], CONTENT)
    assert float(turned[edges]) == pytest.approx(expected.angle, rel=5e-3)
    assert float(turned[windows]) == pytest.approx(100 * expected.residual, rel=5e-3)
    table, _ = study_quality(evidence_of(make_run(WEIGHT), finals, network)).tables
    assert LIKENESS[ANGLE][0] not in table.columns


def test_curves_are_compared_at_equal_distance_from_the_content():
    """y = 3 − x against y = 2 (3 − x), from 1 to 2: half of it, on half the range."""
    ours, theirs = [(2.0, 1.0), (1.0, 2.0), (0.5, 2.5)], [(1.0, 4.0), (3.0, 0.0)]
    assert compare_curves(ours, theirs) == pytest.approx((0.5, 0.5, 0.5, 0.5))
    # 2 − x/2 against 2: 1 − x/4, whose mean from 0 to 2 is 3/4.
    assert compare_curves([(0, 2), (4, 0)], [(0, 2), (2, 2)]) == pytest.approx(
        (0.75, 0.5, 1.0, 1.0)
    )


def test_curves_that_share_no_distance_are_not_compared(network):
    assert compare_curves([(0, 1), (1, 0.5)], [(2, 1), (3, 0.5)]) is None
    assert compare_curves([(0, 1)], [(0, 1), (3, 0.5)]) is None
    axes = ("method", "method", ["a", "b"]), WEIGHT
    finals = [mixed(share) for share in (0.1, 0.3, 0.8, 0.9)]
    found = study_quality(evidence_of(make_run(*axes), finals, network))
    assert len(found.tables) == 2 and len(found.summary) == 2


def test_what_is_looked_at_is_what_the_objective_says(network):
    """A member's own layers, whatever its config and its rows call them."""
    run = make_run(WEIGHT)
    run.members[1].layers = ["conv1_2"]
    finals = [mixed(share) for share in (0.2, 0.8)]
    table, _ = study_quality(evidence_of(run, finals, network)).tables
    assert "relu1_2" not in table.title and STYLE not in table.columns
