"""The bundled weight file as it lies, and every way that such a file may be damaged."""

import json
import re

import numpy as np
import pytest
import safetensors.numpy

from nst_jax import RequestError
from nst_jax.models import weights
from nst_jax.models.layers import conv_shapes
from nst_jax.models.preprocessing import Preprocessing


@pytest.fixture(scope="module")
def tensors():
    return safetensors.numpy.load_file(weights.DEFAULT_PATH)


@pytest.fixture(scope="module")
def loaded():
    return weights.load_weights()


@pytest.fixture
def small(monkeypatch):
    """One convolution in place of sixteen: a file to damage byte by byte."""
    monkeypatch.setattr(weights, "conv_shapes", lambda trunk: {"conv1_1": (3, 4)})
    rng = np.random.default_rng(0)
    return {
        "conv1_1/indices": rng.integers(0, 256, (4, 3, 3, 3), np.uint8),
        "conv1_1/table": rng.normal(size=256).astype(np.float32),
        "conv1_1/bias": rng.normal(size=4).astype(np.float32),
    }


PREPROCESSING = Preprocessing("RGB", 2.0, (0.1, 0.2, 0.3), (1.0, 2.0, 3.0))


def write(path, tensors, **metadata):
    """A file with a true SHA-256 and otherwise such metadata as is told."""
    fields = {
        "format": "nst_jax/vgg19",
        "format_version": "1",
        "preprocessing": json.dumps(vars(PREPROCESSING)),
        "tensors_sha256": weights.tensors_sha256(tensors),
    }
    kept = {k: v for k, v in {**fields, **metadata}.items() if v is not None}
    safetensors.numpy.save_file(tensors, path, kept)
    return path


# The bundled file.


def test_bundled_metadata(loaded):
    """Format, source, licence; the means of Caffe's VGG; the hash of the tensors."""
    assert loaded.metadata["format"] == "nst_jax/vgg19"
    assert loaded.metadata["format_version"] == "1"
    assert "Simonyan" in loaded.metadata["source"]
    assert loaded.metadata["licence"] == "CC BY 4.0"
    assert loaded.metadata["tensors_sha256"] == loaded.sha256
    assert re.fullmatch("[0-9a-f]{64}", loaded.sha256)
    assert loaded.preprocessing == Preprocessing(
        "BGR", 255.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)
    )


def test_kernels_are_looked_up_in_their_tables(loaded, tensors):
    """table[indices], outputs first in the file and last in memory."""
    widths = (64, 64, 128, 128, *(4 * (256,)), *(8 * (512,)))
    assert [p["bias"].shape[0] for p in loaded.params.values()] == list(widths)
    for conv in ("conv1_1", "conv3_2", "conv5_4"):
        kernel = loaded.params[conv]["kernel"]
        expected = tensors[f"{conv}/table"][tensors[f"{conv}/indices"]]
        assert kernel.dtype == np.float32
        assert len(np.unique(kernel)) > 100
        np.testing.assert_array_equal(kernel, np.moveaxis(expected, (0, 1), (3, 2)))
        bias = loaded.params[conv]["bias"]
        np.testing.assert_array_equal(bias, tensors[f"{conv}/bias"])


def test_network_holds_the_loaded_weights(network, loaded):
    assert network.params.keys() == loaded.params.keys() == conv_shapes().keys()
    for conv, params in loaded.params.items():
        np.testing.assert_array_equal(network.params[conv]["kernel"], params["kernel"])
    assert network.preprocessing == loaded.preprocessing


# Saved and read again.


def test_saved_is_loaded(tmp_path, small):
    """As a palette and as plain float32, to the bit."""
    path = tmp_path / "weights.safetensors"
    kernel = small["conv1_1/table"][small["conv1_1/indices"]]
    plain = {"conv1_1/kernel": kernel, "conv1_1/bias": small["conv1_1/bias"]}
    for tensors in (small, plain):
        weights.save_weights(
            path, tensors, PREPROCESSING, source="a test", licence="none"
        )
        found = weights.load_weights(path)
        expected = kernel.transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(found.params["conv1_1"]["kernel"], expected)
        np.testing.assert_array_equal(
            found.params["conv1_1"]["bias"], small["conv1_1/bias"]
        )
        assert found.preprocessing == PREPROCESSING
        assert (found.metadata["source"], found.metadata["licence"]) == (
            "a test",
            "none",
        )
    assert list(tmp_path.iterdir()) == [path]


