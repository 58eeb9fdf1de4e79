"""Current pictures of a run, and resuming with other steps or other output options."""

import json
import types

import numpy as np
import pytest
import safetensors
from pictures import smooth_picture
from PIL import Image
from small_runs import (
    eight_members,
    final_arrays,
    metric_rows,
    read_manifest,
    run_experiment,
    small_experiment,
    stop_after,
)

import nst_jax
from nst_jax.images.image import to_bytes
from nst_jax.launch import runner
from nst_jax.workdir.checkpoint import STATE, Checkpoint

LADDER = {"size": 48, "ladder": nst_jax.Ladder(sizes=(32,), steps=(4,))}


def four(steps=6, **fields):
    """Eight members in batches of four."""
    config = eight_members(**fields)
    config.steps, config.ensemble.batch_size = steps, 4
    return config


def latest(workdir):
    return [path.parent.name for path in sorted(workdir.glob("members/*/latest.png"))]


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("six")
    assert run_experiment(four(), workdir) == "done"
    return workdir


def transparent(folder):
    """A content picture that is transparent at the left."""
    pixels = to_bytes(smooth_picture(0, 32, 48))
    alpha = np.full((32, 48, 1), 255, np.uint8)
    alpha[:, :20] = 0
    path = folder / "cut_out.png"
    Image.fromarray(np.concatenate([pixels, alpha], -1)).save(path)
    return str(path)


@pytest.mark.parametrize("stage", [0, 1])
def test_an_interrupt_leaves_the_current_pictures_of_started_members(tmp_path, stage):
    """With original colours and alpha, at the size of the current stage."""
    config = four(**LADDER, colour="luminance", content=transparent(tmp_path))
    workdir = tmp_path / "run"
    plan = nst_jax.build(config)
    assert (
        nst_jax.execute(plan, workdir, stop=stop_after([3, 6][stage])) == "interrupted"
    )
    assert latest(workdir) == ["000", "001", "002", "003"]
    with safetensors.safe_open(workdir / "members/000" / STATE, "numpy") as file:
        assert json.loads(file.metadata()["place"])[1] == stage
        canvases = file.get_tensor("000")
    group = plan.groups[0].stages[stage]
    expected = group.finish_images(range(4), canvases)
    for member, (canvas, scene) in enumerate(zip(expected, group.scenes, strict=False)):
        with Image.open(workdir / f"members/{member:03d}/latest.png") as image:
            pixels = np.asarray(image)
        np.testing.assert_array_equal(pixels[..., :3], to_bytes(canvas))
        np.testing.assert_array_equal(pixels[..., 3], to_bytes(scene.alpha))
        assert pixels[..., 3].min() == 0 and pixels[..., 3].max() == 255
    page = (workdir / "report.html").read_text()
    assert page.count("· not finished</span>") == 0  # A grid has titles in their place.
    assert page.count('· not finished" decoding') == 4
    assert page.count("latest.png") == 4 and "interrupted" in page
    assert nst_jax.execute(plan, workdir) == "done"
    assert latest(workdir) == []
    assert "not finished" not in (workdir / "report.html").read_text()


def test_the_page_shows_current_pictures_while_a_batch_runs(tmp_path, monkeypatch):
    """Without the usual interval of a minute."""
    monkeypatch.setattr(runner, "SECONDS_BETWEEN_REPORTS", 0.0)
    pages = []

    def watch():
        page = tmp_path / "report.html"
        if latest(tmp_path):
            pages.append(page.read_text())
        return False

    assert run_experiment(four(), tmp_path, stop=watch) == "done"
    assert pages
    assert "running" in pages[0]
    assert pages[0].count("latest.png") == 4
    assert latest(tmp_path) == []


def test_current_pictures_of_a_part_are_merged(tmp_path):
    """Also if the part was interrupted."""
    assert (
        run_experiment(four(), tmp_path / "part", stop=stop_after(3)) == "interrupted"
    )
    plan = nst_jax.build(four())
    missing = nst_jax.launch.shards.merge(plan, [tmp_path / "part"], tmp_path / "whole")
    assert missing == list(range(8))
    assert latest(tmp_path / "whole") == latest(tmp_path / "part") != []


@pytest.mark.parametrize(
    ("name", "fields"),
    [("adam", LADDER), ("lbfgs_fixed", {}), ("lbfgs", {})],
    ids=["ladder", "fixed", "searching"],
)
def test_a_finished_run_resumes_with_more_steps(tmp_path, fields, name):
    """Its result equals, bit for bit, one run of all steps."""
    fields = {**fields, "solver": nst_jax.SolverOptions(name)}
    before = sum(fields["ladder"].steps) if "ladder" in fields else 0
    assert run_experiment(four(6, **fields), tmp_path / "whole") == "done"
    assert run_experiment(four(4, **fields), tmp_path / "part") == "done"
    short = final_arrays(tmp_path / "part")
    assert run_experiment(four(6, **fields), tmp_path / "part") == "done"
    np.testing.assert_array_equal(
        *map(final_arrays, (tmp_path / "part", tmp_path / "whole"))
    )
    assert metric_rows(tmp_path / "part") == metric_rows(tmp_path / "whole")
    ran = read_manifest(tmp_path / "part")
    assert ran["member_steps"] == 8 * (before + 6)
    assert ran["config"]["steps"] == 6
    assert [m["steps"][-1] for m in ran["members"]] == [6] * 8
    # What it had ended with is a frame now.
    for member, canvas in enumerate(short):
        frame = f"members/{member:03d}/frames/{before + 4:06d}.npy"
        np.testing.assert_array_equal(np.load(tmp_path / "part" / frame), canvas)


