"""Films: frames by closed forms, files, and starting canvases."""

import itertools
import json
import math
import pathlib
import struct
from fractions import Fraction

import av
import jax
import numpy as np
import pytest
from pictures import smooth_picture
from PIL import Image

import nst_jax
from nst_jax.core.keys import seed_key
from nst_jax.images import io
from nst_jax.images.image import to_bytes
from nst_jax.images.initialise import add_ulps
from nst_jax.images.video import Film, FilmFile, locate_frame, read_frame
from nst_jax.report.video import write_mp4

PICTURE = smooth_picture(1, 24, 40)


def frame_of(path: str, frame: int | None, size: int) -> np.ndarray:
    image, _ = read_frame(path, frame, io.Sizing(size), "content")
    return image


# Motions.


def test_a_shift_moves_pixels_and_mirrors_the_edge():
    film = Film("shift", 3.0)
    for t in range(4):
        down, right = film.displacement(t)
        assert (down, right) == (0, 3 * t)
        frame = film.frame(PICTURE, t)
        assert frame.shape == PICTURE.shape
        np.testing.assert_array_equal(frame[:, right:], PICTURE[:, : 40 - right])
        mirrored = PICTURE[:, 1 : right + 1][:, ::-1]
        np.testing.assert_array_equal(frame[:, :right], mirrored)


def test_a_shift_by_less_than_a_pixel_is_rounded():
    assert [Film("shift", 0.4).displacement(t)[1] for t in range(5)] == [0, 0, 1, 1, 2]
    assert Film("sensor", 3.0).displacement(5) == (0, 0)


def test_a_shift_may_be_wider_than_the_picture():
    frame = Film("shift", 100.0).frame(PICTURE, 9)
    assert frame.shape == PICTURE.shape and np.isin(frame, PICTURE).all()


def test_sensor_noise_has_its_deviation_and_is_new_in_each_frame():
    """The error of a deviation of n values is σ / √2n: here 0.4 %."""
    grey = np.full((100, 100, 3), 0.5, np.float32)
    film = Film("sensor", 0.05)
    noise = [film.frame(grey, t) - 0.5 for t in range(3)]
    for one in noise:
        assert one.dtype == np.float32
        assert one.std() == pytest.approx(0.05, rel=0.02)
        assert abs(one.mean()) < 4 * 0.05 / math.sqrt(one.size)
    for a, b in itertools.combinations(noise, 2):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.03
    np.testing.assert_array_equal(film.frame(grey, 1) - 0.5, noise[1])
    bright = film.frame(np.ones_like(grey), 0)
    assert bright.max() == 1 and (bright == 1).mean() == pytest.approx(0.5, abs=0.02)


def test_brightness_swings_within_eight_frames():
    film, grey = Film("brightness", 0.2), np.full((2, 2, 3), 0.5, np.float32)
    levels = [film.frame(grey, t)[0, 0, 0] for t in range(16)]
    wanted = 0.5 * (1 + 0.2 * np.sin(np.pi * np.arange(16) / 4))
    np.testing.assert_allclose(levels, wanted, atol=1e-7)
    assert film.frame(grey * 2, 2).max() == 1


def test_a_still_film_is_the_picture():
    assert Film().frame(PICTURE, 5) is PICTURE
    Film().check(), Film("shift", 1.0).check()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (("shifd", 1.0), "film.motion must be one of .* got 'shifd'.*'shift'"),
        (("shift", -1.0), "film.amount must be from 0 to 10,000, got -1.0"),
        (("shift", math.nan), "film.amount must be from 0 to 10,000, got nan"),
        (("shift", 1e30), "film.amount must be from 0 to 10,000, got 1e"),
        (
            ("shift", 0.0),
            "film.amount must be 0 .* 'shift' and amount 0.0",
        ),
        (
            ("still", 0.1),
            "film.amount must be 0 .* 'still' and amount 0.1",
        ),
    ],
)
def test_a_wrong_motion_is_refused(fields: tuple, sentence: str):
    with pytest.raises(nst_jax.RequestError, match=sentence):
        Film(*fields).check()


# Files.


