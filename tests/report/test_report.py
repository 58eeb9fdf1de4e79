"""Contact sheets, videos, curves, pages and exports, without a browser."""

import base64
import gzip
import html.parser
import io
import json
import re
import shutil
import struct
import sys
import xml.etree.ElementTree

import av
import numpy as np
import pytest
from command_line import launch
from PIL import Image
from run_directory import write_run

import nst_jax
from nst_jax.report import write_report, write_tensorboard
from nst_jax.report.curves import band, curves
from nst_jax.report.page import write_page
from nst_jax.report.report import write_safely
from nst_jax.report.run_directory import read_run
from nst_jax.report.sheet import run_sheet
from nst_jax.report.video import GIF_FRAMES, write_gif, write_mp4

TWO = (("content weight", ("0", "0.2", "1")), ("style weight", ("1", "3", "9", "27")))


def flat(member, height, width):
    """Return an image of one colour, which no other member and no sheet has."""
    colour = np.array([255, 40 + 12 * (member % 16), 12 * (member // 16)]) / 255
    return np.broadcast_to(colour, (height, width, 3)).astype(np.float32)


def boxes(sheet, count):
    """Return member -> inclusive (left, top, right, bottom) of its colour."""
    pixels = np.asarray(sheet)
    box_of = {}
    for member in range(count):
        colour = np.round(flat(member, 1, 1)[0, 0] * 255)
        ys, xs = np.nonzero((pixels == colour).all(-1))
        if len(ys):
            box_of[member] = xs.min(), ys.min(), xs.max(), ys.max()
            # Nothing is drawn quantiles the image.
            area = (np.ptp(xs) + 1) * (np.ptp(ys) + 1)
            assert len(ys) == area, member
    return box_of


class Page(html.parser.HTMLParser):
    """Tags with their attributes, text and scripts of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self.scripts, self._id = [], [], {}, None
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._id = dict(attrs).get("id") if tag == "script" else None

    def handle_data(self, data):
        if self._id:
            self.scripts[self._id] = self.scripts.get(self._id, "") + data
        else:
            self.text.append(data)

    def all(self, tag, **attributes):
        return [
            attrs
            for name, attrs in self.tags
            if name == tag and all(attrs.get(k) == v for k, v in attributes.items())
        ]

    def panels(self):
        """The attributes of each member's button."""
        return self.all("button", **{"class": "panel"})


# Sheets


def test_a_sheet_of_two_axes_has_a_row_and_a_column_for_each_value(tmp_path):
    run = write_run(tmp_path, TWO, size=(20, 30), paint=flat)
    by_member = boxes(run_sheet(read_run(run)), 12)
    assert len(by_member) == 12
    for member, (left, top, right, bottom) in by_member.items():
        row, column = divmod(member, 4)
        assert (right - left + 1, bottom - top + 1) == (240, 160)
        assert left == by_member[column][0], "a column shares its left edge"
        assert top == by_member[4 * row][1], "a row shares its top edge"
    assert len({box[0] for box in by_member.values()}) == 4
    assert len({box[1] for box in by_member.values()}) == 3


def test_labels_are_beside_the_grid(tmp_path):
    """Above the first row and left of the first column, and not on images."""
    run = write_run(tmp_path, TWO, size=(40, 40), paint=flat)
    sheet = run_sheet(read_run(run))
    by_member = boxes(sheet, 12)
    bright = np.asarray(sheet).min(-1) > 120
    for left, top, right, bottom in by_member.values():
        assert not bright[top : bottom + 1, left : right + 1].any()
    for column in range(4):
        left, top, right, _ = by_member[column]
        assert bright[top - 20 : top, left : right + 1].any(), "no column header"
    for row in range(3):
        left, top, _, bottom = by_member[4 * row]
        assert bright[top : bottom + 1, :left].any(), "no row label"


def test_outer_axes_are_blocks(tmp_path):
    axes = [("seed", ("0", "1", "2")), *TWO]
    run = write_run(tmp_path, axes, size=(16, 16), paint=flat)
    by_member = boxes(run_sheet(read_run(run)), 36)
    assert len(by_member) == 36
    block = [np.array(by_member[12 * seed]) for seed in range(3)]
    for member, box in by_member.items():
        offset = np.array(box) - block[member // 12]
        np.testing.assert_array_equal(
            offset, np.array(by_member[member % 12]) - block[0]
        )
    edges = [(b[0], b[1]) for b in block]
    assert len(set(edges)) == 3


def test_a_sheet_of_a_thousand_members_is_legible(tmp_path):
    axes = [(name, [str(i) for i in range(10)]) for name in ("seed", "a", "b")]
    run = write_run(tmp_path, axes, size=(90, 90), paint=flat, waiting=range(20, 1000))
    sheet = run_sheet(read_run(run))
    assert 2000 < max(sheet.size) <= 4500
    for left, _, right, _ in boxes(sheet, 20).values():
        assert right - left + 1 >= 64


def test_images_of_other_sizes_and_missing_members_keep_the_grid(tmp_path):
    def size(member):
        return [(40, 20), (20, 40), (10, 10)][member % 3]

    run = write_run(tmp_path, TWO, size=size, paint=flat, waiting=(5, 11))
    sheet = run_sheet(read_run(run))
    by_member = boxes(sheet, 12)
    assert by_member.keys() == set(range(12)) - {5, 11}
    centres = {m: ((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for m, b in by_member.items()}
    for member, (left, top, right, bottom) in by_member.items():
        height, width = size(member)  # Shapes differ, longer sides are equal.
        scale = 240 / max(height, width)
        shown = bottom - top + 1, right - left + 1
        assert shown == (scale * height, scale * width)
        row, column = divmod(member, 4)
        for other, centre in centres.items():
            assert other % 4 != column or abs(centre[0] - centres[member][0]) <= 1
            assert other // 4 != row or abs(centre[1] - centres[member][1]) <= 1


def test_a_contact_sheet_takes_images_of_any_shape():
    images = [flat(0, 30, 60), flat(1, 60, 30), flat(2, 500, 100)]
    by_member = boxes(nst_jax.contact_sheet(images, ["a", "b", "c"], side=100), 3)
    sizes = {m: (b[2] - b[0] + 1, b[3] - b[1] + 1) for m, b in by_member.items()}
    assert sizes == {0: (60, 30), 1: (30, 60), 2: (20, 100)}
    with pytest.raises(nst_jax.RequestError, match="2 images and 1 labels"):
        nst_jax.contact_sheet(images[:2], ["a"])


# Videos


def frames_of(folder, colours, height, width):
    paths = []
    for i, colour in enumerate(colours):
        paths.append(folder / f"{i:06d}.png")
        Image.new("RGB", (width, height), colour).save(paths[-1])
    return paths


COLOURS = [(200, 30, 40), (20, 180, 60), (40, 60, 210), (128, 128, 128), (250, 250, 5)]


def test_a_video_has_all_frames_in_their_colour(tmp_path):
    frames = frames_of(tmp_path, COLOURS, 301, 257)
    write_mp4(tmp_path / "film.mp4", frames, 8)
    with av.open(str(tmp_path / "film.mp4")) as film:
        (stream,) = film.streams
        assert (stream.codec_context.name, stream.average_rate) == ("h264", 8)
        assert stream.codec_context.pix_fmt == "yuv420p"
        decoded = [frame.to_ndarray(format="rgb24") for frame in film.decode(stream)]
    assert len(decoded) == len(COLOURS)
    for pixels, colour in zip(decoded, COLOURS, strict=True):
        assert pixels.shape == (302, 258, 3)  # Odd sides repeat their last line.
        assert np.abs(pixels.astype(int) - colour).max() <= 6


def test_small_frames_are_enlarged_by_an_integer_factor(tmp_path):
    (frame,) = frames_of(tmp_path, COLOURS[:1], 40, 60)
    with Image.open(frame) as image:
        image.paste((0, 0, 0), (0, 0, 30, 40))
        image.save(frame)
    write_mp4(tmp_path / "film.mp4", [frame, frame], 8)
    with av.open(str(tmp_path / "film.mp4")) as film:
        first = next(film.decode(video=0)).to_ndarray(format="rgb24")
    assert first.shape == (200, 300, 3)
    assert first[:, :146].max() < 20
    assert np.abs(first[:, 154:].astype(int) - COLOURS[0]).max() <= 6


def test_a_gif_has_all_frames_and_holds_the_last(tmp_path):
    frames = frames_of(tmp_path, COLOURS, 30, 400)
    write_gif(tmp_path / "film.gif", frames, 8)
    with Image.open(tmp_path / "film.gif") as gif:
        assert (gif.n_frames, gif.info["loop"]) == (len(COLOURS), 0)
        assert gif.width == 320
        durations = []
        for i, colour in enumerate(COLOURS):
            gif.seek(i)
            durations.append(gif.info["duration"])
            pixels = np.asarray(gif.convert("RGB"), int)
            assert np.abs(pixels - colour).max() <= 8
        assert durations == [120] * 4 + [1000]  # A GIF counts hundredths.


def test_a_long_gif_has_evenly_spaced_frames(tmp_path):
    colours = [(i, 255 - i, 90) for i in range(250)]
    frames = frames_of(tmp_path, colours, 4, 4)
    write_gif(tmp_path / "film.gif", frames, 100)
    with Image.open(tmp_path / "film.gif") as gif:
        assert gif.n_frames == GIF_FRAMES
        ends = []
        for i in (0, GIF_FRAMES - 1):
            gif.seek(i)
            ends.append(np.asarray(gif.convert("RGB"), int)[0, 0])
    assert np.abs(np.array(ends) - [colours[0], colours[-1]]).max() <= 8


# Curves


def test_the_band_has_the_quantiles_of_finite_losses(tmp_path):
    seeds = [str(i) for i in range(30)]
    run = read_run(write_run(tmp_path, [("seed", seeds)], diverged=(3,), waiting=(9,)))
    losses = {
        step: [
            row["loss"]
            for rows in run.rows.values()
            for row in rows
            if row["step"] == step and row["loss"] is not None
        ]
        for step in (0, 5, 10)
    }
    assert [len(losses[step]) for step in (0, 5, 10)] == [29, 28, 28]
    quantiles = band(run)
    assert quantiles["step"] == [0, 5, 10]
    for name, share in (("low", 0.1), ("median", 0.5), ("high", 0.9)):
        expected = [np.quantile(losses[step], share) for step in (0, 5, 10)]
        np.testing.assert_allclose(quantiles[name], expected)
    drawn = curves(run)
    assert drawn["band"] == quantiles
    assert drawn["members"]["3"]["loss"][1:] == [None, None]


def test_many_rows_are_thinned_and_the_last_is_kept(tmp_path, monkeypatch):
    run = write_run(tmp_path, [("seed", ("0", "1"))], steps=range(101))
    monkeypatch.setattr("nst_jax.report.curves._NUMBERS", 100)
    drawn = curves(read_run(run))
    steps = drawn["members"]["1"]["step"]
    assert drawn["stride"] > 1
    assert steps[0] == 0 and steps[-1] == 100
    assert sum(4 * len(columns["step"]) for columns in drawn["members"].values()) <= 120


@pytest.mark.parametrize("count", [1, 5, 40])
def test_curves_svg_is_deterministic(tmp_path, count):
    axes = [("seed", [str(i) for i in range(count)])] if count > 1 else []
    run = write_run(tmp_path, axes)
    files = []
    for _ in range(2):
        write_report(run)
        files.append((run / "curves.svg").read_bytes())
    assert files[0] == files[1]
    assert xml.etree.ElementTree.fromstring(files[0]).tag.endswith("svg")
    assert len(files[0]) < 100_000


# The page


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    run = write_run(folder, [("seed", ("0", "1")), *TWO], waiting=(23,), frames=3)
    write_report(run)
    return run


def test_the_page_follows_the_axes(grid):
    page = Page(grid / "report.html")
    pages = [tag for tag in page.all("div") if tag.get("class") == "wide page"]
    assert [tag["data-page"] for tag in pages] == ["0", "1"]
    assert ["hidden" in tag for tag in pages] == [False, True]
    assert len(page.all("table", **{"class": "grid"})) == 2
    buttons = page.panels()
    assert [int(tag["data-member"]) for tag in buttons] == list(range(24))
    assert buttons[23]["data-caption"].endswith("waiting")
    assert buttons[17]["data-index"] == "1,1,1"


def test_the_page_is_self_contained(grid):
    page = Page(grid / "report.html")
    for tag, attrs in page.tags:
        assert not attrs.get("src", "data:").partition("data:")[0], tag
        if tag == "img":
            assert "alt" in attrs
    for tag in page.all("a"):
        if target := tag.get("href"):
            assert (grid / target).is_file(), target
    pictures = [tag["src"] for tag in page.all("img") if "src" in tag]
    assert len(pictures) == 2 + 23 + 4 * 3 + 12
    with Image.open(grid / "members/007/final.png") as image:
        expected = np.asarray(image, int)
    shown = base64.b64decode(pictures[2 + 7].removeprefix("data:image/jpeg;base64,"))
    pixels = np.asarray(Image.open(io.BytesIO(shown)), int)
    assert np.abs(pixels - expected).mean() < 5  # Above 30 for another member.
    script = gzip.decompress(base64.b64decode(page.scripts["plotly"]))
    assert b"plotly.js v" in script[:100]


def test_names_cannot_inject_markup(tmp_path):
    evil = "</script><script>document.title='broken'</script><b x=\"' &amp;"
    axes = [(evil, (evil + "1", evil + "2")), (evil, ("a", "b"))]
    run = write_run(tmp_path, axes, command=evil, content=evil)
    study = {
        "summary": [evil],
        "tables": [{"title": evil, "columns": [evil], "rows": [[evil]]}],
        "pictures": [{"title": evil, "file": "inputs/000.png"}],
        "films": [{"title": evil, "file": "inputs/000.png"}],
    }
    (run / "study.json").write_text(json.dumps(study))
    plain = write_run(tmp_path / "plain", TWO)
    write_report(run)
    (run / "study.json").write_text(json.dumps(study))
    write_page(read_run(run))
    write_report(plain)
    page = Page(run / "report.html")
    scripts = [len(p.all("script")) for p in (page, Page(plain / "report.html"))]
    assert scripts[0] == scripts[1]
    assert not [attrs for _, attrs in page.tags if "x" in attrs]
    assert evil in "".join(page.text), "the command is shown verbatim"
    assert page.panels()[0]["data-label"] == f"{evil} {evil}1, {evil} a"


def test_the_content_of_study_json_is_shown(tmp_path):
    run = write_run(tmp_path, TWO)
    study = {
        "summary": ["Seeds matter less than weights."],
        "tables": [
            {
                "title": "Spread",
                "columns": ["seed", "std"],
                "rows": [[0, 0.25], [1, None]],
            }
        ],
        "pictures": [
            {"title": "Mean", "file": "study/000.png"},
            {"title": "Elsewhere", "file": "../../run/inputs/001.png"},
        ],
    }
    (run / "study").mkdir()
    shutil.copy(run / "inputs" / "001.png", run / "study" / "000.png")
    (run / "study.json").write_text(json.dumps(study))
    write_page(read_run(run))
    page = Page(run / "report.html")
    text = " ".join(page.text)
    for words in ("Findings", "Seeds matter less than weights.", "Spread", "0.25"):
        assert words in text
    assert page.all("img", alt="Mean")
    assert not page.all("img", alt="Elsewhere"), "files outside study/ are not shown"
    (run / "study.json").write_text('{"pictures": [{"title": 3}]}')
    with pytest.raises(nst_jax.RequestError, match="study.json: Expected .str"):
        write_page(read_run(run))
    (run / "study.json").write_text('{"summary": ')
    with pytest.raises(nst_jax.RequestError, match="study.json is not JSON"):
        write_page(read_run(run))


@pytest.mark.parametrize("budget", [1_000_000, 10])
def test_study_videos_are_embedded_or_linked(tmp_path, monkeypatch, budget):
    """Embedded up to a budget of bytes, else linked; a missing file is left out."""
    from nst_jax.report import page as module

    monkeypatch.setattr(module, "_FILMS", budget)
    run = write_run(tmp_path, TWO)
    (run / "study").mkdir()
    frames = [run / "inputs/000.png", run / "inputs/001.png"]
    write_mp4(run / "study/000.mp4", frames, 8)
    study = {
        "films": [
            {"title": "How it flickers", "file": "study/000.mp4"},
            {"title": "Gone", "file": "study/001.mp4"},
        ]
    }
    (run / "study.json").write_text(json.dumps(study))
    write_page(read_run(run))
    page = Page(run / "report.html")
    shown = [tag for tag in page.all("video") if "src" in tag]
    links = [tag["href"] for tag in page.all("a") if "study/" in tag.get("href", "")]
    text = " ".join(page.text)
    assert "How it flickers" in text and "Gone" not in text
    if budget == 10:
        assert (shown, links) == ([], ["study/000.mp4"])
        return
    (film,) = shown
    assert links == [] and film["aria-label"] == "How it flickers"
    assert {"controls", "loop", "muted", "playsinline"} <= film.keys()
    content = base64.b64decode(film["src"].removeprefix("data:video/mp4;base64,"))
    assert content == (run / "study/000.mp4").read_bytes()


def test_snapshots_are_shown_with_their_steps(tmp_path):
    """Eight of thirty frames, evenly spaced, of the first four members."""
    seeds = ("seed", tuple("012345"))
    write_report(write_run(tmp_path, (seeds,), frames=30))
    page = Page(tmp_path / "report.html")
    captions = re.findall(r"step (\d+)", " ".join(page.text))
    assert captions == 4 * ["0", "20", "40", "60", "85", "105", "125", "145"]
    assert page.all("img", alt="seed 3 after 145 steps")
    assert not page.all("img", alt="seed 4 after 145 steps")


def test_study_distances_are_those_of_the_images(tmp_path):
    """The RMS distance of two results, computed from their files."""
    run = write_run(tmp_path, (("seed", ("0", "1")),))
    write_report(run)
    study = json.loads((run / "study.json").read_text())
    pictures = [
        np.asarray(Image.open(run / "members" / m / "final.png"), np.float64)
        for m in ("000", "001")
    ]
    expected = np.sqrt(np.mean((pictures[0] - pictures[1]) ** 2))
    (row,) = study["tables"][0]["rows"]
    assert row[0] == "seed"
    assert row[1:3] == [1, pytest.approx(expected, rel=5e-3)]
    assert study["summary"][0] in " ".join(Page(run / "report.html").text)


@pytest.mark.parametrize("missing", ["members", "metrics.jsonl", "inputs"])
def test_an_unfinished_run_has_a_page(tmp_path, missing):
    run = write_run(tmp_path, TWO, waiting=range(12) if missing == "members" else ())
    path = run / missing
    if missing == "metrics.jsonl" and path.exists():
        path.unlink()
    if missing == "inputs":
        for file in path.iterdir():
            file.unlink()
    write_report(run)
    page = Page(run / "report.html")
    assert len(page.panels()) == 12
    assert (run / "sheet.png").exists() == (missing != "members")


def test_videos_of_few_members_are_embedded_and_of_many_linked(tmp_path):
    for count in (2, 17):
        seeds = [str(i) for i in range(count)]
        run = write_run(tmp_path / str(count), [("seed", seeds)], frames=2)
        write_report(run)
        panels = Page(run / "report.html").panels()
        assert len(panels) == count
        for panel in panels:
            film = panel["data-film"]
            is_embedded = film.startswith("data:video/mp4;base64,")
            assert is_embedded == (count == 2)
            assert is_embedded or (run / film).is_file()
            assert ("data-start" in panel) == (count == 2)
        gifs = list(run.glob("members/*/making_of.gif"))
        assert gifs == [run / "members/000/making_of.gif"]


def test_images_of_many_members_fit_the_budget(tmp_path, monkeypatch):
    """Also for noise, which JPEG compresses worst."""
    from nst_jax.report import page as module

    monkeypatch.setattr(module, "_CHARACTERS", 400_000)
    rng = np.random.default_rng(0)
    paths = []
    for i in range(40):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(rng.integers(0, 256, (200, 300, 3), np.uint8)).save(paths[-1])
    urls = module.jpegs(paths)
    assert 100_000 < sum(map(len, urls)) <= 400_000


# The command line, and TensorBoard


def test_the_command_line_writes_reports(tmp_path):
    run = write_run(tmp_path / "run", TWO)
    status, out, err = launch(f"--report={run}", f"--tensorboard={run}")
    assert status == 0, err
    assert str(run / "report.html") in out
    assert (run / "report.html").stat().st_size > 1_000_000
    assert len(list((run / "tensorboard").iterdir())) == 12
    status, _, err = launch(f"--tensorboard={tmp_path}")
    assert status == 2
    assert f"workdir '{tmp_path}' is no run directory: it holds no run.json" in err
    assert len(err.splitlines()) == 1


def events(folder):
    """Yield (tag, step, scalar or None) of an event file, in TFRecord framing."""
    from tensorboardX.proto.event_pb2 import Event

    (file,) = folder.glob("events*")
    content = file.read_bytes()
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        event = Event.FromString(content[12 : 12 + length])
        for value in event.summary.value:
            scalar = value.HasField("simple_value")
            yield value.tag, event.step, value.simple_value if scalar else None
        content = content[12 + length + 4 :]


def test_tensorboard_has_each_term_of_each_member(tmp_path):
    run = write_run(tmp_path, [("seed", ("0", "1"))], diverged=(1,))
    write_tensorboard(run)
    write_tensorboard(run)  # Replaces the first.
    written = list(events(run / "tensorboard" / "000"))
    rows = read_run(run).rows[0]
    for tag, values in {
        "loss": [row["loss"] for row in rows],
        "terms/style": [row["terms"]["style"] for row in rows],
    }.items():
        points = [(step, value) for name, step, value in written if name == tag]
        assert [step for step, _ in points] == [0, 5, 10]
        np.testing.assert_allclose([value for _, value in points], values, rtol=1e-6)
    assert "final" in {tag for tag, _, _ in written}
    second = list(events(run / "tensorboard" / "001"))
    assert [step for tag, step, _ in second if tag == "loss"] == [0]


def test_a_missing_tensorboardx_is_reported(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(nst_jax.RequestError, match="needs the package tensorboardX"):
        write_tensorboard(write_run(tmp_path, []))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "run.json: Expecting property name"),
        ("[]", "run.json: Expected `object`, got `array`"),
        ("{}", "run.json: Object missing required field `status`"),
    ],
)
def test_invalid_run_json_is_refused(tmp_path, content, reason):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(nst_jax.RequestError, match=re.escape(reason)):
        write_report(tmp_path)


def test_run_json_of_an_earlier_version_is_refused(tmp_path):
    """Without the field `content` of a member."""
    manifest = json.loads((write_run(tmp_path, []) / "run.json").read_text())
    del manifest["members"][0]["content"]
    (tmp_path / "run.json").write_text(json.dumps(manifest))
    with pytest.raises(
        nst_jax.RequestError, match="of this version: run.json: .*`content`"
    ):
        write_report(tmp_path)


def test_a_page_of_an_unreadable_run_is_removed(tmp_path, caplog):
    run = write_run(tmp_path / "run", TWO)
    write_report(run)
    (run / "run.json").write_text("{}")
    write_safely(run)
    assert not (run / "report.html").exists()
    assert "the report could not be written" in caplog.text
