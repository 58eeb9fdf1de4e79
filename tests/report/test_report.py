"""What is made to be looked at, without a browser: pages, sheets, films, curves."""

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
    """One colour a member, no two alike and none like what a sheet draws itself."""
    colour = np.array([255, 40 + 12 * (member % 16), 12 * (member // 16)]) / 255
    return np.broadcast_to(colour, (height, width, 3)).astype(np.float32)


def boxes(sheet, count):
    """member -> (left, top, right, bottom) of its colour on a sheet, inclusive."""
    pixels = np.asarray(sheet)
    found = {}
    for member in range(count):
        colour = np.round(flat(member, 1, 1)[0, 0] * 255)
        ys, xs = np.nonzero((pixels == colour).all(-1))
        if len(ys):
            found[member] = xs.min(), ys.min(), xs.max(), ys.max()
            # A picture is a rectangle: nothing is drawn over it.
            area = (np.ptp(xs) + 1) * (np.ptp(ys) + 1)
            assert len(ys) == area, member
    return found


class Page(html.parser.HTMLParser):
    """Tags with their attributes, text, and the JSON that a page carries."""

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

    def data(self, name):
        return json.loads(self.scripts[name])


# Sheets


def test_a_sheet_of_two_axes_has_a_row_and_a_column_for_each_value(tmp_path):
    run = write_run(tmp_path, TWO, size=(20, 30), paint=flat)
    found = boxes(run_sheet(read_run(run)), 12)
    assert len(found) == 12
    for member, (left, top, right, bottom) in found.items():
        row, column = divmod(member, 4)
        assert (right - left + 1, bottom - top + 1) == (240, 160)
        assert left == found[column][0], "a column shares its left edge"
        assert top == found[4 * row][1], "a row shares its top edge"
    assert len({box[0] for box in found.values()}) == 4
    assert len({box[1] for box in found.values()}) == 3


def test_headers_and_labels_are_written_beside_the_grid(tmp_path):
    """Ink above the first row and left of the first column, and nowhere else."""
    run = write_run(tmp_path, TWO, size=(40, 40), paint=flat)
    sheet = run_sheet(read_run(run))
    found = boxes(sheet, 12)
    bright = np.asarray(sheet).min(-1) > 120
    for left, top, right, bottom in found.values():
        assert not bright[top : bottom + 1, left : right + 1].any()
    for column in range(4):
        left, top, right, _ = found[column]
        assert bright[top - 20 : top, left : right + 1].any(), "no column header"
    for row in range(3):
        left, top, _, bottom = found[4 * row]
        assert bright[top : bottom + 1, :left].any(), "no row label"


def test_further_axes_are_blocks(tmp_path):
    axes = [("seed", ("0", "1", "2")), *TWO]
    run = write_run(tmp_path, axes, size=(16, 16), paint=flat)
    found = boxes(run_sheet(read_run(run)), 36)
    assert len(found) == 36
    block = [np.array(found[12 * seed]) for seed in range(3)]
    for member, box in found.items():
        moved = np.array(box) - block[member // 12]
        np.testing.assert_array_equal(moved, np.array(found[member % 12]) - block[0])
    edges = [(b[0], b[1]) for b in block]
    assert len(set(edges)) == 3


def test_a_thousand_members_make_a_sheet_that_can_be_read(tmp_path):
    axes = [(name, [str(i) for i in range(10)]) for name in ("seed", "a", "b")]
    run = write_run(tmp_path, axes, size=(90, 90), paint=flat, waiting=range(20, 1000))
    sheet = run_sheet(read_run(run))
    assert 2000 < max(sheet.size) <= 4500
    for left, _, right, _ in boxes(sheet, 20).values():
        assert right - left + 1 >= 64


def test_other_sizes_and_missing_members_leave_the_grid_as_it_is(tmp_path):
    def size(member):
        return [(40, 20), (20, 40), (10, 10)][member % 3]

    run = write_run(tmp_path, TWO, size=size, paint=flat, waiting=(5, 11))
    sheet = run_sheet(read_run(run))
    found = boxes(sheet, 12)
    assert found.keys() == set(range(12)) - {5, 11}
    centres = {m: ((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for m, b in found.items()}
    for member, (left, top, right, bottom) in found.items():
        height, width = size(member)  # Of their own shape, and all as large.
        scale = 240 / max(height, width)
        shown = bottom - top + 1, right - left + 1
        assert shown == (scale * height, scale * width)
        row, column = divmod(member, 4)
        for other, centre in centres.items():
            assert other % 4 != column or abs(centre[0] - centres[member][0]) <= 1
            assert other // 4 != row or abs(centre[1] - centres[member][1]) <= 1


def test_a_contact_sheet_takes_pictures_of_any_shape():
    images = [flat(0, 30, 60), flat(1, 60, 30), flat(2, 500, 100)]
    found = boxes(nst_jax.contact_sheet(images, ["a", "b", "c"], side=100), 3)
    sizes = {m: (b[2] - b[0] + 1, b[3] - b[1] + 1) for m, b in found.items()}
    assert sizes == {0: (60, 30), 1: (30, 60), 2: (20, 100)}
    with pytest.raises(nst_jax.RequestError, match="2 images and 1 labels"):
        nst_jax.contact_sheet(images[:2], ["a"])


# Films


def frames_of(folder, colours, height, width):
    paths = []
    for i, colour in enumerate(colours):
        paths.append(folder / f"{i:06d}.png")
        Image.new("RGB", (width, height), colour).save(paths[-1])
    return paths


COLOURS = [(200, 30, 40), (20, 180, 60), (40, 60, 210), (128, 128, 128), (250, 250, 5)]


def test_a_film_has_every_frame_in_its_colour(tmp_path):
    frames = frames_of(tmp_path, COLOURS, 301, 257)
    write_mp4(tmp_path / "film.mp4", frames, 8)
    with av.open(str(tmp_path / "film.mp4")) as film:
        (stream,) = film.streams
        assert (stream.codec_context.name, stream.average_rate) == ("h264", 8)
        assert stream.codec_context.pix_fmt == "yuv420p"
        decoded = [frame.to_ndarray(format="rgb24") for frame in film.decode(stream)]
    assert len(decoded) == len(COLOURS)
    for pixels, colour in zip(decoded, COLOURS, strict=True):
        assert pixels.shape == (302, 258, 3)  # Odd lengths get a last line twice.
        assert np.abs(pixels.astype(int) - colour).max() <= 6


def test_small_frames_are_enlarged_by_a_whole_factor(tmp_path):
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


def test_a_gif_has_its_frames_and_rests_on_the_last(tmp_path):
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


def test_a_long_gif_is_thinned_evenly_from_first_to_last(tmp_path):
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


def test_the_band_is_the_quantiles_of_what_is_finite(tmp_path):
    seeds = [str(i) for i in range(30)]
    run = read_run(write_run(tmp_path, [("seed", seeds)], diverged=(3,), waiting=(9,)))
    losses = {
        step: [
            row["loss"]
            for own in run.rows.values()
            for row in own
            if row["step"] == step and row["loss"] is not None
        ]
        for step in (0, 5, 10)
    }
    assert [len(losses[step]) for step in (0, 5, 10)] == [29, 28, 28]
    over = band(run)
    assert over["step"] == [0, 5, 10]
    for name, quantile in (("low", 0.1), ("median", 0.5), ("high", 0.9)):
        expected = [np.quantile(losses[step], quantile) for step in (0, 5, 10)]
        np.testing.assert_allclose(over[name], expected)
    drawn = curves(run)
    assert drawn["band"] == over
    assert drawn["members"]["3"]["loss"][1:] == [None, None]


def test_many_looks_are_thinned_and_the_last_is_kept(tmp_path, monkeypatch):
    run = write_run(tmp_path, [("seed", ("0", "1"))], steps=range(101))
    monkeypatch.setattr("nst_jax.report.curves._NUMBERS", 100)
    drawn = curves(read_run(run))
    steps = drawn["members"]["1"]["step"]
    assert drawn["stride"] > 1
    assert steps[0] == 0 and steps[-1] == 100
    assert sum(4 * len(own["step"]) for own in drawn["members"].values()) <= 120


@pytest.mark.parametrize("count", [1, 5, 40])
def test_the_print_of_the_curves_is_one_file_to_the_byte(tmp_path, count):
    axes = [("seed", [str(i) for i in range(count)])] if count > 1 else []
    run = write_run(tmp_path, axes)
    prints = []
    for _ in range(2):
        write_report(run)
        prints.append((run / "curves.svg").read_bytes())
    assert prints[0] == prints[1]
    assert xml.etree.ElementTree.fromstring(prints[0]).tag.endswith("svg")
    assert len(prints[0]) < 100_000


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
    buttons = page.all("button", **{"class": "panel"})
    assert [int(tag["data-member"]) for tag in buttons] == list(range(24))
    members = page.data("data")["members"]
    assert members["23"]["caption"].endswith("waiting")
    assert members["17"]["index"] == [1, 1, 1]


def test_the_page_carries_all_it_shows(grid):
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
    assert np.abs(pixels - expected).mean() < 5  # Another member's: above 30.
    script = gzip.decompress(base64.b64decode(page.scripts["plotly"]))
    assert b"plotly.js v" in script[:100]


def test_what_a_run_is_called_cannot_break_out_of_the_page(tmp_path):
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
    assert evil in "".join(page.text), "the command is shown as it is"
    assert page.data("data")["members"]["0"]["label"] == f"{evil} {evil}1, {evil} a"


def test_findings_are_shown_where_a_study_left_them(tmp_path):
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
    assert not page.all("img", alt="Elsewhere"), "a study's files lie in its folder"
    (run / "study.json").write_text('{"pictures": [{"title": 3}]}')
    with pytest.raises(nst_jax.RequestError, match="study.json: Expected .str"):
        write_page(read_run(run))
    (run / "study.json").write_text('{"summary": ')
    with pytest.raises(nst_jax.RequestError, match="study.json is not JSON"):
        write_page(read_run(run))


@pytest.mark.parametrize("room", [1_000_000, 10])
def test_films_of_a_study_are_in_the_page_or_linked(tmp_path, monkeypatch, room):
    """To the byte; beyond the budget by name; one that is not there is left out."""
    from nst_jax.report import page as module

    monkeypatch.setattr(module, "_FILMS", room)
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
    if room == 10:
        assert (shown, links) == ([], ["study/000.mp4"])
        return
    (film,) = shown
    assert links == [] and film["aria-label"] == "How it flickers"
    assert {"controls", "loop", "muted", "playsinline"} <= film.keys()
    content = base64.b64decode(film["src"].removeprefix("data:video/mp4;base64,"))
    assert content == (run / "study/000.mp4").read_bytes()


def test_pictures_kept_on_the_way_are_shown_with_their_steps(tmp_path):
    """Of thirty frames eight, evenly, with the first and the last; of four members."""
    seeds = ("seed", tuple("012345"))
    write_report(write_run(tmp_path, (seeds,), frames=30))
    page = Page(tmp_path / "report.html")
    captions = re.findall(r"step (\d+)", " ".join(page.text))
    assert captions == 4 * ["0", "20", "40", "60", "85", "105", "125", "145"]
    assert page.all("img", alt="seed 3 after 145 steps")
    assert not page.all("img", alt="seed 4 after 145 steps")


def test_findings_are_of_the_pictures_that_there_are(tmp_path):
    """Through the run directory: the distance of its two pictures, as numbers do it."""
    run = write_run(tmp_path, (("seed", ("0", "1")),))
    write_report(run)
    found = json.loads((run / "study.json").read_text())
    pictures = [
        np.asarray(Image.open(run / "members" / m / "final.png"), np.float64)
        for m in ("000", "001")
    ]
    expected = np.sqrt(np.mean((pictures[0] - pictures[1]) ** 2))
    (row,) = found["tables"][0]["rows"]
    assert row[0] == "seed"
    assert row[1:3] == [1, pytest.approx(expected, rel=5e-3)]
    assert found["summary"][0] in " ".join(Page(run / "report.html").text)


@pytest.mark.parametrize("missing", ["members", "metrics.jsonl", "inputs"])
def test_a_run_that_is_not_finished_has_a_page(tmp_path, missing):
    run = write_run(tmp_path, TWO, waiting=range(12) if missing == "members" else ())
    path = run / missing
    if missing == "metrics.jsonl" and path.exists():
        path.unlink()
    if missing == "inputs":
        for file in path.iterdir():
            file.unlink()
    write_report(run)
    page = Page(run / "report.html")
    assert len(page.data("data")["members"]) == 12
    assert (run / "sheet.png").exists() == (missing != "members")


def test_films_of_a_few_are_in_the_page_and_those_of_many_linked(tmp_path):
    for count in (2, 17):
        seeds = [str(i) for i in range(count)]
        run = write_run(tmp_path / str(count), [("seed", seeds)], frames=2)
        write_report(run)
        data = Page(run / "report.html").data("data")
        assert len(data["films"]) == count
        for member, film in data["films"].items():
            inside = film.startswith("data:video/mp4;base64,")
            assert inside == (count == 2)
            assert inside or (run / film).is_file(), member
        assert len(data["starts"]) == (count if count == 2 else 0)
        gifs = list(run.glob("members/*/making_of.gif"))
        assert gifs == [run / "members/000/making_of.gif"]


def test_a_page_of_a_thousand_members_stays_small(tmp_path, monkeypatch):
    """Noise is what JPEG is worst at; the budget holds for it too."""
    from nst_jax.report import embed

    monkeypatch.setattr(embed, "_CHARACTERS", 400_000)
    rng = np.random.default_rng(0)
    paths = []
    for i in range(40):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(rng.integers(0, 256, (200, 300, 3), np.uint8)).save(paths[-1])
    urls = embed.jpegs(paths)
    assert 100_000 < sum(map(len, urls)) <= 400_000


# The command line, and TensorBoard


def test_the_report_is_made_again_from_the_command_line(tmp_path):
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
    """(tag, step, scalar or None) of an event file: records of TFRecord's framing."""
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


def test_tensorboard_gets_each_term_of_each_member(tmp_path):
    run = write_run(tmp_path, [("seed", ("0", "1"))], diverged=(1,))
    write_tensorboard(run)
    write_tensorboard(run)  # It replaces, and does not add.
    written = list(events(run / "tensorboard" / "000"))
    rows = read_run(run).rows[0]
    for tag, values in {
        "loss": [row["loss"] for row in rows],
        "terms/style": [row["terms"]["style"] for row in rows],
    }.items():
        found = [(step, value) for name, step, value in written if name == tag]
        assert [step for step, _ in found] == [0, 5, 10]
        np.testing.assert_allclose([value for _, value in found], values, rtol=1e-6)
    assert "final" in {tag for tag, _, _ in written}
    second = list(events(run / "tensorboard" / "001"))
    assert [step for tag, step, _ in second if tag == "loss"] == [0]


def test_without_tensorboardx_it_is_said(tmp_path, monkeypatch):
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
def test_a_folder_that_is_no_run_is_refused(tmp_path, content, reason):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(nst_jax.RequestError, match=re.escape(reason)):
        write_report(tmp_path)


def test_a_run_of_an_earlier_version_is_refused(tmp_path):
    """Members did not say then which content picture is theirs."""
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
