"""Coarse-to-fine, averaging and held pixels; without a network, to be soon compiled."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_problems import (
    SHAPE,
    advance,
    random_picture,
    small_problem,
    start,
    start_from_coarse,
    trajectory,
)

import nst_jax
from nst_jax.launch.runner import execute
from nst_jax.losses import TotalVariation
from nst_jax.optim.parametrisation import PARAMETRISATIONS
from nst_jax.optim.problem import FixedPixels
from nst_jax.report import read_run
from nst_jax.report.study_results import load_run_data

# The ladder's steps.


@pytest.mark.parametrize(
    ("ladder", "wanted"),
    [
        (nst_jax.Ladder(), [(512, 90, 0.5)]),
        # crowsonkb/style-transfer-pytorch: --end-scale 512 from 128.
        (
            nst_jax.Ladder(start=128),
            [(side, 90, 0.5) for side in (128, 181, 256, 362, 512)],
        ),
        (
            nst_jax.Ladder((64, 200), steps=(30,), style_scales=(2.0, 0.5)),
            [(64, 30, 1.0), (200, 30, 0.25), (512, 90, 0.5)],
        ),
        # 512/1.05ⁿ rounds to some small sizes twice.
        (
            nst_jax.Ladder(start=10, factor=1.05),
            [
                (side, 90, 0.5)
                for side in sorted({round(512 / 1.05**n) for n in range(82)})
                if side >= 10
            ],
        ),
        (nst_jax.Ladder(start=500), [(512, 90, 0.5)]),
        (nst_jax.Ladder(start=512, steps=(50,)), [(512, 90, 0.5)]),
        (nst_jax.Ladder(start=200, factor=2.0), [(256, 90, 0.5), (512, 90, 0.5)]),
    ],
)
def test_stages_of_a_ladder(ladder, wanted):
    ladder.check()
    assert [stage[:3] for stage in ladder.stages(512, 90, 0.5)] == wanted


@pytest.mark.parametrize(
    ("size", "sizes", "remedy"),
    [(64, (4,), "raise ladder.start or ladder.sizes, or"), (4, (), "raise size, or")],
)
def test_a_stage_that_is_too_small_names_what_makes_it_larger(size, sizes, remedy):
    asked = nst_jax.Experiment(
        content="samples/chelsea.png",
        styles=("samples/swirls.jpg",),
        terms=(nst_jax.Gram(layers=("relu3_1",)),),
        size=size,
        ladder=nst_jax.Ladder(sizes),
    )
    with pytest.raises(nst_jax.RequestError, match=remedy):
        nst_jax.build(asked)


@pytest.mark.parametrize(
    ("ladder", "says"),
    [
        (lambda: nst_jax.Ladder((64, 64)), "sizes must ascend and end below size 512"),
        (lambda: nst_jax.Ladder((64, 512)), "sizes must ascend and end below size 512"),
        (lambda: nst_jax.Ladder((64,), start=32), "both define the stages"),
        (
            lambda: nst_jax.Ladder((64.5,)),
            r"sizes\[0\] must be an integer, got 64.5",
        ),
        (
            lambda: nst_jax.Ladder((64, 90), steps=(1, 2, 3)),
            "steps has 3 entries for the 2",
        ),
        (
            lambda: nst_jax.Ladder((64,), style_scales=(0,)),
            r"style_scales\[0\] must be at least 0.001 and finite, got 0",
        ),
        (lambda: nst_jax.Ladder(factor=1.0), "factor must be from 1.05 to 16, got 1.0"),
        (lambda: nst_jax.Ladder(start=-1), "start must be at least 0, got -1"),
        (
            lambda: nst_jax.Ladder(style_scales=(2.0,)),
            "style_scales needs stages before the last",
        ),
        (
            lambda: nst_jax.Ladder(steps=(2, 3)),
            r"ladder\.steps needs stages before the last",
        ),
    ],
)
def test_a_wrong_ladder_is_refused(ladder, says):
    def checked():
        made = ladder()
        made.check()
        return made.stages(512, 90, 1.0)

    with pytest.raises(nst_jax.RequestError, match=says):
        checked()


# From a stage to the next.


def test_a_stage_starts_from_what_the_one_before_showed():
    small, large = (6, 8, 3), SHAPE
    coarse = trajectory(
        small_problem(nst_jax.Adam(), shape=small), random_picture(1, small), 3
    )[-1]
    state = start_from_coarse(small_problem(nst_jax.Adam()), coarse, shape=large)
    wanted = jax.image.resize(coarse.canvas, large, "cubic")
    np.testing.assert_array_equal(state.canvas, wanted)
    assert state.report.evaluations == state.solver.report.evaluations == 5
    fresh = start(small_problem(nst_jax.Adam()), wanted)
    np.testing.assert_allclose(state.report.loss, fresh.report.loss, rtol=1e-6)


def test_adam_takes_its_moments_along():
    """Resized, and in the unit of the new gradient; its count goes on."""
    small = (6, 8, 3)
    coarse = trajectory(
        small_problem(nst_jax.Adam(), shape=small), random_picture(1, small), 3
    )[-1]
    state = start_from_coarse(small_problem(nst_jax.Adam()), coarse, shape=SHAPE)
    (before, *_), (after, *_) = coarse.solver.inner, state.solver.inner
    assert after.count == 3
    rms = [np.sqrt(np.mean(np.square(s.solver.gradient))) for s in (coarse, state)]
    gain = rms[1] / rms[0]
    resized = jax.image.resize(before.mu, SHAPE, "linear")
    np.testing.assert_allclose(after.mu, gain * resized, rtol=1e-5, atol=1e-9)
    assert (np.asarray(after.nu) >= 0).all() and np.asarray(after.nu).any()
    # Its fourth step, as Kingma and Ba have it.
    gradient = np.asarray(state.solver.gradient, np.float64)
    mu, nu = (
        (rate * np.asarray(old, np.float64) + (1 - rate) * new) / (1 - rate**4)
        for rate, old, new in (
            (0.9, after.mu, gradient),
            (0.999, after.nu, gradient**2),
        )
    )
    stepped = advance(small_problem(nst_jax.Adam()), state, 1).canvas
    wanted = np.clip(state.canvas - 0.02 * mu / (np.sqrt(nu) + 1e-8), 0, 1)
    np.testing.assert_allclose(stepped, wanted, atol=1e-6)


@pytest.mark.parametrize("solver", [nst_jax.Adam, nst_jax.SGD])
def test_a_stage_has_the_whole_of_its_schedule(solver):
    """At the end of a cosine a rate is 0, and at the next stage it is not."""
    small, own = (6, 8, 3), solver(schedule="cosine", decay_steps=3)
    coarse = trajectory(small_problem(own, shape=small), random_picture(1, small), 4)
    assert coarse[-1].report.step_length == 0
    state = start_from_coarse(small_problem(own), coarse[-1], shape=SHAPE)
    assert advance(small_problem(own), state, 1).report.step_length > 0


def test_without_a_gradient_there_is_nothing_to_take_along():
    """A coarse stage that stood still leaves no NaN behind."""
    small = (6, 8, 3)
    coarse = trajectory(
        small_problem(nst_jax.Adam(), shape=small), random_picture(1, small), 2
    )[-1]
    still = coarse.solver._replace(gradient=jnp.zeros(small))
    coarse = coarse._replace(solver=still)
    state = start_from_coarse(small_problem(nst_jax.Adam()), coarse, shape=SHAPE)
    fresh = start(small_problem(nst_jax.Adam()), state.canvas)
    canvases = [
        advance(small_problem(nst_jax.Adam()), s, 2).canvas for s in (state, fresh)
    ]
    assert np.isfinite(canvases[0]).all()
    np.testing.assert_allclose(canvases[0], canvases[1], atol=1e-6)


@pytest.mark.parametrize("solver", [nst_jax.FixedLBFGS(), nst_jax.LBFGS()])
def test_quasi_newton_begins_anew(solver):
    """Its next canvas is that of a run from the resized canvas."""
    small = (6, 8, 3)
    coarse = trajectory(
        small_problem(solver, shape=small), random_picture(1, small), 3
    )[-1]
    warm_start = start_from_coarse(small_problem(solver), coarse, shape=SHAPE)
    fresh = start(
        small_problem(solver), jax.image.resize(coarse.canvas, SHAPE, "cubic")
    )
    one, other = (
        advance(small_problem(solver), s, 2).canvas for s in (warm_start, fresh)
    )
    np.testing.assert_allclose(one, other, atol=1e-6)


# What is shown, and what stays.


def test_the_average_is_that_of_the_canvases():
    """Σ bᵏ⁻ⁱ xᵢ / Σ bᵏ⁻ⁱ of the canvases of a run without it, which it leaves alone."""
    share = 0.8
    plain = trajectory(small_problem(nst_jax.Adam(0.1)), random_picture(1), 6)
    shown = trajectory(
        small_problem(nst_jax.Adam(0.1), averaging=share), random_picture(1), 6
    )
    for k in range(1, 7):
        weights = share ** np.arange(k - 1, -1, -1, dtype=np.float64)
        canvases = np.stack([np.float64(state.canvas) for state in plain[1 : k + 1]])
        wanted = np.tensordot(weights / weights.sum(), canvases, 1)
        np.testing.assert_allclose(shown[k].canvas, wanted, atol=1e-5)
        np.testing.assert_array_equal(shown[k].variable, plain[k].variable)
    np.testing.assert_array_equal(shown[0].canvas, random_picture(1))
    np.testing.assert_array_equal(plain[3].canvas, plain[3].variable)


@pytest.mark.combinations(
    name=PARAMETRISATIONS, solver=[nst_jax.Adam(clip=False), nst_jax.FixedLBFGS()]
)
def test_held_pixels_stay_to_the_bit(name, solver):
    mask = np.zeros((*SHAPE[:2], 1), bool)
    mask[3:7, 4:11] = True
    fixed_pixels = FixedPixels(jnp.asarray(mask), jnp.asarray(random_picture(5)))
    options = {"name": name, "fixed_pixels": fixed_pixels, "averaging": 0.5}
    states = trajectory(small_problem(solver, **options), random_picture(1), 3)
    for state in states:
        np.testing.assert_array_equal(
            state.canvas[3:7, 4:11], random_picture(5)[3:7, 4:11]
        )
    moved = np.abs(states[-1].canvas - states[0].canvas)[~mask[..., 0]]
    assert (moved > 0).mean() > 0.9
    assert states[-1].report.loss < states[0].report.loss


@pytest.mark.parametrize("name", PARAMETRISATIONS)
def test_every_parametrisation_comes_to_the_minimum(name):
    """A quadratic loss has one, and all of them find it from anywhere."""

    def end(name, canvas):
        own = small_problem(nst_jax.LBFGS(), name=name)
        return advance(own, start(own, canvas), 400).canvas

    found, wanted = end(name, random_picture(1)), end("pixels", random_picture(2))
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_what_is_drawn_anew_is_drawn_by_the_step():
    """The same at one step in two runs, another at the next."""
    a, b = (
        trajectory(small_problem(nst_jax.SGD(1e-9), noise=1.0), random_picture(1), 2)
        for _ in range(2)
    )
    losses = [float(state.report.loss) for state in a]
    assert losses == [float(state.report.loss) for state in b]
    assert len(set(losses[1:])) == 2 and abs(losses[1] - losses[2]) > 1e-4


# Through a whole run.


def experiment(tmp_path, **options):
    content = tmp_path / "content.png"
    nst_jax.write_image(content, random_picture(3, (24, 32, 3)))
    return nst_jax.Experiment(
        content=str(content),
        styles=(),
        terms=(TotalVariation(1.0, kind="squared"),),
        size=32,
        steps=4,
        seeds=(0, 1),
        canvas=nst_jax.Canvas(kind="noise"),
        solver=nst_jax.SolverOptions(name="adam", averaging=0.5),
        ladder=nst_jax.Ladder((8, 16), steps=(3, 5)),
        output=nst_jax.OutputOptions(log_every=1, snapshots=(0, 3, 7, 12), exact=True),
        **options,
    )


def rows(workdir, member):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["member"] == member]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert execute(nst_jax.build(experiment(folder)), folder / "run") == "done"
    return folder


def test_stages_follow_each_other(whole):
    run = whole / "run"
    at = [(row["stage"], row["step"]) for row in rows(run, 1)]
    first = [(0, s) for s in range(4)]
    second = [(1, s) for s in range(3, 9)]
    assert at == [*first, *second, *((2, s) for s in range(8, 13))]
    frames = {
        f.stem: np.load(f).shape for f in (run / "members/001/frames").glob("*.npy")
    }
    sizes = {"000000": 6, "000003": 6, "000007": 12, "000012": 24}
    assert {stem: shape[0] for stem, shape in frames.items()} == sizes
    final = np.load(run / "members/001/final.npy")
    np.testing.assert_array_equal(final, np.load(run / "members/001/frames/000012.npy"))
    manifest = json.loads((run / "run.json").read_text())
    assert [item["role"] for item in manifest["inputs"]] == ["content", "weights"]
    assert manifest["members"][0]["evaluations"] == 3 + 12


@pytest.mark.parametrize(("asked", "stage"), [(2, 0), (4, 1), (9, 2)])
def test_an_interrupted_ladder_comes_to_the_same_bits(whole, tmp_path, asked, stage):
    """Stopped in the first stage, where it meets the second, and in the third."""
    calls = iter(range(1000))
    own = dataclasses.replace(experiment(tmp_path), content=str(whole / "content.png"))
    plan = nst_jax.build(own)
    status = execute(plan, tmp_path / "run", stop=lambda: next(calls) > asked)
    assert status == "interrupted"
    assert max(row["stage"] for row in rows(tmp_path / "run", 0)) == stage
    assert execute(nst_jax.build(own), tmp_path / "run") == "done"
    for name in ("final.npy", "frames/000003.npy", "frames/000007.npy"):
        one, other = (
            np.load(folder / "run/members/001" / name) for folder in (whole, tmp_path)
        )
        np.testing.assert_array_equal(one, other)
    for member in (0, 1):
        again = [
            (r["stage"], r["step"], r["loss"]) for r in rows(tmp_path / "run", member)
        ]
        wanted = [
            (r["stage"], r["step"], r["loss"]) for r in rows(whole / "run", member)
        ]
        assert again == wanted


@pytest.mark.parametrize("strategy", ["map", "loop", "shard"])
def test_every_strategy_climbs_the_same_ladder(whole, tmp_path, strategy):
    """With its running mean and Adam's moments taken along; the others are `vmap`."""
    own = dataclasses.replace(experiment(tmp_path), content=str(whole / "content.png"))
    own.ensemble.strategy = strategy
    assert execute(nst_jax.build(own), tmp_path / "run") == "done"
    for member in (0, 1):
        one, other = (
            np.load(folder / f"run/members/{member:03d}/final.npy")
            for folder in (whole, tmp_path)
        )
        np.testing.assert_allclose(one, other, atol=2e-6)
        ours, theirs = (rows(folder / "run", member) for folder in (whole, tmp_path))
        assert [r["stage"] for r in ours] == [r["stage"] for r in theirs]
        np.testing.assert_allclose(
            [r["loss"] for r in ours], [r["loss"] for r in theirs], rtol=1e-5
        )


