"""What stands in a checkpoint's pickle for the objects that it names: storages, tensors, dictionaries."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch


class Malformed(ValueError):
    """These bytes are no pickle of torch.save."""


class ForeignObject(ValueError):
    """An object that is no tensor, number, text, list or dictionary; the message is its name."""


@dataclass(frozen=True)
class Storage:
    """Numbers in the file, ``count`` of ``dtype``, which several tensors may share; ``key`` says where they are."""

    key: str
    dtype: torch.dtype
    count: int

    @property
    def nbytes(self) -> int:
        return self.count * self.dtype.itemsize


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in the file, which lies inside its storage; ``stride`` and ``offset`` in elements."""

    storage: Storage
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @property
    def dtype(self) -> torch.dtype:
        return self.storage.dtype

    def numel(self) -> int:
        """The number of its elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Name:
    """An object that the file names."""

    name: str


_STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}
_DTYPES = {str(dtype): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}
_BYTES = "torch.storage.UntypedStorage"  # of tensors whose type stands beside them

# Objects beside weights that are left aside without a look: they hold no tensors.
_LEFT_ASIDE = {
    *("builtins.bytearray", "builtins.complex", "builtins.set", "_codecs.encode", "collections.Counter"),
    *("torch.device", "torch.serialization._get_layout"),
}


_MOST_DIMENSIONS = 16


def fill(target: object, items: list[tuple[Any, Any]]) -> dict[Any, Any]:
    if type(target) is not dict:
        raise Malformed("an entry is put into what is no dictionary")
    for key, value in items:
        plain = key if type(key) is tuple else (key,)
        if len(plain) > 8 or not all(isinstance(part, str | int | float | None) for part in plain):
            raise Malformed("a key that is no text and no number")
        target[key] = value
    return target


def storage_of(parts: Any) -> Storage:
    """A persistent id: "storage", its class, key, device, number of elements; in old files a view of another one."""
    if type(parts) is not tuple or len(parts) < 5 or parts[0] != "storage" or any(parts[5:]):
        raise Malformed("a reference that is none to a storage")
    _, kind, key, _, count = parts[:5]
    if type(kind) is not Name or type(key) is not str or type(count) is not int or count < 0:
        raise Malformed("a storage without type, key or size")
    if kind.name == _BYTES:
        return Storage(key, torch.uint8, count)
    module, _, name = kind.name.rpartition(".")
    if module not in ("torch", "torch.cuda") or name not in _STORAGES:
        raise ForeignObject(kind.name)
    return Storage(key, _STORAGES[name], count)


def made_by(name: str, arguments: tuple[Any, ...]) -> Any:
    """What a call in the file makes."""
    if name == "collections.OrderedDict":
        return fill({}, list(arguments))
    if name == "torch.Size" and type(arguments[0]) is tuple:
        return arguments[0]
    if name in ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"):
        return _tensor(name, *arguments[:4], metadata=arguments[6:])
    if name == "torch._utils._rebuild_tensor_v3":
        return _tensor(name, *arguments[:4], dtype=arguments[6], metadata=arguments[7:])
    if name in (
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state",
        "torch.nn.parameter.Parameter",
    ):
        return arguments[0]
    if name in _LEFT_ASIDE:
        return Name(name)
    raise ForeignObject(name)


def _tensor(
    name: str, storage: Any, offset: Any, shape: Any, stride: Any, *, dtype: Any = None, metadata: Any = ()
) -> StoredTensor:
    if (
        type(shape) is not tuple
        or type(stride) is not tuple
        or max(len(shape), len(stride)) > _MOST_DIMENSIONS
    ):
        raise Malformed("a tensor without shape")
    sizes = [offset, *shape, *stride]
    if type(storage) is not Storage or not all(type(size) is int and size >= 0 for size in sizes):
        raise Malformed("a tensor without storage or sizes")
    if any(metadata):
        raise ForeignObject(f"{name} of a conjugate or negative view")
    if dtype is not None:
        kind = _DTYPES[dtype.name]
        storage = Storage(storage.key, kind, storage.nbytes // kind.itemsize)
    made = StoredTensor(storage, tuple(shape), tuple(stride), offset)
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if made.numel() and max(last + 1, made.numel()) > storage.count:
        raise Malformed(f"a tensor of {made.numel():,} elements in a storage of {storage.count:,}")
    return made
