"""Warnings about unusable results, their statuses and exit statuses."""

import inspect
import json
import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from command_line import ROOT, launch
from small_problems import Pitfall, pitfall_problem, random_picture
from small_runs import read_manifest, run_experiment, small_experiment

import nst_jax
from nst_jax.ensemble.diagnosis import Outcome, Trace, diagnose
from nst_jax.launch.shards import merge
from nst_jax.losses import Objective
from nst_jax.optim import transfer
from nst_jax.optim.state import overflowed_share
from nst_jax.workdir.metrics_log import read_metrics

GRAM = nst_jax.Gram(layers=("relu1_1",))


@nst_jax.term
class Root(nst_jax.Term):
    """The distance to the content, whose gradient at the content is 0/0."""

    name: str = nst_jax.static(default="root")
    eps: float = 0.0

    def target(self, content, styles):
        return content.image

    def __call__(self, view, target):
        return jnp.sqrt(((view.image - target) ** 2).mean() + self.eps)


def rooted(**fields):
    """Return an experiment from the content, where `Root` has no gradient."""
    config = small_experiment(**{"terms": (Root(), GRAM), "steps": 3, **fields})
    config.output.log_every = 1
    return config


def warned(workdir):
    """Return {kind: (members, text)} of run.json, each kind once."""
    entries = read_manifest(workdir)["warnings"]
    assert len({entry["kind"] for entry in entries}) == len(entries)
    return {entry["kind"]: (entry["members"], entry["text"]) for entry in entries}


def statuses(workdir):
    return [entry["status"] for entry in read_manifest(workdir)["members"]]


# A start without a gradient.


@pytest.mark.parametrize("steps", [0, 3])
def test_a_start_without_a_gradient_has_diverged(tmp_path, caplog, steps):
    """Also for steps=0."""
    with caplog.at_level("WARNING", "absl"):
        assert run_experiment(rooted(steps=steps), tmp_path) == "failed"
    assert read_manifest(tmp_path)["status"] == "failed"
    assert statuses(tmp_path) == ["diverged"]
    (members, text) = warned(tmp_path)["nan_at_start"]
    assert members == [0]
    assert (
        "1 of 1 members diverged at the start: seed 0. The loss or gradient of " in text
    )
    assert "'root'" in text and "style" not in text and "constant" in text
    assert caplog.messages.count(text) == 1
    page = (tmp_path / "report.html").read_text()
    assert "Warnings" in page and "no gradient" not in page
    assert "diverged at the start: seed 0" in page
    # The same command says the same, and computes nothing.
    before = (tmp_path / "metrics.jsonl").read_bytes()
    assert run_experiment(rooted(steps=steps), tmp_path) == "failed"
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_a_diverged_member_among_good_ones_is_named(tmp_path):
    """The run has usable results, and is done."""
    config = rooted(axes=(nst_jax.Vary("terms.root.eps", (1e-6, 0.0, 1e-4)),))
    assert run_experiment(config, tmp_path) == "done"
    assert statuses(tmp_path) == ["done", "diverged", "done"]
    assert warned(tmp_path)["nan_at_start"][0] == [1]
    final = np.load(tmp_path / "members/001/final.npy")
    assert np.isfinite(final).all()


def test_a_coarse_stage_without_a_gradient_is_named(tmp_path):
    """The resized canvas differs from the content, so the last stage makes steps."""
    config = rooted(size=48, ladder=nst_jax.Ladder(sizes=(32,), steps=(2,)))
    assert run_experiment(config, tmp_path) == "done"
    assert statuses(tmp_path) == ["done"]
    assert (
        "made no step in stage 0 of the ladder" in warned(tmp_path)["nan_in_stage"][1]
    )


def test_an_interrupted_run_of_diverged_members_has_the_same_warnings(tmp_path):
    config = rooted(seeds=(0, 1))
    config.ensemble.batch_size = 1
    calls = iter([False] * 5 + [True] * 100)
    assert run_experiment(config, tmp_path, stop=lambda: next(calls)) == "interrupted"
    assert sorted(statuses(tmp_path)) == ["diverged", "waiting"]
    assert warned(tmp_path)["nan_at_start"][0] == [0]
    assert run_experiment(config, tmp_path) == "failed"
    assert warned(tmp_path)["nan_at_start"][0] == [0, 1]


