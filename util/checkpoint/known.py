"""The checkpoints that this project knows by their hash, and the error that all its parts raise."""

from __future__ import annotations

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

REMEDY = (
    "python -m util.checkpoint download fetches the official prior (2.2 GB) into models/; "
    "the compact one of this repository is used with --model_config configs/model_config_compact.yaml"
)


def known_file(name: str) -> KnownFile | None:
    """What must be in a file of this name, whatever source it comes from; None if the name is not known."""
    return OFFICIAL if name == OFFICIAL.name else None