@pytest.fixture(scope="module")
def footage(tmp_path_factory) -> tuple[pathlib.Path, list[np.ndarray]]:
    """A folder of four strongly coloured pictures, a clip of them, and they."""
    folder = tmp_path_factory.mktemp("footage")
    colours = [(200, 30, 40), (30, 190, 50), (40, 60, 210), (220, 200, 30)]
    pictures, files = [], []
    for k, colour in enumerate(colours):
        picture = np.full((144, 256, 3), colour, np.uint8)
        picture[:, : 64 * k] = 128
        pictures.append(picture)
        files.append(folder / f"{k:03d}.png")
        Image.fromarray(picture).save(files[-1])
    (folder / "notes.txt").write_text("no picture")
    (folder / "zzz.png").mkdir()
    write_mp4(folder / "clip.mp4", files, 8)
    return folder, pictures


def test_frame_k_of_a_folder_is_its_kth_picture(footage, monkeypatch):
    """In the order of names, not of the file system."""
    folder, pictures = footage
    names = sorted(folder.iterdir(), reverse=True)
    monkeypatch.setattr(pathlib.Path, "iterdir", lambda _: iter(names))
    for k, picture in enumerate(pictures):
        path, place = locate_frame(str(folder), k)
        assert place is None
        frame = frame_of(path, place, 256)
        np.testing.assert_array_equal(to_bytes(frame), picture)


def test_frame_k_of_a_video_is_its_kth_picture(footage):
    """Within 3 levels: another matrix of colours would be 10 off, a neighbour 60."""
    folder, pictures = footage
    for k in (0, 3, 1, 2):
        path, place = locate_frame(str(folder / "clip.mp4"), k)
        frame = frame_of(path, place, 256)
        assert frame.dtype == np.float32 and frame.shape == (144, 256, 3)
        flat = np.abs(255 * frame - pictures[k])[10:-10, [5, 32, 200, 250]]
        assert flat.max() <= 3
    assert frame_of(path, place, 64).shape == (36, 64, 3)
    assert locate_frame("samples/chelsea.png", 5) == ("samples/chelsea.png", None)


def test_a_file_is_hashed_once(footage, monkeypatch):
    """For all frames, sizes and stages."""
    folder, _ = footage
    real, hashed = io.file_sha256, []

    def counted(path):
        hashed.append(pathlib.Path(path).name)
        return real(path)

    monkeypatch.setattr(io, "file_sha256", counted)
    axes = (nst_jax.Frames(3), nst_jax.Vary("size", (48, 64)))
    ladder = nst_jax.Ladder(sizes=(32,), steps=(1,))
    clip = str(folder / "clip.mp4")
    asked = experiment(clip, axes=axes, size=48, ladder=ladder)
    plan = nst_jax.build(asked)
    assert len(plan.pictures) > 3
    assert hashed.count("clip.mp4") == 1
    assert len(hashed) == len({*hashed})


def corners(order: tuple[int, ...], side: int = 32) -> np.ndarray:
    """Four flat squares, twice as wide as high, in an order of four colours."""
    colours = np.uint8([(200, 30, 40), (30, 190, 50), (40, 60, 210), (220, 200, 30)])
    quarters = colours[list(order)].reshape(2, 2, 3)
    return quarters.repeat(side, 0).repeat(2 * side, 1)