def test_frames_that_start_from_a_diverged_frame(tmp_path):
    """The first frame diverges at its noise, from which the second starts."""
    config = rooted(
        terms=(GRAM, Pitfall(radius=0.2)),
        axes=(nst_jax.Frames(2),),
        canvas=nst_jax.Canvas("previous"),
        film=nst_jax.Film("shift", amount=3),
    )
    assert run_experiment(config, tmp_path) == "failed"
    members, text = warned(tmp_path)["nan_at_start"]
    assert members == [0, 1]
    assert "'pitfall'" in text
    first, second = (np.load(tmp_path / f"members/00{i}/final.npy") for i in (0, 1))
    np.testing.assert_array_equal(first, second)


def test_shards_of_diverged_members_are_merged(tmp_path):
    config = rooted(seeds=(0, 1))
    plan = nst_jax.build(config)
    for number in (0, 1):
        part = nst_jax.build(config, only=[number])
        assert nst_jax.execute(part, tmp_path / str(number)) == "failed"
    assert merge(plan, [tmp_path / "0", tmp_path / "1"], tmp_path / "whole") == []
    assert read_manifest(tmp_path / "whole")["status"] == "failed"
    assert warned(tmp_path / "whole")["nan_at_start"][0] == [0, 1]


CONFIG = f"""
import jax.numpy as jnp
import nst_jax

{inspect.getsource(Root)}

def get_config():
    config = nst_jax.Experiment(
        "samples/chelsea.png", (), (Root(),), size=16, steps=1,
        solver=nst_jax.SolverOptions("adam"),
    )
    return config

def two_groups():
    config = get_config()
    fields = "terms.root.eps", "ensemble.process", "pooling"
    values = (0.0, "subprocess", "max"), (0.5, "inline", "avg")
    config.axes = (nst_jax.Vary(fields, values),)
    return config
"""


@pytest.mark.parametrize(("members", "status"), [(2, 0), (1, 1)])
def test_the_exit_status(tmp_path, members, status):
    """1 where no member is usable; a process of its own for a group is no run."""
    text = CONFIG
    if members == 2:
        text = text.replace("get_config", "one").replace("two_groups", "get_config")
    (tmp_path / "config.py").write_text(text)
    workdir = tmp_path / "run"
    ended, out, err = launch(
        f"--config={tmp_path / 'config.py'}", f"--workdir={workdir}"
    )
    assert ended == status, err
    assert statuses(workdir) == ["diverged", "done"][:members]
    word = "failed" if status else "done"
    assert out == f"{word}: {workdir} (1 of {members} members diverged)\n"
    errors = [line for line in err.splitlines() if line.startswith("launch.py: ")]
    assert len(errors) == status
    assert not status or f"no member of {workdir} has a usable result" in errors[0]


# What else is not what it seems: through a run directory.


def test_a_loss_that_rose_is_told_of(tmp_path, caplog):
    """One line, however many members."""
    config = small_experiment(terms=(GRAM,), steps=3, seeds=tuple(range(12)))
    config.canvas = nst_jax.Canvas("file", path=str(ROOT / "samples/swirls.jpg"))
    config.solver = nst_jax.SolverOptions("adam", learning_rate=0.3)
    config.styles = ("samples/swirls.jpg",)
    with caplog.at_level("WARNING", "absl"):
        assert run_experiment(config, tmp_path) == "done"
    members, text = warned(tmp_path)["loss_rose"]
    assert members == list(range(12))
    assert "12 of 12 members ended with a loss above that at the start" in text
    assert "seed 3; …" in text and "seed 4" not in text
    assert "solver.learning_rate=0.3" in text and "0.00118" in text
    assert caplog.messages.count(text) == 1
    rows = [
        row for row in read_metrics(tmp_path / "metrics.jsonl") if not row["member"]
    ]
    first, *_, last = [row["loss"] for row in rows]
    assert last > first


def test_a_second_moment_that_overflows_is_told_of(tmp_path):
    """Squares of gradients beyond 3.4e38: the share of values that never move."""
    config = small_experiment(
        terms=(GRAM,),
        steps=4,
        axes=(nst_jax.Vary("terms.style.weight", (1e20, 1.0)),),
    )
    config.output.snapshots, config.output.exact = (0,), True
    assert run_experiment(config, tmp_path) == "done"
    members, text = warned(tmp_path)["overflow"]
    assert members == [0]
    assert "terms.style.weight=1e+20" in text and "float32" in text
    share = read_manifest(tmp_path)["members"][0]["overflowed"]
    assert f"{share:.0%} of their values" in text
    start = np.load(tmp_path / "members/000/frames/000000.npy")
    final = np.load(tmp_path / "members/000/final.npy")
    assert share > 0.5 and (start == final).mean() > 0.5
    assert read_manifest(tmp_path)["members"][1]["overflowed"] == 0.0