def test_save_to_nowhere_is_refused(tmp_path, small):
    with pytest.raises(RequestError, match=r"cannot write .*no-such-folder"):
        weights.save_weights(
            tmp_path / "no-such-folder" / "file",
            small,
            PREPROCESSING,
            source="",
            licence="",
        )


def test_hash_is_of_names_types_shapes_and_values(small):
    """And of nothing else: not of the order, nor of how the bytes lie in memory."""
    name, table = "conv1_1/table", small["conv1_1/table"]
    changed = table.copy()
    changed[7] = np.nextafter(changed[7], 9)
    sha256 = weights.tensors_sha256(small)
    renamed = {("other" if k == name else k): v for k, v in small.items()}
    others = [
        renamed,
        {**small, name: table.view(np.int32)},
        {**small, name: table.reshape(2, 128)},
        {**small, name: changed},
    ]
    assert len({sha256, *map(weights.tensors_sha256, others)}) == 5
    assert weights.tensors_sha256(dict(reversed(small.items()))) == sha256
    strided = np.repeat(table, 2)[::2]
    assert weights.tensors_sha256({**small, name: strided}) == sha256


# Damage.


def test_no_file(tmp_path):
    path = tmp_path / "absent.safetensors"
    with pytest.raises(RequestError, match=r"no file '.*absent.*convert_weights\.py"):
        weights.load_weights(path)
    with pytest.raises(RequestError, match="no file"):
        weights.load_weights(tmp_path)


@pytest.mark.parametrize(
    "kept", [0, 4, 8, 100, 6000, 0.5, -1], ids=lambda kept: f"{kept}"
)
def test_file_cut_short(tmp_path, kept):
    """Nothing, within the header's length, the header, the tensors; the last byte."""
    data = weights.DEFAULT_PATH.read_bytes()
    path = tmp_path / "cut"
    path.write_bytes(data[: int(kept * len(data)) if kept == 0.5 else kept])
    with pytest.raises(
        RequestError, match=r"'.*cut' is not a complete safetensors file"
    ):
        weights.load_weights(path)


def test_file_with_a_tail(tmp_path):
    path = tmp_path / "long"
    path.write_bytes(weights.DEFAULT_PATH.read_bytes() + b"\0")
    with pytest.raises(RequestError, match="is not a complete safetensors file"):
        weights.load_weights(path)


@pytest.mark.parametrize("where", [0.001, 0.5, 1])
def test_flipped_bit_in_the_tensors(tmp_path, where):
    data = bytearray(weights.DEFAULT_PATH.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    data[start + int(where * (len(data) - 1 - start))] ^= 1
    path = tmp_path / "flipped"
    path.write_bytes(data)
    message = "is damaged: its tensors have SHA-256 .*, but its header says 00d45"
    with pytest.raises(RequestError, match=message):
        weights.load_weights(path)


def test_no_flipped_byte_changes_a_weight(tmp_path, small):
    """Each byte of a small file in turn, header too: refused, or the same weights."""
    path = write(tmp_path / "small", small)
    expected = weights.load_weights(path).params["conv1_1"]
    data = path.read_bytes()
    refused = 0
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        try:
            found = weights.load_weights(path).params["conv1_1"]
        except RequestError:
            refused += 1
        else:
            for part, value in expected.items():
                np.testing.assert_array_equal(found[part], value)
    assert refused > 0.9 * len(data)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (
            {"format": "pt"},
            "has format 'pt' version '1', expected '.*vgg19' or '.*vgg16' .*conv",
        ),
        ({"format": None}, "has format None version '1'"),
        (
            {"format_version": "2"},
            "'nst_jax/vgg19' version '2', expected .* version '1'",
        ),
        ({"tensors_sha256": None}, "is damaged: .*its header says None"),
        ({"tensors_sha256": 64 * "0"}, "is damaged: .*its header says 0000"),
        ({"preprocessing": None}, "has no valid preprocessing"),
        ({"preprocessing": "{"}, "has no valid preprocessing"),
        ({"preprocessing": "[]"}, "has no valid preprocessing"),
        ({"preprocessing": "{}"}, "has no valid preprocessing .*channel_order"),
        (
            {"preprocessing": json.dumps({**vars(PREPROCESSING), "mean": [1, 2]})},
            "array. of length 3",
        ),
        (
            {"preprocessing": json.dumps({**vars(PREPROCESSING), "std": [1, 0, 1]})},
            "preprocessing.std must be positive",
        ),
        (
            {"preprocessing": json.dumps({**vars(PREPROCESSING), "scale": "much"})},
            "has no valid preprocessing",
        ),
        (
            {
                "preprocessing": json.dumps(
                    {**vars(PREPROCESSING), "channel_order": "GBR"}
                )
            },
            "Invalid enum value 'GBR' - at `.*channel_order`",
        ),
    ],
)
def test_wrong_metadata(tmp_path, small, metadata, message):
    path = write(tmp_path / "small", small, **metadata)
    with pytest.raises(RequestError, match=message):
        weights.load_weights(path)


