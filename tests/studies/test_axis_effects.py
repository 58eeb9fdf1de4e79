"""Effects of axes on runs with known distances, losses and times."""

import numpy as np
import pytest
from made_up_runs import make_group, make_manifest
from pictures import smooth_picture

from nst_jax.metrics.artefacts import scale_consistency
from nst_jax.metrics.dispersion import dispersion
from nst_jax.metrics.distances import CUTOFF
from nst_jax.studies import run_data as module
from nst_jax.studies.axis_effects import study_scale_consistency
from nst_jax.studies.registry import run_studies
from nst_jax.studies.results import StudyResult
from nst_jax.studies.run_data import RunData

WEIGHT = ("terms.style.weight", "style weight", ["1", "2", "3"])
SEED = ("seeds", "seed", ["0", "1"])
SOLVER = ("solver.name", "solver", ["adam", "lbfgs"])


def flat(level):
    return np.full((16, 16, 3), level / 255, np.float32)


def test_seed_differences_are_split_into_coarse_and_fine():
    """Two seeds differ by a slow wave of RMS 20 and a checkerboard of RMS 5."""
    y, x = np.mgrid[:16, :16]
    slow = 20 * np.sqrt(2) * np.sin(2 * np.pi * x / 16)
    board = 5.0 * (-1) ** (x + y)
    content = flat(100)
    other = content + ((slow + board) / 255)[..., None].astype(np.float32)
    run = make_manifest(SEED)
    result = run_studies(
        RunData(run, {0: content, 1: other}, {}, {0: content, 1: content})
    )
    (row,) = result.tables[2].rows
    half = np.sqrt(0.5)  # One of the two seeds is the content itself.
    expected = 20, 5, 20 * half, 5 * half
    assert row == ("all", *(pytest.approx(x, rel=5e-3) for x in expected))
    share = 100 * 400 / 425
    assert f"hold {share:.0f} % of the energy of the difference" in result.summary[1]
    assert result.tables[1].rows == (("1", pytest.approx(np.sqrt(425), rel=5e-3)),)
    (between,) = result.pictures  # The first seed equals the content.
    assert between.title.startswith("all: difference of two seeds, ×")
    assert between.picture.max() == pytest.approx(1)
    assert 1 / 16 < CUTOFF < 1 / 2


def test_measured_groups_are_not_repeated_by_seed_differences(monkeypatch):
    """Groups of `study_seed_dispersion` only get their distance from the content."""
    calls = []
    monkeypatch.setattr(
        module, "dispersion", lambda *args: calls.append(args) or dispersion(*args)
    )
    run = make_manifest(("styles", "style", ["a"]), ("seeds", "seed", ["0", "1", "2"]))
    finals = {seed: flat(100 + 10 * seed) for seed in range(3)}
    result = run_studies(RunData(run, finals, {}, dict.fromkeys(range(3), flat(90))))
    assert len(calls) == 1
    assert not any("grain" in text for text in result.summary)
    columns = [table.columns[1:] for table in result.tables]
    assert ("from the content, coarse", "from the content, fine") in columns
    sentences = [text for text in result.summary if "have a standard deviation" in text]
    assert len(sentences) == 1
    expected = np.sqrt(np.mean(np.square([10, 20, 30])))
    (row,) = result.tables[columns.index(columns[-1])].rows
    assert row[1] == pytest.approx(expected, rel=5e-3)


def make_rows(losses, steps, evaluations_per_step=1):
    return [
        {"step": s, "loss": x, "evaluations": 1 + evaluations_per_step * s}
        for s, x in zip(steps, losses, strict=True)
    ]


def test_solvers_are_compared_at_the_loss_that_all_reach():
    """Losses halve every 10, 4 and 2 steps; the last has 3 evaluations a step."""
    steps = list(range(0, 41, 2))
    solvers = ("solver.name, steps", "solver", ["adam", "sgd", "lbfgs"])
    solver_costs = {0: (10, 1), 1: (4, 1), 2: (2, 3)}
    run = make_manifest(WEIGHT, solvers)
    rows = {}
    for m in run.members:
        half_life, cost = solver_costs[m.index[1]]
        losses = [1000 * 2 ** (-s / half_life) for s in steps]
        rows[m.member] = make_rows(losses, steps, cost)
    result = run_studies(RunData(run, {}, rows, {}))
    (table,) = result.tables
    assert table.columns[:3] == ("style weight", "loss", "adam: steps")
    target = 1000 * 2**-4
    for label, row in zip("123", table.rows, strict=True):
        expected = (target, 40, 41, 16, 17, 8, 25)
        assert row == (label, *map(pytest.approx, expected))
    assert "adam needs 5 times the steps of lbfgs (median of 3" in result.summary[0]
    assert f"{41 / 25:.2g} times the evaluations" in result.summary[0]
    assert "sgd needs 2 times the steps of lbfgs" in result.summary[1]
    del rows[1]
    rows[3] = make_rows([None] * len(steps), steps)
    (table,) = run_studies(RunData(run, {}, rows, {})).tables
    assert [row[0] for row in table.rows] == ["3"]


