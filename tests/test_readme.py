"""README's code runs as it stands, and what it points at is there."""

import re

import numpy as np
import pytest
from conftest import ROOT, launch

README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)


def test_the_python_example_makes_eight_pictures():
    names = {}
    exec(PYTHON[0], names)
    canvases = names["result"].canvas
    assert canvases.shape == (8, *names["content"].shape)
    first, last = names["result"].history[0].loss, names["result"].history[-1].loss
    assert (last < 0.2 * first).all()
    assert np.abs(canvases[0] - canvases[1]).max() > 0.05


def test_the_grid_is_built():
    exec(PYTHON[1], {})


def test_every_config_is_in_the_gallery():
    configs = {path.stem for path in (ROOT / "configs").glob("*.py")}
    assert set(re.findall(r"\(configs/(\w+)\.py\) \|", README)) == configs
    assert set(re.findall(r'src="docs/images/(\w+)\.jpg"', README)) == configs
    for name in configs:
        assert (ROOT / "docs" / "images" / f"{name}.jpg").is_file(), name


def test_the_loss_of_ones_own_is_part_of_an_objective(network):
    names = {}
    exec(PYTHON[2], names)
    objective = names["objective"]
    rng = np.random.default_rng(0)
    canvas, style = rng.random((2, 20, 20, 3), np.float32)
    targets = objective.targets(network, canvas, [style])
    _, parts = objective(network, canvas, targets)
    apart = canvas.mean((0, 1), np.float64) - style.mean((0, 1), np.float64)
    expected = 1e6 * (apart**2).sum()
    np.testing.assert_allclose(parts["mean_colour"], expected, rtol=1e-3)


def test_the_two_commands_set_up_and_run():
    """`.ci/run` runs them; here it is held that they are what it finds."""
    ci = (ROOT / ".ci" / "run").read_text()
    for mark in ("main-job", "tests"):
        assert f"block {mark}" in ci
        assert f"<!-- {mark} -->\n```bash\npython3 -m venv .venv && " in README


@pytest.mark.parametrize("command", COMMANDS[2:])
def test_other_commands_have_flags_that_exist(command, tmp_path):
    """Run with the samples in place of a reader's pictures, and no steps."""
    flags = command.split()[2:-1]
    flags = [flag.replace("me.jpg", "samples/coffee.png") for flag in flags]
    flags = [flag.replace("painting.jpg", "samples/swirls.jpg") for flag in flags]
    small = "--config.steps=0", "--config.size=64", f"--workdir={tmp_path / 'run'}"
    status, _, err = launch(*flags, *small)
    assert status == 0, err


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)", README):
        assert (ROOT / target).exists(), target
