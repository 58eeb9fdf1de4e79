"""Reads the tensors of a file that `torch.save` wrote, without torch.

Such a file is a pickle that describes tensors as windows on storages, and the
storages' bytes: either all in a zip archive or, before torch 1.6, one after the
other in a stream. A pickle can name any function of any module and have it
called. This reader lets it name only what a dictionary of tensors needs, has
stand-ins that merely note what they were called with, and reads bytes once it
has checked the notes.
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
#: How a stream of the older kind starts: with a pickle of this number.
LEGACY_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
LEGACY_PROTOCOL = 1001

# Strings, not numpy dtypes: a pickle can set the state of an object it is given.
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
    """What a pickle says of a storage; `size` is in elements."""

    key: str
    dtype: str
    size: int

    @property
    def nbytes(self) -> int:
        return self.size * np.dtype(self.dtype).itemsize


class _Tensor(NamedTuple):
    """What a pickle says of a tensor; `offset` and `strides` are in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensors(
    file: BinaryIO, prefixes: tuple[str, ...] = ("",)
) -> dict[str, np.ndarray]:
    """The tensors whose names start with one of `prefixes`, as contiguous arrays.

    Args:
      file: a seekable file that holds a dictionary; what is in the dictionary
        besides tensors is passed over.
      prefixes: storages that no such tensor needs are not read.

    Raises:
      RequestError: `file` has neither of torch's two formats, names a global that
        a dictionary of tensors does not need, or describes a tensor that does
        not fit in its storage.
      Exception: of any kind, from `pickle` or `zipfile`: `file` is damaged.
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
                f"torch archive: wanted one data.pkl in the zip, found {len(pickles)}"
            )
        folder = pickles[0].removesuffix("data.pkl")

        def read(name: str) -> bytes:
            # torch never compresses; what is compressed could swell to any size.
            if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
                raise RequestError(f"torch archive: {name!r} is compressed")
            return archive.read(name)

        if f"{folder}byteorder" in names and read(f"{folder}byteorder") != b"little":
            raise RequestError("torch archive: its numbers are big-endian")
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
            f"torch archive: protocol {protocol!r}, wanted {LEGACY_PROTOCOL}"
        )
    if not _Unpickler(file).load()["little_endian"]:
        raise RequestError("torch archive: its numbers are big-endian")
    unpickler = _Unpickler(file)
    tensors = _tensors(unpickler.load(), prefixes)
    wanted = {tensor.storage.key for tensor in tensors.values()}
    contents = {}
    for key in _Unpickler(file).load():
        storage = unpickler.storages[key]
        size = int.from_bytes(file.read(8), "little")
        stop = file.tell() + storage.nbytes
        if size != storage.size or stop > end:
            raise RequestError(f"torch archive: damaged or cut short at storage {key}")
        if key in wanted:
            contents[key] = file.read(storage.nbytes)
        file.seek(stop)
    return {
        name: _window(name, tensor, contents[tensor.storage.key])
        for name, tensor in tensors.items()
    }


def _tensors(content: Any, prefixes: tuple[str, ...]) -> dict[str, _Tensor]:
    """What of an unpickled dictionary is a tensor under such a name."""
    if not isinstance(content, dict):
        raise RequestError("torch archive: it holds no dictionary of tensors")
    return {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and name.startswith(prefixes)
        if isinstance(value, _Tensor)
    }


def _window(name: str, tensor: _Tensor, content: bytes) -> np.ndarray:
    """The array that `tensor` describes in its storage's bytes."""
    storage, offset, shape, strides = tensor
    # Nothing repeats elements by zero strides either: the copy below is no larger
    # than the file.
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
    """Stands in for `torch._utils._rebuild_tensor` and its second version."""
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    index = operator.index
    return _Tensor(
        storage, index(offset), tuple(map(index, shape)), tuple(map(index, strides))
    )


def _rebuild_parameter(tensor: _Tensor, *_: object) -> _Tensor:
    """Stands in for `torch._utils._rebuild_parameter`."""
    return tensor


_ALLOWED: dict[tuple[str, str], Callable | str] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    # What torchvision's VGG-19 of 2017 asks for.
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): dtype for name, dtype in _STORAGE_DTYPES.items()},
}


class _Unpickler(pickle.Unpickler):
    """Unpickles descriptions of tensors and refuses all else.

    Attributes:
      storages: those that the pickle has named, by key.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise RequestError(
                f"torch archive: it asks for {module}.{name}, which a dictionary of "
                "tensors does not need; refused"
            ) from None

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, size, *view = pid
        known = kind == "storage" and dtype in _STORAGE_DTYPES.values()
        if not known or not isinstance(key, str) or any(view):
            raise pickle.UnpicklingError(f"no plain storage: {pid!r}")
        storage = _Storage(key, dtype, operator.index(size))
        if self.storages.setdefault(key, storage) != storage:
            raise pickle.UnpicklingError(f"two storages are called {key!r}")
        return storage
