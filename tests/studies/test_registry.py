"""What a run is said to show, on runs of which it is known."""

import itertools

import numpy as np
import pytest

from nst_jax.metrics.dispersion import dispersion
from nst_jax.metrics.distances import CUTOFF
from nst_jax.studies import run_data as module
from nst_jax.studies.registry import run_studies
from nst_jax.studies.results import StudyResult
from nst_jax.studies.run_data import RunData


def run_of(*axes, groups=()):
    """A manifest with a grid of (field, name, labels)."""
    places = itertools.product(*(range(len(labels)) for _, _, labels in axes))
    return {
        "axes": [dict(zip(("field", "name", "labels"), a, strict=True)) for a in axes],
        "members": [{"member": i, "index": list(p)} for i, p in enumerate(places)],
        "groups": list(groups),
    }


WEIGHT = ("terms.style.weight", "style weight", ["1", "2", "3"])
SEED = ("seeds", "seed", ["0", "1"])
SOLVER = ("solver.name", "solver", ["adam", "lbfgs"])


def flat(level):
    return np.full((16, 16, 3), level / 255, np.float32)


def test_each_axis_moves_the_picture_by_its_distance():
    """Flat pictures whose level is 10 along one axis and 1 along the other."""
    run = run_of(WEIGHT, SEED)
    finals = {
        m["member"]: flat(50 + 10 * m["index"][0] + m["index"][1])
        for m in run["members"]
    }
    found = run_studies(RunData(run, finals, {}, {}))
    (table,) = found.tables[:1]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["style weight"] == (6, *map(pytest.approx, (13.3, 10, 10, 20, 13.3)))
    assert rows["seed"] == (3, *map(pytest.approx, (1, 1, 1, 1, 1)))
    assert rows["anything"][0] == 15
    assert (
        "only in style weight have a mean RMS distance of 13.3 levels of 255"
        in found.summary[0]
    )
    assert (
        "only in seed have a mean RMS distance of 1.0 levels of 255" in found.summary[1]
    )


def test_a_difference_of_seeds_is_coarse_or_fine():
    """Seeds apart by a slow wave of amplitude 20 and a checkerboard of amplitude 5."""
    y, x = np.mgrid[:16, :16]
    slow = 20 * np.sqrt(2) * np.sin(2 * np.pi * x / 16)
    board = 5.0 * (-1) ** (x + y)
    content = flat(100)
    other = content + ((slow + board) / 255)[..., None].astype(np.float32)
    run = run_of(SEED)
    found = run_studies(
        RunData(run, {0: content, 1: other}, {}, {0: content, 1: content})
    )
    (row,) = found.tables[2].rows
    half = np.sqrt(0.5)  # One of the two seeds is the content itself.
    expected = 20, 5, 20 * half, 5 * half
    assert row == ("all", *(pytest.approx(x, rel=5e-3) for x in expected))
    share = 100 * 400 / 425
    assert f"hold {share:.0f} % of the energy of the difference" in found.summary[1]
    assert found.tables[1].rows == (("1", pytest.approx(np.sqrt(425), rel=5e-3)),)
    (between,) = found.pictures  # The first seed is the content: no difference.
    assert between.title.startswith("all: difference of two seeds, ×")
    assert between.picture.max() == pytest.approx(1)
    assert 1 / 16 < CUTOFF < 1 / 2


def test_of_an_ensemble_the_dispersion_is_told_once(monkeypatch):
    """By `ensembles`, computed once; `seeds` adds the distance from the content."""
    calls = []
    monkeypatch.setattr(
        module, "dispersion", lambda *args: calls.append(args) or dispersion(*args)
    )
    run = run_of(("styles", "style", ["a"]), ("seeds", "seed", ["0", "1", "2"]))
    finals = {seed: flat(100 + 10 * seed) for seed in range(3)}
    found = run_studies(RunData(run, finals, {}, dict.fromkeys(range(3), flat(90))))
    assert len(calls) == 1
    assert not any("grain" in text for text in found.summary)
    columns = [table.columns[1:] for table in found.tables]
    assert ("from the content, coarse", "from the content, fine") in columns
    ends = [text for text in found.summary if "have a standard deviation" in text]
    assert len(ends) == 1
    away = np.sqrt(np.mean(np.square([10, 20, 30])))
    (row,) = found.tables[columns.index(columns[-1])].rows
    assert row[1] == pytest.approx(away, rel=5e-3)


