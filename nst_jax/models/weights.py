"""The weight file: a network's convolutions in safetensors, verified on reading.

A file holds, for each convolution of a network of `layers.TRUNKS`, `NAME/bias`
(float32 [O]) and the kernel in one of two forms:

* `NAME/kernel`, float32 [O, I, 3, 3];
* `NAME/indices`, uint8 [O, I, 3, 3], into `NAME/table`, float32 [256]: a k-means
  palette of the kernel's values, a quarter of the size.

Its metadata (strings) name the format and its version, the source, the licence, the
preprocessing of the input and the SHA-256 of the tensors. `tools/convert_weights.py`
converts published checkpoints to this format.
"""

import dataclasses
import hashlib
import json
import pathlib
import shlex
from collections.abc import Mapping

import msgspec
import numpy as np
import safetensors
import safetensors.numpy

from nst_jax.core.atomic import write_atomically
from nst_jax.core.errors import RequestError
from nst_jax.core.paths import PROJECT
from nst_jax.core.representation import short_repr
from nst_jax.models.layers import TRUNKS
from nst_jax.models.layers import conv_shapes as conv_shapes
from nst_jax.models.numerics import Numerics
from nst_jax.models.preprocessing import Preprocessing
from nst_jax.models.vgg import Network, Params

#: Format in the metadata -> name of the network.
FORMATS = {f"nst_jax/{trunk}": trunk for trunk in TRUNKS}
FORMAT_VERSION = "1"
#: File endings that tools/convert_weights.py reads, and endings that it does not read.
CONVERTED = (".h5", ".hdf5", ".mat", ".pt", ".pth", ".whl")
FOREIGN = (".caffemodel", ".ckpt", ".keras", ".msgpack", ".npz", ".onnx", ".pb", ".t7")
DEFAULT_PATH = PROJECT / "weights" / "vgg19.safetensors"


@dataclasses.dataclass(frozen=True, repr=False)
class Weights:
    """Content of a weight file.

    Attributes:
      params: convolution name -> {"kernel": float32 [3, 3, I, O], "bias": [O]}.
      preprocessing: input that the weights were trained for.
      metadata: the file's strings: format, source, licence, …
      sha256: verified SHA-256 of the tensors.
    """

    params: Params
    preprocessing: Preprocessing
    metadata: Mapping[str, str]
    sha256: str

    __repr__ = short_repr


def tensors_sha256(tensors: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of names, dtypes, shapes and bytes, independent of order."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {tensor.dtype.str} {tensor.shape}\n".encode())
        digest.update(tensor.data)
    return digest.hexdigest()


def save_weights(
    path: str | pathlib.Path,
    tensors: Mapping[str, np.ndarray],
    preprocessing: Preprocessing,
    *,
    source: str,
    licence: str,
    trunk: str = "vgg19",
) -> None:
    """Write a weight file atomically; the same tensors give the same bytes.

    Args:
      path: file to write or replace, in an existing folder.
      tensors: see the module's docstring.
      preprocessing: input that the weights were trained for.
      source: author of the weights and the release they come from.
      licence: licence of the weights.
      trunk: name of the network.

    Raises:
      RequestError: `path` cannot be written.
    """
    metadata = {
        "format": f"nst_jax/{trunk}",
        "format_version": FORMAT_VERSION,
        "source": source,
        "licence": licence,
        "preprocessing": json.dumps(dataclasses.asdict(preprocessing)),
        "tensors_sha256": tensors_sha256(tensors),
    }
    contiguous = {k: np.ascontiguousarray(v) for k, v in tensors.items()}
    data = _sorted_metadata(safetensors.numpy.save(contiguous, metadata))
    path = pathlib.Path(path)
    try:
        path.parent.resolve(strict=True)  # Do not create a missing folder.
        write_atomically(path, lambda partial: partial.write_bytes(data))
    except OSError as error:
        raise RequestError(f"weights: cannot write {str(path)!r} ({error})") from None


