"""What a run is said to show, on runs of which it is known."""

import itertools

import numpy as np
import pytest

from nst_jax.studies.findings import CUTOFF, findings


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
    found = findings(run, finals, {}, {})
    table = found.tables[0]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["style weight"] == (6, *map(pytest.approx, (13.3, 10, 10, 20)))
    assert rows["seed"] == (3, *map(pytest.approx, (1, 1, 1, 1)))
    assert rows["anything"][0] == 15
    assert "style weight alone are 13.3 of 255 levels apart" in found.summary[0]
    assert "seed alone are 1.0 of 255" in found.summary[1]


def test_a_difference_of_seeds_is_coarse_or_fine():
    """Seeds apart by a slow wave of amplitude 20 and a checkerboard of amplitude 5."""
    y, x = np.mgrid[:16, :16]
    slow = 20 * np.sqrt(2) * np.sin(2 * np.pi * x / 16)
    board = 5.0 * (-1) ** (x + y)
    content = flat(100)
    other = content + ((slow + board) / 255)[..., None].astype(np.float32)
    run = run_of(SEED)
    found = findings(run, {0: content, 1: other}, {}, {0: content, 1: content})
    (row,) = found.tables[1].rows
    assert row == ("all", *map(pytest.approx, (20, 5, 0, 0)))
    share = 100 * 400 / 425
    assert f"{share:.0f} to {share:.0f} % of the energy is coarser" in found.summary[1]
    assert 1 / 16 < CUTOFF < 1 / 2


def test_steps_to_the_loss_that_both_solvers_reach():
    """Losses that halve every 10 and every 2 steps: 5 times as many."""
    steps = list(range(0, 41, 2))
    slow = [1000 * 2 ** (-s / 10) for s in steps]
    quick = [1000 * 2 ** (-s / 2) for s in steps]
    run = run_of(WEIGHT, SOLVER)
    losses = {
        m["member"]: (steps, quick if m["index"][1] else slow) for m in run["members"]
    }
    found = findings(run, {}, losses, {})
    (table,) = found.tables
    assert table.columns == ("style weight", "loss", "adam", "lbfgs")
    for label, row in zip("123", table.rows, strict=True):
        assert row == (label, *map(pytest.approx, (slow[-1], 40, 8)))
    assert "adam needs 5 times the steps of lbfgs (median of 3" in found.summary[0]
    del losses[1]
    losses[3] = (steps, [None] * len(steps))
    (table,) = findings(run, {}, losses, {}).tables
    assert [row[0] for row in table.rows] == ["3"]


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
    found = findings(run, {}, {}, {})
    assert "1.50th power of the pixels" in found.summary[0]
    (plot,) = found.plots
    assert plot.x == (100, 400, 1600)
    assert plot.y == pytest.approx([1e-3, 8e-3, 64e-3])


def test_nothing_is_said_of_what_there_is_not():
    run = run_of(WEIGHT, SEED, SOLVER)
    assert findings(run, {}, {}, {}) == findings(run_of(), {0: flat(1)}, {}, {})
    nan = np.full((16, 16, 3), np.nan, np.float32)
    one = findings(run, {0: flat(1), 1: nan, 2: flat(3)}, {}, {})
    assert [row[:2] for row in one.tables[0].rows] == [("seed", 1)]
