"""The data of a run directory that studies read."""

import json

import jax
import numpy as np
import pytest
from made_up_runs import make_manifest
from run_directory import write_run

from nst_jax.report.run_directory import read_run
from nst_jax.report.study_results import load_run_data
from nst_jax.studies.run_data import RunData

FIRST, LAST = (np.full((24, 36, 3), x, np.float32) for x in (0.1, 0.3))


def save_canvases(run, canvases, final):
    """Write exact canvases (step -> canvas) and the result of member 0."""
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
    save_canvases(run, {step: LAST if step else FIRST for step in snapshots}, LAST)
    recorded, canvases = load_run_data(read_run(run)).trajectory(0)
    assert recorded == steps and len(canvases) == len(steps)
    np.testing.assert_array_equal(canvases[-1], LAST)
    if len(steps) > 1:
        np.testing.assert_array_equal(canvases[0], FIRST)


def test_without_metrics_the_last_step_is_that_of_the_config(tmp_path):
    run = write_run(tmp_path / "run", (("steps", (3, 7)),), steps=(0, 5))
    for number, steps in (("000", 3), ("001", 7)):
        np.save(run / "members" / number / "final.npy", LAST)
        (run / "metrics.jsonl").unlink(missing_ok=True)
        recorded, _ = load_run_data(read_run(run)).trajectory(int(number))
        assert recorded == [steps]


def load_network(run, axes=None, **config):
    manifest = json.loads((run / "run.json").read_text())
    manifest["config"] |= {"weights": "weights/vgg19.safetensors", **config}
    manifest["axes"] = axes or manifest["axes"]
    (run / "run.json").write_text(json.dumps(manifest))
    return load_run_data(read_run(run)).network()


def test_the_network_has_the_options_of_the_run(tmp_path, network):
    run = write_run(tmp_path / "run", (("seed", ("0", "1")),))
    options = {
        **{"pooling": "avg", "pool_rounding": "floor", "padding": "replicate"},
        **{"input_scale": 2.0, "input_centred": False},
    }
    # Options other than weights are part of the tree structure.
    structure = jax.tree.structure(load_network(run, **options))
    assert structure == jax.tree.structure(network.with_options(**options))
    for option in options:
        others = {name: value for name, value in options.items() if name != option}
        assert structure != jax.tree.structure(network.with_options(**others))


@pytest.mark.parametrize("field", ["pooling", "steps, padding", "pool_rounding"])
def test_options_in_which_members_differ_have_their_defaults(tmp_path, network, field):
    """One network measures all members."""
    run = write_run(tmp_path / "run", (("seed", ("0", "1")),))
    axes = [{"field": field, "name": "x", "labels": ["0", "1"]}]
    options = {"pooling": "avg", "padding": "replicate", "pool_rounding": "floor"}
    fixed = {name: value for name, value in options.items() if name not in field}
    structure = jax.tree.structure(load_network(run, axes, **options))
    assert structure == jax.tree.structure(network.with_options(**fixed))


def test_members_with_different_weights_give_no_network(tmp_path):
    run = write_run(tmp_path / "run", (("seed", ("0", "1")),))
    axes = [{"field": "weights", "name": "x", "labels": ["0", "1"]}]
    assert load_network(run, axes) is None


def test_groups_are_in_grid_order():
    """Whatever the order in which members have finished."""
    weight = "terms.style.weight", "weight", ["1", "2"]
    run = make_manifest(weight, ("seeds", "seed", ["0", "1", "2"]))
    run_data = RunData(run, {})
    finished = [4, 3, 5, 2, 0]
    assert run_data.groups_along(1, finished) == [("1", [0, 2]), ("2", [3, 4, 5])]
    assert run_data.groups_along(0, finished) == [
        *(("0", [0, 3]), ("1", [4]), ("2", [2, 5]))
    ]
    assert run_data.seeds_by_setting(0, finished) == [[[0, 3], [4], [2, 5]]]
    assert run_data.seeds_by_setting(1, finished) == [[[0, 2]], [[3, 4, 5]]]


def test_twins_belong_to_the_members_without_added_ulps():
    twins = "canvas.ulps", "ulps", ["1", "0", "2"]
    run = make_manifest(("x", "x", ["a", "b"]), twins, ("seeds", "seed", ["0", "1"]))
    for m in run.members:
        m.varies = {"canvas.ulps": int(twins[2][m.index[1]])}
    finals = dict.fromkeys((0, 1, 2, 3, 5, 8, 9, 10, 11), FIRST)
    run_data = RunData(run, finals)
    assert run_data.twin_axis == 1
    assert run_data.twins == {2: [0], 3: [1, 5], 8: [10], 9: [11]}
    assert run_data.groups_along(2, finals) == [("a", [2, 3]), ("b", [8, 9])]
    assert run_data.groups_along(1, finals)[1] == ("a, 1", [1, 3, 5])
    assert run_data.other_axes(2) == [0] and run_data.other_names(2) == "x"
    assert run_data.seeds_by_setting(0, finals) == [[[2, 8], [3, 9]]]


def test_an_axis_of_ulps_without_0_has_no_twins():
    run = make_manifest(("canvas.ulps", "ulps", ["1", "2"]))
    for m in run.members:
        m.varies = {"canvas.ulps": 1 + m.index[0]}
    run_data = RunData(run, {0: FIRST, 1: FIRST})
    assert run_data.twin_axis is None and run_data.twins == {}
    assert run_data.groups_along(None, [0, 1]) == [("1", [0]), ("2", [1])]