def clip_of(path: pathlib.Path, picture: np.ndarray, aspect: str = "1") -> pathlib.Path:
    """A video of one picture that is to be shown with a sample aspect ratio."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


#: (a, b, c, d) of a display matrix: where x and y point to -> what a player shows.
SHOWN = {
    (1, 0, 0, 1): lambda stored: stored,
    (0, 1, -1, 0): lambda stored: np.rot90(stored, -1),
    (-1, 0, 0, -1): lambda stored: np.rot90(stored, 2),
    (0, -1, 1, 0): lambda stored: np.rot90(stored, 1),
    (-1, 0, 0, 1): lambda stored: stored[:, ::-1],
    (1, 0, 0, -1): lambda stored: stored[::-1],
    (0, 1, 1, 0): lambda stored: stored.swapaxes(0, 1),
    (0, -1, -1, 0): lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
}


@pytest.mark.parametrize("matrix", SHOWN, ids=str)
def test_the_display_matrix_of_a_video_is_applied(tmp_path, matrix):
    """The matrix is that of the track in the file's header: 16.16 fixed point."""
    stored = corners((0, 1, 2, 3))
    path = clip_of(tmp_path / "clip.mp4", stored)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (m << 16 for m in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    wanted = SHOWN[matrix](stored)
    found = frame_of(*locate_frame(str(path), 0), 0)
    assert found.shape == wanted.shape
    inside = slice(8, None, 16)  # Not on an edge, which compression blurs.
    apart = np.abs(255 * found - wanted)[inside, inside]
    assert apart.max() <= 16  # The colours are 150 apart.


@pytest.mark.parametrize(("aspect", "width"), [("1", 128), ("3/2", 192), ("3/4", 96)])
def test_the_sample_aspect_ratio_of_a_video_is_applied(
    tmp_path, aspect: str, width: int
):
    stored = corners((0, 1, 2, 3))
    path = clip_of(tmp_path / "clip.mkv", stored, aspect)
    found = frame_of(*locate_frame(str(path), 0), 0)
    assert found.shape == (64, width, 3)
    places = (np.array([16, 112]) * width / 128).astype(int)
    apart = 255 * found[[16, 48]][:, places] - stored[[16, 48]][:, [16, 112]]
    assert np.abs(apart).max() <= 16


ANIMATED = {"gif": {}, "png": {}, "webp": {"lossless": True}, "avif": {"quality": 100}}


@pytest.mark.parametrize("ending", ANIMATED)
def test_frame_k_of_an_animation_is_its_kth_picture(tmp_path, ending: str):
    orders = list(itertools.permutations(range(4)))[:5]
    stills = [corners(order) for order in orders]
    path = tmp_path / f"anim.{ending}"
    first, *rest = map(Image.fromarray, stills)
    first.save(path, save_all=True, append_images=rest, **ANIMATED[ending])
    for k in (0, 3, 1, 4):
        place = locate_frame(str(path), k)
        assert place == (str(path), k)
        found = frame_of(*place, 0)
        assert np.abs(255 * found - stills[k])[8::16, 8::16].max() <= 4
    with pytest.raises(
        nst_jax.RequestError,
        match="^content: .* frame 5 does not exist: there are 5 frames",
    ):
        frame_of(*locate_frame(str(path), 5), 0)
    plan = nst_jax.build(experiment(str(path), axes=(nst_jax.Frames(3),)))
    roles = [item.role for item in plan.inputs if item.role != "weights"]
    assert roles == ["content", "content, frame 1", "content, frame 2"]


def test_frames_of_an_animation_have_their_own_transparency(tmp_path):
    frames = []
    for k in range(2):
        frames.append(np.full((32, 48, 4), 200, np.uint8))
        frames[-1][:, 24 * k : 24 * (k + 1), 3] = 0
    path = tmp_path / "anim.png"
    first, rest = map(Image.fromarray, frames)
    first.save(path, save_all=True, append_images=[rest])
    plan = nst_jax.build(experiment(str(path), size=0, axes=(nst_jax.Frames(2),)))
    for scene, frame in zip(plan.groups[0].scenes, frames, strict=True):
        np.testing.assert_allclose(scene.alpha, frame[..., 3] / 255, atol=1e-6)


def test_the_default_image_of_an_animation_is_not_a_frame(tmp_path):
    stills = [corners(order) for order in ((0, 1, 2, 3), (1, 0, 2, 3), (2, 0, 1, 3))]
    path = tmp_path / "anim.png"
    first, *rest = map(Image.fromarray, stills)
    first.save(path, save_all=True, append_images=rest, default_image=True)
    for k in (0, 1):
        found = frame_of(*locate_frame(str(path), k), 0)
        np.testing.assert_array_equal(255 * found, stills[k + 1])
    with pytest.raises(nst_jax.RequestError, match="there are 2 frames"):
        frame_of(*locate_frame(str(path), 2), 0)


@pytest.mark.parametrize("ending", ["tiff", "mpo"])
def test_pages_are_not_frames(tmp_path, ending: str):
    path = tmp_path / f"pages.{ending}"
    first, second = (Image.fromarray(corners(o)) for o in ((0, 1, 2, 3), (3, 2, 1, 0)))
    first.save(path, save_all=True, append_images=[second])
    assert locate_frame(str(path), 1) == (str(path), None)
    found = frame_of(str(path), None, 0)
    apart = np.abs(255 * found - corners((0, 1, 2, 3)))
    assert apart[8::16, 8::16].max() <= 16


def test_frames_of_a_folder_are_in_natural_order(tmp_path):
    names = ["out-2.png", "out-10.png", "Out-3.PNG", "out-1.jpg", "out-02b.png"]
    for name in (*names, ".out-0.png", "._out-2.png", "notes.txt", "book.pdf"):
        (tmp_path / name).write_bytes(b"")
    wanted = ["out-1.jpg", "out-2.png", "out-02b.png", "Out-3.PNG", "out-10.png"]
    found = [pathlib.Path(locate_frame(str(tmp_path), k)[0]).name for k in range(5)]
    assert found == wanted
    with pytest.raises(nst_jax.RequestError, match="holds 5 pictures"):
        locate_frame(str(tmp_path), 5)


def test_a_video_is_decoded_once(footage, monkeypatch):
    """If its frames are read in order; an earlier frame restarts the decoder."""
    folder, pictures = footage
    decoded, count = FilmFile._decode, []

    def counted(self):
        for frame in decoded(self):
            count.append(frame)
            yield frame

    monkeypatch.setattr(FilmFile, "_decode", counted)
    axes = (nst_jax.Vary("size", (48, 64)), nst_jax.Frames(4))
    nst_jax.build(experiment(str(folder / "clip.mp4"), axes=axes[1:]))
    assert len(count) == 4
    nst_jax.build(experiment(str(folder / "clip.mp4"), axes=axes[::-1]))
    assert len(count) == 8
    video = FilmFile(str(folder / "clip.mp4"), "content")
    for k in (1, 1, 3, 0, 2):
        level = np.asarray(video.picture(k), np.float64)[20, 250]
        assert np.abs(level - pictures[k][20, 250]).max() <= 3


def test_a_missing_frame_is_refused(footage, tmp_path):
    folder, _ = footage
    clip = (folder / "clip.mp4").read_bytes()
    broken, cut = tmp_path / "broken.mp4", tmp_path / "cut.mp4"
    broken.write_bytes(np.random.default_rng(0).bytes(3000))
    cut.write_bytes(clip[: 2 * len(clip) // 3])
    for path, frame, size, sentence in (
        (folder, 4, 64, "frame 4 does not exist: the folder .* holds 4 pictures"),
        (tmp_path, 0, 64, "frame 0 does not exist: the folder '.*' holds 0"),
        (
            folder / "clip.mp4",
            4,
            64,
            "'.*clip.mp4': frame 4 does not exist: there are 4",
        ),
        (broken, 0, 64, r"'.*broken.mp4' is not a video that can be read \(Invalid"),
        (cut, 0, 64, r"'.*cut.mp4' is not a video that can be read \(Invalid data"),
        (folder / "clip.mp4", 0, 64000, "at size 64000, '.*' has 64000×36000 pixels"),
        (folder / "clap.mp4", 0, 64, "no file '.*clap.mp4'; did you mean 'clip.mp4'"),
    ):
        with pytest.raises(
            nst_jax.RequestError, match=f"^content: {sentence}"
        ) as error:
            frame_of(*locate_frame(str(path), frame), size)
        assert "\n" not in str(error.value)


# Starts.


def start(frame: int = 0, seed: int = 3, before=None, **fields: object) -> np.ndarray:
    canvas = nst_jax.Canvas(**{"kind": "noise", **fields})
    canvas.check()
    return nst_jax.starting_canvas(canvas, seed, PICTURE, (), before, frame)


def test_frames_start_from_one_noise_or_from_new_noise():
    for t in (1, 5):
        np.testing.assert_array_equal(start(t), start())
    new = [start(t, per_frame="noise") for t in range(4)]
    np.testing.assert_array_equal(new[0], start())
    key = jax.random.fold_in(seed_key(3), 2)
    unit = jax.random.uniform(key, PICTURE.shape, minval=-1, maxval=1)
    np.testing.assert_allclose(new[2], 0.5 + 0.5 * np.asarray(unit), atol=1e-6)
    pictures = [*new, *(start(t, seed=4, per_frame="noise") for t in range(3))]
    for a, b in itertools.combinations(pictures, 2):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.1


def test_a_rounding_is_one_ulp_of_one_value_a_frame():
    for t in range(4):
        found = start(t, per_frame="rounding")
        moved = np.argwhere(found != start()).tolist()
        assert moved == ([[0, 0, 0]] if t else [])
        apart = found[0, 0, 0].view(np.int32) - start()[0, 0, 0].view(np.int32)
        assert apart == t
    both = start(2, per_frame="rounding", ulps=3)
    np.testing.assert_array_equal(both, start(ulps=5))


@pytest.mark.parametrize("ulps", [1, 7, -4, 1000])
def test_ulps_are_counted_exactly(ulps: int):
    found = add_ulps(PICTURE, ulps)
    assert found[0, 0, 0].view(np.int32) - PICTURE[0, 0, 0].view(np.int32) == ulps
    np.testing.assert_array_equal(found.ravel()[1:], PICTURE.ravel()[1:])
    np.testing.assert_array_equal(
        start(seed=4, ulps=ulps), add_ulps(start(seed=4), ulps)
    )


def test_a_frame_starts_from_the_previous_frame_or_from_noise():
    before = smooth_picture(7, *PICTURE.shape[:2]) * 2 - 0.3  # Beyond the gamut too.
    np.testing.assert_array_equal(start(1, kind="previous", before=before), before)
    np.testing.assert_array_equal(start(0, kind="previous"), start())
    nudged_too = start(2, kind="previous", per_frame="rounding", before=before)
    np.testing.assert_array_equal(nudged_too, add_ulps(before, 2))
    assert nst_jax.Canvas("previous").seeded


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"per_frame": "noize"},
            "canvas.per_frame must be one of .* got 'noize'.*'noise'",
        ),
        (
            {"kind": "content", "per_frame": "noise"},
            "per_frame='noise' needs .*, got 'content'",
        ),
        (
            {"kind": "style", "per_frame": "noise"},
            "needs a canvas.kind of .*'previous'",
        ),
        ({"ulps": 1001}, "canvas.ulps must be from -1,000 to 1,000, got 1001"),
        ({"kind": "previus"}, "canvas.kind must be one of .*'previous'"),
    ],
)
def test_a_wrong_start_is_refused(fields: dict, sentence: str):
    with pytest.raises(nst_jax.RequestError, match=sentence):
        nst_jax.Canvas(**fields).check()


