"""Untrusted input: thousands of broken files, configs and run directories.

Each gives a result or an error of one sentence, nothing hangs, and no partial file is
left.
"""

import contextlib
import copy
import io
import itertools
import json
import shutil
import signal
import struct
import warnings

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from pictures import smooth_picture
from PIL import Image, ImageCms
from run_directory import write_run
from small_runs import run_experiment, small_experiment

import nst_jax
from nst_jax.core.atomic import PARTIAL
from nst_jax.images.io import Sizing, read_array, read_picture
from nst_jax.images.video import FilmFile
from nst_jax.models import weights
from nst_jax.models.preprocessing import Preprocessing
from nst_jax.report import read_run, write_page, write_report
from nst_jax.report.study_results import load_trajectory
from nst_jax.workdir.checkpoint import Checkpoint
from nst_jax.workdir.writer import RunWriter

#: (format, mode, options) of every kind of picture that Pillow writes and reads.
KINDS = [
    *(("PNG", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    *(("TIFF", mode, {}) for mode in ("1", "L", "RGB", "RGBA", "CMYK", "I", "F")),
    ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    *(("JPEG", mode, {}) for mode in ("L", "RGB", "CMYK")),
    ("JPEG", "RGB", {"progressive": True}),
    *(("WEBP", mode, {"lossless": True}) for mode in ("RGB", "RGBA")),
    *(("GIF", mode, {}) for mode in ("L", "P")),
    *(("BMP", mode, {}) for mode in ("1", "L", "P", "RGB")),
    *(("TGA", mode, {}) for mode in ("L", "RGB", "RGBA")),
    *(("PPM", mode, {}) for mode in ("1", "L", "RGB", "I;16", "F")),
    *(("PCX", mode, {}) for mode in ("1", "L", "P", "RGB")),
    *(("SGI", mode, {}) for mode in ("L", "RGB", "RGBA")),
    *(("DDS", mode, {}) for mode in ("L", "RGB", "RGBA")),
    *(("IM", mode, {}) for mode in ("L", "RGB", "CMYK", "F")),
    *(("JPEG2000", mode, {}) for mode in ("L", "RGB", "RGBA")),
    *((name, "1", {}) for name in ("XBM", "MSP")),
    ("SPIDER", "F", {}),
    ("ICO", "RGBA", {"sizes": [(24, 16)]}),
    ("MPO", "RGB", {}),
    ("AVIF", "RGB", {}),
    ("EPS", "RGB", {}),
]
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def encoded(name, mode, options):
    """Return a picture of 24×16 px in a format, as bytes."""
    values = smooth_picture(3, 16, 24)
    if mode == "F":
        grey = values.mean(-1)
        grey[3, 4:9] = np.nan, np.inf, -np.inf, 1e38, -1
        picture = Image.fromarray(grey.astype(np.float32))
    elif mode in ("I", "I;16"):
        kind = np.uint16 if mode == "I;16" else np.int32
        picture = Image.fromarray((values.mean(-1) * 65535).astype(kind))
    else:
        picture = Image.fromarray((values * 255).astype(np.uint8)).convert(mode)
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    extra = {}
    if name in ("PNG", "JPEG", "WEBP", "TIFF") and mode in ("RGB", "RGBA"):
        extra = {"exif": exif, "icc_profile": PROFILE}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Old kinds are still read.
        picture.save(buffer, name, **options, **extra)
    return buffer.getvalue()


def harmed(data, generator, *, cuts):
    """Yield the data cut after multiples of `cuts` bytes, and with bytes changed."""
    yield from (data[:end] for end in range(0, len(data), cuts))
    for _ in range(20):
        changed = bytearray(data)
        for place in generator.integers(min(len(data), 200), size=3):
            changed[place] = generator.integers(256)
        yield bytes(changed)
    yield b"\x00" * 16 + data[16:]
    yield data + data


#: Seconds after which a test counts as hanging: far more than any machine needs.
HANG = 120


class Hang(BaseException):
    """A timeout, which no part of the program catches."""


@contextlib.contextmanager
def no_hang():
    """Fail after `HANG` seconds."""

    def late(*_):
        raise Hang

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(HANG)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def result_or_one_sentence():
    """Allow a result, or a `RequestError` of one sentence."""
    refused = None
    with no_hang():
        try:
            yield
        except nst_jax.RequestError as error:
            refused = str(error)
    assert refused is None or (refused and "\n" not in refused), repr(refused)


def test_pictures(tmp_path):
    """Every kind, cut at every tenth byte, and with bytes changed."""
    generator = np.random.default_rng(0)
    path = tmp_path / "picture"
    tried = read = 0
    for kind in KINDS:
        whole = encoded(*kind)
        step = max(10, len(whole) // 60 // 10 * 10)
        for data in harmed(whole, generator, cuts=step):
            path.write_bytes(data)
            tried += 1
            with result_or_one_sentence():
                image, alpha = read_picture(path, Sizing(24), "picture", fill=False)
                assert image.dtype == np.float32 and image.ndim == 3
                assert image.min() >= 0 and image.max() <= 1, kind
                assert alpha is None or alpha.shape == image.shape[:2]
                read += 1
    assert tried >= 1500
    assert 50 < read < tried / 2
    assert list(tmp_path.iterdir()) == [path]


def iptc(inner):
    """Return an IPTC container of a picture of any format."""

    def field(record, dataset, data):
        return struct.pack(">BBBH", 0x1C, record, dataset, len(data)) + data

    head = field(3, 60, bytes([3, 1])) + field(3, 20, struct.pack(">H", 24))
    head += field(3, 30, struct.pack(">H", 16)) + field(3, 120, b"\x01")
    return head + field(8, 10, inner)


@pytest.mark.parametrize("wrap", [bytes, iptc])
def test_postscript_is_not_run(tmp_path, monkeypatch, wrap):
    """Pillow would call Ghostscript."""
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", pytest.fail)
    path = tmp_path / "picture.png"
    path.write_bytes(wrap(encoded("EPS", "RGB", {})))
    with pytest.raises(nst_jax.RequestError, match="not a picture that Pillow can"):
        nst_jax.read_image(path)
    assert read_run_of(tmp_path, path).members[0].picture is None


def read_run_of(folder, picture):
    """Return a run directory whose result is this file."""
    workdir = write_run(folder / "run", [])
    shutil.copy(picture, workdir / "members" / "000" / "final.png")
    return read_run(workdir)


def test_declared_sizes(tmp_path):
    """Any width and height that a header may say, over little data."""
    path = tmp_path / "picture"
    sides = 0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1
    for name, (width, height) in itertools.product(
        ("PNG", "BMP"), itertools.product(sides, sides)
    ):
        data = bytearray(encoded(name, "RGB", {}))
        if name == "PNG":
            data[16:24] = struct.pack(">II", width, height)
        else:
            data[18:26] = struct.pack("<II", width, height)
        path.write_bytes(data)
        with result_or_one_sentence():
            nst_jax.read_image(path, 24)


def test_arrays(tmp_path):
    """A final.npy with each byte of its header changed, and cut anywhere."""
    path = tmp_path / "final.npy"
    np.save(path, smooth_picture(1, 4, 5))
    data = path.read_bytes()
    for place, value in itertools.product(range(128), (0, 0x27, 0x39, 0xFF)):
        path.write_bytes(data[:place] + bytes([value]) + data[place + 1 :])
        with result_or_one_sentence():
            array = read_array(path)
            assert array.ndim == 3 and np.isfinite(array).all()
    for end in range(0, len(data), 10):
        path.write_bytes(data[:end])
        with result_or_one_sentence():
            read_array(path)


def test_weight_files(tmp_path, monkeypatch):
    """Each byte of a header changed; each of its values by each other kind of value.

    Of a file that is whole, of a network with one convolution.
    """
    monkeypatch.setattr(weights, "conv_shapes", lambda trunk: {"conv1_1": (3, 4)})
    path = tmp_path / "weights.safetensors"
    tensors = {
        "conv1_1/kernel": np.ones((4, 3, 3, 3), np.float32),
        "conv1_1/bias": np.ones(4, np.float32),
    }
    preprocessing = Preprocessing("RGB", 2.0, (0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    weights.save_weights(path, tensors, preprocessing, source="a test", licence="no")
    small = path.read_bytes()
    weights.load_weights(path)
    length = struct.unpack("<Q", small[:8])[0]
    files = [
        small[:place] + bytes([value]) + small[place + 1 :]
        for place, value in itertools.product(range(8 + length), (0, 0x22, 0x39, 0xFF))
    ]
    header = json.loads(small[8 : 8 + length])
    for changed in tampered(header):
        text = json.dumps(changed).encode()
        files.append(struct.pack("<Q", len(text)) + text + small[8 + length :])
    reasons = set()
    for data in files:
        path.write_bytes(data)
        with result_or_one_sentence():
            try:
                loaded = weights.load_weights(path)
            except nst_jax.RequestError as error:
                reasons.add(str(error).replace(str(path), "")[:40])
                raise
            np.testing.assert_array_equal(loaded.params["conv1_1"]["bias"], 1)
    assert len(reasons) >= 8, "all checks are reached"


#: What a field may be changed to.
EVIL = (None, True, -1, 10**30, 1.5, "", "../../etc/passwd", [], {}, [[[]]])


def tampered(tree):
    """Yield the tree with each node left out, or replaced by each kind of value."""

    def places(node, path=()):
        yield path
        if isinstance(node, dict):
            for key, child in node.items():
                yield from places(child, (*path, key))
        elif isinstance(node, list):
            for i, child in enumerate(node[:2]):
                yield from places(child, (*path, i))

    for *parents, last in filter(None, places(tree)):
        for value in (*EVIL, "leave it out"):
            changed = copy.deepcopy(tree)
            holder = changed
            for key in parents:
                holder = holder[key]
            if value == "leave it out":
                del holder[last]
            else:
                holder[last] = value
            yield changed


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run of two members, and its plan."""
    workdir = tmp_path_factory.mktemp("run") / "run"
    config = tiny()
    config.seeds = (0, 1)
    assert run_experiment(config, workdir) == "done"
    return workdir, nst_jax.build(config)


def pytest_generate_tests(metafunc):
    """Four random seeds of reports, or twelve with `--thorough`."""
    if "seed" in metafunc.fixturenames:
        thorough = metafunc.config.getoption("--thorough")
        metafunc.parametrize("seed", range(12 if thorough else 4))


@pytest.fixture
def stride(pytestconfig):
    """Step between the changes of a file that are tried; 1 with `--thorough`.

    A field has 11 changes in a row, and 11 and 4 have no common divisor. So each field
    gets two or three changes, and each kind of change is tried.
    """
    return 1 if pytestconfig.getoption("--thorough") else 4


def tiny():
    config = small_experiment(steps=2, terms=(nst_jax.Gram(layers=("relu1_1",)),))
    config.size = 24
    config.canvas = nst_jax.Canvas("noise")
    return config


def test_run_directories(tmp_path, done, stride):
    """Each field of run.json changed, opened for resuming and for a report."""
    whole, plan = done
    manifest = json.loads((whole / "run.json").read_text())
    workdir = tmp_path / "deep" / "run"
    shutil.copytree(whole, workdir)
    around = sorted(tmp_path.rglob("*"))
    tried = 0
    for changed in itertools.islice(tampered(manifest), 0, None, stride):
        (workdir / "run.json").write_text(json.dumps(changed))
        tried += 1
        with result_or_one_sentence():
            records = RunWriter(workdir, plan)
            records.states.load((0, 1))
            records.is_finished([0, 1])
        with result_or_one_sentence():
            read = read_run(workdir)
            for member in read.members:
                final = workdir / "members" / f"{member.number:03d}" / "final.png"
                assert member.picture in (None, final)
            for kept in read.inputs:
                assert kept is None or kept.parent == workdir / "inputs"
    assert tried > 1000 / stride
    assert sorted(tmp_path.rglob("*")) == around


def test_reports_of_run_directories(tmp_path, done, seed):
    """Whole reports, of a few of these."""
    whole, _ = done
    manifest = json.loads((whole / "run.json").read_text())
    every = list(tampered(manifest))
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    generator = np.random.default_rng(seed)
    for i in generator.choice(len(every), 2, replace=False):
        (workdir / "run.json").write_text(json.dumps(every[i]))
        with result_or_one_sentence():
            write_report(workdir)
    assert not list(tmp_path.rglob(f"{PARTIAL}*"))


def test_run_json_of_arbitrary_text(tmp_path, done):
    whole, plan = done
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    data = (whole / "run.json").read_bytes()
    texts = [data[:end] for end in range(0, len(data), 50)]
    texts += [b"[" * 100_000, b"\xff" * 99, b"NaN", b'{"a":' * 9_999, b"1" * 5_000]
    for text in texts:
        (workdir / "run.json").write_bytes(text)
        with pytest.raises(nst_jax.RequestError), no_hang():
            RunWriter(workdir, plan)
        with pytest.raises(nst_jax.RequestError), no_hang():
            read_run(workdir)


def test_rows_and_findings(tmp_path, done):
    """Each field of metrics.jsonl and study.json changed, and nested without end."""
    whole, _ = done
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    first, *others = (whole / "metrics.jsonl").read_text().splitlines()
    rows = [json.dumps(row) for row in tampered(json.loads(first))]
    (workdir / "metrics.jsonl").write_text("\n".join(["[" * 200_000, *rows, *others]))
    with result_or_one_sentence():
        read = read_run(workdir)
        assert {row["step"] for row in read.rows[0]} >= {0, 2}
        write_page(read)
    study = {
        "summary": ["words"],
        "tables": [{"title": "a", "columns": ["b"], "rows": [[1]]}],
        "pictures": [{"title": "c", "file": "study/000.png"}],
        "films": [{"title": "d", "file": "study/000.mp4"}],
    }
    texts = [json.dumps(changed) for changed in tampered(study)]
    for text in [*texts[::3], "[" * 200_000, "null"]:
        (workdir / "study.json").write_text(text)
        with result_or_one_sentence():
            write_page(read_run(workdir))


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("members/000/making_of.mp4", "../../../secret"),
        ("metrics.jsonl", "../secret"),
        ("metrics.jsonl", "metrics.jsonl"),
        ("beside", "run.json"),
        ("members/001", "000"),
    ],
)
def test_links(tmp_path, done, name, target):
    """To other folders, to themselves, and to other files of the run."""
    whole, plan = done
    workdir, secret = tmp_path / "run", tmp_path / "secret"
    shutil.copytree(whole, workdir)
    secret.write_text("secret")
    with contextlib.suppress(FileNotFoundError):
        shutil.move(workdir / name, tmp_path / "away")
    (workdir / name).symlink_to(target)
    for use in (lambda: RunWriter(workdir, plan), lambda: read_run(workdir)):
        with pytest.raises(nst_jax.RequestError, match="a link where none belongs"):
            use()


@pytest.mark.parametrize(
    "name",
    [
        *("metrics.jsonl", ".lock", "members/000/state.safetensors", "report.html"),
        *("members/000/final.npy", "members/000/final.png", "members/000/member.json"),
        *("members", "members/000", "inputs"),
    ],
)
def test_folders_for_files_and_files_for_folders(tmp_path, done, name):
    whole, plan = done
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    path = workdir / name
    wanted = "a folder" if path.is_dir() else "a file"
    if path.exists():
        shutil.move(path, tmp_path / "away")
    path.write_text("") if wanted == "a folder" else path.mkdir()
    for use in (lambda: RunWriter(workdir, plan), lambda: read_run(workdir)):
        with pytest.raises(nst_jax.RequestError, match=f"where {wanted} belongs"):
            use()


def test_results(tmp_path, done, stride):
    """A broken final.npy is computed again, and left out of studies."""
    whole, plan = done
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    path = workdir / "members" / "000" / "final.npy"
    data = path.read_bytes()
    records = RunWriter(workdir, plan)
    assert records.is_finished([0])
    files = [data[:60], b"PK\x03\x04junk", b"", data[:128]]
    changes = itertools.product(range(128), (0, 0x27, 0xFF))
    for place, value in itertools.islice(changes, 0, None, stride):
        files.append(data[:place] + bytes([value]) + data[place + 1 :])
    for changed in files:
        path.write_bytes(changed)
        with no_hang():
            assert not RunWriter(workdir, plan).is_finished([0]) or changed == data
            load_trajectory(read_run(workdir), 0)


def test_a_broken_checkpoint_is_not_loaded(tmp_path):
    """Every changed byte is detected."""
    path = tmp_path / "checkpoint.safetensors"
    leaves = [np.arange(6, dtype=np.float32), np.zeros((), np.int32)]
    Checkpoint((0, 1), 0, 5, 1.5, 4, leaves).save(path)
    assert Checkpoint.load(path) is not None
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with no_hang():
            assert Checkpoint.load(path) is None, place
    for end in range(len(data)):
        path.write_bytes(data[:end])
        assert Checkpoint.load(path) is None


def test_arrays_of_a_checkpoint_keep_their_order(tmp_path):
    """Also beyond the 999th, whose numbers have four digits."""
    path = tmp_path / "checkpoint.safetensors"
    leaves = [np.full(2, i, np.int32) for i in range(1101)]
    Checkpoint((0,), 0, 5, 1.5, 4, leaves).save(path)
    loaded = Checkpoint.load(path)
    assert loaded is not None
    np.testing.assert_array_equal(loaded.leaves, leaves)


def test_videos(tmp_path):
    """Cut at every hundredth byte, and with bytes changed."""
    film = pytest.importorskip("av")
    path = tmp_path / "film.mp4"
    with film.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for i in range(4):
            pixels = (smooth_picture(i, 32, 32) * 255).astype(np.uint8)
            frame = film.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = path.read_bytes()
    for harm in harmed(data, np.random.default_rng(1), cuts=100):
        path.write_bytes(harm)
        with result_or_one_sentence():
            assert FilmFile(str(path), "content").picture(2).size == (32, 32)


FIELDS = st.sampled_from(
    [
        *("content", "styles", "size", "steps", "seeds", "pooling", "padding", "terms"),
        *("weights", "colour", "resample", "fit", "axes", "canvas", "canvas.kind"),
        *("canvas.path", "canvas.share", "canvas.ulps", "solver", "solver.name"),
        *("solver.learning_rate", "solver.history_size", "solver.tolerance"),
        *("solver.averaging", "ladder", "ladder.start", "ladder.factor"),
        *("ladder.steps", "ensemble.strategy", "ensemble.batch_size", "tile"),
        *("ensemble.process", "output.log_every", "output.fps", "output.frames"),
        *("masks.content", "masks.styles", "masks.freeze", "numerics.precision"),
        *("numerics.feature_dtype", "film.motion", "film.amount", "parametrisation"),
        *("smoothing.radius", "output.checkpoint_every", "input_scale"),
    ]
)
VALUES = st.one_of(
    st.sampled_from([*EVIL, b"x", (), (None,), ("",), (0,) * 3, object, np.nan, 1e308]),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=8),
    st.tuples(st.integers(-3, 3)),
    st.lists(st.text(max_size=3), max_size=3),
)


@hypothesis.given(st.lists(st.tuples(FIELDS, VALUES), min_size=1, max_size=3))
@hypothesis.settings(max_examples=400, deadline=None, derandomize=True)
def test_configs(changes):
    """Any fields set to anything: built, or refused in a sentence."""
    config = tiny()
    with result_or_one_sentence():
        for path, value in changes:
            *parents, last = path.split(".")
            holder = config
            for name in parents:
                holder = getattr(holder, name)
                if not hasattr(holder, "__dataclass_fields__"):
                    return
            if holder.__dataclass_params__.frozen:
                config = config.with_field(path, value)
            else:
                setattr(holder, last, value)
        nst_jax.build(config)
