"""The study of flicker on painted films."""

import math

import numpy as np
import pytest
from made_up_runs import make_manifest
from pictures import smooth_picture

from nst_jax.images.initialise import add_ulps
from nst_jax.images.video import Film
from nst_jax.metrics.flicker import mean_change
from nst_jax.studies.flicker import study_flicker
from nst_jax.studies.results import StudyResult
from nst_jax.studies.run_data import RunData

PICTURE = smooth_picture(1, 24, 40)
#: Policy -> kind of canvas, and what is new in each frame.
POLICIES = {
    "new": ("noise", "noise"),
    "same": ("noise", "nothing"),
    "rounding": ("noise", "rounding"),
    "content": ("content", "nothing"),
}


def painted_run(
    paint, films=(("still", 0.0),), seeds=1, amplitudes=(0.5,), frames=4
) -> RunData:
    """Return a run of films, policies, seeds and frames.

    Args:
      paint: function of policy, seed, frame and content image that returns a result.
      films: (motion, amount) of each film.
      seeds: number of seeds.
      amplitudes: amplitudes of the starting noise; `paint` draws half of the contrast
        for the second one.
      frames: number of frames.
    """
    axes = [
        ("canvas.amplitude", "amplitude", [str(x) for x in amplitudes]),
        ("film.motion, film.amount", "film", [motion for motion, _ in films]),
        ("canvas.kind, canvas.per_frame", "policy", list(POLICIES)),
        ("seeds", "seed", [str(s) for s in range(seeds)]),
        ("frame", "frame", [str(t) for t in range(frames)]),
    ]
    varied = [axis for axis, (_, _, labels) in enumerate(axes) if len(labels) > 1]
    motion, amount = films[0]
    run = make_manifest(
        *axes,
        film={"motion": motion, "amount": amount},
        canvas={"kind": "content", "per_frame": "nothing"},
    )
    finals, contents = {}, {}
    for member in run.members:
        a, f, p, seed, frame = member.index
        policy = list(POLICIES)[p]
        kind, per_frame = POLICIES[policy]
        member.varies = {
            "canvas.kind": kind,
            "canvas.per_frame": per_frame,
            "frame": frame,
        }
        if len(films) > 1:
            motion, amount = films[f]
            member.varies |= {"film.motion": motion, "film.amount": amount}
        if len(amplitudes) > 1:
            member.varies |= {"canvas.amplitude": amplitudes[a]}
        member.index = [member.index[axis] for axis in varied]
        content = Film(*films[f]).frame(PICTURE, frame)
        result = paint(policy, seed, frame, content)
        contents[member.member] = content
        finals[member.member] = (0.5 + (result - 0.5) / (1 + a)).astype(np.float32)
    run.axes = [run.axes[axis] for axis in varied]

    def trajectory(member: int) -> tuple[list[int], list[np.ndarray]]:
        return [0, 9], [finals[member] * 0, finals[member]]

    return RunData(run, finals, {}, contents, {}, trajectory)


def swing(policy: str, seed: int, frame: int, content: np.ndarray) -> np.ndarray:
    """Grey that swings by known levels: every frame, by ten and by one; or still."""
    size = {"new": 10 + seed, "rounding": 1.0, "same": 0.0}.get(policy)
    if size is None:
        return content
    return np.full_like(content, 0.5 + size / 255 * (-1) ** frame / 2)


def test_flicker_is_reported_by_policy():
    result = study_flicker(painted_run(swing))
    (table,) = result.tables
    assert table.columns == (
        *("policy", "change of the content", "change of the result"),
        *("ratio", "temporal std"),
    )
    expected = {"new": (10, 5), "same": (0, 0), "rounding": (1, 0.5), "content": (0, 0)}
    for policy, content, change, ratio, std in table.rows:
        assert (content, ratio) == (0, None)
        assert (change, std) == pytest.approx(expected[policy], rel=5e-3)
    summary = result.summary
    assert "Policy new: mean absolute change between frames 10.0 levels" in summary[3]
    assert "new starting noise in each: flicker of 10.0 levels of 255." in summary[0]
    assert summary[1].endswith(
        "flicker of 1.0 levels of 255, 10 % of the flicker of new noise."
    )
    assert summary[2].endswith("same starting noise: all frames are bit-identical.")
    (plot,) = result.plots
    assert [series.label for series in plot.series] == ["policy new", "policy rounding"]
    # All of it in every other frame: the square of half the swing at ½.
    assert plot.series[0].x == (0.25, 0.5)
    assert plot.series[0].y[1] == pytest.approx(25, rel=1e-3)
    first, _ = result.pictures
    assert first.title == f"policy new: mean change between frames, × {255 / 10:.3g}"
    assert first.picture.min() == pytest.approx(1, abs=1e-4)
    assert [clip.frames.shape for clip in result.clips] == [(4, 24, 120, 3)] * 2