# Plans and runs.

KINDS = ("noise", "previous")


def experiment(content: str = "samples/chelsea.png", **fields) -> nst_jax.Experiment:
    """A reconstruction from a shallow layer: compiled in little time."""
    return nst_jax.Experiment(
        content,
        (),
        terms=(nst_jax.Content(layers=("relu1_1",)),),
        solver=nst_jax.SolverOptions("adam"),
        **{"size": 32, "steps": 2, "canvas": nst_jax.Canvas(kind="noise"), **fields},
    )


def test_frames_are_one_batch_and_a_chain_goes_frame_by_frame():
    plan = nst_jax.build(
        experiment(
            film=Film("shift", 2.0),
            axes=(nst_jax.Vary("canvas.kind", KINDS), nst_jax.Frames(3)),
        )
    )
    assert [group.numbers for group in plan.groups] == [(0, 1, 2, 3), (4,), (5,)]
    assert [group.previous for group in plan.groups] == [(None,) * 4, (3,), (4,)]
    contents = [scene.content for scene in plan.groups[0].scenes]
    np.testing.assert_array_equal(contents[2][:, 4:], contents[0][:, :-4])
    assert contents[3] is contents[0]  # Of one frame, read once.
    still = nst_jax.build(experiment(axes=(nst_jax.Frames(3),)))
    assert len(still.pictures) == 1