def test_pixels_that_are_clipped_are_told_of(tmp_path, caplog):
    """Before the run of a rate of a 0–255 tool, and after it of what came of that."""
    config = small_experiment(
        axes=(nst_jax.Vary("solver.learning_rate", (0.02, 10.0)),)
    )
    with caplog.at_level("WARNING", "absl"):
        assert run_experiment(config, tmp_path) == "done"
    found = warned(tmp_path)
    assert found["learning_rate"][0] == found["clipped"][0] == [1]
    for _, text in (found["learning_rate"], found["clipped"]):
        assert "solver.learning_rate=10" in text and "0.0392" in text
        assert caplog.messages.count(text) == 1
    final = np.load(tmp_path / "members/001/final.npy")
    share = ((final <= 0) | (final >= 1)).mean()
    assert share > 0.5
    entries = read_manifest(tmp_path)["members"]
    np.testing.assert_allclose(entries[1]["clipped"], share)
    assert entries[0]["clipped"] < 0.5
    first, last = (
        caplog.messages.index(found[k][1]) for k in ("learning_rate", "clipped")
    )
    assert first < last


@pytest.mark.parametrize(
    ("terms", "styles", "kind", "message"),
    [
        (
            (nst_jax.Content(0.0, layers=("relu1_1",)), nst_jax.Gram(0.0)),
            1,
            "zero_weights",
            ("terms.content.weight", "terms.style.weight"),
        ),
        (
            (nst_jax.Content(layers=("relu1_1",)), nst_jax.Gram(blend=(0.0, 0.0))),
            2,
            "zero_blend",
            ("All entries of terms.style.blend are 0",),
        ),
        (
            (
                nst_jax.Content(layers=("relu1_1",)),
                nst_jax.Gram(layer_weights=(0.0,) * 5),
            ),
            1,
            "zero_layer_weights",
            ("All entries of terms.style.layer_weights are 0",),
        ),
        ((nst_jax.Gram(blend=(0.0,)),), 1, "zero_weights", ("terms.style.weight",)),
    ],
)
def test_terms_that_do_not_count_are_told_of_before_the_run(
    tmp_path, terms, styles, kind, message
):
    config = small_experiment(
        terms=terms, styles=("samples/swirls.jpg",) * styles, steps=0
    )
    config.size = 32
    assert run_experiment(config, tmp_path) == "done"
    found = warned(tmp_path)
    assert list(found) == [kind]
    assert all(part in found[kind][1] for part in message)


def test_one_term_of_weight_0_among_others_is_an_ablation(tmp_path):
    config = small_experiment(
        terms=(nst_jax.Content(0.0, layers=("relu1_1",)), GRAM), steps=1
    )
    assert run_experiment(config, tmp_path) == "done"
    assert warned(tmp_path) == {}


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        (
            {"terms": (nst_jax.Content(layers=("relu1_1",)),)},
            "zero_gradient",
            "canvas.kind",
        ),
        (
            {"terms": (nst_jax.Gram(1e-30),)},
            "steps_too_short",
            "terms.style.weight=1e-30",
        ),
        (
            {"solver": nst_jax.SolverOptions("sgd", learning_rate=1e-30)},
            "steps_too_short",
            "solver.learning_rate=1e-30",
        ),
        ({"solver": nst_jax.SolverOptions("adam", tolerance=1e30)}, None, ""),
    ],
)
def test_a_canvas_that_did_not_move_is_reported(tmp_path, fields, kind, message):
    """Unless that was asked for, by a tolerance."""
    config = small_experiment(size=32, **fields)
    assert run_experiment(config, tmp_path) == "done"
    found = warned(tmp_path)
    assert list(found) == [kind] * bool(kind)
    assert not kind or message in found[kind][1]


# From Python.


def test_a_call_from_python_warns_and_says_who_diverged():
    problem = pitfall_problem(nst_jax.Adam(), Pitfall(radius=0.0))
    canvases = np.stack([random_picture(1), random_picture(2)])
    with pytest.warns(
        UserWarning, match="2 of 2 members diverged at the start: member 0"
    ):
        result = nst_jax.run(problem, canvases, steps=3)
    assert result.diverged.tolist() == [True, True]
    assert [(w.kind, w.members) for w in result.warnings] == [("nan_at_start", (0, 1))]
    assert "'pitfall'" in result.warnings[0].advice
    np.testing.assert_array_equal(result.canvas, canvases)


