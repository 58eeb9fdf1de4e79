"""What of a run directory a study sees."""

import json

import jax
import numpy as np
import pytest
from run_directory import write_run

from nst_jax.report.run_directory import read_run
from nst_jax.report.study_results import load_run_data

FIRST, LAST = (np.full((24, 36, 3), x, np.float32) for x in (0.1, 0.3))


def kept(run, canvases, final):
    """Member 0 with exact canvases: step -> canvas, and the last."""
    folder = run / "members" / "000"
    (folder / "frames").mkdir(exist_ok=True)
    for step, canvas in canvases.items():
        np.save(folder / "frames" / f"{step:06d}.npy", canvas)
    np.save(folder / "final.npy", final)
    return run


@pytest.mark.parametrize(
    ("snapshots", "steps"), [((), [40]), ((0,), [0, 40]), ((0, 40), [0, 40])]
)
def test_a_trajectory_ends_with_the_last_canvas(tmp_path, snapshots, steps):
    run = write_run(tmp_path / "run", (("seed", ("0", "1")),), steps=(0, 5, 40))
    kept(run, {step: LAST if step else FIRST for step in snapshots}, LAST)
    found, canvases = load_run_data(read_run(run)).trajectory(0)
    assert found == steps and len(canvases) == len(steps)
    np.testing.assert_array_equal(canvases[-1], LAST)
    if len(steps) > 1:
        np.testing.assert_array_equal(canvases[0], FIRST)


def test_without_metrics_the_last_step_is_the_one_that_was_asked_for(tmp_path):
    run = write_run(tmp_path / "run", (("steps", (3, 7)),), steps=(0, 5))
    for number, steps in (("000", 3), ("001", 7)):
        np.save(run / "members" / number / "final.npy", LAST)
        (run / "metrics.jsonl").unlink(missing_ok=True)
        found, _ = load_run_data(read_run(run)).trajectory(int(number))
        assert found == [steps]


def changed(run, axes=None, **config):
    manifest = json.loads((run / "run.json").read_text())
    manifest["config"] |= {"weights": "weights/vgg19.safetensors", **config}
    manifest["axes"] = axes or manifest["axes"]
    (run / "run.json").write_text(json.dumps(manifest))
    return load_run_data(read_run(run)).network()


def test_the_network_is_the_one_of_the_run(tmp_path, network):
    run = write_run(tmp_path / "run", (("seed", ("0", "1")),))
    eyes = {
        **{"pooling": "avg", "pool_rounding": "floor", "padding": "replicate"},
        **{"input_scale": 2.0, "input_centred": False},
    }
    # What is no weight is part of the tree.
    found = jax.tree.structure(changed(run, **eyes))
    assert found == jax.tree.structure(network.with_options(**eyes))
    for eye in eyes:
        less = {name: value for name, value in eyes.items() if name != eye}
        assert found != jax.tree.structure(network.with_options(**less))


@pytest.mark.parametrize(
    "field",
    [
        "pooling",
        "pool_rounding",
        "steps, padding",
        "input_scale",
        "input_centred",
        "weights",
    ],
)
def test_there_is_no_network_where_members_have_different_ones(tmp_path, field):
    run = write_run(tmp_path / "run", (("seed", ("0", "1")),))
    axes = [{"field": field, "name": "x", "labels": ["0", "1"]}]
    eyes = {"padding": "zeros", "input_scale": 1.0, "input_centred": True}
    assert changed(run, axes, **eyes) is None