def test_the_share_of_rounding_has_a_jackknife_interval():
    """The ratios of three seeds; the interval leaves out one seed at a time."""
    sentence = study_flicker(painted_run(swing, seeds=3)).summary[1]
    leave_one_out = [2 / 23, 2 / 22, 2 / 21]
    factor = math.exp(4.302653 * math.sqrt(2 * np.var(np.log(leave_one_out))))
    share = 100 / 11
    interval = f"95 % confidence interval {share / factor:.2g} to {share * factor:.2g}"
    assert f"{share:.2g} % ({interval}) of the flicker" in sentence


def test_new_noise_of_another_amplitude_is_no_reference():
    result = study_flicker(painted_run(swing, amplitudes=(0.5, 0.1)))
    sentences = [text for text in result.summary if "flicker of" in text]
    assert len(sentences) == 4
    for text, level, amplitude in zip(
        sentences, (10.0, 1.0, 5.0, 0.5), "5511", strict=True
    ):
        assert f"canvas.amplitude 0.{amplitude}" in text
        assert f"flicker of {level} levels of 255" in text
    assert all(sentences[i].count("10 % of the") == 1 for i in (1, 3))


def test_one_changed_bit_is_not_bit_identical():
    def paint(policy, seed, frame, content):
        return add_ulps(content, frame == 3) if policy == "same" else content

    sentence = " ".join(study_flicker(painted_run(paint)).summary)
    assert "frames are not bit-identical; flicker of" in sentence


def test_another_content_file_is_not_called_the_same_content():
    """Also where its 8-bit pixels are equal."""
    result = painted_run(lambda *_: PICTURE)
    for member in result.run.members:
        member.content = member.varies["frame"]
    summary = study_flicker(result).summary
    assert not any("Same content" in sentence for sentence in summary)
    assert "the content changes by less than a level" in summary[0]
    for member in result.run.members:
        member.content = 0
    assert any("Same content" in sentence for sentence in study_flicker(result).summary)


def test_camera_motion_is_compensated():
    """A result that moves with its content does not flicker; one that stays does."""

    def paint(policy, seed, frame, content):
        return content if policy == "content" else PICTURE

    result = study_flicker(
        painted_run(paint, (("still", 0.0), ("shift", 2.0)), seeds=2)
    )
    (table,) = result.tables
    rows = {row[:2]: row[2:] for row in table.rows}
    assert rows["shift", "content"] == (0, 0, None, 0)
    assert rows["still", "same"] == (0, 0, None, 0)
    strips = np.stack([PICTURE[:, 2 * t : 34 + 2 * t] for t in range(4)])
    expected = 255 * mean_change(strips)
    assert rows["shift", "same"][:2] == (0, pytest.approx(expected, rel=5e-3))
    assert "(film shift; after motion compensation; the content" in result.summary[3]
    assert len([s for s in result.summary if s.startswith("Same content")]) == 3


def test_the_ratio_is_change_of_the_result_over_change_of_the_content():
    """A result with half of the content's contrast changes half as much."""
    grey = np.float32(0.5)
    result = study_flicker(
        painted_run(lambda p, s, t, x: grey + (x - grey) / 2, (("sensor", 0.01),))
    )
    for _, content, change, ratio, _ in result.tables[0].rows:
        sigma = 255 * 0.01  # Two frames' noise: a mean difference of 2σ / √π.
        assert content == pytest.approx(2 * sigma / math.sqrt(math.pi), rel=0.05)
        assert ratio == pytest.approx(0.5, rel=5e-3)
        assert change == pytest.approx(content / 2, rel=1e-2)
    assert "(0.5 times the change of the content)" in result.summary[0]
    assert len(result.summary) == 4


def test_three_seeds_have_an_interval():
    """Swings of 10, 11 and 12 levels: the t-interval of three numbers."""
    result = study_flicker(painted_run(swing, seeds=3))
    columns, row = result.tables[0].columns, result.tables[0].rows[0]
    assert columns[3:5] == ("95 % from", "to")
    half = 4.302653 / math.sqrt(3)
    assert row[2:5] == pytest.approx((11, 11 - half, 11 + half), rel=5e-3)
    assert "95 % confidence interval 8.52 to 13.5" in result.summary[3]
    deviation = math.sqrt((10**2 + 11**2 + 12**2) / 3) / 2
    assert row[6] == pytest.approx(deviation, rel=5e-3)


def test_a_film_with_a_missing_frame_is_left_out():
    run_data = painted_run(swing)
    del run_data.finals[2]
    result = study_flicker(run_data)
    assert [row[0] for row in result.tables[0].rows] == ["same", "rounding", "content"]
    for number in range(3, 16):
        run_data.finals.pop(number)
    assert study_flicker(run_data) == StudyResult()


def test_a_film_without_common_pixels_is_measured_without_compensation():
    result = study_flicker(painted_run(swing, (("shift", 20.0),)))
    assert result.tables[0].rows[0][2] == pytest.approx(10, rel=5e-3)
    assert "motion compensation" not in result.summary[0]
