"""Makers of checkpoint files that no training program writes, from a good one of torch.save."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import torch

Records = dict[str, bytes]


def records(content: bytes) -> Records:
    """The files in the zip archive of a checkpoint."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def archive(parts: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as out:
        for name, content in parts.items():
            out.writestr(name, content)
    return buffer.getvalue()


def saved(content: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def with_pickle(content: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The checkpoint with its data.pkl changed."""
    return archive(
        {name: change(data) if name.endswith("data.pkl") else data for name, data in records(content).items()}
    )


def with_end(content: bytes, **fields: int) -> bytes:
    """The checkpoint with other numbers at the end of the archive."""
    places = {"entries": ("<H", 10), "directory": ("<I", 12), "start": ("<I", 16)}
    out, end = bytearray(content), content.rindex(b"PK\5\6")
    for name, value in fields.items():
        form, place = places[name]
        struct.pack_into(form, out, end + place, value)
    return bytes(out)


ONE = saved({"time_embed.0.weight": torch.ones(4)})
_FOUR = b"K\x04t"  # elements of its storage


def _tuples(depth: int) -> bytes:
    """Tuples in tuples, as the key of a dictionary: to take its hash takes as deep a stack."""
    return b"\x80\x02}" + b")" + b"\x85" * depth + b"Ns."


def _shared(levels: int) -> Any:
    """Few objects that are many when they are followed."""
    content: Any = {"time_embed.0.weight": torch.ones(1)}
    for _ in range(levels):
        content = {f"{key}": content for key in range(200)}
    return content


def _pickled(content: bytes) -> bytes:
    return with_pickle(ONE, lambda _: content)


def _bomb() -> bytes:
    """A quarter of a gigabyte of zeros in a quarter of a megabyte."""
    zeros = torch.zeros(1 << 26)
    return archive(records(saved({"time_embed.0.weight": zeros})), zipfile.ZIP_DEFLATED)


def _quantised() -> torch.Tensor:
    with warnings.catch_warnings():  # such tensors are going out of use
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8)


def _nested_tensor() -> torch.Tensor:
    with warnings.catch_warnings():  # and these are coming
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])


MAKERS: dict[str, Callable[[], bytes]] = {
    "elements that are not there": lambda: with_pickle(
        ONE, lambda data: data.replace(_FOUR, b"M\xff\xfft").replace(b"K\x04\x85", b"M\xff\xff\x85")
    ),
    "400 GB by stride 0": lambda: saved({"time_embed.0.weight": torch.ones(1).expand(100_000_000_000)}),
    "sparse": lambda: saved({"time_embed.0.weight": torch.eye(3).to_sparse()}),
    "meta": lambda: saved({"time_embed.0.weight": torch.empty(4, device="meta")}),
    "nested": lambda: saved({"time_embed.0.weight": _nested_tensor()}),
    "quantised": lambda: saved({"time_embed.0.weight": _quantised()}),
    "shared objects": lambda: saved(_shared(4)),
    "zip bomb": _bomb,
    "no end": lambda: _pickled(b"\x80\x02}q\x00"),
    "empty pickle": lambda: _pickled(b""),
    "text that is none": lambda: _pickled(b"\x80\x02}X\x02\x00\x00\x00\xff\xfeK\x01s."),
    "empty stack": lambda: _pickled(b"\x80\x02s."),
    "memo of 2^31": lambda: _pickled(b"\x80\x02}r\xff\xff\xff\x7f."),
    "deep tuple": lambda: _pickled(_tuples(200_000)),
    "deep list": lambda: _pickled(b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."),
    "400 GB bytearray": lambda: _pickled(b"\x80\x02cbuiltins\nbytearray\n\x8a\x06\x00\x00\x00\x10\x5d\x00\x85R."),
    "protocol 5": lambda: _pickled(pickle.dumps({"a": 1}, protocol=5)),
    "no records": lambda: archive({name: data for name, data in records(ONE).items() if "/data/" not in name}),
    "no pickle": lambda: archive({"archive/data/0": b"1234"}),
    "nothing in the archive": lambda: archive({}),
    "twice the same name": lambda: archive({**records(ONE), "archive/DATA.PKL": b"\x80\x02}."}),
    "an end beyond the file": lambda: with_end(archive(records(ONE)), start=0x7FFFFFFF),
    "4 GB of contents": lambda: with_end(archive(records(ONE)), directory=0xFFFFFFFE),
    "no entries": lambda: with_end(archive(records(ONE)), entries=0, directory=0),
    "old format, cut": lambda: saved({"a": torch.ones(4)}, _use_new_zipfile_serialization=False)[:-3],
    "old format, no storages": lambda: saved({"a": torch.ones(4)}, _use_new_zipfile_serialization=False)[:60],
}  # fmt: skip
