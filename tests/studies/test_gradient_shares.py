"""Shares of the parts in the gradient: of known norms, and of a small run."""

import numpy as np
import pytest
from made_up_runs import make_manifest
from small_runs import read_manifest, run_experiment, small_experiment

import nst_jax
from nst_jax.report.run_directory import read_run
from nst_jax.report.study_results import load_run_data
from nst_jax.studies.gradient_shares import WHOLE, gradient_shares, study_gradients
from nst_jax.studies.results import StudyResult
from nst_jax.studies.run_data import RunData
from nst_jax.workdir.schema import GradientEntry


def run_data(*gradients):
    """Return the data of seeds with these gradient entries."""
    run = make_manifest(("seeds", "seed", [str(i) for i in range(len(gradients))]))
    for member, entry in zip(run.members, gradients, strict=True):
        if entry:
            member.gradients = GradientEntry(**entry)
    return RunData(run, dict.fromkeys(range(len(gradients)), np.zeros((4, 4, 3))))


def test_shares_sum_to_one_and_the_whole_is_at_most_one():
    shares = gradient_shares(
        {"content": 1.0, "style/a": 4.0, "style/b": 5.0, "loss": 3.0}
    )
    assert shares == pytest.approx(
        {"content": 0.1, "style/a": 0.4, "style/b": 0.5, WHOLE: 0.3}
    )
    whole = shares.pop(WHOLE)
    assert sum(shares.values()) == pytest.approx(1) and whole <= 1


def test_one_part_has_the_whole_gradient():
    assert gradient_shares({"a": 7.0, "loss": 7.0}) == {"a": 1.0, WHOLE: 1.0}


@pytest.mark.parametrize("norms", [{"a": None, "loss": None}, {"a": 0.0, "loss": 0.0}])
def test_without_a_gradient_there_are_no_shares(norms):
    assert gradient_shares(norms) is None
    assert study_gradients(run_data({"start": norms, "end": norms})) == StudyResult()


def test_shares_are_means_over_seeds():
    entries = [
        {
            "start": {"a": 1.0, "b": 3.0, "loss": 4.0},
            "end": {"a": 1.0, "b": 1.0, "loss": 0.0},
        },
        {
            "start": {"a": 1.0, "b": 1.0, "loss": 2.0},
            "end": {"a": 4.0, "b": 1.0, "loss": 1.0},
        },
    ]
    result = study_gradients(run_data(*entries, None))
    (table,) = result.tables
    assert table.columns == ("member", "part", "seeds", "start (%)", "end (%)")
    assert table.rows == (
        ("all", "a", 2, "37.5", "65"),
        ("all", "b", 2, "62.5", "35"),
        ("all", WHOLE, 2, "100", "10"),
    )
    (plot,) = result.plots
    assert [series.label for series in plot.series] == ["start", "end"]
    for series, shares in zip(plot.series, ((37.5, 62.5), (65, 35)), strict=True):
        assert series.x == ("a", "b")
        assert series.y == pytest.approx(shares)
    assert result.summary == (
        "At the start, b has 62 % of the sum of gradient norms, and the whole gradient "
        "100 %; at the end, a has 65 % of the sum of gradient norms, and the whole "
        "gradient 10 %.",
    )


def test_a_run_measures_its_members(tmp_path):
    """At the start and the end, also if a finished run is asked for it later."""
    weights = nst_jax.Vary("terms.style.weight", (1.0, 1e3))
    experiment = small_experiment(axes=(weights,))
    run_experiment(experiment, tmp_path)
    assert "gradients" not in read_manifest(tmp_path)["members"][0]
    experiment.output.gradients = True
    run_experiment(experiment, tmp_path)
    manifest = read_manifest(tmp_path)
    first, second = (member["gradients"] for member in manifest["members"])
    content, *styles = parts = ["content/relu2_1", "style/relu1_1", "style/relu2_1"]
    for entry in (first, second):
        assert entry["start"].keys() == entry["end"].keys() == {*parts, "loss"}
    rows = load_run_data(read_run(tmp_path)).rows[0]
    for time, row in (("start", rows[0]), ("end", rows[-1])):
        assert first[time]["loss"] == pytest.approx(row["grad_norm"], rel=1e-4)
    for style in styles:
        assert second["start"][style] == pytest.approx(
            1e3 * first["start"][style], rel=1e-5
        )
    # The canvas starts at the content.
    assert first["start"][content] == 0 < first["end"][content]
    (table,) = study_gradients(load_run_data(read_run(tmp_path))).tables
    assert [row[:2] for row in table.rows[:4]] == [("1", x) for x in (*parts, WHOLE)]


def test_twins_are_not_measured(tmp_path):
    """A start that the config itself moves by an ulp is no twin."""
    experiment = small_experiment(
        axes=(nst_jax.Vary("canvas.ulps", (0, 1)),),
        output=nst_jax.OutputOptions(gradients=True),
    )
    run_experiment(experiment, tmp_path / "axis")
    members = read_manifest(tmp_path / "axis")["members"]
    assert ["gradients" in member for member in members] == [True, False]
    experiment.axes, experiment.canvas.ulps = (), 1
    run_experiment(experiment, tmp_path / "one")
    (member,) = read_manifest(tmp_path / "one")["members"]
    assert "gradients" in member


def test_many_settings_are_in_the_table_only():
    labels = [str(i) for i in range(11)]
    entry = {"start": {"a": 1.0, "loss": 1.0}, "end": {"a": 1.0, "loss": 1.0}}
    run = make_manifest(("x", "x", labels))
    for member in run.members:
        member.gradients = GradientEntry(**entry)
    finals = dict.fromkeys(range(11), np.zeros((4, 4, 3)))
    result = study_gradients(RunData(run, finals))
    assert result.summary == ()
    assert len(result.tables[0].rows) == 2 * 11
