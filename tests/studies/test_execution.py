"""The way of computing: what must not change a bit, and what is caught if it does."""

import dataclasses
import itertools
import json
import re
import textwrap

import filelock
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from command_line import launch
from pictures import smooth_picture
from small_runs import small_experiment

import nst_jax
from nst_jax.ensemble import strategies
from nst_jax.ensemble.ensemble import Ensemble
from nst_jax.ensemble.observer import Observer
from nst_jax.images.initialise import add_ulps
from nst_jax.launch import runner
from nst_jax.launch.subprocess import run_in_subprocess
from nst_jax.metrics.divergence import divergence
from nst_jax.studies.execution import study_execution
from nst_jax.studies.results import StudyResult
from nst_jax.studies.run_data import RunData
from nst_jax.workdir.metrics_log import read_metrics
from nst_jax.workdir.writer import RunWriter

SHAPE = (20, 24, 3)


@pytest.fixture(scope="module")
def problem(network):
    terms = nst_jax.Content(layers=("relu2_1",)), nst_jax.Gram(layers=("relu1_1",))
    return nst_jax.Problem.from_images(
        network,
        nst_jax.Objective(terms),
        smooth_picture(0, *SHAPE[:2]),
        [smooth_picture(1, 22, 26)],
        nst_jax.FixedLBFGS(),
    )


@pytest.fixture(scope="module")
def starts():
    return np.stack([smooth_picture(seed, *SHAPE[:2]) for seed in range(2, 6)])


def ends(ensemble, starts, steps, **options):
    (*_, last) = ensemble.optimise(starts, steps, **options)
    return last


def test_members_come_back_in_their_order_from_any_place(problem, starts):
    """In the batch they lie from their place on, round its end."""
    ensemble = Ensemble.compile(problem, SHAPE, batch_size=5)
    for position in range(5):
        look = ends(ensemble, starts[:3], 0, position=position)
        np.testing.assert_array_equal(look.canvas, starts[:3])
        inside = np.asarray(look.state.canvas)
        for i in range(3):
            np.testing.assert_array_equal(inside[(position + i) % 5], starts[i])
    moved, usual = (ends(ensemble, starts[:3], 3, position=p) for p in (4, 0))
    np.testing.assert_array_equal(moved.report.loss, usual.report.loss)
    np.testing.assert_array_equal(moved.canvas, usual.canvas)


def test_each_place_has_its_own_problem(problem, starts):
    """Weights go where their canvases go."""
    light = dataclasses.replace(problem.objective.terms[0], weight=0.5)
    objective = nst_jax.Objective((light, problem.objective.terms[1]))
    two = [problem, dataclasses.replace(problem, objective=objective)]
    ensemble = Ensemble.compile(two, SHAPE, batch_size=3)
    losses = [
        ends(ensemble, starts[:2], 0, problems=two, position=p).report.loss
        for p in range(3)
    ]
    np.testing.assert_array_equal(losses[0], losses[1])
    np.testing.assert_array_equal(losses[0], losses[2])
    assert losses[0][0] != losses[0][1]


def test_batch_invariant_is_alone_to_the_bit(problem, starts):
    numerics = nst_jax.Numerics(batch_invariant=True)
    network = problem.network.with_options(numerics=numerics)
    invariant = dataclasses.replace(problem, network=network)
    alone = nst_jax.run(problem, starts, steps=4, strategy="loop").canvas
    for size in (2, 4):
        found = nst_jax.run(invariant, starts, steps=4, batch_size=size).canvas
        np.testing.assert_array_equal(found, alone)


def test_deterministic_kernels_are_asked_of_the_program(problem, monkeypatch):
    """Of both that are compiled, and of no others."""
    options = nst_jax.Numerics(deterministic=True).compiler_options
    assert options and not nst_jax.Numerics().compiler_options
    asked = jax.jit(lambda x: x + 1, compiler_options=options)
    assert asked(1.0) == 2  # An option that XLA does not know would raise.
    jit, given = jax.jit, []

    def noted(function, **kwargs):
        given.append(kwargs.pop("compiler_options"))
        return jit(function, **kwargs)

    for numerics in (nst_jax.Numerics(deterministic=True), nst_jax.Numerics()):
        network = problem.network.with_options(numerics=numerics)
        own = dataclasses.replace(problem, network=network)
        with monkeypatch.context() as patch:
            patch.setattr(jax, "jit", noted)
            Ensemble.compile(own, SHAPE, batch_size=1)
        assert given == [numerics.compiler_options] * 2
        given.clear()


