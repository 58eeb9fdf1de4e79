"""Shards of a run that are computed by independent jobs, and their merge."""

import errno
import itertools
import json
import os
import pathlib
import shutil

import pytest
from small_runs import (
    eight_members,
    final_arrays,
    metric_rows,
    read_manifest,
    run_experiment,
    stop_after,
)

import nst_jax
from nst_jax.launch.shards import has_other_steps, merge, shard_members


def asked(**fields):
    experiment = eight_members(**fields)
    experiment.ensemble.batch_size = 4
    return experiment


def part(number, workdir, of=2, **fields):
    only = shard_members(f"{number}/{of}", asked().members())
    status = nst_jax.execute(nst_jax.build(asked(**fields), only=only), workdir)
    assert status == "done"
    return workdir


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    return [part(number, folder / str(number)) for number in (1, 2)]


@pytest.mark.parametrize("shares", [1, 2, 3, 5, 8])
def test_every_member_is_in_one_shard(shares):
    members = asked().members()
    own = [shard_members(f"{number + 1}/{shares}", members) for number in range(shares)]
    assert [*itertools.chain(*own)] == [*range(8)]
    assert max(map(len, own)) - min(map(len, own)) <= 1


@pytest.mark.parametrize(
    "said", ["3", "0/2", "3/2", "1/", "/2", "-1/2", "a/b", "1/2/3"]
)
def test_a_wrong_shard_is_refused(said):
    with pytest.raises(nst_jax.RequestError, match="shard must be K/N"):
        shard_members(said, asked().members())


def test_a_shard_without_members_is_refused():
    with pytest.raises(nst_jax.RequestError, match="has none of the 8 members"):
        shard_members("1/9", asked().members())


def test_shards_of_a_run_in_subprocesses_are_refused():
    experiment = asked()
    experiment.ensemble.process = "subprocess"
    with pytest.raises(nst_jax.RequestError, match="shard cannot be combined"):
        shard_members("1/2", experiment.members())


def test_merged_shards_equal_a_single_run(parts, tmp_path):
    """Bit for bit, if the shards consist of whole batches."""
    assert run_experiment(asked(), tmp_path / "whole") == "done"
    plan = nst_jax.build(asked())
    assert merge(plan, parts, tmp_path / "joined") == []
    joined, whole = tmp_path / "joined", tmp_path / "whole"
    for ours, theirs in zip(final_arrays(joined), final_arrays(whole), strict=True):
        assert (ours == theirs).all()
    assert metric_rows(joined) == metric_rows(whole)
    ours, theirs = read_manifest(joined), read_manifest(whole)
    assert ours["status"] == "done"
    for name in ("config", "inputs", "members", "member_steps", "axes"):
        assert ours[name] == theirs[name], name
    (group,), parted = ours["groups"], [read_manifest(part) for part in parts]
    for name in ("batch_size", "member_steps", "size", "count"):
        assert group[name] == theirs["groups"][0][name], name
    for name in ("compile_s", "run_s"):
        spent = sum(part["timings"][name] for part in parted)
        assert group[name] == pytest.approx(spent, abs=1e-3)
        assert ours["timings"][name] == pytest.approx(spent, abs=1e-3)
    assert [call["device"] for call in ours["earlier_calls"]] == [
        part["device"] for part in parted
    ]
    told = json.loads((joined / "members/005/member.json").read_text())
    assert told == ours["members"][5]
    assert (joined / "report.html").exists()
    assert read_manifest(parts[0])["status"] == "done", "parts stay as they are"


def test_missing_members_are_returned_and_can_be_computed(parts, tmp_path):
    plan = nst_jax.build(asked())
    assert merge(plan, parts[1:], tmp_path) == [0, 1, 2, 3]
    assert read_manifest(tmp_path)["status"] == "interrupted"
    (entry,) = [m for m in read_manifest(tmp_path)["members"] if m["member"] == 3]
    assert entry["status"] == "waiting"
    assert merge(plan, [*parts, *parts], tmp_path) == []
    assert read_manifest(tmp_path)["member_steps"] == 8 * 6
    assert len(metric_rows(tmp_path)) == 8 * 4