def test_a_study_is_of_the_last_stage(whole):
    """Canvases and losses of other sizes are no part of it."""
    evidence = load_run_data(read_run(whole / "run"))
    steps, canvases = evidence.trajectory(1)
    assert steps == [12] and canvases[0].shape == (24, 32, 3)
    assert [row["step"] for row in evidence.rows[1]] == list(range(8, 13))
    study = json.loads((whole / "run/study.json").read_text())
    assert any("differ only in seed" in said for said in study["summary"])


def test_members_with_other_ladders_are_other_programs(tmp_path):
    own = experiment(tmp_path, axes=(nst_jax.Vary("ladder.sizes", ((), (8, 16))),))
    own.ladder = nst_jax.Ladder(steps=(2,))
    groups = nst_jax.build(own).groups
    sizes = [[g.content.shape[1] for g in group.stages] for group in groups]
    assert sizes == [[32], [8, 16, 32]]


def test_clipping_is_of_pixels():
    options = nst_jax.SolverOptions(name="adam")
    own = nst_jax.Experiment("a.png", (), (TotalVariation(),), solver=options)
    assert own.solver_record().clip
    own.parametrisation = "fourier"
    assert not own.solver_record().clip
    options.clip = True
    with pytest.raises(nst_jax.RequestError, match="clip=True .*got 'fourier'"):
        own.check()
