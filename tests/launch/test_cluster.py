"""One run by several processes, which know of each other by a folder alone."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import types

import numpy as np
import pytest
from command_line import DIRECT_CONVOLUTION, ROOT, launch

import nst_jax
from nst_jax.launch import cluster
from nst_jax.launch.cluster import Cluster, execute_share, heartbeat, wait_for
from nst_jax.workdir.metrics_log import read_metrics

ASKED = (
    *("--config=configs/seeds.py:smoke", "--config.size=32"),
    *("--config.ensemble.strategy=loop", "--config.solver.name=adam"),
    *(f"--config.terms[{i}].layers=relu1_1" for i in (0, 1)),  # Compile fast.
    DIRECT_CONVOLUTION,
)
FOUR = "--config.seeds=(0, 1, 2, 3)"
THREE = "--config.steps=3"


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(cluster, "_HEARTBEAT_SECONDS", 0.02)


def test_who_has_ended_is_not_waited_for_and_who_is_silent_is_lost(
    tmp_path, monkeypatch
):
    """A process without a heartbeat file, one whose count stands, and one that works.

    The clock is the test's own. The third process counts until second 1.0, which is
    longer than the patience of 0.4 s, and then ends.
    """
    ended, silent, working = (tmp_path / name for name in ("a", "b", "c"))
    for folder in (silent, working):
        folder.mkdir()
        (folder / "alive").write_text("7")
    clock = types.SimpleNamespace(now=0.0)

    def sleep(seconds):
        clock.now += seconds
        (working / "alive").write_text(str(clock.now))
        if clock.now > 1.0:
            (working / "alive").unlink()

    watch = types.SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep)
    monkeypatch.setattr(cluster, "time", watch)
    assert wait_for([ended, silent, working], patience=0.4) == [1]
    assert 1.0 < clock.now < 1.5


def test_a_heart_beats_while_its_context_lasts(tmp_path, quick):
    alive = tmp_path / "part" / "alive"
    with heartbeat(alive.parent):
        assert alive.exists()
        for _ in range(6000):
            # The file is empty while it is being written.
            if alive.read_text() not in ("", "0"):
                break
            time.sleep(0.01)
        else:
            pytest.fail("no beat")
    assert not alive.parent.exists()


def test_a_stop_ends_the_waiting(tmp_path, quick):
    with heartbeat(tmp_path):
        assert wait_for([tmp_path], 100.0, stop=lambda: True) == []


def started(workdir, processes, *flags, seeds=FOUR, steps=THREE):
    """The same command once for each of so many processes, or steps for each."""
    each = [steps] * processes if isinstance(steps, str) else steps
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    return [
        subprocess.Popen(
            [
                *(sys.executable, "launch.py", *ASKED, seeds, each[process]),
                f"--workdir={workdir}",
                *(f"--coordinator=localhost:{port}", f"--processes={processes}"),
                *(f"--process={process}", *flags),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(processes)
    ]


def ended(processes):
    """(exit status, stdout, stderr) of each."""
    said = [process.communicate(timeout=300) for process in processes]
    return [(p.returncode, *s) for p, s in zip(processes, said, strict=True)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("alone")
    status, _, err = launch(*ASKED, FOUR, THREE, f"--workdir={workdir}")
    assert status == 0, err
    return workdir


def check_whole(workdir, alone):
    run, wanted = (json.loads((d / "run.json").read_text()) for d in (workdir, alone))
    assert run["status"] == "done"
    assert run["config"] == wanted["config"]
    assert run["members"] == wanted["members"]
    assert run["member_steps"] == wanted["member_steps"] == 4 * 3
    assert sorted(
        (row["member"], row["step"], row["loss"])
        for row in read_metrics(workdir / "metrics.jsonl")
    ) == sorted(
        (row["member"], row["step"], row["loss"])
        for row in read_metrics(alone / "metrics.jsonl")
    )
    assert (workdir / "report.html").exists()
    for member in range(4):
        name = f"members/{member:03d}/final.npy"
        np.testing.assert_array_equal(np.load(workdir / name), np.load(alone / name))


def test_four_processes_make_the_run_that_one_makes(tmp_path, alone):
    for status, out, err in ended(started(tmp_path, 4)):
        assert status == 0, err
        assert out.startswith("done: this process's share")
    check_whole(tmp_path, alone)


def test_a_lost_process_is_told_of_and_the_same_command_goes_on(tmp_path, alone):
    """Killed as soon as it works; what the other has finished is kept.

    In the end two processes have made the run that one makes.
    """
    survivor, victim = started(tmp_path, 2, "--patience=4")
    alive = tmp_path / "processes/001of002/alive"
    while not alive.exists():
        assert victim.poll() is None
        time.sleep(0.02)
    while survivor.poll() is None and not (alive.parent / "run.json").exists():
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    (status, out, err), _ = ended([survivor, victim])
    assert status == 1, err
    assert "process 1 was lost: no sign of life for 4 s" in err
    assert "members not finished: 2, 3" in out
    kept = {path.parent.name for path in tmp_path.glob("members/*/final.npy")}
    assert kept == {"000", "001"}
    for status, _, err in ended(started(tmp_path, 2)):
        assert status == 0, err
    check_whole(tmp_path, alone)


def test_a_process_that_is_asked_to_stop_leaves_a_checkpoint(tmp_path):
    """By SIGTERM, as a cluster asks; the other one is stopped where it waits."""
    waiting, stopped = started(tmp_path, 2, steps="--config.steps=100000")
    metrics = tmp_path / "processes/001of002/metrics.jsonl"
    while stopped.poll() is None and not (metrics.exists() and read_metrics(metrics)):
        time.sleep(0.05)
    for process in (stopped, waiting):
        process.send_signal(signal.SIGTERM)
    for status, out, err in ended([waiting, stopped]):
        assert status == 143, err
        assert "interrupted: this process's share" in out
    assert list(metrics.parent.glob("members/*/state.safetensors"))


def test_a_cluster_that_is_none_is_refused(tmp_path):
    flags = f"--workdir={tmp_path / 'run'}", "--coordinator=localhost:1"
    status, _, err = launch(*ASKED, *flags, "--processes=2", "--process=5")
    assert status == 2, err
    assert "process must be from 0 to below the number of processes, got 5" in err
    status, _, err = launch(*ASKED, flags[0], "--distributed")
    assert status == 2, err
    assert err.splitlines()[-1].startswith("launch.py: distributed: no cluster is")


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        (Cluster(gathering=0), "gathering must be from 1 to 1e6, got 0"),
        (Cluster(patience=0.5), "patience must be at least 3, got 0.5"),
        (Cluster("nonsense", 1, 0), "coordinator must be HOST:PORT .*got 'nonsense'"),
        (Cluster("host:", 1, 0), "coordinator must be HOST:PORT"),
        (Cluster("host:99999", 1, 0), "port from 1 to 65535, got 'host:99999'"),
        (Cluster("host:" + "1" * 5000, 1, 0), "port from 1 to 65535"),
        (Cluster(processes=0, process=0), "processes must be at least 1, got 0"),
        (Cluster("host:1234", 2, -1), "process must be from 0 .*got -1"),
    ],
)
def test_what_cannot_be_is_told_before_anybody_waits(tmp_path, cluster, said):
    with pytest.raises(nst_jax.RequestError, match=said):
        execute_share(None, tmp_path, cluster)
    assert not [*tmp_path.iterdir()]


def test_a_port_that_another_run_has_is_refused(tmp_path):
    """Whose processes it would take for its own."""
    with socket.create_server(("localhost", 0), reuse_port=True) as server:
        port = server.getsockname()[1]
        with pytest.raises(nst_jax.RequestError, match=f"port {port} .*in use"):
            execute_share(None, tmp_path, Cluster(f"localhost:{port}", 1, 0))


def test_who_waits_for_the_others_can_be_stopped(tmp_path):
    """The one that never comes is number 0."""
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    process = subprocess.Popen(
        [
            *(sys.executable, "launch.py", *ASKED, f"--workdir={tmp_path / 'run'}"),
            *(f"--coordinator=localhost:{port}", "--processes=2", "--process=1"),
        ],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if "waiting for all processes" in line:
            break
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM


@pytest.mark.parametrize(
    ("seeds", "name", "said"),
    [
        ((0,), "run", "2 processes for 1 members: take 1 at most"),
        ((0, 1), "file", "workdir: .* is a file, wanted a folder"),
    ],
)
def test_what_one_process_can_tell_alone_waits_for_nobody(tmp_path, seeds, name, said):
    (tmp_path / "file").write_text("")
    experiment = nst_jax.Experiment("", (), (nst_jax.TotalVariation(),), seeds=seeds)
    where = Cluster("localhost:1234", 2, 1)
    with pytest.raises(nst_jax.RequestError, match=said):
        execute_share(experiment, tmp_path / name, where)
    assert not (tmp_path / "run").exists()


def test_processes_with_different_requests_compute_nothing(tmp_path):
    done = ended(started(tmp_path, 2, steps=(THREE, "--config.steps=4")))
    for own, (status, out, err) in enumerate(done):
        assert (status, out) == (2, "")
        wanted = f"process {1 - own} was given another request than process {own}: "
        assert wanted in err
    assert not list(tmp_path.rglob("run.json"))


def test_who_never_comes_is_not_waited_for_for_ever(tmp_path):
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    program = (
        "import nst_jax\n"
        "from nst_jax.launch import cluster\n"
        "terms = (nst_jax.TotalVariation(),)\n"
        "asked = nst_jax.Experiment('', (), terms, seeds=(0, 1))\n"
        f"where = cluster.Cluster('localhost:{port}', 2, 1, gathering=2)\n"
        "cluster.execute_share(asked, 'nowhere', where)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "not all processes of the cluster came within 2 s" in done.stderr
    assert not (ROOT / "nowhere").exists()


def test_shares_that_are_finished_are_not_computed_again(tmp_path, alone):
    workdir = shutil.copytree(alone, tmp_path / "run")
    for status, out, err in ended(started(workdir, 2)):
        assert status == 0, err
        assert out.startswith("done: this process's share")
        assert "compil" not in err
    check_whole(workdir, alone)
    assert not [*workdir.glob("processes/*/run.json")]