def test_a_shift_moves_the_scene_as_a_whole(tmp_path):
    """Picture, transparency, freeze mask and regions, in proportion at each stage."""
    rng = np.random.default_rng(0)
    cut_out = np.dstack([to_bytes(smooth_picture(1, 48, 64)), np.full((48, 64), 255)])
    cut_out[:, 20:30, 3] = 100
    content = tmp_path / "content.png"
    Image.fromarray(cut_out.astype(np.uint8)).save(content)
    halves = np.zeros((48, 64, 3), np.uint8)
    halves[:, :40] = 255
    squares = (rng.random((6, 8)) > 0.5).repeat(8, 0).repeat(8, 1)
    for name, mask in (("halves", halves), ("squares", np.uint8(255 * squares))):
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
    mask = str(tmp_path / "halves.png")
    asked = experiment(
        str(content),
        size=64,
        film=Film("shift", 8.0),
        ladder=nst_jax.Ladder(sizes=(16, 32)),
        masks=nst_jax.Masks(mask, (mask,), freeze=str(tmp_path / "squares.png")),
        axes=(nst_jax.Frames(3),),
    )
    asked.styles = (str(content),)
    asked.terms = (nst_jax.Gram(layers=("relu1_1",)),)
    (group,) = nst_jax.build(asked).groups
    assert len(group.stages) == 3
    for stage, pixels in zip(group.stages, (2, 4, 8), strict=True):
        arrays = [
            (
                np.moveaxis(scene.content, 2, 0),
                scene.alpha[None],
                scene.frozen[None, ..., 0],
                np.asarray(scene.regions.content),
                scene.original[None, ..., 1],
            )
            for scene in stage.scenes
        ]
        for t in (1, 2):
            right = t * pixels
            for moved, still in zip(arrays[t], arrays[0], strict=True):
                np.testing.assert_array_equal(moved[..., right:], still[..., :-right])
                assert (moved != still).any()
        styles = [np.asarray(scene.regions.styles[0]) for scene in stage.scenes]
        np.testing.assert_array_equal(styles[0], styles[2])


