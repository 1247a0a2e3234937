"""Opening a file of torch.save: its content as data, its tensors from their bytes, its hash, all of one open file.

Nothing is mapped: a compressed record is unpacked, a damaged one is noticed by its checksum, and what replaces the
file meanwhile has no part in it. Sizes are checked before anything of that size is made.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import struct
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from util.checkpoint.known import OLD_TORCH, REMEDY, CheckpointError, known_file, what_else
from util.checkpoint.pickled import read_pickle
from util.checkpoint.stored import ForeignObject, Malformed, Storage, StoredTensor
from util.files import stream_sha256

_LARGEST_FILE = 64 << 30
_LARGEST_PICKLE = 32 << 20
_LARGEST_DIRECTORY = 32 << 20  # the list of contents of a zip archive
_EXPANSION = 20  # weights may unpack to this times the file's size, or to:
_ALWAYS = 64 << 20

_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,  # encodings that zipfile does not know
    RuntimeError,  # encrypted
    EOFError,
    OSError,
    ValueError,
    struct.error,
    OverflowError,
    KeyError,  # a file that is not in the archive
)


class CheckpointFile:
    """An open checkpoint; use :func:`open_checkpoint`. Every method raises CheckpointError, naming the file."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self.path, self._stream = path, stream
        self.size = os.fstat(stream.fileno()).st_size
        self._old: dict[str, int] = {}  # where the storages of an old file begin
        self._big_endian = False

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the whole file."""
        self._stream.seek(0)
        return stream_sha256(self._stream)

    @cached_property
    def head(self) -> bytes:
        """The first bytes, which tell what it is."""
        self._stream.seek(0)
        return self._stream.read(512)

    @cached_property
    def content(self) -> Any:
        """What was saved; tensors as :class:`~util.checkpoint.pickled.StoredTensor`, the rest as it was."""
        if self.head[:1] == b"\x80" and not self.head.startswith(OLD_TORCH):
            raise CheckpointError(
                f"{self.path} is a bare pickle, which could run code when it is read: refused. "
                "Save the plain state_dict with torch.save and use that"
            )
        try:
            if self._archive is not None:
                self._big_endian = self._byte_order() == b"big"
                return read_pickle(io.BytesIO(self._record("data.pkl", _LARGEST_PICKLE)))[0]
            if self.head.startswith(OLD_TORCH):
                return self._read_old()
        except ForeignObject as error:
            raise CheckpointError(
                f"{self.path} holds Python objects beside tensors ({error}), which could run code: refused. "
                "Save the plain state_dict, of dense tensors, and use that"
            ) from error
        except (Malformed, *_ERRORS) as error:
            raise self._problem(error) from error
        raise self._problem()

    def tensors(self, stored: Sequence[StoredTensor]) -> Iterator[Tensor]:
        """These tensors, on the CPU, in the file's precision; each may share its memory with others of them.

        What they take together is checked first.
        """
        storages = {tensor.storage for tensor in stored}
        wanted = sum(tensor.numel() * tensor.dtype.itemsize for tensor in stored)
        wanted = max(wanted, sum(storage.nbytes for storage in storages))
        if wanted > max(_ALWAYS, _EXPANSION * self.size):
            raise CheckpointError(
                f"{self.path} would unpack to {wanted:,} bytes, but has {self.size:,}: these are no weights; "
                "save the plain state_dict with torch.save and use that"
            )
        uses = Counter(tensor.storage for tensor in stored)
        kept: dict[Storage, Tensor] = {}
        for tensor in stored:
            if tensor.storage not in kept:
                kept[tensor.storage] = self._read_storage(tensor.storage)
            yield kept[tensor.storage].as_strided(tensor.shape, tensor.stride, tensor.offset)
            uses[tensor.storage] -= 1
            if not uses[tensor.storage]:
                del kept[tensor.storage]

    def _read_storage(self, storage: Storage) -> Tensor:
        try:
            if self._archive is None:
                self._stream.seek(self._old[storage.key])
                data = self._stream.read(storage.nbytes)
            else:
                data = self._record(f"data/{storage.key}", storage.nbytes)
        except _ERRORS as error:
            raise self._problem(error) from error
        if len(data) != storage.nbytes:
            raise self._problem()
        if not data:
            return torch.empty(0, dtype=storage.dtype)
        if self._big_endian != (sys.byteorder == "big"):
            width = storage.dtype.itemsize // (2 if storage.dtype.is_complex else 1)
            data = np.frombuffer(data, f"u{width}").byteswap().tobytes()
        return torch.frombuffer(bytearray(data), dtype=storage.dtype)

    @cached_property
    def _archive(self) -> zipfile.ZipFile | None:
        """The file as a zip archive of torch.save, if it is a zip archive."""
        try:
            if not zipfile.is_zipfile(self._stream):
                return None
            if _directory_size(self._stream, self.size) > _LARGEST_DIRECTORY:
                raise zipfile.BadZipFile("too long a list of contents")
            archive = zipfile.ZipFile(self._stream)
        except _ERRORS as error:
            raise self._problem(error) from error
        names = [name.lower() for name in archive.namelist()]
        last = {name.rpartition("/")[2] for name in names}
        if "constants.pkl" in last:
            problem = "is a TorchScript program: save the plain state_dict with torch.save and use that"
        elif "data.pkl" not in last:
            problem = "is a zip archive, but not one of torch.save: it is damaged or is no PyTorch checkpoint"
        elif len(set(names)) < len(names) or len({name.partition("/")[0] for name in names}) > 1:
            problem = "is a zip archive that names a file twice: it is damaged or is no PyTorch checkpoint"
        else:
            return archive
        raise CheckpointError(f"{self.path} {problem}. {REMEDY}")

    def _record(self, name: str, most: int) -> bytes:
        """A file in the archive, of at most ``most`` bytes. Raises KeyError and errors of zipfile."""
        assert self._archive is not None
        top = self._archive.namelist()[0].partition("/")[0]
        info = self._archive.getinfo(f"{top}/{name}")
        if info.file_size > most:
            raise zipfile.BadZipFile(f"{name} is too long")
        with self._archive.open(info) as stream:
            return stream.read(most + 1)

    def _byte_order(self) -> bytes:
        try:
            return self._record("byteorder", 10)
        except KeyError:  # not written until torch 2.1
            return b"little"

    def _read_old(self) -> Any:
        """The format of torch until 1.6: pickles, then the storages in the order of a list of keys."""
        self._stream.seek(0)
        pickles = io.BytesIO(self._stream.read(_LARGEST_PICKLE))
        _, _, system = (read_pickle(pickles)[0] for _ in range(3))
        content, storages = read_pickle(pickles)
        keys, _ = read_pickle(pickles)
        if not isinstance(system, dict) or not isinstance(keys, list):
            raise Malformed("no list of storages")
        self._big_endian = not system.get("little_endian", True)
        place, known = pickles.tell(), {storage.key: storage for storage in storages}
        for key in keys:
            self._stream.seek(place)
            count = int.from_bytes(self._stream.read(8), "big" if self._big_endian else "little")
            if key not in known or known[key].count != count:
                raise Malformed("a storage of another size")
            self._old[key] = place + 8
            place += 8 + known[key].nbytes
        if place > self.size:
            raise Malformed("its end is missing")
        return content

    def _problem(self, error: Exception | None = None) -> CheckpointError:
        """The error to raise for a file that cannot be read."""
        if isinstance(error, CheckpointError):
            return error
        if isinstance(error, OSError):
            return CheckpointError(f"{self.path} cannot be read: {error.strerror or error}")
        if (damaged := re.match("Bad CRC-32 for file '(.*)'", str(error))) is not None:
            return CheckpointError(
                f"{self.path} is damaged: the checksum of {damaged[1]} in it is wrong; get a whole copy. {REMEDY}"
            )
        return CheckpointError(f"{self.path} {what_else(self.head)}. {REMEDY}")


@contextlib.contextmanager
def open_checkpoint(path: Path) -> Iterator[CheckpointFile]:
    """Open a checkpoint for reading. Raises CheckpointError, also at the end if the file was changed meanwhile."""
    if not path.is_file():
        problem = "is a folder, not a file" if path.is_dir() else "does not exist"
        problem = "is no regular file" if path.exists() and not path.is_dir() else problem
        raise CheckpointError(f"the checkpoint {path} {problem}. {REMEDY}")
    try:
        stream = path.open("rb")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    with stream:
        before = os.fstat(stream.fileno())
        known = known_file(path.name)
        if known is not None and before.st_size < known.size:
            raise CheckpointError(
                f"{path} has {before.st_size:,} of {known.size:,} bytes: the download is not complete. Delete it. "
                f"{REMEDY}"
            )
        if before.st_size > _LARGEST_FILE:
            raise CheckpointError(
                f"{path} has {before.st_size:,} bytes, more than any prior: give its weights alone"
            )
        yield CheckpointFile(path, stream)
        after = os.fstat(stream.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise CheckpointError(f"{path} was changed while it was read: start again when it is complete")


def _directory_size(stream: BinaryIO, size: int) -> int:
    """Bytes of a zip archive's list of contents, as its end tells, in the old way or in that of large files."""
    stream.seek(max(0, size - (1 << 17)))
    tail = stream.read()
    old, large = tail.rfind(b"PK\5\6"), tail.rfind(b"PK\6\6")
    sizes = [struct.unpack_from("<I", tail, old + 12)[0]] if old >= 0 else []
    if large >= 0:
        sizes = [size for size in sizes if size != 0xFFFFFFFF]
        sizes.append(struct.unpack_from("<Q", tail, large + 40)[0])
    return max(sizes, default=0)