def test_a_difference_planted_on_the_way_is_found_there(problem, starts):
    ensemble = Ensemble.compile(problem, SHAPE, batch_size=1, strategy="loop")
    steps = range(7)
    usual = [look.canvas[0] for look in kept(ensemble, starts[:1], steps)]
    look = ends(ensemble, starts[:1], 3)
    moved = jnp.asarray(add_ulps(look.canvas[0], 1))[None]
    state = look.state._replace(canvas=moved, variable=jnp.copy(moved))
    rest = kept(ensemble, starts[:1], steps, resume=(3, state))
    other = [*usual[:3], *(look.canvas[0] for look in rest)]
    found = divergence(steps, usual, other)
    assert (found.equal, found.first_difference) == (False, 3)
    assert 0 < found.distances[3] < found.distances[-1]
    assert divergence(steps, usual, usual).equal


def kept(ensemble, starts, steps, **options):
    looks = ensemble.optimise(
        starts, max(steps), log_every=1, snapshots=steps, **options
    )
    return [look for look in looks if look.canvas is not None]


def test_a_process_of_its_own_computes_the_same_bits(tmp_path):
    """By the launch script, of which it is a part like any other."""
    config = tmp_path / "fresh.py"
    config.write_text(
        textwrap.dedent("""
        import nst_jax

        def get_config(arg=""):
            return nst_jax.Experiment(
                content="samples/chelsea.png",
                styles=(),
                terms=(nst_jax.Content(layers=("relu2_1",)),),
                size=24, steps=3, seeds=(0, 1),
                canvas=nst_jax.Canvas("noise"),
                solver=nst_jax.SolverOptions(name="adam"),
                ensemble=nst_jax.EnsembleOptions(strategy="loop"),
                output=nst_jax.OutputOptions(
                    log_every=1, snapshots=(0, 1, 2, 3), exact=True),
                axes=(nst_jax.Vary("ensemble.process", ("inline", "subprocess")),),
            )
        """)
    )
    workdir = tmp_path / "run"
    status, _, err = launch(f"--config={config}", f"--workdir={workdir}")
    assert status == 0, err
    run = json.loads((workdir / "run.json").read_text())
    assert [m["status"] for m in run["members"]] == ["done"] * 4
    assert [g["member_steps"] for g in run["groups"]] == [6, 6]
    assert run["groups"][1]["compile_s"] > 0
    assert not list((workdir / "processes").iterdir())
    rows = {
        (r["member"], r["step"]): r["loss"]
        for r in read_metrics(workdir / "metrics.jsonl")
    }
    assert len(rows) == 16
    for seed in (0, 1):
        for step in range(4):
            assert rows[seed, step] == rows[2 + seed, step]
            own, fresh = (
                np.load(workdir / f"members/{m:03d}/frames/{step:06d}.npy")
                for m in (seed, 2 + seed)
            )
            np.testing.assert_array_equal(own, fresh)
    said = json.loads((workdir / "study.json").read_text())["summary"][0]
    assert said.startswith(
        "Bit-identical to “inline” on this cpu, compared at all 4 steps:"
    )