def test_masks_stay_unless_the_film_shifts():
    for film in (Film(), Film("sensor", 0.1), Film("brightness", 0.1)):
        assert film.moved(PICTURE, 5) is PICTURE
        assert film.rescaled(0.25) == film
    assert Film("shift", 8.0).rescaled(0.25) == Film("shift", 2.0)


def test_a_chain_needs_frames_in_ascending_order():
    """Each frame starts from the next lower one of the run."""
    start = nst_jax.Canvas("previous")
    plan = nst_jax.build(
        experiment(canvas=start, axes=(nst_jax.Vary("frame", (1, 3, 4)),))
    )
    assert [group.previous for group in plan.groups] == [(None,), (0,), (1,)]
    for order, got in (((3, 1), r"\(3, 1\)"), ((0, 2, 1), r"\(0, 2, 1\)")):
        axes = (nst_jax.Vary("frame", order),)
        with pytest.raises(
            nst_jax.RequestError,
            match=f"kind='previous' needs frames in ascending order, got {got}",
        ):
            nst_jax.build(experiment(canvas=start, axes=axes))
        nst_jax.build(experiment(axes=axes))  # From noise, any order is one.
    # What varies with the frame makes no other film of it.
    both = nst_jax.Vary(("frame", "terms[0].weight"), ((0, 1.0), (1, 2.0), (2, 3.0)))
    plan = nst_jax.build(experiment(canvas=start, axes=(both,)))
    assert [group.previous for group in plan.groups] == [(None,), (0,), (1,)]


def test_each_film_and_seed_has_a_separate_chain():
    plan = nst_jax.build(
        experiment(
            canvas=nst_jax.Canvas("previous"),
            seeds=(5, 6),
            axes=(
                nst_jax.Frames(2),
                nst_jax.Vary(
                    ("film.motion", "film.amount"), (("still", 0.0), ("shift", 1.0))
                ),
            ),
        )
    )
    assert [group.numbers for group in plan.groups] == [(0, 1, 2, 3), (4, 5, 6, 7)]
    assert plan.groups[1].previous == (0, 1, 2, 3)
    for now, before in zip(plan.members[4:], plan.members[:4], strict=True):
        assert now.seed == before.seed
        assert now.experiment.film == before.experiment.film