def test_members_without_a_state_start_over_and_are_counted(tmp_path, six, caplog):
    config = four(4)
    config.output.keep_state = 0.0
    assert run_experiment(config, tmp_path) == "done"
    assert not list(tmp_path.rglob(STATE))
    with caplog.at_level("INFO", "absl"):
        assert run_experiment(four(6), tmp_path) == "done"
    assert "8 finished members get more steps: 0 resume" in caplog.text
    np.testing.assert_array_equal(final_arrays(tmp_path), final_arrays(six))
    assert metric_rows(tmp_path) == metric_rows(six)
    assert read_manifest(tmp_path)["member_steps"] == 8 * (4 + 6)


def test_states_are_kept_within_the_limit(tmp_path):
    """The limit has room for the first of two batches."""
    assert run_experiment(four(4), tmp_path / "all") == "done"
    size = (tmp_path / "all" / "members" / "000" / STATE).stat().st_size
    config = four(4)
    config.output.keep_state = 1.5 * size / 1e9
    assert run_experiment(config, tmp_path / "one") == "done"
    kept = [path.parent.name for path in (tmp_path / "one").rglob(STATE)]
    assert kept == ["000"]


def test_a_state_takes_at_most_a_quarter_of_the_free_disk(tmp_path, monkeypatch):
    usage = types.SimpleNamespace(free=100_000)
    monkeypatch.setattr("nst_jax.workdir.checkpoint.shutil.disk_usage", lambda _: usage)
    assert run_experiment(four(4), tmp_path) == "done"
    assert not list(tmp_path.rglob(STATE))


def test_a_run_succeeds_if_a_final_state_cannot_be_written(
    tmp_path, monkeypatch, caplog
):
    save = Checkpoint.save

    def full(self, path):
        if path.name == STATE:
            raise OSError(28, "No space left on device")
        save(self, path)

    monkeypatch.setattr(Checkpoint, "save", full)
    with caplog.at_level("WARNING", "absl"):
        assert run_experiment(four(4), tmp_path) == "done"
    assert "could not be written (No space left on device)" in caplog.text
    assert not list(tmp_path.rglob(STATE))


def test_a_damaged_state_is_ignored(tmp_path, six):
    assert run_experiment(four(4), tmp_path) == "done"
    path = tmp_path / "members" / "004" / STATE
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert run_experiment(four(6), tmp_path) == "done"
    np.testing.assert_array_equal(final_arrays(tmp_path), final_arrays(six))
    assert metric_rows(tmp_path) == metric_rows(six)


@pytest.mark.parametrize("stops", [(3, 2), (6, 2), (6, 1), (6, 4)])
def test_more_steps_may_be_interrupted_and_requested_before_the_end(
    tmp_path, six, stops
):
    """The interrupts are in the first and in the second batch."""
    assert run_experiment(four(4), tmp_path, stop=stop_after(stops[0])) == "interrupted"
    assert run_experiment(four(6), tmp_path, stop=stop_after(stops[1])) == "interrupted"
    page = (tmp_path / "report.html").read_text()
    assert page.count("not finished") >= 4
    assert run_experiment(four(6), tmp_path) == "done"
    np.testing.assert_array_equal(final_arrays(tmp_path), final_arrays(six))
    assert metric_rows(tmp_path) == metric_rows(six)
    assert latest(tmp_path) == []


def test_frames_that_start_from_each_other_start_over_with_more_steps(tmp_path):
    """The second frame starts from the result of the first."""

    def film(steps, workdir, stop=lambda: False):
        fields = {"steps": steps, "canvas": nst_jax.Canvas("previous")}
        film = nst_jax.Film("shift", 1.0)
        config = small_experiment(**fields, film=film, axes=(nst_jax.Frames(2),))
        config.output = nst_jax.OutputOptions(snapshot_every=1, exact=True, log_every=1)
        assert run_experiment(config, workdir, stop=stop) in ("done", "interrupted")
        return [np.load(path) for path in sorted(workdir.rglob("final.npy"))]

    whole = film(4, tmp_path / "whole")
    for name, stop in (("done", 10**6), ("stopped", 7)):
        film(3, tmp_path / name, stop_after(stop))
        np.testing.assert_array_equal(film(4, tmp_path / name), whole)
    with pytest.raises(nst_jax.RequestError, match="none exists; give 4 or more"):
        film(2, tmp_path / "whole")


@pytest.fixture
def kept(tmp_path):
    """A run of six steps of which every second canvas was kept exactly."""
    config = four()
    config.output.snapshot_every, config.output.exact = 2, True
    assert run_experiment(config, tmp_path / "kept") == "done"
    return tmp_path / "kept"