def test_a_fresh_process_needs_a_command(tmp_path):
    asked = small_experiment()
    asked.ensemble.process = "subprocess"
    with pytest.raises(nst_jax.RequestError, match="runs the launch script again"):
        nst_jax.execute(nst_jax.build(asked), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_batch_is_shared_evenly():
    sizes = [strategies.batch_size("shard", asked, 4) for asked in (1, 4, 5, 9)]
    assert sizes == [4, 4, 8, 12]
    assert [strategies.batch_size(s, 5, 4) for s in ("vmap", "map", "loop")] == [
        5,
        5,
        1,
    ]


@pytest.mark.parametrize(
    ("strategy", "asked", "seeds", "size"),
    [
        *(("shard", 0, 9, 6), ("shard", 0, 4, 6), ("shard", 4, 9, 6)),
        *(("vmap", 0, 9, 2), ("vmap", 4, 9, 4), ("loop", 4, 9, 1)),
    ],
)
def test_the_batch_size_is_recorded_as_it_is(
    tmp_path, monkeypatch, strategy, asked, seeds, size
):
    """Three devices with room for two members each."""
    here = jax.local_devices()
    monkeypatch.setattr(nst_jax.Group, "devices", 3 * here)
    monkeypatch.setattr(
        "nst_jax.plan.batch_size.fitting_batch", lambda problem, shape, device: 2
    )
    wanted = small_experiment(seeds=tuple(range(seeds)))
    wanted.ensemble = nst_jax.EnsembleOptions(strategy=strategy, batch_size=asked)
    plan = nst_jax.build(wanted)
    records = RunWriter(tmp_path / "run", plan)
    (tmp_path / "run").mkdir()
    call = runner._Run(plan, records, Observer())
    assert call._batch_size(0, plan.groups[0], None) == size
    assert records.manifest.groups[0].batch_size == size


def test_another_platform_is_another_program(problem):
    """Devices are told apart, which this machine may have but one of."""
    options = {"batch_size": 2, "strategy": "vmap"}
    here = Ensemble.signature(problem, SHAPE, **options)
    assert here == Ensemble.signature(
        problem, SHAPE, **options, devices=jax.local_devices()
    )
    other = Ensemble.signature(problem, SHAPE, **options, devices=["another"])
    assert here != other


def test_some_of_the_members():
    asked = small_experiment(seeds=(3, 4, 5))
    plan = nst_jax.build(asked, only=[2, 0])
    assert [member.seed for member in plan.members] == [3, 5]
    with pytest.raises(
        nst_jax.RequestError, match=r"members must be from 0 to 2, got 3"
    ):
        nst_jax.build(asked, only=[3])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"process": "subproces"}, "ensemble.process must be one of .* did you mean"),
        ({"strategy": "vmp"}, "ensemble.strategy must be one of .* did you mean"),
        (
            {"position": 2, "batch_size": 2},
            "position must be below ensemble.batch_size, got 2 and 2",
        ),
        ({"repeat": -1}, "ensemble.repeat must be at least 0, got -1"),
        (
            {"platform": "abacus"},
            r"platform must be one of \(.*'cpu'.*\), got 'abacus'",
        ),
    ],
)
def test_what_is_no_way_of_computing(options, reason):
    with pytest.raises(nst_jax.RequestError, match=reason):
        nst_jax.build(small_experiment(ensemble=nst_jax.EnsembleOptions(**options)))


def test_no_promise_is_made_that_is_not_kept():
    """A batch sharded over devices may round otherwise than a picture alone."""
    asked = small_experiment(numerics=nst_jax.Numerics(batch_invariant=True))
    nst_jax.build(asked)
    asked.ensemble.strategy = "shard"
    with pytest.raises(
        nst_jax.RequestError, match=r"cannot be kept by .*strategy='shard'"
    ):
        nst_jax.build(asked)


@nst_jax.term
class Dice(nst_jax.Term):
    """A loss that no two evaluations agree on: nondeterminism, planted."""

    name: str = nst_jax.static(default="dice")
    weight: float = 1.0

    def target(self, content, styles):
        return None

    def __call__(self, view, target):
        shape = jax.ShapeDtypeStruct((), jnp.float32)
        throw = jax.pure_callback(
            lambda: np.float32(np.random.default_rng().random()), shape
        )
        return throw * jnp.sum(view.image**2)