def test_a_result_is_computed_before_frames_that_start_from_it(tmp_path):
    """Frames of two shapes, so that one program has frames of different films."""
    for name, shapes in (("a", ((32, 24), (24, 32))), ("b", ((24, 32), (24, 32)))):
        (tmp_path / name).mkdir()
        for t, shape in enumerate(shapes):
            picture = Image.fromarray(to_bytes(smooth_picture(t, *shape)))
            picture.save(tmp_path / name / f"{t}.png")
    folders = tuple(str(tmp_path / name) for name in "ab")
    plan = nst_jax.build(
        experiment(
            canvas=nst_jax.Canvas("previous"),
            axes=(nst_jax.Vary("content", folders), nst_jax.Frames(2)),
        )
    )
    there: set[int] = set()
    for group in plan.groups:
        assert there.issuperset(
            number for number in group.previous if number is not None
        )
        there.update(group.numbers)
    assert len(there) == 4 and len(plan.groups) == 3


def test_a_member_must_be_computed_with_the_one_it_starts_from():
    axes = nst_jax.Vary("canvas.kind", KINDS), nst_jax.Frames(3)
    request = experiment(axes=axes)
    groups = nst_jax.build(request, only=[4, 3]).groups
    assert [group.numbers for group in groups] == [(0,), (1,)]
    assert [group.previous for group in groups] == [(None,), (0,)]
    with pytest.raises(nst_jax.RequestError, match="members: 5 starts from .* of 4"):
        nst_jax.build(request, only=[3, 5])
    request.ensemble.process = "subprocess"
    with pytest.raises(nst_jax.RequestError, match="needs ensemble.process='inline'"):
        nst_jax.build(request)


@pytest.fixture(scope="module")
def chained(footage, tmp_path_factory):
    """Three frames of a clip, from noise and from each other, every step kept."""
    folder, _ = footage
    plan = nst_jax.build(
        experiment(
            str(folder / "clip.mp4"),
            size=64,
            axes=(nst_jax.Vary("canvas.kind", KINDS), nst_jax.Frames(3)),
            output=nst_jax.OutputOptions(log_every=1, snapshots=(0, 1, 2), exact=True),
        )
    )
    workdir = tmp_path_factory.mktemp("chained")
    assert nst_jax.execute(plan, workdir) == "done"
    return plan, workdir


def array(workdir: pathlib.Path, member: int, name: str) -> np.ndarray:
    return np.load(workdir / "members" / f"{member:03d}" / name)


def test_a_chain_starts_where_the_frame_before_ended_to_the_bit(chained):
    _, workdir = chained
    for kind, first in zip(KINDS, (0, 3), strict=True):
        starts = [array(workdir, first + t, "frames/000000.npy") for t in range(3)]
        ends = [array(workdir, first + t, "final.npy") for t in range(3)]
        for t in (1, 2):
            before = ends[t - 1] if kind == "previous" else starts[0]
            np.testing.assert_array_equal(starts[t], before)
            assert np.abs(ends[t] - starts[t]).max() > 1e-4  # It has gone on.
    np.testing.assert_array_equal(
        array(workdir, 0, "frames/000000.npy"), array(workdir, 3, "frames/000000.npy")
    )


def test_the_frames_of_a_clip_are_in_the_run(chained):
    plan, workdir = chained
    run = json.loads((workdir / "run.json").read_text())
    roles = [item["role"] for item in run["inputs"] if item["role"] != "weights"]
    assert roles == ["content", "content, frame 1", "content, frame 2"]
    for member in range(6):
        picture = plan.pictures[run["members"][member]["content"]]
        wanted, _ = locate_frame(plan.experiment.content, 0)
        frame = frame_of(wanted, member % 3, 64)
        np.testing.assert_array_equal(picture, frame)
    study = json.loads((workdir / "study.json").read_text())
    said = [s for s in study["summary"] if "change between frames" in s]
    assert [s.split(":")[0] for s in said] == ["Canvas noise", "Canvas previous"]
    assert len(study["films"]) == 2
    page = (workdir / "report.html").read_text()
    assert page.count("data:video/mp4;base64,") >= 2
