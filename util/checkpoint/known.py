"""What this project knows of checkpoints and of what is taken for them, and the error that all its parts raise."""

from __future__ import annotations

import re
from dataclasses import dataclass


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file and says what to do."""


@dataclass(frozen=True)
class KnownFile:
    """A published checkpoint. ``size`` in bytes, ``sha256`` in hex digits."""

    name: str
    url: str
    size: int
    sha256: str


OFFICIAL = KnownFile(
    name="256x256_diffusion_uncond.pt",
    url="https://openaipublic.blob.core.windows.net/diffusion/jul-2021/256x256_diffusion_uncond.pt",
    size=2_211_383_297,
    sha256="a37c32fffd316cd494cf3f35b339936debdc1576dad13fe57c42399a5dbc78b1",
)
COMPACT_SHA256 = "dc7ba0b386cf883d7dd9baac683b279792a529d397b8035a4ee0043f8331e278"  # of models/compact.pt
GREY_SHA256 = "44f4dbcff5a81a991a6650ae68da3560ac01dff9c8b5d2b2c351b633cc3577fc"  # of models/compact_grey.pt


@dataclass(frozen=True)
class PriorInfo:
    """Which prior made an image. ``official`` only if the file has the hash of the published one."""

    file: str
    sha256: str
    parameters: int

    @property
    def official(self) -> bool:
        return self.sha256 == OFFICIAL.sha256

    @property
    def compact(self) -> bool:
        """Whether the file is the compact prior that comes with this repository."""
        return self.sha256 == COMPACT_SHA256

    @property
    def grey(self) -> bool:
        """Whether the file is the prior for grey images that comes with this repository."""
        return self.sha256 == GREY_SHA256


OLD_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # how torch.save began its files until 1.6

REMEDY = (
    "python -m util.checkpoint download fetches the official prior (2.2 GB) into models/; "
    "the compact one of this repository is used with --model_config configs/model_config_compact.yaml"
)


def known_file(name: str) -> KnownFile | None:
    """What must be in a file of this name, whatever source it comes from; None if the name is not known."""
    return OFFICIAL if name == OFFICIAL.name else None


def what_else(head: bytes) -> str:
    """What a file that cannot be read is, as far as its first bytes tell."""
    if not head:
        return "is empty, so it is damaged or is no PyTorch checkpoint"
    if head.startswith((b"PK", OLD_TORCH)):
        return "is damaged or is no PyTorch checkpoint (it begins like one; perhaps its end is missing)"
    if head.startswith(b"version https://git-lfs"):
        return "is a pointer of git-lfs, not the file itself: git lfs pull fetches it"
    if head[8:9] == b"{":
        return "is damaged or is no PyTorch checkpoint (perhaps safetensors, which is not supported)"
    if head.isascii() and not re.search(rb"[\x00-\x08]", head):
        return "is a text file (a web page in disguise?), so it is damaged or is no PyTorch checkpoint"
    return "is damaged or is no PyTorch checkpoint"
