"""The wheel is complete, and works without the optional packages."""

import os
import pathlib
import subprocess
import sys
import tomllib
import zipfile

import numpy as np
import pytest
from command_line import DIRECT_CONVOLUTION, ROOT
from pictures import smooth_picture
from PIL import Image

from nst_jax.core.extras import EXTRAS

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
#: Starts the console command in a process in which optional packages are missing.
COMMAND = """
import importlib, sys
sys.modules.update(dict.fromkeys(sys.argv.pop(1).split(",")))
module, _, function = sys.argv.pop(1).partition(":")
sys.argv[0] = "nst-jax"
getattr(importlib.import_module(module), function)()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> pathlib.Path:
    """The unpacked wheel, as pip would install it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def nst_jax_command(installed, tmp_path):
    """(status, stdout, stderr) of `nst-jax` in an empty folder, without extras."""
    script = PYPROJECT["project"]["scripts"]["nst-jax"]
    missing = ",".join(sorted({name for names in EXTRAS.values() for name in names}))

    def run(*flags):
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, missing, script, *flags],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def test_the_wheel_has_weights_samples_and_configs(installed):
    data = installed / "nst_jax" / "data"
    for folder in ("weights", "samples", "configs"):
        names = {path.name for path in (data / folder).iterdir() if path.is_file()}
        assert names == {
            path.name for path in (ROOT / folder).iterdir() if path.is_file()
        }
        for name in names:
            assert (data / folder / name).read_bytes() == (
                ROOT / folder / name
            ).read_bytes()


def test_a_transfer_without_optional_packages(nst_jax_command, tmp_path):
    for seed, name in enumerate(("me.png", "style.png")):
        pixels = np.uint8(255 * smooth_picture(seed, 32, 32))
        Image.fromarray(pixels).save(tmp_path / name)
    pictures = "--config.content=me.png", "--config.styles=style.png"
    small = "--config.size=32", "--config.steps=1", "--config.solver.name=adam"
    small += (DIRECT_CONVOLUTION,)
    status, out, err = nst_jax_command(*pictures, *small, "--workdir=run")
    assert (status, out) == (0, "done: run\n"), err
    assert err.count("pip install 'nst_jax[report]'") == 1
    assert (tmp_path / "run/members/000/final.png").exists()
    assert not (tmp_path / "run/report.html").exists()
    status, _, err = nst_jax_command("--report=run")
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith("nst-jax: ") and "pip install 'nst_jax[report]'" in err


def test_configs_and_help_of_the_wheel(nst_jax_command):
    status, out, _ = nst_jax_command("--help")
    assert status == 0 and "--workdir" in out and "--[no]dry_run" in out
    status, _, err = nst_jax_command("--config=configs/seed.py")
    assert status == 2 and err.startswith("nst-jax: config: no file 'configs/seed.py'")
    assert "did you mean 'seeds.py'" in err


def test_optional_packages_are_declared():
    groups = PYPROJECT["project"]["optional-dependencies"]
    for extra, packages in EXTRAS.items():
        declared = {requirement.partition(">")[0] for requirement in groups[extra]}
        assert declared == set(packages)