def test_a_program_that_is_not_deterministic_is_caught(tmp_path):
    asked = small_experiment(
        terms=(Dice(),),
        seeds=(0, 1),
        steps=3,
        canvas=nst_jax.Canvas("noise"),
        axes=(nst_jax.Vary("ensemble.repeat", (0, 1), ("once", "twice")),),
    )
    asked.solver.name = "adam"
    asked.ensemble.strategy = "loop"
    asked.output = nst_jax.OutputOptions(
        log_every=1, snapshots=(0, 1, 2, 3), exact=True
    )
    assert nst_jax.execute(nst_jax.build(asked), tmp_path) == "done"
    study = json.loads((tmp_path / "study.json").read_text())
    assert study["summary"][0].startswith(
        "“twice” is not bit-identical to “once”: they first differ at step "
    )
    assert not any("Bit-identical" in text for text in study["summary"])


SEEDS = ("seeds", "seed", ["0", "1"])


def made_up(arms, *others, planted=()):
    """A run of arms and other axes (field, name, labels), as its run.json has it."""
    axes = [("ensemble.repeat, canvas.ulps", "arm", arms), *others]
    places = itertools.product(*(range(len(labels)) for _, _, labels in axes))
    return {
        "device": {"platform": "cpu"},
        "axes": [dict(zip(("field", "name", "labels"), a, strict=True)) for a in axes],
        "groups": [
            {"count": 2, "batch_size": size, "member_steps": 12, "run_s": seconds}
            for size, seconds in ((1, 1.2), (8, 2.4))
        ],
        "members": [
            {
                "member": i,
                "group": int(place[0] > 1),
                "index": list(place),
                "loss": 2.0 + 0.5 * place[0],
                "varies": {"canvas.ulps": int(place[0] in planted)},
            }
            for i, place in enumerate(places)
        ],
    }


def said_of(run, steps, canvases):
    """What is found where `canvases(*place)` gives a level or picture a step."""

    def trajectory(member):
        levels = canvases(*run["members"][member]["index"])
        whole = [x if np.ndim(x) else np.full((4, 4, 3), x) for x in levels]
        return list(steps), [np.asarray(x, np.float32) for x in whole]

    finals = {m["member"]: trajectory(m["member"])[1][-1] for m in run["members"]}
    return study_execution(RunData(run, finals, trajectory=trajectory))


def test_what_is_said_of_arms_whose_differences_are_known():
    """Two equal arms; one that parts at step 2 and grows twofold a step to 0.08."""
    steps = range(11)
    run = made_up(["alone", "again", "otherwise"], SEEDS)

    def canvases(arm, seed):
        away = [0.08 * 2.0 ** (step - 10) * (step >= 2) * (arm == 2) for step in steps]
        return [0.3 + 0.2 * seed + x for x in away]

    found = said_of(run, steps, canvases)
    equal, other, share = found.summary
    assert "“alone” on this cpu, compared at all 11 steps: again." in equal
    assert (
        "“otherwise” is not bit-identical to “alone”: they first differ at step 2"
        in other
    )
    assert "at the end is 0.08 in [0, 1], against 0.2 between seeds" in other
    e_fold = 1 / np.log(2)
    assert f"e-fold every {e_fold:.2g} steps, fitted over steps 2 to 8." in other
    table, costs = found.tables
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
    (plot,) = found.plots
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
    """The cost of a step and slot, of members that make one step each."""
    run = made_up(["alone", "again", "otherwise"], SEEDS)
    run["groups"][1] = {
        **{"count": count, "batch_size": size},
        **{"member_steps": count, "run_s": seconds},
    }
    costs = said_of(run, [5], lambda arm, seed: [0.1 * arm + 0.4 * seed]).tables[1]
    (row,) = [row for row in costs.rows if row[0] == "otherwise"]
    assert row[1] == milliseconds


def test_what_is_no_seed_is_not_called_one():
    """Weights move the picture by 0.3, and nothing is said of seeds."""
    weight = "terms.style.weight", "weight", ["1", "2"]
    run = made_up(["alone", "otherwise"], weight)
    found = said_of(run, [0, 1], lambda arm, w: [0.1, 0.2 + 0.3 * w + 0.01 * arm])
    assert not any("seed" in text for text in found.summary)
    first, second = found.summary
    assert (
        "“otherwise” is not bit-identical to “alone” at weight 1: they first" in first
    )
    assert "at weight 2: they first differ at step 1, and the RMS" in second
    assert second.endswith("difference at the end is 0.01 in [0, 1].")
    table, costs = found.tables
    assert "seed" not in table.title and table.columns[:2] == ("weight", "arm")
    assert [row[:3] for row in table.rows] == [
        *(("1", "otherwise", 1), ("2", "otherwise", 1))
    ]
    assert [row[:2] for row in costs.rows] == [
        *(("1", "alone"), ("1", "otherwise"), ("2", "alone"), ("2", "otherwise"))
    ]
    assert [len(plot.series) for plot in found.plots] == [1, 1]


