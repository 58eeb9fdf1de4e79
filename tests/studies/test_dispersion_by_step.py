"""Dispersion across seeds by step, on images of known dispersion."""

import re

import numpy as np
import pytest
from known_dispersion import LEVELS, SEED, flat, interval_factor, parsed, scaled
from made_up_runs import make_group, make_manifest

from nst_jax.studies.dispersion_by_step import study_dispersion_by_step
from nst_jax.studies.registry import run_studies
from nst_jax.studies.results import StudyResult
from nst_jax.studies.run_data import RunData


def test_dispersion_is_plotted_by_step():
    """Settings whose dispersion is multiplied by 0.5, 2 and 2.5 at each record."""
    run = make_manifest(("x", "x", ["calm", "wild", "wilder"]), SEED)
    steps = [0, 1, 5, 9]

    def trajectory(member):
        setting, seed = run.members[member].index
        rate = (0.5, 2.0, 2.5)[setting]
        levels = [104 + rate**k * (LEVELS[seed] - 104) for k in range(4)]
        return steps, [flat(level) for level in levels]

    run_data = RunData(run, scaled(run, (1, 2, 3)), trajectory=trajectory)
    result = study_dispersion_by_step(run_data)
    calm, wild, _ = result.plots[0].series
    assert (calm.label, wild.label, calm.x) == ("calm", "wild", tuple(steps))
    deviation = np.std(LEVELS, ddof=1)
    falls = [deviation / 2**k for k in range(4)]
    assert calm.y == pytest.approx(falls, rel=1e-4)
    assert wild.y == pytest.approx([deviation * 2**k for k in range(4)], rel=1e-4)
    factor = interval_factor(lambda v: np.std(v, ddof=1), LEVELS)
    assert calm.high[3] / calm.y[3] == pytest.approx(factor, rel=1e-3)
    ends = re.search(r"factor of ([\d.]+) .* to ([\d.]+) .*it grows", result.summary[0])
    assert ends.groups() == ("0.1250", "15.63")
    assert "it grows in 2 and falls in 1 of 3 settings" in result.summary[0]


@pytest.mark.parametrize(
    ("last", "verdict"),
    [
        ([100, 103.1, 107.9, 104.1], "the interval includes 1"),
        ([90, 105, 124, 104], "it grows"),
        ([103.6, 103.9, 104.4, 104], "it falls"),
    ],
)
def test_growth_is_significant_if_the_interval_excludes_one(last, verdict):
    """The jackknife leaves a member out of both ends, so common parts cancel."""
    run = make_manifest(SEED)
    paths = {m: ([0, 9], [flat(LEVELS[m]), flat(last[m])]) for m in range(4)}
    finals = {m: path[1] for m, (_, path) in paths.items()}
    result = study_dispersion_by_step(
        RunData(run, finals, trajectory=paths.__getitem__)
    )

    def ratio(members):
        return np.std(np.take(last, members)) / np.std(np.take(LEVELS, members))

    factor, value = interval_factor(ratio, range(4)), ratio(range(4))
    (numbers,) = re.findall(r"factor of (.*): ", result.summary[0])
    assert parsed(numbers) == pytest.approx(
        (value, value / factor, value * factor), rel=0.1
    )
    assert result.summary[0].endswith(f": {verdict}.")


def test_seeds_with_different_recorded_steps_are_not_plotted():
    run = make_manifest(SEED)
    finals = {m: flat(level) for m, level in enumerate(LEVELS)}

    def trajectory(member):
        steps = [0, 5 if member == 3 else 4]
        return steps, [flat(LEVELS[member])] * 2

    def last(member):
        return [-1], [flat(LEVELS[member])]

    for recorded in (trajectory, last, lambda member: ([], [])):
        result = study_dispersion_by_step(RunData(run, finals, trajectory=recorded))
        assert result == StudyResult()


def test_the_table_by_step_has_the_loss_and_the_twins():
    """Dispersion doubles and then stays, while the difference of twins quadruples."""
    twins = ("canvas.ulps", "ulps", ["0", "1"])
    run = make_manifest(SEED, twins, groups=[make_group()])
    steps, spread, offset = [0, 5, 9], (1, 2, 2), (0.5, 2, 2)

    def trajectory(member):
        seed, twin = run.members[member].index
        levels = [
            104 + s * (LEVELS[seed] - 104) + twin * o
            for s, o in zip(spread, offset, strict=True)
        ]
        return steps, [flat(level) for level in levels]

    finals = {}
    for m in run.members:
        m.varies = {"canvas.ulps": m.index[1]}
        finals[m.member] = trajectory(m.member)[1][-1]
    rows = {
        m.member: [
            {"step": s, "loss": 10.0 - s + m.index[0], "terms": {}} for s in (0, 9)
        ]
        for m in run.members
    }
    run_data = RunData(run, finals, rows, trajectory=trajectory)
    result = study_dispersion_by_step(run_data)
    (table,) = result.tables
    cells = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [c["step"] for c in cells] == steps
    assert [c["mean loss"] for c in cells] == [11.5, None, 2.5]
    deviation = np.std(LEVELS, ddof=1)
    stds = [parsed(c["standard deviation"])[0] for c in cells]
    assert stds == pytest.approx([deviation, 2 * deviation, 2 * deviation], abs=0.06)
    floors = [parsed(c["of twins"])[0] for c in cells]
    assert floors == pytest.approx(np.array(offset) / 2**0.5, rel=0.01)
    seeds, floor = result.plots[0].series
    assert (seeds.label, floor.label) == ("", "twins")
    assert floor.y == pytest.approx(np.array(offset) / 2**0.5, rel=1e-4)
    assert [x.label for x in result.plots[1].series] == ["coarse", "fine"]
    assert result.summary[0] in run_studies(run_data).summary
