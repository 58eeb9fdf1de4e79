"""Every config: its small twin runs to the end, and its docstring says what it is."""

import ast
import json
import re
import runpy

import numpy as np
import pytest
from command_line import LAUNCHED_CONFIGS, ROOT
from narrow_weights import use_narrow_weights

import nst_jax
from nst_jax.ensemble.ensemble import Ensemble

CONFIGS = {path.stem: path for path in sorted((ROOT / "configs").glob("*.py"))}
configs = pytest.mark.parametrize("name", CONFIGS)


def get_config(name, arg=""):
    return runpy.run_path(str(CONFIGS[name]))["get_config"](arg)


#: Small twins whose page compares every program with every other.
WHOLE = {"coarse_to_fine", "determinism", "flicker"}


def part(plan):
    """Members of the first two programs, which an axis tells apart; of a thousand some.

    The others are built below, and run with `--thorough`.
    """
    numbers = sorted(number for group in plan.groups[:2] for number in group.numbers)
    return numbers[::111] if len(numbers) > 100 else numbers


@pytest.mark.parametrize(
    "name", [name for name in CONFIGS if name not in LAUNCHED_CONFIGS]
)
def test_the_small_twin_runs_to_the_end(name, tmp_path, monkeypatch, pytestconfig):
    """Each member ends at a finite picture, and most lower than they started."""
    compiled = []
    compile_ = Ensemble.compile

    def counted(problems, *args, **kwargs):
        compiled.append(len(problems))
        return compile_(problems, *args, **kwargs)

    monkeypatch.setattr(Ensemble, "compile", counted)
    config = get_config(name, "smoke")
    if name != "determinism":  # Its subprocesses know the real network alone.
        config.weights = str(use_narrow_weights(monkeypatch, tmp_path))
    plan = nst_jax.build(config)
    if name not in WHOLE and not pytestconfig.getoption("--thorough"):
        numbers = part(plan)
        if config.ensemble.batch_size > len(numbers):
            config.ensemble.batch_size = len(numbers)  # A batch is filled.
        plan = nst_jax.build(config, numbers)
    command = f"{ROOT}/launch.py --config={CONFIGS[name]}:smoke"
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
    fell = [own[-1] < own[0] for own in losses.values()]
    assert sum(fell) >= len(fell) / 2
    for folder in (workdir / "members").iterdir():
        assert np.isfinite(np.load(folder / "final.npy")).all()
    for name in ("report.html", "sheet.png", "curves.svg", "study.json"):
        assert (workdir / name).stat().st_size > 0


def test_the_small_twin_of_a_ladder_is_a_ladder():
    ladder = nst_jax.Ladder((96, 128), steps=(2, 50))
    config = get_config("transfer")
    config.size, config.ladder = 192, ladder
    stages = nst_jax.variant(config, "smoke").stages()
    assert [(own.size, own.steps) for own in stages] == [(32, 2), (42, 4), (64, 4)]
    config = get_config("transfer")
    config.size, config.ladder = 512, nst_jax.Ladder((64, 96, 256), steps=(1, 2, 3))
    stages = nst_jax.variant(config, "smoke").stages()
    assert [(own.size, own.steps) for own in stages] == [(24, 1), (32, 3), (64, 4)]
    config = get_config("gallery")
    assert (config.size, config.steps) == (128, 100)
    small = [
        own.experiment.stages() for own in get_config("gallery", "smoke").members()
    ]
    assert [(o.size, o.steps) for o in small[0]] == [(64, 4)]
    assert [(o.size, o.steps) for o in small[-1]] == [(32, 4), (64, 4)]


@configs
def test_in_full_it_can_be_built(name):
    """Every member of every grid is a request that can be run."""
    plan = nst_jax.build(get_config(name))
    counts = [len(axis.values) for axis in plan.experiment.grid_axes]
    assert len(plan.members) == np.prod(counts)


@configs
def test_it_says_what_it_is(name):
    """A question or a subject, the command, and how long it takes."""
    words = ast.get_docstring(ast.parse(CONFIGS[name].read_text()))
    title, *rest = words.split("\n\n")
    assert "\n" not in title
    command = "python launch.py" + (
        "" if name == "transfer" else f" --config=configs/{name}.py"
    )
    assert command in words
    assert re.search(r"\b(second|minute|hour|day)s?\b", " ".join(rest))


def test_the_small_twin_of_the_sweep_has_all_thousand_members():
    config = get_config("keras_sweep", "smoke")
    plan = nst_jax.build(config)
    assert (len(plan.members), len(plan.groups)) == (1000, 1)
    assert max(plan.groups[0].content.shape) == 64
    weights = [m.experiment.terms[0].weight for m in plan.members]
    assert sorted(set(weights)) == pytest.approx(np.arange(10) * 0.2)
