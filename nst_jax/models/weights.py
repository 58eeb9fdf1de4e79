"""The weight file: VGG-19 convolutions in safetensors, read and verified.

A file holds, for each of the sixteen convolutions, `NAME/bias` (float32 [O])
and the kernel in one of two forms:

* `NAME/kernel`, float32 [O, I, 3, 3];
* `NAME/indices`, uint8 [O, I, 3, 3], into `NAME/table`, float32 [256]: a k-means
  palette of the kernel's values, a quarter of the size.

Its metadata (strings, as safetensors has it) names the format and its version,
the source, the licence, what the network expects of its input, and the SHA-256
of the tensors. `tools/convert_weights.py` makes such files from the checkpoints
that the world has.
"""

import dataclasses
import hashlib
import json
import pathlib
import shlex
from collections.abc import Mapping

import numpy as np
import safetensors
import safetensors.numpy

from nst_jax.core.atomic import write_atomically
from nst_jax.core.errors import RequestError
from nst_jax.core.paths import PROJECT
from nst_jax.core.representation import short_repr
from nst_jax.models.layers import conv_shapes as conv_shapes
from nst_jax.models.numerics import Numerics
from nst_jax.models.preprocessing import Preprocessing
from nst_jax.models.vgg import Network, Params

FORMAT = "nst_jax/vgg19"
FORMAT_VERSION = "1"
#: Endings of checkpoints that tools/convert_weights.py reads, and of those it does not.
CONVERTED = (".h5", ".hdf5", ".mat", ".pt", ".pth", ".whl")
FOREIGN = (".caffemodel", ".ckpt", ".keras", ".msgpack", ".npz", ".onnx", ".pb", ".t7")
DEFAULT_PATH = PROJECT / "weights" / "vgg19.safetensors"


@dataclasses.dataclass(frozen=True, repr=False)
class Weights:
    """A weight file's content.

    Attributes:
      params: convolution name -> {"kernel": float32 [3, 3, I, O], "bias": [O]}.
      preprocessing: what the network expects of its input.
      metadata: the file's own strings: format, source, licence, …
      sha256: of the tensors, as verified.
    """

    params: Params
    preprocessing: Preprocessing
    metadata: Mapping[str, str]
    sha256: str

    __repr__ = short_repr


