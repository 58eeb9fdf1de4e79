"""Distances along axes, and their size beside twins, on images of known distance."""

import dataclasses
import itertools
import re

import numpy as np
import pytest
from known_dispersion import flat, parsed
from made_up_runs import make_manifest

from nst_jax.metrics.statistics import jackknife
from nst_jax.studies.axis_distances import TWINS, study_axis_distances
from nst_jax.studies.registry import run_studies
from nst_jax.studies.run_data import RunData

WEIGHT = ("terms.style.weight", "style weight", ["1", "2", "3"])
SEED = ("seeds", "seed", ["0", "1"])
SIZES = ("terms.content.weight", "content weight", ["1", "2", "3", "4"])
ULPS = ("canvas.ulps", "ulps", ["0", "1"])


def test_members_along_each_axis_have_their_distance():
    """Flat images whose level changes by 10 along one axis and by 1 along the other."""
    run = make_manifest(WEIGHT, SEED)
    finals = {m.member: flat(50 + 10 * m.index[0] + m.index[1]) for m in run.members}
    result = run_studies(RunData(run, finals, {}, {}))
    (table,) = result.tables[:1]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["style weight"] == (6, *map(pytest.approx, (13.3, 10, 10, 20, 13.3)))
    assert rows["seed"] == (3, *map(pytest.approx, (1, 1, 1, 1, 1)))
    assert rows["anything"][0] == 15
    assert (
        "only in style weight have a mean RMS distance of 13.3 levels of 255"
        in result.summary[0]
    )
    assert (
        "only in seed have a mean RMS distance of 1.0 levels of 255"
        in result.summary[1]
    )


def make_run_data(step, sigma, sizes=SIZES, missing=()):
    """Return a run with twins: `step` levels a style weight, and chaos in each member.

    Content weights change nothing: members along them differ by chaos alone.
    """
    run = make_manifest(WEIGHT, sizes, ULPS)
    rng = np.random.default_rng(0)
    finals = {}
    for m in run.members:
        m.varies = {"canvas.ulps": m.index[2]}
        chaos = rng.normal(0, sigma, (16, 16, 3)) / 255
        if m.member not in missing:
            finals[m.member] = flat(100 + step * m.index[0]) + chaos
    return RunData(run, finals)


def cells(result):
    table = result.tables[0]
    return {
        row[0]: dict(zip(table.columns[1:], row[1:], strict=True)) for row in table.rows
    }


def test_an_axis_that_does_no_more_than_a_rounding_error_has_an_effect_size_of_1():
    result = study_axis_distances(make_run_data(20, 3))
    rows = cells(result)
    assert list(rows) == ["style weight", "content weight", "anything", TWINS]
    value, low, high = parsed(rows["content weight"]["mean / mean of twins"])
    assert value == pytest.approx(1, abs=0.03) and low < 1 < high
    weight, content = result.summary
    assert re.search(
        r"only in content weight .*times that of twins, which is not", content
    )
    assert "times that of twins (neighbours" in weight
    # Three pairs of weights: 1, 1 and 2 steps; twins are 3 √2 apart.
    distances = [np.hypot(k * 20, 3 * 2**0.5) for k in (1, 1, 2)]
    value, *_ = parsed(rows["style weight"]["mean / mean of twins"])
    assert value == pytest.approx(np.mean(distances) / (3 * 2**0.5), rel=0.02)
    assert rows[TWINS]["pairs"] == 12
    assert rows[TWINS]["mean"] == pytest.approx(3 * 2**0.5, rel=0.02)
    assert rows["content weight"]["pairs"] == 3 * 6
    assert rows["anything"]["pairs"] == 66


@pytest.mark.parametrize("missing", [(), (1, 3, 8, 9)])
def test_the_interval_leaves_out_a_point_of_the_other_axes(missing):
    """Points are the content weights for the axis of style weights."""
    run_data = make_run_data(5, 3, missing=missing)
    row = cells(study_axis_distances(run_data))["style weight"]
    finals = run_data.finals

    def distance(a, b):
        return np.sqrt(np.mean((finals[a] - finals[b]) ** 2))

    def ratio(points):
        pairs, twins = [], []
        for point in points:
            column = [m for m in (8 * w + 2 * point for w in range(3)) if m in finals]
            pairs += [distance(a, b) for a, b in itertools.combinations(column, 2)]
            twins += [distance(m, m + 1) for m in column if m + 1 in finals]
        return np.mean(pairs) / np.mean(twins)

    expected = jackknife(ratio, 4, positive=True)
    assert parsed(row["mean / mean of twins"]) == pytest.approx(
        (expected.value, expected.low, expected.high), rel=0.03
    )


def test_the_interval_of_a_single_axis_leaves_out_members():
    run_data = make_run_data(20, 3, sizes=("x", "x", ["only"]))
    row = cells(study_axis_distances(run_data))["style weight"]
    value, low, high = parsed(row["mean / mean of twins"])
    assert low < value < high


def test_equal_twins_give_no_effect_size():
    run_data = make_run_data(20, 0)
    rows = cells(study_axis_distances(run_data))
    assert rows["style weight"]["mean / mean of twins"] is None
    assert rows[TWINS]["mean"] == 0
    assert "twins" not in study_axis_distances(run_data).summary[0]


def test_the_table_by_step_has_the_distances_of_exact_canvases():
    """Style weights are 0, 2 and 4 levels apart at three steps; chaos grows tenfold."""
    run_data = make_run_data(20, 3)
    steps, spread, chaos = [0, 3, 9], (0, 2, 4), (0.01, 0.1, 1)

    def trajectory(member):
        rng = np.random.default_rng(member)
        weight = run_data.run.members[member].index[0]
        noise = rng.normal(size=(16, 16, 3)) / 255
        canvases = (
            flat(100 + s * weight) + c * noise
            for s, c in zip(spread, chaos, strict=True)
        )
        return steps, list(canvases)

    result = study_axis_distances(dataclasses.replace(run_data, trajectory=trajectory))
    table = result.tables[-1]
    assert table.columns[:2] == ("step", "differing in")
    rows = {row[:2]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert len(rows) == 6
    for step, s, c in zip(steps, spread, chaos, strict=True):
        floor = c * 2**0.5
        row = rows[step, "style weight"]
        mean = np.mean([np.hypot(k * s, floor) for k in (1, 1, 2)])
        assert row["mean"] == pytest.approx(mean, rel=0.05)
        assert row["mean of twins"] == pytest.approx(floor, rel=0.05)
        effect = parsed(row["mean / mean of twins"])[0]
        assert effect == pytest.approx(mean / floor, rel=0.05)
        content = parsed(rows[step, "content weight"]["mean / mean of twins"])[0]
        assert content == pytest.approx(1, abs=0.05)
    uneven = dataclasses.replace(
        run_data, trajectory=lambda m: ([0, m], [flat(1), flat(2)])
    )
    assert len(study_axis_distances(uneven).tables) == 1