def test_seeds_are_compared_at_one_place():
    """Seeds 0.02 apart at each weight, which is itself 0.3 from the other."""
    weight = "terms.style.weight", "weight", ["1", "2"]
    run = made_up(["alone", "otherwise"], weight, SEEDS)
    found = said_of(
        run, [0, 1], lambda arm, w, s: [0.1, 0.2 + 0.3 * w + 0.02 * s + 0.01 * arm]
    )
    parting = [text for text in found.summary if "is not bit-identical to" in text]
    assert len(parting) == 2
    assert all(", against 0.02 between seeds" in text for text in parting)
    within, between = 0.01**2 / 2, 0.02**2 / 2 - 0.01**2 / 4
    share = f" {100 * within / (within + between):.2g} % "
    shares = [text for text in found.summary if text.startswith("Variance among")]
    assert len(shares) == 2 and all(share in text for text in shares)
    seeds = [row for row in found.tables[0].rows if row[1] == "another seed"]
    assert [row[0] for row in seeds] == ["1", "2"]
    assert [row[8] for row in seeds] == pytest.approx([0.02, 0.02])


@pytest.mark.parametrize("others", [(), (SEEDS,)])
def test_sizes_are_compared_to_their_own_kind(others):
    run = made_up(["vmap", "loop"], ("size", "size", ["4", "6"]), *others)

    def canvases(arm, size, seed=0):
        return [np.full((4 + 2 * size, 5, 3), 0.1 * (seed + 1))] * 2

    found = said_of(run, [0, 1], canvases)
    assert [row[0] for row in found.tables[0].rows if row[1] == "loop"] == ["4", "6"]
    small, large = found.summary
    assert "at size 4 on this cpu" in small and "at size 6 on this cpu" in large


def test_a_parting_is_no_more_exact_than_what_was_kept():
    """The two part somewhere from step 1 to 40, and were looked at twice."""
    run = made_up(["alone", "again", "otherwise"])
    found = said_of(run, [0, 40], lambda arm: [0.5, 0.5 + 0.01 * (arm == 2)])
    equal, other = found.summary
    assert "compared at all 2 recorded steps: again." in equal
    assert "they first differ by step 40, and" in other
    assert [row[3] for row in found.tables[0].rows] == [None, "by 40"]
    found = said_of(run, [0, 39, 40], lambda arm: [0.5, 0.5, 0.5 + 0.01 * (arm == 2)])
    assert "they first differ at step 40, and" in found.summary[1]
    found = said_of(run, [40], lambda arm: [0.5 + 0.01 * (arm == 2)])
    assert "on this cpu, compared at the end: again" in found.summary[0]
    assert "they first differ by step 40, and" in found.summary[1]
    found = said_of(run, [0, 40], lambda arm: [0.5 + 0.01 * (arm == 2)] * 2)
    assert "they first differ at step 0, and" in found.summary[1]


def test_table_sentence_and_plot_have_one_mean_over_seeds():
    """0.01, 0.02 and 0.06: their root mean square is 0.037, their mean 0.03."""
    run = made_up(["alone", "otherwise"], ("seeds", "seed", ["0", "1", "2"]))
    apart = (0.01, 0.02, 0.06)
    found = said_of(run, [0, 1], lambda arm, s: [0.1, 0.3 * s + arm * apart[s]])
    mean = np.sqrt(np.mean(np.square(apart)))
    assert f"at the end is {mean:.2g} (0.01 to 0.06) in" in found.summary[0]
    assert found.tables[0].rows[0][7] == pytest.approx(mean, rel=1e-2)
    assert found.plots[0].series[0].y[-1] == pytest.approx(mean, rel=1e-5)
    between = np.sqrt(np.mean(np.square([0.3, 0.6])))
    assert f", against {between:.2g} (0.3 to 0.6) between seeds" in found.summary[0]
    assert found.tables[0].rows[1][7] == pytest.approx(between, rel=1e-2)


