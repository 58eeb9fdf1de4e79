"""The launch script as people run it: run directory, resume, interruption."""

import concurrent.futures
import contextlib
import hashlib
import importlib
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import safetensors
from command_line import DIRECT_CONVOLUTION, LAUNCHED_CONFIGS, ROOT, launch
from PIL import Image

import nst_jax
from nst_jax.config.flags import _derives_terms
from nst_jax.workdir.metrics_log import read_metrics

#: Flags that cut the network at relu1_1, so that programs compile and run fast.
SHALLOW = (
    *(f"--config.terms[{i}].layers=relu1_1" for i in (0, 1)),
    DIRECT_CONVOLUTION,
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Every config's smoke twin, run: name -> (run directory, outcome)."""
    folder = tmp_path_factory.mktemp("runs")

    def one(name):
        flags = [f"--config=configs/{name}.py:smoke", f"--workdir={folder / name}"]
        if name != "transfer":
            flags.append(DIRECT_CONVOLUTION)
        return folder / name, launch(*flags, draw_curves=True)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return dict(zip(LAUNCHED_CONFIGS, pool.map(one, LAUNCHED_CONFIGS), strict=True))


@pytest.mark.parametrize("name", LAUNCHED_CONFIGS)
def test_the_smoke_version_of_every_config_makes_a_complete_run(runs, name):
    workdir, (status, out, err) = runs[name]
    assert status == 0, err
    assert str(workdir) in out
    run = json.loads((workdir / "run.json").read_text())
    assert run["status"] == "done"
    assert run["timings"]["compile_s"] > 0
    assert run["timings"]["total_s"] >= run["timings"]["run_s"] > 0
    assert run["versions"]["jax"] == jax.__version__
    files = {item["role"]: item for item in run["inputs"]}
    assert files.keys() == {"content", "styles[0]", "weights"}
    weights = (ROOT / "weights" / "vgg19.safetensors").read_bytes()
    assert files["weights"]["sha256"] == hashlib.sha256(weights).hexdigest()
    assert str(ROOT) not in json.dumps(run["config"])
    config = importlib.import_module(f"configs.{name}").get_config("smoke")
    total, seeds = config.total_steps, run["config"]["seeds"]
    rows = read_metrics(workdir / "metrics.jsonl")
    for member, seed in enumerate(seeds):
        folder = workdir / "members" / f"{member:03d}"
        member_rows = [row for row in rows if row["member"] == member]
        assert member_rows[0]["step"] == 0
        assert member_rows[-1]["step"] == total
        assert member_rows[-1]["loss"] < member_rows[0]["loss"]
        assert {row["seed"] for row in member_rows} == {seed}
        stages = [row["stage"] for row in member_rows]
        assert stages == sorted(stages)
        assert {*stages} == {*range(len(config.stages()))}
        for row in member_rows:
            assert row["evaluations"] >= row["step"]
            assert sum(row["terms"].values()) == pytest.approx(row["loss"], rel=1e-5)
        assert {"content/relu4_2", "style/relu1_1"} <= member_rows[0]["terms"].keys()
        canvas = np.load(folder / "final.npy")
        assert canvas.dtype == np.float32
        with Image.open(folder / "final.png") as png:
            np.testing.assert_array_equal(
                png, np.round(np.clip(canvas, 0, 1) * 255).astype(np.uint8)
            )
        assert json.loads((folder / "member.json").read_text())["seed"] == seed
    page = (workdir / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") >= len(seeds)
    assert not re.findall(r'src="(?!data:)', page), "it loads something"
    for target in re.findall(r'href="(?!data:)([^"]+)', page):
        assert (workdir / target).is_file(), target
    with Image.open(workdir / "sheet.png") as sheet:
        assert sheet.width > canvas.shape[1]
    assert not list(workdir.rglob(".partial*"))


def test_a_run_that_is_done_is_not_run_again(runs):
    workdir, _ = runs["transfer"]
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*.*")}
    flags = "--config=configs/transfer.py:smoke", f"--workdir={workdir}"
    status, out, err = launch(*flags)
    assert (status, "done" in out) == (0, True), err
    assert before == {path: path.stat().st_mtime_ns for path in workdir.rglob("*.*")}


def test_another_request_in_the_same_folder_is_refused(runs):
    workdir, _ = runs["transfer"]
    flags = "--config=configs/transfer.py:smoke", f"--workdir={workdir}"
    status, _, err = launch(*flags, "--config.terms[1].weight=3")
    assert status == 2
    assert "terms.1.weight is 1.0 in it and 3.0 in this request" in err
    assert len(err.splitlines()) == 1


def test_no_steps_write_the_starting_canvas(tmp_path):
    status, _, err = launch(
        "--config=configs/transfer.py:smoke",
        "--config.steps=0",
        "--config.canvas.kind=noise",
        "--config.seeds=7",
        "--config.solver.name=adam",
        "--config.colour=style",
        f"--workdir={tmp_path / 'run'}",
        narrow=True,
    )
    assert status == 0, err
    (row,) = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert (row["step"], row["seed"], row["evaluations"]) == (0, 7, 1)
    canvas = np.load(tmp_path / "run" / "members" / "000" / "final.npy")
    expected = nst_jax.starting_canvas(nst_jax.Canvas("noise"), 7, canvas)
    np.testing.assert_array_equal(canvas, expected)


def test_an_interrupted_run_resumes_to_the_same_bits(tmp_path):
    """SIGINT in the middle of two members: status 130, a checkpoint, then the end."""
    flags = [
        "--config=configs/seeds.py:smoke",
        "--config.size=48",
        "--config.steps=300",
        "--config.seeds=(0, 5)",
        "--config.output.log_every=2",
        "--config.output.snapshot_every=100",
        *SHALLOW,
    ]
    whole, part = tmp_path / "whole", tmp_path / "part"
    process = subprocess.Popen(
        [sys.executable, "launch.py", *flags, f"--workdir={part}"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = part / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text().count("\n") > 5):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    run = json.loads((part / "run.json").read_text())
    assert run["status"] == "interrupted"
    with safetensors.safe_open(part / "members/000/state.safetensors", "numpy") as file:
        _, _, stopped, *_ = json.loads(file.metadata()["place"])
    assert 0 < stopped < 300
    # A row that a crash cut short is dropped, not passed on.
    with metrics.open("a") as file:
        file.write('{"member": 0, "step": 5')
    for workdir in (part, whole):
        status, _, err = launch(*flags, f"--workdir={workdir}")
        assert status == 0, err
    for member in ("000", "001"):
        ends = [np.load(w / "members" / member / "final.npy") for w in (whole, part)]
        np.testing.assert_array_equal(*ends)
        frames = [
            sorted(p.name for p in (w / "members" / member / "frames").iterdir())
            for w in (whole, part)
        ]
        assert frames[0] == frames[1] == [f"{s:06d}.png" for s in (0, 100, 200, 300)]
    rows = [
        [
            {k: v for k, v in row.items() if k != "seconds"}
            for row in read_metrics(workdir / "metrics.jsonl")
        ]
        for workdir in (whole, part)
    ]
    assert rows[0] == rows[1]


GRID = """
import nst_jax


def get_config():
    return nst_jax.Experiment(
        content="samples/chelsea.png",
        styles=("samples/swirls.jpg",),
        terms=(nst_jax.Content(layers=("relu2_1",)), nst_jax.Gram(layers=("relu1_1",))),
        size=32,
        steps=20,
        solver=nst_jax.SolverOptions("adam"),
        numerics=nst_jax.Numerics(convolution="direct"),
        axes=(
            nst_jax.Vary("terms.style.layers", (("relu1_1",), ("relu2_1",))),
            nst_jax.Vary("terms.style.weight", (1.0, 2.0, 3.0, 4.0)),
        ),
        ensemble=nst_jax.EnsembleOptions(batch_size=2),
    )
"""


def states(workdir):
    return [
        m["status"] for m in json.loads((workdir / "run.json").read_text())["members"]
    ]


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """(flags, the run directory of what nobody stopped)."""
    folder = tmp_path_factory.mktemp("grid")
    (folder / "grid.py").write_text(GRID)
    flags = f"--config={folder / 'grid.py'}", "--config.output.log_every=1"
    status, _, err = launch(*flags, f"--workdir={folder / 'whole'}")
    assert status == 0, err
    return flags, folder / "whole"


@pytest.mark.parametrize("asked", ["once", "twice"])
def test_an_interrupted_grid_keeps_its_members_and_resumes(tmp_path, grid, asked):
    """SIGINT once and twice, in the second of two programs; then the same command."""
    (flags, whole), part = grid, tmp_path / "part"
    process = subprocess.Popen(
        [sys.executable, "launch.py", *flags, f"--workdir={part}"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    # Members 0 to 3 share a program, 4 to 7 the other; each goes in batches of two.
    deadline = time.monotonic() + 200
    while not (part / "members" / "005" / "final.npy").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    for _ in range(1 if asked == "once" else 2):
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)  # As of a group: one request with it.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.1)
    _, err = process.communicate(timeout=120)
    finished = states(part)
    if process.returncode:
        assert process.returncode in ((130,) if asked == "once" else (1, 130)), err
        assert set(finished[:4]) == {"done"}
    page = (part / "report.html").read_text()
    assert page.rstrip().endswith("</html>")
    if asked == "once":
        assert page.count("data:image/jpeg") >= finished.count("done")
    kept = {
        path: path.stat().st_mtime_ns
        for i, status in enumerate(finished)
        if status == "done"
        for path in (part / "members" / f"{i:03d}").glob("final.npy")
    }
    status, _, err = launch(*flags, f"--workdir={part}")
    assert status == 0, err
    assert states(part) == ["done"] * 8
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())
    for i in range(8):
        ends = [
            np.load(w / "members" / f"{i:03d}" / "final.npy") for w in (whole, part)
        ]
        np.testing.assert_array_equal(*ends)
    rows = [
        sorted(
            (row["member"], row["step"], row["loss"])
            for row in read_metrics(workdir / "metrics.jsonl")
        )
        for workdir in (whole, part)
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("flag", ["size=64", "seeds=3", "terms[1].weight=2"])
def test_a_flag_that_an_axis_overrides_is_refused(tmp_path, flag):
    config = GRID.replace(
        'nst_jax.Vary("terms.style.layers"',
        'nst_jax.Vary("size", (32, 48)), nst_jax.Seeds(2), '
        'nst_jax.Vary("terms.style.layers"',
    )
    (tmp_path / "grid.py").write_text(config)
    flags = f"--config={tmp_path / 'grid.py'}", f"--config.{flag}"
    status, _, err = launch(*flags, f"--workdir={tmp_path / 'run'}")
    assert status == 2
    assert "has no effect because an axis of this config sets it" in err
    assert not (tmp_path / "run").exists()


def test_a_flag_for_terms_that_a_config_derives_is_refused(tmp_path):
    """The config derives its terms from other fields."""
    flags = "--config=configs/deep_style.py:smoke", "--config.terms[1].weight=9"
    status, _, err = launch(*flags, f"--workdir={tmp_path / 'run'}")
    assert status == 2
    assert "--config.terms[1].weight has no effect because this config derives" in err


@pytest.mark.parametrize(
    ("name", "derived"),
    [("deep_style", True), ("gallery", True), ("app_taps", False), ("talk", False)],
)
def test_fields_that_terms_are_derived_from(name, derived):
    """In app_taps only the layers are derived; flags of weights have an effect."""
    config = runpy.run_path(str(ROOT / "configs" / f"{name}.py"))["get_config"]()
    assert _derives_terms(config) == derived


def test_the_values_of_an_axis_are_a_flag(tmp_path):
    (tmp_path / "grid.py").write_text(GRID)
    flags = f"--config={tmp_path / 'grid.py'}", "--config.axes[1].values=(5.0, 7.0)"
    status, _, err = launch(*flags, "--config.steps=0", f"--workdir={tmp_path / 'run'}")
    assert status == 0, err
    labels = [
        member["label"]
        for member in json.loads((tmp_path / "run" / "run.json").read_text())["members"]
    ]
    assert labels[1] == "style layers relu1_1, style weight 7"


def test_an_interrupt_during_the_imports_is_quiet(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "launch.py", f"--workdir={tmp_path / 'run'}"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_the_default_folder_is_new_and_named(tmp_path):
    """Run in a copy of the project, so that nothing is left in this one."""
    for name in ("launch.py", "nst_jax", "configs", "samples"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name)
        else:
            shutil.copy(source, tmp_path / name)
    (tmp_path / "weights").mkdir()
    os.link(ROOT / "weights/vgg19.safetensors", tmp_path / "weights/vgg19.safetensors")
    done = subprocess.run(
        [
            sys.executable,
            "launch.py",
            "--config=configs/transfer.py:smoke",
            "--config.steps=0",
            "--config.solver.name=adam",
            *SHALLOW,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (workdir,) = (tmp_path / "runs").iterdir()
    assert workdir.name.startswith("transfer-")
    assert f"runs/{workdir.name}" in done.stdout
