"""What is fuzzed: good samples, how they are damaged, who reads them, and the one error that may come of it."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from PIL import Image

from guided_diffusion.config import DiffusionConfig, ModelConfig
from guided_diffusion.fusion_config import FusionConfig
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.script_util import empty_model
from guided_diffusion.typed import ConfigError
from tests.fuzz.mutations import mutate
from tests.hostile_checkpoints import archive, records, saved
from util.checkpoint import CheckpointError
from util.checkpoint.loading import read_state_dict
from util.files import project_root
from util.images.image_io import ImageError, read_image
from util.prior import read_config


@dataclass(frozen=True)
class Target:
    """``samples``: file name and content; ``damage``: a case of a sample; ``read``: raises ``error`` or nothing."""

    samples: list[tuple[str, bytes]]
    damage: Callable[[bytes, random.Random], bytes]
    read: Callable[[Path], Any]
    error: type[Exception]


_PICKLE_WORDS = (
    *(b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n"),
    *(b"cos\nsystem\n", b"ctorch\nSize\n", b"c__builtin__\nset\n"),
    *(b"(", b")", b"}", b"]", b"\x85", b"\x86", b"\x87", b"t", b"R", b"s", b"u", b"a", b"e", b"b", b"Q", b"\x81"),
    *(b"q\x01", b"h\x01", b"r\xff\xff\xff\x7f", b"j\xff\xff\xff\x7f", b"K\xff", b"M\xff\xff", b"J\xff\xff\xff\xff"),
    *(b"\x8a\x06\x00\x00\x00\x10\x5d\x00", b"N", b"\x88", b"X\xff\xff\xff\x7f", b"X\x01\x00\x00\x000"),
)  # fmt: skip


def _checkpoints() -> list[tuple[str, bytes]]:
    weights = {"time_embed.0.weight": torch.arange(8.0).reshape(4, 2), "out.2.bias": torch.ones(6).half()}
    state = {
        "model": weights,
        "ema": weights,
        "optimizer": {"state": {0: {"step": 1}}, "lr": [1e-3, None, True]},
    }
    compressed = archive(records(saved(weights)), zipfile.ZIP_DEFLATED)
    contents = [
        saved(weights),
        saved(state),
        compressed,
        saved(torch.nn.Linear(2, 3).state_dict()),
        saved(state, _use_new_zipfile_serialization=False),
    ]
    return [(f"{number}.pt", content) for number, content in enumerate(contents)]


def _damage_checkpoint(content: bytes, rng: random.Random) -> bytes:
    """Anywhere in the file, or in the pickle inside, so that archive and checksums are whole."""
    if content.startswith(b"PK") and rng.random() < 0.6:
        parts = records(content)
        name = next(name for name in parts if name.endswith("data.pkl"))
        parts[name] = mutate(parts[name], rng, _PICKLE_WORDS)
        return archive(parts, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    return mutate(content, rng, (*_PICKLE_WORDS, b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06"))


def _images() -> list[tuple[str, bytes]]:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (33, 40), dtype=np.uint8)
    colour = rng.integers(0, 256, (33, 40, 3), dtype=np.uint8)
    samples = []

    def add(name: str, pixels: np.ndarray, **options: Any) -> None:
        buffer = io.BytesIO()
        form = {"jpg": "JPEG", "tif": "TIFF"}.get(name[-3:], name[-3:].upper())
        Image.fromarray(pixels).save(buffer, "WEBP" if form == "EBP" else form, **options)
        samples.append((name, buffer.getvalue()))

    for name in ("a.png", "a.jpg", "a.bmp", "a.tif", "a.webp"):
        add(name, colour)
    add("p.jpg", colour, progressive=True)
    add("g.png", grey)
    add("l.tif", grey, compression="tiff_lzw")
    add("d.tif", grey.astype(np.uint16), compression="tiff_lzw")
    add("d.png", grey.astype(np.uint16))
    for name, kind in (("f.tif", np.float64), ("i.tif", np.int8), ("u.tif", np.uint32), ("z.tif", np.uint16)):
        buffer = io.BytesIO()
        compression = "zlib" if name == "z.tif" else None
        tifffile.imwrite(buffer, grey.astype(kind), photometric="minisblack", compression=compression)
        samples.append((name, buffer.getvalue()))
    return samples


def _yaml() -> list[tuple[str, bytes]]:
    files = sorted((project_root() / "configs").glob("*_config*.yaml"))
    return [(path.name, path.read_bytes()) for path in files]


_YAML_WORDS = (
    *(b"&a ", b"*a", b"<<: ", b"!!int ", b"!!python/name:os.system ", b"- ", b"[", b"]", b"{", b"}", b": ", b"? "),
    *(b"9" * 60, b"-1", b"0", b"1e400", b".nan", b".inf", b"null", b"off", b"'", b'"', b"\n---\n", b"\t", b"| "),
    *(b"2020-13-45", b"1:99:99", b"0x", b"0b2", b"em:\n", b"steps: ", b"num_channels: ", b"[" * 50, b"\xff", b"\x00"),
)  # fmt: skip


def _read_yaml(path: Path) -> None:
    """As far as a run goes before it opens the prior: a network without weights, a process with its steps."""
    if path.name.startswith("model"):
        config = read_config(ModelConfig, path)
        try:
            empty_model(config)
        except ConfigError as error:  # which knows no file
            raise ValueError(f"{path}: {error}") from error
    elif path.name.startswith("diffusion"):
        config = read_config(DiffusionConfig, path)
        try:
            GaussianDiffusion.from_config(config)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    else:
        read_config(FusionConfig, path)


def _damage_yaml(content: bytes, rng: random.Random) -> bytes:
    return mutate(content, rng, _YAML_WORDS)


TARGETS: dict[str, Callable[[], Target]] = {
    "checkpoints": lambda: Target(_checkpoints(), _damage_checkpoint, read_state_dict, CheckpointError),
    "images": lambda: Target(_images(), mutate, read_image, ImageError),
    "yaml": lambda: Target(_yaml(), _damage_yaml, _read_yaml, ValueError),
}