def tensors_sha256(tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, independent of file order."""
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
) -> None:
    """Writes a weight file, whole or not at all; the same tensors, the same bytes.

    Args:
      path: the file to write or replace, in a folder that exists.
      tensors: as in the module's description.
      preprocessing: what the network expects of its input.
      source: who made the weights and by what way they came here.
      licence: what they may be used for.

    Raises:
      RequestError: `path` cannot be written.
    """
    metadata = {
        "format": FORMAT,
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
        path.parent.resolve(strict=True)
        write_atomically(path, lambda partial: partial.write_bytes(data))
    except OSError as error:
        raise RequestError(f"weights: cannot write {str(path)!r} ({error})") from None


def _sorted_metadata(data: bytes) -> bytes:
    """`data`, a safetensors file, with its metadata in the order of their keys.

    safetensors itself puts them in another order each time.
    """
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # The tensors stay aligned.
    return len(text).to_bytes(8, "little") + text + data[end:]


def load_weights(path: str | pathlib.Path = DEFAULT_PATH) -> Weights:
    """Reads a weight file, whole or not at all.

    Raises:
      RequestError: the file is missing, cut short, not of this format, of a
        version that this code does not know, not a VGG-19, or its tensors are
        not those its own SHA-256 was taken of.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise RequestError(
            f"weights: no file {str(path)!r}; a clone of the project carries "
            "weights/vgg19.safetensors, and tools/convert_weights.py makes others"
        )
    _check_ending(path)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except (safetensors.SafetensorError, OSError, ValueError, TypeError) as error:
        raise RequestError(
            f"weights: {str(path)!r} is not a whole safetensors file ({error})"
        ) from None
    found = metadata.get("format"), metadata.get("format_version")
    if found != (FORMAT, FORMAT_VERSION):
        raise RequestError(
            f"weights: {str(path)!r} is of format {found[0]!r} version {found[1]!r}, "
            f"wanted {FORMAT!r} version {FORMAT_VERSION!r}; "
            "tools/convert_weights.py converts foreign checkpoints"
        )
    sha256 = tensors_sha256(tensors)
    if sha256 != metadata.get("tensors_sha256"):
        raise RequestError(
            f"weights: {str(path)!r} is damaged: its tensors have SHA-256 {sha256}, "
            f"its header promises {metadata.get('tensors_sha256')}"
        )
    params = to_params(tensors, path)
    return Weights(params, _preprocessing(metadata, path), metadata, sha256)


def _check_ending(path: pathlib.Path) -> None:
    """Raise RequestError for a checkpoint of another program, by the file's name."""
    ending = path.suffix.lower()
    if ending in CONVERTED:
        names = (
            shlex.quote(str(path)),
            shlex.quote(str(path.with_suffix(".safetensors"))),
        )
        raise RequestError(
            f"weights: {str(path)!r} is a checkpoint of another program; convert it "
            "first: python tools/convert_weights.py "
            f"--input={names[0]} --output={names[1]}"
        )
    if ending in FOREIGN:
        raise RequestError(
            f"weights: {str(path)!r} is a checkpoint of another program, of a kind "
            "that tools/convert_weights.py does not read; it reads the VGG-19 of Keras "
            "(.h5), torchvision (.pth) and MatConvNet (.mat)"
        )


def to_params(tensors: Mapping[str, np.ndarray], path: str | pathlib.Path) -> Params:
    """A file's tensors as `Weights.params`: dequantised, in Flax's layout.

    Args:
      tensors: as in the module's description.
      path: where they are from, for the message.

    Raises:
      RequestError: they are not a whole VGG-19 of finite values.
    """
    return {
        name: _conv(tensors, name, inputs, outputs, path)
        for name, (inputs, outputs) in conv_shapes().items()
    }


def load_network(
    path: str | pathlib.Path = DEFAULT_PATH,
    *,
    pooling: str = "max",
    padding: str = "zeros",
    numerics: Numerics = Numerics(),
    pool_rounding: str = "ceil",
) -> Network:
    """The network of a weight file, on the device; by default the bundled one.

    Raises:
      RequestError: the file is not whole, or there is no such pooling, rounding or
        padding.
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


def _conv(
    tensors: Mapping[str, np.ndarray],
    name: str,
    inputs: int,
    outputs: int,
    path: str | pathlib.Path,
) -> dict[str, np.ndarray]:
    """One convolution in Flax's layout, dequantised."""
    bias = tensors.get(f"{name}/bias")
    indices = tensors.get(f"{name}/indices", tensors.get(f"{name}/kernel"))
    expected = (outputs, inputs, 3, 3)
    if bias is None or indices is None or bias.shape != (outputs,):
        raise RequestError(f"weights: {str(path)!r} lacks a whole {name}")
    if indices.shape != expected:
        raise RequestError(
            f"weights: {name} in {str(path)!r} has shape {indices.shape}, "
            f"VGG-19's has {expected}"
        )
    kernel = np.ascontiguousarray(indices.transpose(2, 3, 1, 0))
    if f"{name}/indices" in tensors:
        table = tensors.get(f"{name}/table")
        if kernel.dtype != np.uint8 or table is None or table.shape != (256,):
            raise RequestError(
                f"weights: {name} in {str(path)!r} needs uint8 indices and a table "
                "of 256 entries"
            )
        kernel = table[kernel]
    if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
        raise RequestError(f"weights: {name} in {str(path)!r} holds NaN or infinity")
    return {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}


def _preprocessing(metadata: Mapping[str, str], path: pathlib.Path) -> Preprocessing:
    try:
        fields = json.loads(metadata["preprocessing"])
        return Preprocessing(
            fields["channel_order"],
            float(fields["scale"]),
            tuple(map(float, fields["mean"])),  # type: ignore[arg-type]
            tuple(map(float, fields["std"])),  # type: ignore[arg-type]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError(
            f"weights: {str(path)!r} does not say what its network expects of a "
            f"picture ({error})"
        ) from None