def test_a_planted_difference_is_no_way_of_computing():
    run = made_up(["alone", "one ulp"], SEEDS, planted=(1,))
    found = said_of(run, [5], lambda arm, seed: [0.1 * arm + 0.4 * seed])
    (share,) = [text for text in found.summary if text.startswith("Variance among")]
    assert "1 ulp of one starting value" in share
    # Whichever of the two comes first.
    run = made_up(["one ulp", "alone"], SEEDS, planted=(0,))
    found = said_of(run, [5], lambda arm, seed: [0.1 * arm + 0.4 * seed])
    (share,) = [text for text in found.summary if text.startswith("Variance among")]
    assert "1 ulp of one starting value" in share


def test_a_bare_value_is_said_with_its_name():
    run = made_up(["0", "1", "True"], SEEDS)
    found = said_of(run, [5], lambda arm, seed: [0.1 * (arm == 1) + 0.4 * seed])
    assert "“arm 0” on this cpu, compared at the end: arm True." in found.summary[0]
    assert "“arm 1” is not bit-identical to “arm 0”" in found.summary[1]
    assert [row[0] for row in found.tables[0].rows[:2]] == ["arm 1", "arm True"]


def test_shares_are_of_exact_canvases_and_never_more_than_all():
    """Far less than a level apart; and seeds that make no difference at all."""
    run = made_up(["alone", "otherwise"], ("seeds", "seed", ["0", "1", "2"]))
    tiny = said_of(run, [5], lambda arm, seed: [0.5 + 1e-5 * (seed + arm * (seed + 1))])
    assert "Variance among" in tiny.summary[1] and " 0 %" not in tiny.summary[1]
    (percents,) = re.findall(r"interval (\S+) to (\S+)\)", tiny.summary[1])
    assert 0 <= float(percents[0]) < float(percents[1]) <= 100
    alike = said_of(run, [5], lambda arm, seed: [0.5 + 0.1 * arm]).summary[1]
    assert "all that is measurable is due to the execution" in alike
    assert "200" not in alike


def test_nothing_is_said_of_members_that_are_not_there():
    run = made_up(["alone", "again"])
    assert study_execution(RunData(run, {})) == StudyResult()
    some = {2: np.zeros((4, 4, 3), np.float32)}
    assert study_execution(
        RunData(run, some, trajectory=lambda m: ([0], [some[m]]))
    ) == (StudyResult())


def test_a_process_that_outlived_its_parent_is_waited_for(tmp_path):
    """The folder is its; what it makes there is what is wanted."""
    script, ran = tmp_path / "ran.py", tmp_path / "ran"
    script.write_text(f"open({str(ran)!r}, 'w')")
    orphan = filelock.FileLock(tmp_path / ".lock")
    asked = itertools.count()

    def stop():
        if next(asked) == 2:
            assert not ran.exists()
            orphan.release()
        return False

    with orphan:
        done = run_in_subprocess(str(script), tmp_path, [0], stop)
    assert done
    assert ran.exists()
    assert next(asked) > 2
    with orphan:
        assert not run_in_subprocess(str(script), tmp_path, [0], lambda: True)


@pytest.mark.parametrize("status", [130, 143])
def test_a_process_that_was_stopped_is_no_failure(tmp_path, status):
    script = tmp_path / "stopped.py"
    script.write_text(f"raise SystemExit({status})")
    assert not run_in_subprocess(str(script), tmp_path, [0], lambda: False)


def test_a_process_that_failed_says_its_last_sentence(tmp_path):
    script = tmp_path / "failed.py"
    script.write_text(
        "raise SystemExit('no room; finished members are kept, and so on')"
    )
    with pytest.raises(ChildProcessError, match=r"status 1 \(no room\)$"):
        run_in_subprocess(str(script), tmp_path, [0], lambda: False)
