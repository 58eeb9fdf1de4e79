"""The way of computing: what must not change a bit, and what is caught if it does."""

import dataclasses
import json
import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, launch, smooth_picture
from test_axes import experiment

import nst_jax
from nst_jax.canvas import nudged
from nst_jax.ensemble import Ensemble
from nst_jax.metrics import read_metrics
from nst_jax.studies.divergence import divergence
from nst_jax.studies.execution import execution
from nst_jax.studies.found import Evidence, Findings

SHAPE = (20, 24, 3)


@pytest.fixture(scope="module")
def problem(network):
    terms = nst_jax.Content(layers=("relu2_1",)), nst_jax.Gram(layers=("relu1_1",))
    return nst_jax.Problem.of(
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
    network = problem.network.used(numerics=numerics)
    invariant = dataclasses.replace(problem, network=network)
    alone = nst_jax.run(problem, starts, steps=4, strategy="loop").canvas
    for size in (2, 4):
        found = nst_jax.run(invariant, starts, steps=4, batch_size=size).canvas
        np.testing.assert_array_equal(found, alone)


def test_deterministic_kernels_are_asked_of_the_program():
    options = nst_jax.Numerics(deterministic=True).compiler_options
    assert options["xla_gpu_exclude_nondeterministic_ops"] is True
    assert options["xla_gpu_autotune_level"] == 0
    asked = jax.jit(lambda x: x + 1, compiler_options=options)
    assert asked(1.0) == 2  # An option that XLA does not know would raise.
    assert nst_jax.Numerics().compiler_options == {}


def test_a_difference_planted_on_the_way_is_found_there(problem, starts):
    ensemble = Ensemble.compile(problem, SHAPE, batch_size=1, strategy="loop")
    steps = range(7)
    usual = [look.canvas[0] for look in kept(ensemble, starts[:1], steps)]
    look = ends(ensemble, starts[:1], 3)
    state = look.state._replace(canvas=jnp.asarray(nudged(look.canvas[0], 1))[None])
    rest = kept(ensemble, starts[:1], steps, resume=(3, state))
    other = [*usual[:3], *(look.canvas[0] for look in rest)]
    found = divergence(steps, usual, other)
    assert (found.equal, found.parted) == (False, 3)
    assert 0 < found.distances[3] < found.distances[-1]
    assert divergence(steps, usual, usual).equal


def kept(ensemble, starts, steps, **options):
    looks = ensemble.optimise(
        starts, max(steps), look_every=1, snapshots=steps, **options
    )
    return [look for look in looks if look.canvas is not None]


def test_several_devices():
    """Eight CPUs: each has a share, and comes to what one device comes to, nearly.

    A sharded program is stopped and goes on to its own bits.
    """
    code = """
        import jax, numpy as np, nst_jax
        from conftest import smooth_picture
        from nst_jax.ensemble import Ensemble
        assert jax.local_device_count() == 8
        starts = np.stack([smooth_picture(s, 20, 24) for s in range(2, 8)])
        terms = nst_jax.Content(layers=("relu1_2",)), nst_jax.Gram(layers=("relu1_1",))
        problem = nst_jax.Problem.of(
            nst_jax.load_network(), nst_jax.Objective(terms),
            smooth_picture(0, 20, 24), [smooth_picture(1, 22, 26)], nst_jax.Adam(),
        )
        ensemble = Ensemble.compile(
            problem, (20, 24, 3), batch_size=6, strategy="shard"
        )
        assert ensemble.batch_size == 8
        looks = list(ensemble.optimise(starts, 4, look_every=2))
        state = looks[-1].state.canvas
        assert len({shard.device for shard in state.addressable_shards}) == 8
        alone = nst_jax.run(problem, starts, steps=4, strategy="loop").canvas
        np.testing.assert_allclose(looks[-1].canvas, alone, atol=1e-4)
        stopped = iter([False, True])
        part = list(ensemble.optimise(
            starts, 4, look_every=2, stop=lambda: next(stopped)))[-1]
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(part.state)]
        resume = part.step, jax.device_put(ensemble.restore(leaves))
        rest = list(ensemble.optimise(starts, 4, resume=resume))[-1]
        np.testing.assert_array_equal(rest.canvas, looks[-1].canvas)
        print("well")
    """
    flags = "--xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": f"{ROOT}:{ROOT}/tests"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "well", done.stderr


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
                axes=(nst_jax.Vary("ensemble.process", ("own", "fresh")),),
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
    assert "the same to the last bit, at all of 4 steps, own and: fresh" in said


def test_a_fresh_process_needs_a_command(tmp_path):
    asked = experiment()
    asked.ensemble.process = "fresh"
    with pytest.raises(nst_jax.RequestError, match="runs the launch script again"):
        nst_jax.execute(nst_jax.build(asked), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_some_of_the_members():
    asked = experiment(seeds=(3, 4, 5))
    plan = nst_jax.build(asked, only=[2, 0])
    assert [member.seed for member in plan.members] == [3, 5]
    with pytest.raises(nst_jax.RequestError, match=r"there is no 3, they are 0 to 2"):
        nst_jax.build(asked, only=[3])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"process": "frsh"}, "ensemble.process must be one of .* did you mean"),
        ({"strategy": "vmp"}, "ensemble.strategy must be one of .* did you mean"),
        ({"position": 2, "batch_size": 2}, "position is 2, which needs a batch_size"),
        ({"repeat": -1}, "ensemble.repeat must be at least 0, got -1"),
        ({"platform": "abacus"}, "ensemble.platform 'abacus' is not here, which has"),
    ],
)
def test_what_is_no_way_of_computing(options, reason):
    asked = experiment()
    asked.ensemble = nst_jax.EnsembleOptions(**options)
    with pytest.raises(nst_jax.RequestError, match=reason):
        nst_jax.build(asked)


