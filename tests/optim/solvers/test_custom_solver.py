"""Solvers of the user's own: optax transformations and records, by docs/solvers.md."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from command_line import ROOT, launch
from quadratic_bowl import quadratic_bowl, solve
from small_problems import SquaredDistance, random_picture

import nst_jax
from nst_jax import RequestError, SolverOptions, Vary
from nst_jax.config.jsonable import to_jsonable
from nst_jax.optim.problem import Problem

PAGE = (ROOT / "docs" / "solvers.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def example(number, name):
    names = {"__name__": "docs_solvers"}
    exec(EXAMPLES[number], names)
    return names[name]


Adan, HeavyBall = example(1, "Adan"), example(2, "HeavyBall")


def experiment(solver, **fields):
    """A transfer at 16 px that sees one layer."""
    return nst_jax.Experiment(
        content="samples/coffee.png",
        styles=("samples/woodcut.jpg",),
        terms=(nst_jax.Gram(layers=("relu1_1",)),),
        **{"size": 16, "steps": 3, "solver": solver, **fields},
    )


def ends(experiment):
    """Final canvases of an experiment's one group."""
    (group,) = nst_jax.build(experiment).groups
    numbers = range(len(group.members))
    return nst_jax.run(
        group.problems(),
        np.stack(group.starting_images(numbers)),
        steps=experiment.steps,
        strategy=experiment.ensemble.strategy,
    ).canvas


def test_a_transformation_walks_as_optax_itself_does():
    fun, _ = quadratic_bowl()
    solver = nst_jax.optim.solvers.Transformation(optax.adan(0.02), clip=False)
    canvas, _, reports = solve(solver, fun, 5)
    rule, x = optax.adan(0.02), jnp.zeros_like(canvas)
    state = rule.init(x)
    for _ in range(5):
        update, state = rule.update(fun(x)[1], state, x)
        x = optax.apply_updates(x, update)
    np.testing.assert_allclose(canvas, x, atol=1e-6)
    assert reports[-1].evaluations == 6


def test_a_record_from_scratch_is_polyaks():
    """x ← x + v, v ← 0.9 v − η ∇, in float64 NumPy."""
    fun, centre = quadratic_bowl()
    canvas, _, _ = solve(HeavyBall(learning_rate=0.005), fun, 6)
    curvature = np.geomspace(1, 100, 60).reshape(canvas.shape)
    x, velocity = np.zeros(canvas.shape), 0.0
    for _ in range(6):
        gradient = 2 * curvature * (x - np.asarray(centre))
        velocity = 0.9 * velocity - 0.005 * gradient
        x = x + velocity
    np.testing.assert_allclose(canvas, x, atol=1e-5)


@pytest.mark.parametrize(
    "solver",
    [optax.adan(0.02), Adan(0.02), SolverOptions(custom=optax.adan(0.02))],
    ids=["transformation", "record", "options"],
)
def test_it_works_by_passing_it(solver):
    """To an experiment; the three are one solver."""
    expected = ends(experiment(nst_jax.optim.solvers.Transformation(optax.adan(0.02))))
    found = ends(experiment(solver))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(found[0] - nst_jax.read_image("samples/coffee.png", 16)).max() > 0.01


def test_a_problem_takes_one_too():
    network, objective = (
        nst_jax.Network({}, {}, None),
        nst_jax.Objective((SquaredDistance(),)),
    )
    problem = Problem.from_images(
        network, objective, random_picture(0), [], optax.lion(0.01)
    )
    assert isinstance(problem.solver, nst_jax.optim.solvers.Transformation)
    result = nst_jax.run(problem, random_picture(1)[None], steps=4)
    assert result.history[-1].loss < result.history[0].loss
    direct = Problem(network, objective, problem.targets, optax.lion(0.01))
    assert isinstance(direct.solver, nst_jax.optim.solvers.Transformation)


@pytest.mark.parametrize(
    ("solver", "path"),
    [
        (Adan(), "solver.custom.learning_rate"),
        (Adan(), "solver.learning_rate"),
        (HeavyBall(1e-7), "solver.custom.momentum"),
        (optax.adan(0.5), "solver.learning_rate"),
    ],
)
def test_a_sweep_of_its_numbers_is_one_batch(solver, path):
    """Of one program; `vmap` as the members one by one, `map` and `loop` to the bit."""
    found = {}
    for strategy in ("vmap", "map", "loop"):
        ensemble = nst_jax.EnsembleOptions(strategy=strategy)
        axes = (Vary(path, (0.02, 0.01)),)
        found[strategy] = ends(experiment(solver, axes=axes, ensemble=ensemble))
    np.testing.assert_array_equal(found["map"], found["loop"])
    np.testing.assert_allclose(found["vmap"], found["loop"], atol=1e-4)
    assert np.abs(found["loop"][0] - found["loop"][1]).max() > 1e-6


def test_transformations_are_programs_of_their_own():
    axes = (Vary("solver", (optax.adan(0.02), optax.lion(0.01)), ("adan", "lion")),)
    plan = nst_jax.build(experiment(SolverOptions(), axes=axes))
    assert len(plan.groups) == 2
    json.dumps(plan.members[1].experiment.to_dict())


