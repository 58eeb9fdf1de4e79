"""The study of an execution axis, on made-up canvases and a nondeterministic loss."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from made_up_runs import make_group, make_manifest
from small_runs import small_experiment

import nst_jax
from nst_jax.studies.execution import study_execution
from nst_jax.studies.results import StudyResult
from nst_jax.studies.run_data import RunData


@nst_jax.term
class Dice(nst_jax.Term):
    """A nondeterministic loss: every evaluation has another random factor."""

    name: str = nst_jax.static(default="dice")
    weight: float = 1.0

    def target(self, content, styles):
        return None

    def __call__(self, view, target):
        shape = jax.ShapeDtypeStruct((), jnp.float32)
        factor = jax.pure_callback(
            lambda: np.float32(np.random.default_rng().random()), shape
        )
        return factor * jnp.sum(view.image**2)


def test_a_nondeterministic_program_is_reported(tmp_path):
    experiment = small_experiment(
        terms=(Dice(),),
        seeds=(0, 1),
        steps=3,
        canvas=nst_jax.Canvas("noise"),
        axes=(nst_jax.Vary("ensemble.repeat", (0, 1), ("once", "twice")),),
    )
    experiment.solver.name = "adam"
    experiment.ensemble.strategy = "loop"
    experiment.output = nst_jax.OutputOptions(
        log_every=1, snapshots=(0, 1, 2, 3), exact=True
    )
    assert nst_jax.execute(nst_jax.build(experiment), tmp_path) == "done"
    study = json.loads((tmp_path / "study.json").read_text())
    assert study["summary"][0].startswith(
        "“twice” is not bit-identical to “once”: they first differ at step "
    )
    assert not any("Bit-identical" in text for text in study["summary"])


SEEDS = ("seeds", "seed", ["0", "1"])


def make_run(arms, *others, planted=()):
    """Return a manifest with an axis of arms and other axes (field, name, labels).

    Args:
      arms: names of the arms.
      others: other axes.
      planted: indices of the arms that start 1 ulp apart.
    """
    axes = [("ensemble.repeat, canvas.ulps", "arm", arms), *others]
    groups = [
        make_group(count=2, batch_size=size, member_steps=12, run_s=seconds)
        for size, seconds in ((1, 1.2), (8, 2.4))
    ]
    run = make_manifest(*axes, groups=groups)
    for member in run.members:
        arm = member.index[0]
        member.group = int(arm > 1)
        member.loss = 2.0 + 0.5 * arm
        member.varies = {"canvas.ulps": int(arm in planted)}
    return run


def study(run, steps, canvases):
    """Study a run; `canvases(*index)` returns a level or an image for each step."""

    def trajectory(member):
        levels = canvases(*run.members[member].index)
        images = [x if np.ndim(x) else np.full((4, 4, 3), x) for x in levels]
        return list(steps), [np.asarray(x, np.float32) for x in images]

    finals = {m.member: trajectory(m.member)[1][-1] for m in run.members}
    return study_execution(RunData(run, finals, trajectory=trajectory))


def test_known_differences_are_reported():
    """One arm is equal; the other differs from step 2 on, and doubles each step."""
    steps = range(11)
    run = make_run(["alone", "again", "otherwise"], SEEDS)

    def canvases(arm, seed):
        offsets = [
            0.08 * 2.0 ** (step - 10) * (step >= 2) * (arm == 2) for step in steps
        ]
        return [0.3 + 0.2 * seed + x for x in offsets]

    result = study(run, steps, canvases)
    equal, other, share = result.summary
    assert "“alone” on this cpu, compared at all 11 steps: again." in equal
    assert (
        "“otherwise” is not bit-identical to “alone”: they first differ at step 2"
        in other
    )
    assert "at the end is 0.08 in [0, 1], against 0.2 between seeds" in other
    e_fold = 1 / np.log(2)
    assert f"e-fold every {e_fold:.2g} steps, fitted over steps 2 to 8." in other
    table, costs = result.tables
    assert table.columns[:3] == ("arm", "seeds", "bit-identical")
    again, otherwise, seed = table.rows
    assert again[:5] == ("again", 2, "yes", None, 0.0)
    assert otherwise[1:4] == (2, "no", 2)
    assert otherwise[4:6] == pytest.approx((0.08, 0.08))
    assert otherwise[8] == pytest.approx(0.5)
    assert seed[0] == "another seed"
    assert seed[7] == pytest.approx(0.2)
    # Of the arm that differs alone: levels 0 and 0.08 of each seed, seeds 0.2 apart.
    within = np.var([0, 0.08], ddof=1)
    between = np.var([0, 0.2], ddof=1) - within / 2
    assert (
        f"“alone” and “otherwise”: {100 * within / (within + between):.2g} % " in share
    )
    assert "(2 seeds, too few for a confidence interval)" in share
    # 12 members' steps in 1.2 s alone, and 2.4 s in batches of 8 that have 2 members.
    milliseconds = {row[0]: row[1:] for row in costs.rows}
    assert milliseconds["alone"] == pytest.approx((100, 1))
    assert milliseconds["otherwise"] == pytest.approx((50, 0.5))
    (plot,) = result.plots
    assert [series.label for series in plot.series] == ["otherwise", "another seed"]
    assert plot.series[0].y[-1] == pytest.approx(0.08)


@pytest.mark.parametrize(
    ("count", "size", "seconds", "milliseconds"),
    [
        (3, 2, 2.0, 500),  # Two batches of a second, of two slots each.
        (2, 8, 1.0, 125),
        (4, 2, 2.0, 500),
        (5, 1, 2.5, 500),
        (7, 3, 3.0, 333),  # To three digits.
    ],
)
def test_a_partial_batch_costs_all_its_slots(count, size, seconds, milliseconds):
    """Cost of a step and slot, for members with one step each."""
    run = make_run(["alone", "again", "otherwise"], SEEDS)
    run.groups[1] = make_group(
        count=count, batch_size=size, member_steps=count, run_s=seconds
    )
    costs = study(run, [5], lambda arm, seed: [0.1 * arm + 0.4 * seed]).tables[1]
    (row,) = [row for row in costs.rows if row[0] == "otherwise"]
    assert row[1] == milliseconds


def test_other_axes_are_not_called_seeds():
    """Weights differ by 0.3, and no sentence mentions seeds."""
    weight = "terms.style.weight", "weight", ["1", "2"]
    run = make_run(["alone", "otherwise"], weight)
    result = study(run, [0, 1], lambda arm, w: [0.1, 0.2 + 0.3 * w + 0.01 * arm])
    assert not any("seed" in text for text in result.summary)
    first, second = result.summary
    assert (
        "“otherwise” is not bit-identical to “alone” at weight 1: they first" in first
    )
    assert "at weight 2: they first differ at step 1, and the RMS" in second
    assert second.endswith("difference at the end is 0.01 in [0, 1].")
    table, costs = result.tables
    assert "seed" not in table.title and table.columns[:2] == ("weight", "arm")
    assert [row[:3] for row in table.rows] == [
        *(("1", "otherwise", 1), ("2", "otherwise", 1))
    ]
    assert [row[:2] for row in costs.rows] == [
        *(("1", "alone"), ("1", "otherwise"), ("2", "alone"), ("2", "otherwise"))
    ]
    assert [len(plot.series) for plot in result.plots] == [1, 1]


def test_seeds_are_compared_within_a_setting():
    """Seeds differ by 0.02 at each weight, and weights by 0.3."""
    weight = "terms.style.weight", "weight", ["1", "2"]
    run = make_run(["alone", "otherwise"], weight, SEEDS)
    result = study(
        run, [0, 1], lambda arm, w, s: [0.1, 0.2 + 0.3 * w + 0.02 * s + 0.01 * arm]
    )
    differences = [text for text in result.summary if "is not bit-identical to" in text]
    assert len(differences) == 2
    assert all(", against 0.02 between seeds" in text for text in differences)
    within, between = 0.01**2 / 2, 0.02**2 / 2 - 0.01**2 / 4
    share = f" {100 * within / (within + between):.2g} % "
    shares = [text for text in result.summary if text.startswith("Variance among")]
    assert len(shares) == 2 and all(share in text for text in shares)
    seeds = [row for row in result.tables[0].rows if row[1] == "another seed"]
    assert [row[0] for row in seeds] == ["1", "2"]
    assert [row[8] for row in seeds] == pytest.approx([0.02, 0.02])


@pytest.mark.parametrize("others", [(), (SEEDS,)])
def test_arms_are_compared_within_a_size(others):
    run = make_run(["vmap", "loop"], ("size", "size", ["4", "6"]), *others)

    def canvases(arm, size, seed=0):
        return [np.full((4 + 2 * size, 5, 3), 0.1 * (seed + 1))] * 2

    result = study(run, [0, 1], canvases)
    assert [row[0] for row in result.tables[0].rows if row[1] == "loop"] == ["4", "6"]
    small, large = result.summary
    assert "at size 4 on this cpu" in small and "at size 6 on this cpu" in large


def test_the_first_difference_is_as_exact_as_the_recorded_steps():
    """Steps 0 and 40 are recorded, so the first difference is between 1 and 40."""
    run = make_run(["alone", "again", "otherwise"])
    result = study(run, [0, 40], lambda arm: [0.5, 0.5 + 0.01 * (arm == 2)])
    equal, other = result.summary
    assert "compared at all 2 recorded steps: again." in equal
    assert "they first differ by step 40, and" in other
    assert [row[3] for row in result.tables[0].rows] == [None, "by 40"]
    result = study(run, [0, 39, 40], lambda arm: [0.5, 0.5, 0.5 + 0.01 * (arm == 2)])
    assert "they first differ at step 40, and" in result.summary[1]
    result = study(run, [40], lambda arm: [0.5 + 0.01 * (arm == 2)])
    assert "on this cpu, compared at the end: again" in result.summary[0]
    assert "they first differ by step 40, and" in result.summary[1]
    result = study(run, [0, 40], lambda arm: [0.5 + 0.01 * (arm == 2)] * 2)
    assert "they first differ at step 0, and" in result.summary[1]


def test_table_sentence_and_plot_have_the_root_mean_square_over_seeds():
    """The root mean square of 0.01, 0.02 and 0.06 is 0.037, their mean 0.03."""
    run = make_run(["alone", "otherwise"], ("seeds", "seed", ["0", "1", "2"]))
    offsets = (0.01, 0.02, 0.06)
    result = study(run, [0, 1], lambda arm, s: [0.1, 0.3 * s + arm * offsets[s]])
    mean = np.sqrt(np.mean(np.square(offsets)))
    assert f"at the end is {mean:.2g} (0.01 to 0.06) in" in result.summary[0]
    assert result.tables[0].rows[0][7] == pytest.approx(mean, rel=1e-2)
    assert result.plots[0].series[0].y[-1] == pytest.approx(mean, rel=1e-5)
    between = np.sqrt(np.mean(np.square([0.3, 0.6])))
    assert f", against {between:.2g} (0.3 to 0.6) between seeds" in result.summary[0]
    assert result.tables[0].rows[1][7] == pytest.approx(between, rel=1e-2)


def test_a_perturbed_start_is_not_called_execution():
    run = make_run(["alone", "one ulp"], SEEDS, planted=(1,))
    result = study(run, [5], lambda arm, seed: [0.1 * arm + 0.4 * seed])
    (share,) = [text for text in result.summary if text.startswith("Variance among")]
    assert "1 ulp of one starting value" in share
    # In either order.
    run = make_run(["one ulp", "alone"], SEEDS, planted=(0,))
    result = study(run, [5], lambda arm, seed: [0.1 * arm + 0.4 * seed])
    (share,) = [text for text in result.summary if text.startswith("Variance among")]
    assert "1 ulp of one starting value" in share


def test_a_bare_value_is_named_with_its_axis():
    run = make_run(["0", "1", "True"], SEEDS)
    result = study(run, [5], lambda arm, seed: [0.1 * (arm == 1) + 0.4 * seed])
    assert "“arm 0” on this cpu, compared at the end: arm True." in result.summary[0]
    assert "“arm 1” is not bit-identical to “arm 0”" in result.summary[1]
    assert [row[0] for row in result.tables[0].rows[:2]] == ["arm 1", "arm True"]


def test_variance_shares_are_of_exact_canvases_and_at_most_all():
    """Differences far below a level; then seeds without any difference."""
    run = make_run(["alone", "otherwise"], ("seeds", "seed", ["0", "1", "2"]))
    tiny = study(run, [5], lambda arm, seed: [0.5 + 1e-5 * (seed + arm * (seed + 1))])
    assert "Variance among" in tiny.summary[1] and " 0 %" not in tiny.summary[1]
    (percents,) = re.findall(r"interval (\S+) to (\S+)\)", tiny.summary[1])
    assert 0 <= float(percents[0]) < float(percents[1]) <= 100
    equal_seeds = study(run, [5], lambda arm, seed: [0.5 + 0.1 * arm]).summary[1]
    assert "all that is measurable is due to the execution" in equal_seeds
    assert "200" not in equal_seeds


def test_missing_members_give_no_result():
    """No members are finished, or those of the first arm are not."""
    run = make_run(["alone", "again", "otherwise"])
    assert study_execution(RunData(run, {})) == StudyResult()
    finals = {2: np.zeros((4, 4, 3), np.float32)}
    run_data = RunData(run, finals, trajectory=lambda m: ([0], [finals[m]]))
    assert study_execution(run_data) == StudyResult()
