"""Several devices, in processes with eight CPUs; and features of 64 bits."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from command_line import ROOT
from small_runs import small_experiment

import nst_jax


def test_several_devices():
    """Eight CPUs share the members and agree with one CPU within rounding.

    A sharded program that is stopped resumes to the same bits.
    """
    code = """
        import jax, numpy as np, nst_jax
        from pictures import smooth_picture
        from nst_jax.ensemble.ensemble import Ensemble
        assert jax.local_device_count() == 8
        starts = np.stack([smooth_picture(s, 20, 24) for s in range(2, 8)])
        terms = nst_jax.Content(layers=("relu1_2",)), nst_jax.Gram(layers=("relu1_1",))
        problem = nst_jax.Problem.from_images(
            nst_jax.load_network(), nst_jax.Objective(terms),
            smooth_picture(0, 20, 24), [smooth_picture(1, 22, 26)], nst_jax.Adam(),
        )
        ensemble = Ensemble.compile(
            problem, (20, 24, 3), batch_size=6, strategy="shard"
        )
        assert ensemble.batch_size == 8
        looks = list(ensemble.optimise(starts, 4, log_every=2))
        state = looks[-1].state.canvas
        assert len({shard.device for shard in state.addressable_shards}) == 8
        alone = nst_jax.run(problem, starts, steps=4, strategy="loop").canvas
        assert np.abs(looks[-1].canvas - alone).max() < 1e-4
        stopped = iter([False, True])
        part = list(ensemble.optimise(
            starts, 4, log_every=2, stop=lambda: next(stopped)))[-1]
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(part.state)]
        resume = part.step, jax.device_put(ensemble.restore(leaves))
        rest = list(ensemble.optimise(starts, 4, resume=resume))[-1]
        np.testing.assert_array_equal(rest.canvas, looks[-1].canvas)
        few = jax.local_devices()[2:4]
        two = Ensemble.compile(
            problem, (20, 24, 3), batch_size=3, strategy="shard", devices=few
        )
        assert two.batch_size == 4
        (look,) = two.optimise(starts[:3], 0)
        shards = look.state.canvas.addressable_shards
        assert {shard.device for shard in shards} == set(few)
        print("well")
    """
    on_eight_devices(code)


def test_one_picture_in_rows_over_several_devices():
    """Eight CPUs agree with one CPU within rounding and exchange halos alone.

    32 rows are four for each CPU, of which the deepest layer has one. Five CPUs share
    20 rows, and poolings fall between devices. 13 rows stay on one CPU.
    """
    code = """
        import re, jax, numpy as np, nst_jax
        from pictures import smooth_picture
        from nst_jax.ensemble.ensemble import Ensemble

        network = nst_jax.load_network()
        objective = nst_jax.Objective((
            nst_jax.Content(layers=("relu3_1",)),
            nst_jax.Gram(layers=("relu1_1", "relu2_1")),
        ))
        style = smooth_picture(1, 28, 30)
        for height, devices in {32: 8, 20: 5, 13: 1}.items():
            shape = height, 24, 3
            problem = nst_jax.Problem.from_images(
                network, objective, smooth_picture(0, *shape[:2]), [style],
                nst_jax.Adam(),
            )
            ensemble = Ensemble.compile(problem, shape, batch_size=3, strategy="rows")
            assert ensemble.batch_size == 1
            text = ensemble._advance.as_text()
            for collective in ("collective-permute", "all-reduce"):
                assert (collective in text) == (devices > 1)
            gathered = re.findall(r"= (\\S+?){.*? all-(?:gather|to-all)\\(", text)
            if height == 32:  # Canvases and their gradients alone.
                assert set(gathered) == {"f32[1,32,24,3]"}
            assert (f"f32[1,{height // devices},24,64]" in text)
            start = smooth_picture(2, *shape[:2])[None]
            looks = list(ensemble.optimise(start, 3, log_every=1))
            assert len(looks[-1].state.canvas.sharding.device_set) == devices
            alone = nst_jax.run(problem, start, steps=3, log_every=1)
            for look, report in zip(looks, alone.history, strict=True):
                np.testing.assert_allclose(look.report.loss, report.loss, rtol=1e-4)
            assert np.abs(looks[-1].canvas - alone.canvas).max() < 1e-4
            leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(looks[-1].state)]
            resume = 3, jax.device_put(ensemble.restore(leaves))
            (rest,) = ensemble.optimise(start, 3, resume=resume)
            np.testing.assert_array_equal(rest.canvas, looks[-1].canvas)
            finer = Ensemble.compile(
                problem, shape, batch_size=1, strategy="rows", coarser=ensemble
            )
            (look,) = finer.optimise(start, 0, coarse=rest.state)
            np.testing.assert_allclose(look.canvas, rest.canvas, atol=1e-5)
        print("well")
    """
    on_eight_devices(code)


def on_eight_devices(code):
    """Run a program on eight CPUs; it prints "well" at its end."""
    flags = os.environ.get("XLA_FLAGS", "")
    flags += " --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": f"{ROOT}:{ROOT}/tests"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "well", done.stderr


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["lbfgs", "lbfgs_fixed", "lbfgs_optax"])
def test_features_of_64_bits_lead_to_the_same_loss(name):
    """Batches and rollbacks take every dtype of the state."""
    losses = {}
    for dtype in ("float32", "float64"):
        asked = small_experiment(size=24, seeds=(0, 1), steps=2)
        asked.canvas = nst_jax.Canvas("noise")
        asked.solver = nst_jax.SolverOptions(name=name)
        asked.numerics = nst_jax.Numerics(feature_dtype=dtype)
        (group,) = nst_jax.build(asked).groups
        starts = group.starting_images([0, 1])
        history = nst_jax.run(group.problems(), starts, steps=2, log_every=1).history
        losses[dtype] = np.array([report.loss for report in history])
    assert {name: loss.dtype.name for name, loss in losses.items()} == {
        "float32": "float32",
        "float64": "float64",
    }
    np.testing.assert_allclose(losses["float32"], losses["float64"], rtol=1e-3)