def test_no_promise_is_made_that_is_not_kept():
    """Sharded programs round otherwise: by an ulp, on eight CPU devices."""
    asked = experiment(numerics=nst_jax.Numerics(batch_invariant=True))
    nst_jax.build(asked)
    asked.ensemble.strategy = "shard"
    with pytest.raises(nst_jax.RequestError, match=r"not kept by .*strategy='shard'"):
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
    asked = experiment(
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
        "A seed twice is not the seed once: they part at step "
    )
    assert not any("the same to the last bit" in text for text in study["summary"])


def made_up(arms, seeds=2, planted=()):
    """A run of arms × seeds, as its run.json has it."""
    places = [(a, s) for a in range(len(arms)) for s in range(seeds)]
    return {
        "device": {"platform": "cpu"},
        "axes": [
            {"field": "ensemble.repeat, canvas.ulps", "name": "arm", "labels": arms},
            {"field": "seeds", "name": "seed", "labels": list(map(str, range(seeds)))},
        ],
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


def test_what_is_said_of_arms_whose_differences_are_known():
    """Two equal arms; one that parts at step 2 and grows twofold a step to 0.08."""
    steps = list(range(11))
    run = made_up(["alone", "again", "otherwise"])
    still = {seed: np.full((4, 4, 3), 0.3 + 0.2 * seed, np.float32) for seed in (0, 1)}

    def trajectory(member):
        arm, seed = run["members"][member]["index"]
        away = [0.08 * 2.0 ** (step - 10) * (step >= 2) for step in steps]
        grown = away if arm == 2 else [0] * 11
        return steps, [(still[seed] + np.float32(x)).astype(np.float32) for x in grown]

    finals = {m["member"]: trajectory(m["member"])[1][-1] for m in run["members"]}
    found = execution(Evidence(run, finals, trajectory=trajectory))
    equal, other, share = found.summary
    assert "at all of 11 steps, alone and: again." in equal
    assert "A seed otherwise is not the seed alone: they part at step 2" in other
    assert "end 0.08 apart (RMS, of 1), against 0.2 between seeds" in other
    assert f"e-fold in {1 / np.log(2):.2g} steps" in other
    table, costs = found.tables
    again, otherwise, seed = table.rows
    assert again[:5] == ("again", 2, "yes", None, 0.0)
    assert otherwise[1:4] == (2, "no", 2)
    assert otherwise[4:6] == pytest.approx((0.08, 0.08))
    assert otherwise[8] == pytest.approx(0.5)
    assert seed[0] == "another seed"
    assert seed[7] == pytest.approx(0.2)
    # Levels 0, 0 and 0.08 of each seed, seeds 0.2 apart: one-way random effects.
    within = np.var([0, 0, 0.08], ddof=1)
    between = np.var([0, 0.2], ddof=1) - within / 3
    assert f"{100 * within / (within + between):.2g} %" in share
    # 12 members' steps in 1.2 s alone, and 2.4 s in batches of 8 that have 2 members.
    milliseconds = {row[0]: row[1:] for row in costs.rows}
    assert milliseconds["alone"] == pytest.approx((100, 1))
    assert milliseconds["otherwise"] == pytest.approx((50, 0.5))
    (plot,) = found.plots
    assert [series.label for series in plot.series] == ["otherwise", "another seed"]
    assert plot.series[0].y[-1] == pytest.approx(0.08)


def test_a_planted_difference_is_no_way_of_computing():
    run = made_up(["alone", "one ulp"], planted=(1,))
    finals = {
        m["member"]: np.full((4, 4, 3), 0.1 * m["index"][0] + 0.4 * m["index"][1])
        for m in run["members"]
    }
    paths = {m: ([5], [x.astype(np.float32)]) for m, x in finals.items()}
    found = execution(Evidence(run, finals, trajectory=paths.__getitem__))
    (share,) = [text for text in found.summary if text.startswith("Of the variance")]
    assert "one unit in the last place" in share


def test_nothing_is_said_of_members_that_are_not_there():
    run = made_up(["alone", "again"])
    assert execution(Evidence(run, {})) == Findings()
    some = {2: np.zeros((4, 4, 3), np.float32)}
    assert execution(Evidence(run, some, trajectory=lambda m: ([0], [some[m]]))) == (
        Findings()
    )
