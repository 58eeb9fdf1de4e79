"""Every config: its smoke version runs to the end; its docstring describes it."""

import ast
import json
import re
import runpy

import numpy as np
import pytest
from command_line import DIRECT_CONVOLUTION, LAUNCHED_CONFIGS, ROOT
from narrow_weights import use_narrow_weights

import nst_jax
from nst_jax.ensemble.ensemble import Ensemble

CONFIGS = {path.stem: path for path in sorted((ROOT / "configs").glob("*.py"))}
configs = pytest.mark.parametrize("name", CONFIGS)


def get_config(name, arg=""):
    return runpy.run_path(str(CONFIGS[name]))["get_config"](arg)


#: Smoke versions whose page compares every program with every other.
COMPARED = {"coarse_to_fine", "determinism", "flicker"}


def abridge(name, config):
    """Make a smoke version compile less; `--thorough` runs it as it is.

    `lbfgs_fixed` replaces `lbfgs`, whose line search takes three times as long to
    compile.

    Returns:
      The members to run: those of the first two programs, or ten of a thousand members;
      None for all.
    """
    fields = {path.partition(".")[0] for axis in config.axes for path in axis.paths}
    if config.solver.name == "lbfgs" and "solver" not in fields:
        config.solver = nst_jax.SolverOptions("lbfgs_fixed")
    if name in COMPARED:
        return None
    groups = nst_jax.build(config).groups[:2]
    members = sorted(number for group in groups for number in group.numbers)
    members = members[::111] if len(members) > 100 else members
    config.ensemble.batch_size = min(config.ensemble.batch_size, len(members))
    return members


@pytest.mark.parametrize(
    "name", [name for name in CONFIGS if name not in LAUNCHED_CONFIGS]
)
def test_the_smoke_version_runs_to_the_end(name, tmp_path, monkeypatch, pytestconfig):
    """Each member ends at a finite picture, and most with a lower loss."""
    compiled = []
    compile_ = Ensemble.compile

    def counted(problems, *args, **kwargs):
        compiled.append(len(problems))
        return compile_(problems, *args, **kwargs)

    monkeypatch.setattr(Ensemble, "compile", counted)
    config = get_config(name, "smoke")
    command = f"{ROOT}/launch.py --config={CONFIGS[name]}:smoke"
    if name == "determinism":  # Its subprocesses load the bundled weights.
        config.numerics = nst_jax.Numerics(convolution="direct")
        command += f" {DIRECT_CONVOLUTION}"
    else:
        config.weights = str(use_narrow_weights(monkeypatch, tmp_path))
    members = None
    if not pytestconfig.getoption("--thorough"):
        members = abridge(name, config)
    plan = nst_jax.build(config, members)
    workdir = tmp_path / "run"
    assert nst_jax.execute(plan, workdir, command=command) == "done"
    run = json.loads((workdir / "run.json").read_text())
    assert [m["status"] for m in run["members"]] == ["done"] * len(plan.members)
    assert 0 < len(compiled) <= sum(len(group.stages) for group in plan.groups)
    assert all(compiled)
    losses = {}
    for row in map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines()):
        losses.setdefault(row["member"], []).append(row["loss"])
    assert len(losses) == len(plan.members)
    is_lower = [member[-1] < member[0] for member in losses.values()]
    assert sum(is_lower) >= len(is_lower) / 2
    for folder in (workdir / "members").iterdir():
        assert np.isfinite(np.load(folder / "final.npy")).all()
    for name in ("report.html", "sheet.png", "curves.svg", "study.json"):
        assert (workdir / name).stat().st_size > 0


def test_the_smoke_version_of_a_ladder_is_a_ladder():
    ladder = nst_jax.Ladder((96, 128), steps=(2, 50))
    config = get_config("transfer")
    config.size, config.ladder = 192, ladder
    stages = nst_jax.variant(config, "smoke").stages()
    assert [(stage.size, stage.steps) for stage in stages] == [
        (32, 2),
        (42, 4),
        (64, 4),
    ]
    config = get_config("transfer")
    config.size, config.ladder = 512, nst_jax.Ladder((64, 96, 256), steps=(1, 2, 3))
    stages = nst_jax.variant(config, "smoke").stages()
    assert [(stage.size, stage.steps) for stage in stages] == [
        (24, 1),
        (32, 3),
        (64, 4),
    ]
    config = get_config("gallery")
    assert (config.size, config.steps) == (128, 100)
    first, *_, last = get_config("gallery", "smoke").members()
    sizes = [[(s.size, s.steps) for s in m.experiment.stages()] for m in (first, last)]
    assert sizes == [[(64, 4)], [(32, 4), (64, 4)]]


@configs
def test_the_full_version_can_be_built(name):
    """Every member of every grid is a valid request."""
    plan = nst_jax.build(get_config(name))
    counts = [len(axis.values) for axis in plan.experiment.grid_axes]
    assert len(plan.members) == np.prod(counts)


@configs
def test_the_docstring_has_subject_command_and_time(name):
    words = ast.get_docstring(ast.parse(CONFIGS[name].read_text()))
    title, *rest = words.split("\n\n")
    assert "\n" not in title
    command = "python launch.py" + (
        "" if name == "transfer" else f" --config=configs/{name}.py"
    )
    assert command in words
    assert re.search(r"\b(second|minute|hour|day)s?\b", " ".join(rest))


def test_the_smoke_version_of_the_sweep_has_all_thousand_members():
    config = get_config("keras_sweep", "smoke")
    plan = nst_jax.build(config)
    assert (len(plan.members), len(plan.groups)) == (1000, 1)
    assert max(plan.groups[0].content.shape) == 64
    weights = [m.experiment.terms[0].weight for m in plan.members]
    assert sorted(set(weights)) == pytest.approx(np.arange(10) * 0.2)


@pytest.mark.parametrize(
    ("name", "arg", "count", "steps"),
    [
        ("dispersion", "converged", 4 * 2 * 8, 500),
        ("keras_sweep", "twins", 5**3 * 2, 100),
        ("stability", "", 4 * 8 * 2 * 8, 100),
    ],
)
def test_studies_of_small_differences_have_twins(name, arg, count, steps):
    plan = nst_jax.build(get_config(name, arg))
    assert len(plan.members) == count
    assert plan.experiment.steps == steps
    ulps = [m.experiment.canvas.ulps for m in plan.members]
    assert ulps.count(0) == ulps.count(1) == count / 2