def test_foreign_safetensors_without_metadata(tmp_path, small):
    path = tmp_path / "foreign"
    safetensors.numpy.save_file(small, path)
    with pytest.raises(RequestError, match="has format None version None"):
        weights.load_weights(path)


@pytest.mark.parametrize("ending", weights.CONVERTED)
def test_a_checkpoint_of_another_program_names_the_converter(tmp_path, ending):
    path = tmp_path / f"my vgg{ending}"
    path.write_bytes(b"of another program")
    output = tmp_path / "my vgg.safetensors"
    with pytest.raises(RequestError) as caught:
        weights.load_weights(path)
    assert str(caught.value).endswith(
        "convert it first: python tools/convert_weights.py "
        f"--input='{path}' --output='{output}'"
    )


@pytest.mark.parametrize("ending", [".npz", ".caffemodel"])
def test_a_checkpoint_that_cannot_be_converted_names_those_that_can(tmp_path, ending):
    path = tmp_path / f"vgg{ending.upper()}"
    path.write_bytes(b"of another program")
    with pytest.raises(RequestError, match=r"does not read.*\.h5.*\.pth.*\.mat"):
        weights.load_weights(path)


def test_something_else_altogether(tmp_path):
    path = tmp_path / "text"
    path.write_text("<html>404</html>\n" * 9)
    with pytest.raises(RequestError, match="is not a complete safetensors file"):
        weights.load_weights(path)


@pytest.mark.parametrize("name", ["conv1_1/bias", "conv4_3/indices", "conv5_4/bias"])
def test_missing_tensor(tmp_path, tensors, name):
    """With a hash that is right: it is the network that is not whole."""
    rest = {k: v for k, v in tensors.items() if k != name}
    path = write(tmp_path / "less", rest)
    with pytest.raises(RequestError, match=f"has no complete {name.split('/')[0]}$"):
        weights.load_weights(path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "conv1_1/indices",
            lambda a: a[:, :2],
            r"conv1_1 of shape \(4, 2, 3, 3\), expected \(4, 3, 3, 3\)",
        ),
        (
            "conv1_1/indices",
            lambda a: a.transpose(2, 3, 1, 0),
            r"conv1_1 of shape \(3, 3, 3, 4\)",
        ),
        (
            "conv1_1/indices",
            lambda a: a.astype(np.int32),
            "conv1_1 without uint8 indices",
        ),
        ("conv1_1/bias", lambda a: a[:3], "has no complete conv1_1"),
        ("conv1_1/table", lambda a: a[:255], "or 256 table entries"),
        ("conv1_1/table", lambda a: np.full_like(a, np.nan), "has NaN or infinity"),
        ("conv1_1/table", lambda a: np.full_like(a, np.inf), "has NaN or infinity"),
        ("conv1_1/bias", lambda a: a + np.float32([0, np.nan, 0, 0]), "has NaN"),
    ],
)
def test_wrong_tensor(tmp_path, small, name, change, message):
    small[name] = np.ascontiguousarray(change(small[name]))
    path = write(tmp_path / "small", small)
    with pytest.raises(RequestError, match=message):
        weights.load_weights(path)


def test_palette_without_its_table(tmp_path, small):
    del small["conv1_1/table"]
    path = write(tmp_path / "small", small)
    with pytest.raises(RequestError, match="or 256 table entries"):
        weights.load_weights(path)


def test_one_nan_in_one_plain_kernel(tmp_path, small):
    kernel = np.zeros((4, 3, 3, 3), np.float32)
    kernel[3, 2, 1, 0] = np.nan
    path = write(
        tmp_path / "small",
        {"conv1_1/kernel": kernel, "conv1_1/bias": small["conv1_1/bias"]},
    )
    with pytest.raises(RequestError, match=r"has NaN or infinity in conv1_1"):
        weights.load_weights(path)