def test_finished_members_of_a_part_replace_unfinished_ones(parts, tmp_path):
    """Without duplicate rows or steps, and without a solver state."""
    asked_ = asked()
    assert run_experiment(asked_, tmp_path, stop=stop_after(6)) == "interrupted"
    assert list(tmp_path.rglob("state.safetensors"))
    begun = read_manifest(tmp_path)["member_steps"]
    assert 0 < begun < 8 * 6
    plan = nst_jax.build(asked_)
    assert merge(plan, parts, tmp_path) == []
    assert (
        len(metric_rows(tmp_path))
        == len({row[:2] for row in metric_rows(tmp_path)})
        == 8 * 4
    )
    finished_before = 4 if begun >= 4 * 6 else 0
    states = [path.parent.name for path in tmp_path.rglob("state.safetensors")]
    assert states == ["000"] * bool(finished_before)
    assert read_manifest(tmp_path)["member_steps"] == begun + (8 - finished_before) * 6


def test_costs_of_diverged_members_are_counted_once(parts, tmp_path):
    """Two of four members of a part have come to NaN."""
    shutil.copytree(parts[0], tmp_path / "part")
    run_ = read_manifest(parts[0])
    for entry in run_["members"][:2]:
        entry |= {"status": "diverged", "loss": None}
    (tmp_path / "part" / "run.json").write_text(json.dumps(run_))
    merge(nst_jax.build(asked()), [tmp_path / "part"], tmp_path / "joined")
    assert read_manifest(tmp_path / "joined")["member_steps"] == run_["member_steps"]


def test_a_merge_on_a_full_disk_leaves_no_partial_file(parts, tmp_path, monkeypatch):
    plan, copied = nst_jax.build(asked()), itertools.count()

    def copy(source, target):
        """Fail in the middle of the fifth file."""
        content = pathlib.Path(source).read_bytes()
        if next(copied) == 4:
            target.write_bytes(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        target.write_bytes(content)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", copy)
        with pytest.raises(OSError, match="No space left"):
            merge(plan, parts, tmp_path)
    names = ("final.npy", "final.png", "member.json")
    written = [path for path in tmp_path.rglob("members/*/*") if path.is_file()]
    assert 4 <= len(written) < 8 * len(names)
    for path in written:
        assert path.name in names
        number = int(path.parent.name)
        theirs = parts[number // 4] / "members" / f"{number % 4:03d}" / path.name
        assert path.name == "member.json" or path.read_bytes() == theirs.read_bytes()
    assert merge(plan, parts, tmp_path) == []
    assert len(metric_rows(tmp_path)) == 8 * 4


def test_shards_in_one_folder_are_refused(parts):
    """The second shard is not taken for the first."""
    plan = nst_jax.build(asked(), only=shard_members("2/2", asked().members()))
    with pytest.raises(nst_jax.RequestError, match="holds other members of this"):
        nst_jax.execute(plan, parts[0])


def test_shards_of_frames_that_start_from_each_other_are_refused():
    experiment = asked()
    experiment.canvas = nst_jax.Canvas("previous")
    experiment.axes = (nst_jax.Frames(2),)
    with pytest.raises(nst_jax.RequestError, match="start from the frame before"):
        shard_members("1/2", experiment.members())


def test_a_part_of_another_request_is_refused(parts, tmp_path):
    plan = nst_jax.build(asked())
    other = part(1, tmp_path / "other", of=8, pooling="avg")
    with pytest.raises(nst_jax.RequestError, match="holds another run: pooling"):
        merge(plan, [parts[0], other], tmp_path / "joined")
    assert not (tmp_path / "joined").exists(), "nothing is written before"
    with pytest.raises(nst_jax.RequestError, match="no run that can be read"):
        merge(plan, [tmp_path / "nowhere"], tmp_path / "joined")


def test_parts_with_other_steps_are_recognised(parts, tmp_path):
    """Process 0 of a cluster leaves out such parts of an earlier call."""
    longer, other = asked(), asked(pooling="avg")
    longer.steps += 2
    assert has_other_steps(parts[0], longer)
    assert not has_other_steps(parts[0], asked())
    assert not has_other_steps(parts[0], other)
    assert not has_other_steps(tmp_path, longer)
