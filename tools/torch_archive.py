"""Read the tensors of a file written by `torch.save`, without torch or execution.

The file holds a pickle, which describes tensors as views of storages, and the storages'
bytes: in a zip archive or, before torch 1.6, in a stream. A pickle can call any
function of any module. This reader allows only the names that a dictionary of tensors
needs, and replaces them by functions that record their arguments. It reads bytes after
it has validated the records.
"""

import collections
import io
import math
import operator
import pickle
import zipfile
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from nst_jax.core.errors import RequestError

ZIP_MAGIC = b"PK\x03\x04"
#: First bytes of a stream: a pickle of this number.
LEGACY_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
LEGACY_PROTOCOL = 1001

# Strings, because a pickle can set the state of objects such as NumPy dtypes.
_STORAGE_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "ByteStorage": "|u1",
    "CharStorage": "|i1",
    "ShortStorage": "<i2",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
    "BoolStorage": "|b1",
}


class _Storage(NamedTuple):
    """A storage as described by a pickle; `size` is in elements."""

    key: str
    dtype: str
    size: int

    @property
    def nbytes(self) -> int:
        return self.size * np.dtype(self.dtype).itemsize


class _Tensor(NamedTuple):
    """A tensor as described by a pickle; `offset` and `strides` are in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensors(
    file: BinaryIO, prefixes: tuple[str, ...] = ("",)
) -> dict[str, np.ndarray]:
    """Return the tensors whose names start with one of `prefixes`.

    Args:
      file: a seekable file that holds a dictionary. Entries that are not tensors are
        ignored.
      prefixes: prefixes of names. Other tensors' storages are not read.

    Returns:
      Contiguous arrays by name.

    Raises:
      RequestError: `file` has neither of torch's formats, names a global that a
        dictionary of tensors does not need, or has a tensor that exceeds its storage.
      Exception: `file` is damaged; any exception of `pickle` or `zipfile`.
    """
    magic = file.read(len(LEGACY_MAGIC))
    file.seek(0)
    if magic.startswith(ZIP_MAGIC):
        return _read_zip(file, prefixes)
    if magic == LEGACY_MAGIC:
        return _read_legacy(file, prefixes)
    raise RequestError("torch archive: not a file that torch.save wrote")


def _read_zip(file: BinaryIO, prefixes: tuple[str, ...]) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise RequestError(
                f"torch archive: the zip must hold one data.pkl, got {len(pickles)}"
            )
        folder = pickles[0].removesuffix("data.pkl")

        def read(name: str) -> bytes:
            # torch never compresses, and compressed data could expand to any size.
            if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
                raise RequestError(f"torch archive: {name!r} is compressed")
            return archive.read(name)

        if f"{folder}byteorder" in names and read(f"{folder}byteorder") != b"little":
            raise RequestError("torch archive: big-endian numbers are not supported")
        tensors = _tensors(_Unpickler(io.BytesIO(read(pickles[0]))).load(), prefixes)
        return {
            name: _window(name, tensor, read(f"{folder}data/{tensor.storage.key}"))
            for name, tensor in tensors.items()
        }


def _read_legacy(file: BinaryIO, prefixes: tuple[str, ...]) -> dict[str, np.ndarray]:
    end = file.seek(0, io.SEEK_END)
    file.seek(len(LEGACY_MAGIC))
    protocol = _Unpickler(file).load()
    if protocol != LEGACY_PROTOCOL:
        raise RequestError(
            f"torch archive: the protocol must be {LEGACY_PROTOCOL}, got {protocol!r}"
        )
    if not _Unpickler(file).load()["little_endian"]:
        raise RequestError("torch archive: big-endian numbers are not supported")
    unpickler = _Unpickler(file)
    tensors = _tensors(unpickler.load(), prefixes)
    needed = {tensor.storage.key for tensor in tensors.values()}
    contents = {}
    for key in _Unpickler(file).load():
        storage = unpickler.storages[key]
        size = int.from_bytes(file.read(8), "little")
        stop = file.tell() + storage.nbytes
        if size != storage.size or stop > end:
            raise RequestError(f"torch archive: damaged or cut short at storage {key}")
        if key in needed:
            contents[key] = file.read(storage.nbytes)
        file.seek(stop)
    return {
        name: _window(name, tensor, contents[tensor.storage.key])
        for name, tensor in tensors.items()
    }


def _tensors(content: Any, prefixes: tuple[str, ...]) -> dict[str, _Tensor]:
    """Return the tensors of an unpickled dictionary with matching names."""
    if not isinstance(content, dict):
        raise RequestError("torch archive: it must hold a dictionary of tensors")
    return {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and name.startswith(prefixes)
        if isinstance(value, _Tensor)
    }


def _window(name: str, tensor: _Tensor, content: bytes) -> np.ndarray:
    """Return the array of a tensor from its storage's bytes."""
    storage, offset, shape, strides = tensor
    # The size check also excludes zero strides: the copy is no larger than the file.
    fits = (
        len(content) == storage.nbytes
        and len(shape) == len(strides)
        and min((offset, *shape, *strides)) >= 0
        and math.prod(shape) <= storage.size - offset
    )
    reach = sum((n - 1) * stride for n, stride in zip(shape, strides, strict=False))
    if not fits or (0 not in shape and offset + reach >= storage.size):
        raise RequestError(
            f"torch archive: {name!r} does not fit in its storage of {storage.size}"
        )
    flat = np.frombuffer(content, storage.dtype)[offset:]
    byte_strides = [flat.itemsize * stride for stride in strides]
    return np.lib.stride_tricks.as_strided(flat, shape, byte_strides).copy()


def _rebuild_tensor(
    storage: _Storage,
    offset: int,
    shape: Sequence[int],
    strides: Sequence[int],
    *_: object,
) -> _Tensor:
    """Replace `torch._utils._rebuild_tensor` and its second version."""
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("the tensor has no storage")
    index = operator.index
    return _Tensor(
        storage, index(offset), tuple(map(index, shape)), tuple(map(index, strides))
    )


def _rebuild_parameter(tensor: _Tensor, *_: object) -> _Tensor:
    """Replace `torch._utils._rebuild_parameter`."""
    return tensor


_ALLOWED: dict[tuple[str, str], Callable | str] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    # Used by torchvision's VGG-19 of 2017.
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): dtype for name, dtype in _STORAGE_DTYPES.items()},
}


class _Unpickler(pickle.Unpickler):
    """Unpickler that accepts descriptions of tensors only.

    Attributes:
      storages: storages named by the pickle, by key.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise RequestError(
                f"torch archive: it names {module}.{name}, which a dictionary of "
                "tensors does not need; refused"
            ) from None

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, size, *view = pid
        is_storage = kind == "storage" and dtype in _STORAGE_DTYPES.values()
        if not is_storage or not isinstance(key, str) or any(view):
            raise pickle.UnpicklingError(f"not a plain storage: {pid!r}")
        storage = _Storage(key, dtype, operator.index(size))
        if self.storages.setdefault(key, storage) != storage:
            raise pickle.UnpicklingError(f"two storages have the key {key!r}")
        return storage