def _sorted_metadata(data: bytes) -> bytes:
    """Sort the metadata of a safetensors file, whose order is random otherwise."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # Keeps the tensors aligned.
    return len(text).to_bytes(8, "little") + text + data[end:]


def load_weights(path: str | pathlib.Path = DEFAULT_PATH) -> Weights:
    """Read and verify a weight file.

    Raises:
      RequestError: the file is missing, damaged, of another format or version, or not a
        complete network.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise RequestError(
            f"weights: no file {str(path)!r}; the repository contains "
            "weights/vgg19.safetensors, and tools/convert_weights.py converts others"
        )
    _check_ending(path)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except (safetensors.SafetensorError, OSError, ValueError, TypeError) as error:
        problem = f"is not a complete safetensors file ({error})"
        raise _file_error(path, problem) from None
    file_format, version = metadata.get("format"), metadata.get("format_version")
    trunk = FORMATS.get(file_format or "")
    if trunk is None or version != FORMAT_VERSION:
        raise _file_error(
            path,
            f"has format {file_format!r} version {version!r}, expected "
            f"{' or '.join(map(repr, FORMATS))} version {FORMAT_VERSION!r}; "
            "tools/convert_weights.py converts other checkpoints",
        )
    sha256, expected = tensors_sha256(tensors), metadata.get("tensors_sha256")
    if sha256 != expected:
        raise _file_error(
            path,
            f"is damaged: its tensors have SHA-256 {sha256}, but its header says "
            f"{expected}",
        )
    params = to_params(tensors, path, trunk)
    try:
        text = metadata.get("preprocessing", "")
        preprocessing = msgspec.json.decode(text, type=Preprocessing)
    except msgspec.MsgspecError as error:
        raise _file_error(path, f"has no valid preprocessing ({error})") from None
    return Weights(params, preprocessing, metadata, sha256)


def _file_error(path: str | pathlib.Path, problem: str) -> RequestError:
    return RequestError(f"weights: {str(path)!r} {problem}")


def _check_ending(path: pathlib.Path) -> None:
    """Raise RequestError if the file's ending is that of another program."""
    ending = path.suffix.lower()
    if ending in CONVERTED:
        source = shlex.quote(str(path))
        output = shlex.quote(str(path.with_suffix(".safetensors")))
        raise _file_error(
            path,
            "is a checkpoint of another program; convert it first: python "
            f"tools/convert_weights.py --input={source} --output={output}",
        )
    if ending in FOREIGN:
        raise _file_error(
            path,
            "is a checkpoint of another program, which tools/convert_weights.py does "
            "not read; it reads the VGG-19 and VGG-16 of Keras (.h5), torchvision "
            "(.pth) and MatConvNet (.mat)",
        )


def to_params(
    tensors: Mapping[str, np.ndarray], path: str | pathlib.Path, trunk: str = "vgg19"
) -> Params:
    """Convert a file's tensors to `Weights.params`: dequantised, in Flax's layout.

    Args:
      tensors: see the module's docstring.
      path: the file, named in errors.
      trunk: name of the network.

    Raises:
      RequestError: the tensors are not the whole network, or not finite.
    """
    params = {}
    for name, (inputs, outputs) in conv_shapes(trunk).items():
        try:
            params[name] = _conv(tensors, name, inputs, outputs)
        except ValueError as error:
            raise _file_error(path, str(error)) from None
    return params


def _conv(
    tensors: Mapping[str, np.ndarray], name: str, inputs: int, outputs: int
) -> dict[str, np.ndarray]:
    bias = tensors.get(f"{name}/bias")
    indices = tensors.get(f"{name}/indices", tensors.get(f"{name}/kernel"))
    expected = (outputs, inputs, 3, 3)
    if bias is None or indices is None or bias.shape != (outputs,):
        raise ValueError(f"has no complete {name}")
    if indices.shape != expected:
        raise ValueError(f"has {name} of shape {indices.shape}, expected {expected}")
    kernel = np.ascontiguousarray(indices.transpose(2, 3, 1, 0))
    if f"{name}/indices" in tensors:
        table = tensors.get(f"{name}/table")
        if kernel.dtype != np.uint8 or table is None or table.shape != (256,):
            raise ValueError(f"has {name} without uint8 indices or 256 table entries")
        kernel = table[kernel]
    if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
        raise ValueError(f"has NaN or infinity in {name}")
    return {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}


def load_network(
    path: str | pathlib.Path = DEFAULT_PATH,
    *,
    pooling: str = "max",
    padding: str = "zeros",
    numerics: Numerics = Numerics(),
    pool_rounding: str = "ceil",
) -> Network:
    """Load a network from a weight file, the bundled one by default, onto the device.

    The other arguments are those of `features`.

    Raises:
      RequestError: the file is damaged, or an option is unknown.
    """
    weights = load_weights(path)
    return Network.from_params(
        weights.params,
        weights.preprocessing,
        pooling=pooling,
        padding=padding,
        numerics=numerics,
        pool_rounding=pool_rounding,
    )