def test_learning_rates_are_not_compared_as_solvers():
    rates = ("solver.learning_rate", "rate", ["0.1", "0.2"])
    rows = {m: make_rows([8.0, 4.0 - m], [0, 1]) for m in (0, 1)}
    assert run_studies(RunData(make_manifest(rates), {}, rows, {})) == StudyResult()


def test_time_per_step_is_fitted_to_the_pixel_count():
    """Seconds grow with the 1.5th power of the pixel count."""
    sizes = [(10, 10), (20, 20), (40, 40)]
    run = make_manifest(
        ("size", "size", ["10", "20", "40"]),
        groups=[
            make_group(size=[*s], member_steps=7, run_s=7e-6 * (s[0] * s[1]) ** 1.5)
            for s in sizes
        ],
    )
    result = run_studies(RunData(run, {}, {}, {}))
    assert "1.50th power of the pixel count" in result.summary[0]
    (plot,) = result.plots
    assert plot.series[0].x == (100, 400, 1600)
    assert plot.series[0].y == pytest.approx([1e-3, 8e-3, 64e-3])


def test_times_of_sizes_and_poolings_are_not_fitted():
    groups = [
        make_group(size=[side, side], member_steps=9, run_s=float(side))
        for side in (1, 1, 2, 2)
    ]
    sizes = ("size", "size", ["1", "2"])
    poolings = ("pooling", "pooling", ["max", "avg"])
    assert (
        run_studies(RunData(make_manifest(poolings, sizes, groups=groups), {}, {}, {}))
        == StudyResult()
    )


def test_runs_without_results_give_no_result():
    assert (
        run_studies(RunData(make_manifest(WEIGHT, SEED, SOLVER), {}, {}, {}))
        == StudyResult()
    )
    assert run_studies(RunData(make_manifest(), {0: flat(1)}, {}, {})) == StudyResult()


# Scale consistency

SMALL, OTHER = (smooth_picture(seed, 16, 24) for seed in (0, 1))


def enlarge(picture):
    return picture.repeat(2, 0).repeat(2, 1)


def make_run_data(finals, *ladders):
    axes = ("ladder.start", "ladder", ladders), ("size", "size", ["24", "48"])
    return RunData(make_manifest(*axes), dict(enumerate(finals)))


def test_large_results_are_compared_with_their_preview():
    finals = [SMALL, enlarge(SMALL), SMALL, enlarge(OTHER)]
    run_data = make_run_data(finals, "coarse to fine", "one size")
    result = study_scale_consistency(run_data)
    (table,) = result.tables
    assert table.rows[0] == ("coarse to fine", "48×32", "24×16", 0.0, 1.0)
    expected = scale_consistency(OTHER, SMALL)
    label, *_, distance, ssim = table.rows[1]
    assert label == "one size"
    np.testing.assert_allclose(distance, 255 * expected.rms, rtol=5e-3)
    np.testing.assert_allclose(ssim, expected.ssim, atol=5e-4)
    assert result.summary == (
        "Scaled down to the size of the preview, large results are most similar to it "
        "for “coarse to fine” (SSIM 1.00) and least for “one size” "
        f"({expected.ssim:.2f}).",
    )
    assert result.summary[0] in run_studies(run_data).summary


def test_runs_of_one_size_are_not_compared():
    run_data = make_run_data([SMALL, OTHER], "one size")
    assert study_scale_consistency(run_data) == StudyResult()
    run = make_manifest(("seeds", "seed", ["0", "1"]))
    run_data = RunData(run, {0: SMALL, 1: enlarge(SMALL)})
    assert study_scale_consistency(run_data) == StudyResult()