def test_a_config_names_it_by_what_it_is_made_of():
    """Made twice it is the same, and without an address; other numbers are seen."""
    first, again, other = (
        to_jsonable(experiment(optax.adan(rate))) for rate in (0.02, 0.02, 0.01)
    )
    assert first == again != other
    text = json.dumps(first["solver"])
    assert "scale_by_adan" in text and "0x" not in text
    record = to_jsonable(experiment(Adan(0.3)))["solver"]["custom"]
    assert record == {
        **{"type": "Adan", "learning_rate": 0.3},
        **{"weight_decay": 0.0, "clip": True},
    }


def test_a_folder_goes_on_with_the_same_one_only(tmp_path):
    def run(rate):
        plan = nst_jax.build(experiment(optax.adan(rate)))
        return nst_jax.execute(plan, tmp_path)

    assert run(0.02) == "done"
    assert run(0.02) == "done"
    with pytest.raises(RequestError, match=r"step_size is -0\.02 in it and -0\.01"):
        run(0.01)


@pytest.mark.filterwarnings("ignore:1 of 1 members")  # Its steps are far too long.
def test_pixels_are_clipped_and_other_variables_are_not():
    bright = SolverOptions(custom=optax.sgd(1e3))
    assert 0 <= ends(experiment(bright)).min() <= ends(experiment(bright)).max() <= 1
    free = SolverOptions(custom=optax.sgd(1e3), clip=False)
    assert ends(experiment(free)).max() > 1
    other = experiment(optax.adan(0.02), parametrisation="fourier")
    assert other.solver_record().clip is False


def test_a_config_file_passes_it_and_flags_reach_its_fields(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(EXAMPLES[1] + EXAMPLES[0].replace("optax.adan(0.02)", "Adan()"))
    flags = (
        *(f"--config={file}", f"--workdir={tmp_path / 'run'}", "--config.size=24"),
        *("--config.steps=2", "--config.solver.custom.weight_decay=0.25"),
        "--config.solver.learning_rate=0.125",
    )
    status, _, error = launch(*flags)
    assert status == 0, error
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["config"]["solver"]["custom"]["weight_decay"] == 0.25
    assert run["config"]["solver"]["learning_rate"] == 0.125


@nst_jax.optim.solvers.record
class Short(nst_jax.optim.solvers.Solver):
    def init(self, fun, canvas):
        (loss, parts), gradient = fun(canvas)
        return (loss, gradient), nst_jax.optim.solvers.initial_report(
            loss, parts, gradient
        )


@nst_jax.optim.solvers.record
class Narrow(HeavyBall):
    def step(self, fun, canvas, state):
        canvas, state, report = HeavyBall.step(self, fun, canvas, state)
        return canvas[:-1], state, report


class Bare(nst_jax.optim.solvers.Solver):
    pass


@pytest.mark.parametrize(
    ("solver", "says"),
    [
        (
            lambda: optax.adan,
            "solver must be an optax transformation.*adan has to be called",
        ),
        (
            lambda: Adan,
            "solver must be .*derives from .*Solver.*Adan has to be called",
        ),
        (lambda: "adam", "solver must be an optax transformation.*got 'adam'"),
        (
            lambda: Bare(),
            "solver must be a pytree, got Bare: write @nst_jax.optim.solvers.record",
        ),
        (
            lambda: Short(),
            "the state of Short must be a named tuple with a field 'report'",
        ),
        (
            lambda: Narrow(),
            r"Narrow.step must return a canvas of the form.*\(7, 8, 3\)",
        ),
        (
            lambda: SolverOptions(custom=Adan(), history_size=3),
            "solver.history_size is not a field of 'Adan', which has clip, learning",
        ),
        (
            lambda: SolverOptions("adam", custom=Adan()),
            "solver.name='adam' and solver.custom are two solvers",
        ),
    ],
)
def test_what_is_no_solver_is_one_sentence(solver, says):
    with pytest.raises(RequestError, match=says) as raised:
        nst_jax.build(experiment(solver()))
    assert "\n" not in str(raised.value)


def test_a_problem_refuses_what_is_no_solver():
    network, objective = (
        nst_jax.Network({}, {}, None),
        nst_jax.Objective((SquaredDistance(),)),
    )
    with pytest.raises(RequestError, match="solver must be an optax transformation"):
        Problem.from_images(network, objective, random_picture(0), [], optax.adan)
    with pytest.raises(RequestError, match="the state of Short must be"):
        Problem.from_images(network, objective, random_picture(0), [], Short())


def test_a_record_of_several_members_is_a_solver():
    """As of a sharded batch, whose problem is put together again on the host."""
    rates = np.asarray([0.1, 0.2], np.float32)
    solvers = jax.tree.map(lambda rate: rate * rates, Adan(1.0))
    assert nst_jax.optim.solvers.as_solver(solvers) is solvers
    network, objective = (
        nst_jax.Network({}, {}, None),
        nst_jax.Objective((SquaredDistance(),)),
    )
    problem = Problem(network, objective, (jnp.asarray(random_picture(0)),), solvers)
    assert dataclasses.replace(problem, network=None).solver is solvers


def test_the_default_damps_the_learning_rate():
    assert HeavyBall(0.5).scale_step(0.25).learning_rate == 0.125
    assert isinstance(jax.tree.leaves(Adan())[0], float)