def rows_of(losses, steps, evaluations_a_step=1):
    return [
        {"step": s, "loss": x, "evaluations": 1 + evaluations_a_step * s}
        for s, x in zip(steps, losses, strict=True)
    ]


def test_steps_to_the_loss_that_all_solvers_reach():
    """Losses that halve every 10, 4 and 2 steps; the last takes 3 evaluations each."""
    steps = list(range(0, 41, 2))
    solvers = ("solver.name, steps", "solver", ["adam", "sgd", "lbfgs"])
    halves = {0: (10, 1), 1: (4, 1), 2: (2, 3)}
    run = run_of(WEIGHT, solvers)
    rows = {}
    for m in run["members"]:
        half, cost = halves[m["index"][1]]
        losses = [1000 * 2 ** (-s / half) for s in steps]
        rows[m["member"]] = rows_of(losses, steps, cost)
    found = run_studies(RunData(run, {}, rows, {}))
    (table,) = found.tables
    assert table.columns[:3] == ("style weight", "loss", "adam: steps")
    target = 1000 * 2**-4
    for label, row in zip("123", table.rows, strict=True):
        expected = (target, 40, 41, 16, 17, 8, 25)
        assert row == (label, *map(pytest.approx, expected))
    assert "adam needs 5 times the steps of lbfgs (median of 3" in found.summary[0]
    assert f"{41 / 25:.2g} times the evaluations" in found.summary[0]
    assert "sgd needs 2 times the steps of lbfgs" in found.summary[1]
    del rows[1]
    rows[3] = rows_of([None] * len(steps), steps)
    (table,) = run_studies(RunData(run, {}, rows, {})).tables
    assert [row[0] for row in table.rows] == ["3"]


def test_learning_rates_are_no_solvers():
    rates = ("solver.learning_rate", "rate", ["0.1", "0.2"])
    rows = {m: rows_of([8.0, 4.0 - m], [0, 1]) for m in (0, 1)}
    assert run_studies(RunData(run_of(rates), {}, rows, {})) == StudyResult()


def test_time_against_pixels_is_fitted():
    """Seconds made to grow as the 1.5th power."""
    sizes = [(10, 10), (20, 20), (40, 40)]
    run = run_of(
        ("size", "size", ["10", "20", "40"]),
        groups=[
            {"size": list(s), "member_steps": 7, "run_s": 7e-6 * (s[0] * s[1]) ** 1.5}
            for s in sizes
        ],
    )
    found = run_studies(RunData(run, {}, {}, {}))
    assert "1.50th power of the pixel count" in found.summary[0]
    (plot,) = found.plots
    assert plot.series[0].x == (100, 400, 1600)
    assert plot.series[0].y == pytest.approx([1e-3, 8e-3, 64e-3])


def test_sizes_beside_another_program_are_not_fitted():
    groups = [
        {"size": [s, s], "member_steps": 1, "run_s": float(s)} for s in (1, 1, 2, 2)
    ]
    groups = [{**group, "member_steps": 9} for group in groups]
    sizes = ("size", "size", ["1", "2"])
    poolings = ("pooling", "pooling", ["max", "avg"])
    assert (
        run_studies(RunData(run_of(poolings, sizes, groups=groups), {}, {}, {}))
        == StudyResult()
    )


def test_nothing_is_said_of_what_there_is_not():
    assert (
        run_studies(RunData(run_of(WEIGHT, SEED, SOLVER), {}, {}, {})) == StudyResult()
    )
    assert run_studies(RunData(run_of(), {0: flat(1)}, {}, {})) == StudyResult()