def test_a_call_from_python_warns_of_each_kind_once():
    sound = pitfall_problem(nst_jax.Adam(), Pitfall())
    canvases = np.stack([random_picture(seed) for seed in range(1, 5)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = nst_jax.run(sound, canvases, steps=3)
    assert not result.diverged.any() and result.warnings == ()
    with pytest.warns(UserWarning, match="of 4 members") as caught:
        result = nst_jax.run(
            pitfall_problem(nst_jax.Adam(10.0), Pitfall()), canvases, steps=3
        )
    kinds = {warning.kind: warning.members for warning in result.warnings}
    assert kinds["clipped"] == kinds["learning_rate"] == (0, 1, 2, 3)
    assert len(caught) == len(kinds)


# The rules alone.


def outcome(**fields):
    plain = {
        "solver": nst_jax.Adam(),
        "objective": Objective((GRAM,)),
        "tolerance": 0.0,
        "stages": (Trace((2.0, 1.0), (1.0, 0.5), 1.0, 10),),
        "diverged": False,
        "faulty_terms": (),
        "overflowed": 0.0,
        "clipped": 0.0,
        "clipped_before": 0.0,
        "rollbacks": 0,
        "failed_searches": 0,
    }
    return Outcome(**{**plain, **fields})


def stage(*losses, gradients=(1.0, 0.5), longest=1.0):
    return (Trace(losses, gradients, longest, 10),)


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ({}, []),
        ({"stages": stage(1.0, 1.0 + 1e-7)}, []),
        ({"stages": stage(1.0, 1.001)}, ["loss_rose"]),
        ({"stages": (*stage(1.0, 2.0), *stage(3.0, 1.0))}, ["loss_rose"]),
        ({"clipped": 0.8}, ["clipped"]),
        ({"clipped": 0.4}, []),
        ({"clipped": 0.9, "clipped_before": 0.85}, []),
        ({"overflowed": 0.01}, ["overflow"]),
        ({"rollbacks": 1}, ["rollbacks"]),
        ({"failed_searches": 6}, ["line_searches"]),
        (
            {"stages": stage(1.0, 1.0, gradients=(0.0, 0.0), longest=0.0)},
            ["zero_gradient"],
        ),
        ({"stages": stage(1.0, 1.0, longest=0.0)}, ["steps_too_short"]),
        ({"stages": stage(1.0, 1e-9, longest=1e-7)}, []),  # It has converged.
        ({"stages": stage(1.0, 1.0, longest=0.0), "tolerance": 2.0}, []),
        ({"diverged": True}, ["diverged"]),
        (
            {"diverged": True, "clipped": 1.0, "stages": stage(1.0, math.nan)},
            ["diverged"],
        ),
    ],
)
def test_thresholds_of_faults(fields, kinds):
    found = diagnose([(0, outcome()), (7, outcome(**fields))])
    assert [warning.kind for warning in found] == kinds
    assert all(warning.members == (7,) for warning in found)


def test_weights_beyond_float32_are_the_cause_of_a_start_without_a_gradient():
    start = stage(math.nan, math.nan, gradients=(math.nan,) * 2, longest=0.0)
    found = {}
    for weight in (1.0, 1e30):
        objective = Objective((nst_jax.Gram(weight, layers=("relu1_1",)),))
        ended = outcome(objective=objective, stages=start, diverged=True)
        (found[weight],) = diagnose([(0, ended)])
    assert "constant" in found[1.0].advice and "divide" not in found[1.0].advice
    assert "terms.style.weight=1e+30" in found[1e30].advice


def test_overflow_is_found_in_solver_states_of_every_kind():
    """An infinite second moment; a quasi-Newton method's state has none."""
    for solver in (nst_jax.Adam(), nst_jax.SGD(), nst_jax.FixedLBFGS()):
        state = transfer.start(pitfall_problem(solver, Pitfall()), random_picture(1))
        assert float(overflowed_share(state)) == 0.0
    state = transfer.start(
        pitfall_problem(nst_jax.Adam(), Pitfall()), random_picture(1)
    )
    leaves, tree = jax.tree.flatten(state.solver)
    place = next(i for i, x in enumerate(leaves) if x.shape == state.canvas.shape)
    leaves[place] = leaves[place].at[:3].set(jnp.inf)
    state = state._replace(solver=jax.tree.unflatten(tree, leaves))
    assert float(overflowed_share(state)) == 3 / 12


def test_a_run_json_with_warnings_of_unknown_members_is_refused(tmp_path):
    assert run_experiment(small_experiment(steps=0), tmp_path) == "done"
    entry = {"kind": "x", "members": [1], "text": "y"}
    changed = read_manifest(tmp_path) | {"warnings": [entry]}
    (tmp_path / "run.json").write_text(json.dumps(changed))
    with pytest.raises(nst_jax.RequestError, match=r"warnings\[0\]\.members"):
        run_experiment(small_experiment(steps=0), tmp_path)