def test_fewer_steps_take_the_exact_frame_of_that_step(tmp_path, kept, six):
    """Nothing is computed, and the run can be extended to six steps again."""
    assert run_experiment(four(4), tmp_path / "short") == "done"
    made = read_manifest(kept)["member_steps"]
    assert run_experiment(four(4), kept) == "done"
    short, cut = read_manifest(tmp_path / "short"), read_manifest(kept)
    assert cut["member_steps"] == made
    np.testing.assert_array_equal(final_arrays(kept), final_arrays(tmp_path / "short"))
    assert metric_rows(kept) == metric_rows(tmp_path / "short")
    for ours, theirs in zip(cut["members"], short["members"], strict=True):
        del theirs["overflowed"]  # Of a solver state, which frames have not.
        assert ours == theirs
    for path in sorted(kept.glob("members/*/final.png")):
        other = tmp_path / "short" / path.relative_to(kept)
        assert path.read_bytes() == other.read_bytes()
    run_ = nst_jax.report.read_run(kept)
    assert [int(f.stem) for f in run_.members[0].frames] == [0, 2, 4]
    assert run_experiment(four(), kept) == "done"
    np.testing.assert_array_equal(final_arrays(kept), final_arrays(six))
    assert metric_rows(kept) == metric_rows(six)


def test_fewer_steps_of_an_interrupted_run(tmp_path, six):
    """Four members are done, and four have made four steps of six."""
    config = four()
    config.output.snapshot_every, config.output.exact = 2, True
    assert run_experiment(config, tmp_path / "run", stop=stop_after(7)) == "interrupted"
    assert run_experiment(four(2), tmp_path / "short") == "done"
    assert run_experiment(four(2), tmp_path / "run") == "done"
    np.testing.assert_array_equal(
        *map(final_arrays, (tmp_path / "run", tmp_path / "short"))
    )
    assert metric_rows(tmp_path / "run") == metric_rows(tmp_path / "short")


def test_fewer_steps_without_a_frame_are_refused(kept, six):
    before = (six / "run.json").read_bytes()
    for workdir, remedy in (
        (kept, "give 0, 2, 4, or 6 or more"),
        (six, "none exists; give 6 or more"),
    ):
        with pytest.raises(nst_jax.RequestError) as caught:
            run_experiment(four(3), workdir)
        assert "steps is 3, and the run has made 6 already" in str(caught.value)
        assert remedy in str(caught.value)
    assert (six / "run.json").read_bytes() == before


def test_only_the_last_stage_can_get_other_steps(tmp_path):
    """By default, all stages make equal numbers of steps."""
    fields = {"size": 48, "ladder": nst_jax.Ladder(sizes=(32,))}
    assert run_experiment(four(4, **fields), tmp_path) == "done"
    with pytest.raises(nst_jax.RequestError, match=r"give ladder.steps=\(4,\)"):
        run_experiment(four(6, **fields), tmp_path)
    fields["ladder"] = nst_jax.Ladder(sizes=(32,), steps=(4,))
    assert run_experiment(four(6, **fields), tmp_path) == "done"
    assert read_manifest(tmp_path)["member_steps"] == 8 * (4 + 6)


def test_a_run_resumes_with_other_output_options(tmp_path, six):
    """Existing files stay, and the new options hold for the remaining steps."""
    assert run_experiment(four(), tmp_path, stop=stop_after(7)) == "interrupted"
    config = four()
    config.output = nst_jax.OutputOptions(
        log_every=1, snapshot_every=3, checkpoint_every=0.0, keep_state=0.0, fps=3
    )
    assert run_experiment(config, tmp_path) == "done"
    np.testing.assert_array_equal(final_arrays(tmp_path), final_arrays(six))
    steps = {
        member: [step for m, step, _ in metric_rows(tmp_path) if m == member]
        for member in (0, 7)
    }
    assert steps[0] == [0, 2, 4, 6]
    assert steps[7][-3:] == [4, 5, 6] and steps[7] != list(range(7))
    assert set(metric_rows(six)) <= set(metric_rows(tmp_path))
    assert read_manifest(tmp_path)["config"]["output"]["fps"] == 3


def test_the_page_of_a_finished_run_follows_new_output_options(tmp_path):
    config = four()
    config.output.snapshot_every = 2
    assert run_experiment(config, tmp_path) == "done"
    results = [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("final.*"))]
    page = (tmp_path / "report.html").stat().st_mtime_ns
    config.output.fps = 5
    assert run_experiment(config, tmp_path) == "done"
    assert read_manifest(tmp_path)["config"]["output"]["fps"] == 5
    assert read_manifest(tmp_path)["status"] == "done"
    assert (tmp_path / "report.html").stat().st_mtime_ns > page
    again = [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("final.*"))]
    assert again == results


def test_parts_with_other_output_options_can_be_merged(tmp_path, six):
    config = four()
    config.output.fps = 5
    missing = nst_jax.launch.shards.merge(
        nst_jax.build(config), [six], tmp_path / "whole"
    )
    assert missing == []
