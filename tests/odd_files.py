"""Files as they really come: makers of odd and bad ones, for tests/util/images/test_odd_inputs.py.

A maker gets the folder with a good pair, ``ir/x.png`` and ``vi/x.png`` of 40 rows and 64 columns, and changes it.
"""

from __future__ import annotations

import os
import struct
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

Maker = Callable[[Path], None]
HEIGHT, WIDTH = 40, 64


def scene(channels: int = 1, seed: int = 0) -> np.ndarray:
    """A smooth uint8 image, (40, 64) or (40, 64, channels)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 8, channels), dtype=np.uint8)
    rows = [
        np.asarray(Image.fromarray(coarse[..., c]).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
        for c in range(channels)
    ]
    return rows[0] if channels == 1 else np.stack(rows, axis=-1)


def good_pair(folder: Path, stem: str = "x") -> None:
    for number, side in enumerate(("ir", "vi")):
        (folder / side).mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene(seed=number)).save(folder / side / f"{stem}.png")


def vi_as(name: str, channels: int = 3, mode: str = "", **options: Any) -> Maker:
    """The visible image saved by Pillow under another name, mode or with options."""

    def make(folder: Path) -> None:
        (folder / "vi/x.png").unlink()
        image = Image.fromarray(scene(channels))
        if "exif" in options:
            image = image.transpose(Image.Transpose.ROTATE_90)
        (image.convert(mode) if mode else image).save(folder / "vi" / name, **options)

    return make


def ir_values(values: np.ndarray, name: str = "x.tif", **options: Any) -> Maker:
    """The infrared image from an array of any type."""

    def make(folder: Path) -> None:
        (folder / "ir/x.png").unlink()
        Image.fromarray(values).save(folder / "ir" / name, **options)

    return make


def tiff_values(
    values: np.ndarray, side: str = "ir", photometric: str = "minisblack", **options: Any
) -> Maker:
    """An image that Pillow does not write, from an array of any type."""

    def make(folder: Path) -> None:
        (folder / side / "x.png").unlink()
        tifffile.imwrite(folder / side / "x.tif", values, photometric=photometric, metadata=None, **options)

    return make


def content(data: bytes, side: str = "ir", name: str = "x.png") -> Maker:
    """A file with this content in place of the image."""

    def make(folder: Path) -> None:
        (folder / side / "x.png").unlink()
        (folder / side / name).write_bytes(data)

    return make


def truncated(suffix: str) -> Maker:
    def make(folder: Path) -> None:
        vi_as(f"x.{suffix}")(folder)
        path = folder / f"vi/x.{suffix}"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return make


def frames(name: str, **options: Any) -> Maker:
    """An animation, or a file of two pages, in place of the infrared image."""

    def make(folder: Path) -> None:
        (folder / "ir/x.png").unlink()
        first, second = Image.fromarray(scene()), Image.fromarray(scene(seed=5))
        first.save(folder / "ir" / name, save_all=True, append_images=[second], **options)

    return make


def renamed(side: str, name: str) -> Maker:
    return lambda folder: (folder / side / "x.png").rename(folder / side / name) and None


def both_renamed(ir: str, vi: str) -> Maker:
    def make(folder: Path) -> None:
        (folder / "ir/x.png").rename(folder / "ir" / ir)
        (folder / "vi/x.png").rename(folder / "vi" / vi)

    return make


def also(*names: str) -> Maker:
    """Files beside the pair that are nobody's business."""

    def make(folder: Path) -> None:
        for name in names:
            (folder / name).write_bytes(b"junk")

    return make


def png_chunks(width: int, height: int, depth: int, kind: int, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG file from its header fields and further chunks, valid or not."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, data in ((b"IHDR", header), *more, (b"IEND", b"")):
        checksum = zlib.crc32(name + data)
        parts.append(struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum))
    return b"".join(parts)


def deep_colour_png() -> bytes:
    """16 bits for each of three channels, which Pillow itself cannot write."""
    pixels = (scene(3).astype(">u2") * 257).reshape(HEIGHT, -1)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return png_chunks(WIDTH, HEIGHT, 16, 2, (b"IDAT", zlib.compress(rows)))


def bomb() -> bytes:
    """A hundred thousand pixels a side in a file of a few bytes."""
    return png_chunks(100_000, 100_000, 8, 0, (b"IDAT", zlib.compress(b"\0" * 1000)))


def text_bomb() -> bytes:
    """A text chunk of a few kilobytes that unpacks to a hundred megabytes."""
    return png_chunks(
        WIDTH,
        HEIGHT,
        8,
        0,
        (b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * 100_000_000, 9)),
        (b"IDAT", zlib.compress(b"\0" * 1000)),
    )


def flipped_bit(folder: Path) -> None:
    path = folder / "ir/x.png"
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 20] ^= 1
    path.write_bytes(bytes(data))


def broken_link(folder: Path) -> None:
    (folder / "ir/x.png").unlink()
    (folder / "ir/x.png").symlink_to(folder / "moved_away.png")


def link_loop(folder: Path) -> None:
    (folder / "ir/x.png").unlink()
    (folder / "ir/x.png").symlink_to(folder / "ir/x.png")


def good_link(folder: Path) -> None:
    (folder / "vi/x.png").rename(folder / "elsewhere.png")
    (folder / "vi/x.png").symlink_to(folder / "elsewhere.png")


def pipe(folder: Path) -> None:
    (folder / "ir/x.png").unlink()
    os.mkfifo(folder / "ir/x.png")


def subfolder(folder: Path) -> None:
    (folder / "ir/x.png").unlink()
    (folder / "ir/x.png").mkdir()


def with_value(value: float) -> np.ndarray:
    """A float image with one value that is no number."""
    values = scene().astype(np.float32)
    values[3, 4] = value
    return values


def transparent(folder: Path) -> None:
    rgba = np.dstack([scene(3), np.zeros((HEIGHT, WIDTH), np.uint8)])
    Image.fromarray(rgba).save(folder / "vi/x.png")


def transparent_margin(folder: Path) -> None:
    """As registration leaves it: outside the overlap nothing, and anything at all in its colours."""
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[:, :8] = 0
    Image.fromarray(np.dstack([scene(3), alpha])).save(folder / "vi/x.png")


def quarter_turn() -> Image.Exif:
    """Orientation 6: the camera was turned, and a viewer turns the image back by 90 degrees clockwise."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


COMPOSED = unicodedata.normalize("NFC", "Zürich")
DECOMPOSED = unicodedata.normalize("NFD", "Zürich")
