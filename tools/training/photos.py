"""Photographs for training a prior: decoded once into memory, cropped anew at every step."""

from __future__ import annotations

import itertools
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from util.images.image_io import SUFFIXES, ImageError, decode_rgb


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every image in a folder (recursively) or a tar archive, in order of name."""
    if source.is_dir():
        for path in sorted(p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES):
            yield str(path), path.read_bytes()
    else:
        try:
            archive = tarfile.open(source)  # noqa: SIM115, closed below
        except (OSError, tarfile.TarError) as error:
            raise ValueError(f"{source} is no folder and no readable tar archive ({error})") from error
        with archive:
            members = [
                m for m in archive.getmembers() if m.isfile() and Path(m.name).suffix.lower() in SUFFIXES
            ]
            for member in sorted(members, key=lambda m: m.name):
                stream = archive.extractfile(member)
                assert stream is not None  # a regular file
                yield f"{source}:{member.name}", stream.read()


def load_photos(
    sources: Sequence[Path], min_side: int, limit: int | None = None, quiet: bool = False
) -> list[np.ndarray]:
    """Every photograph of ``sources`` whose sides are at least ``min_side``: (H, W, 3) uint8 arrays.

    Unreadable files are left out, and named unless ``quiet``. Raises ValueError when nothing is left, and when
    a source does not exist or is no folder or tar archive.
    """
    photos: list[np.ndarray] = []
    bar = tqdm(desc="decoding photographs", unit="image", disable=quiet)
    for source in sources:
        if not source.exists():
            raise ValueError(f"{source} does not exist: give folders or tar archives of photographs")
    for name, content in itertools.chain.from_iterable(map(_files, sources)):
        if limit is not None and len(photos) >= limit:
            break
        try:
            photo = decode_rgb(content, name)
        except ImageError as error:
            if not quiet:
                tqdm.write(f"left out: {error}")
            continue
        if min(photo.shape[:2]) >= min_side:
            photos.append(photo)
            bar.update()
    bar.close()
    if not photos:
        raise ValueError(
            f"no photograph of at least {min_side} pixels a side in {', '.join(map(str, sources))}"
        )
    return photos


@dataclass(frozen=True)
class Crop:
    """A square window of a photograph, ``side`` pixels wide, and whether it is mirrored."""

    top: int
    left: int
    side: int
    mirrored: bool

    def cut(self, photo: np.ndarray, size: int) -> np.ndarray:
        """The window, scaled to (size, size, 3) uint8."""
        crop = photo[self.top : self.top + self.side, self.left : self.left + self.side]
        if self.side != size:
            crop = np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.BICUBIC))
        return crop[:, ::-1] if self.mirrored else crop


def draw_crop(shape: Sequence[int], size: int, rng: np.random.Generator, shrunk: float = 0.5) -> Crop:
    """A random window of a photograph of (height, width): mirrored half of the time, and a share ``shrunk`` of the
    time up to twice ``size`` wide, that is, scaled down by 1 to 2."""
    height, width = shape
    scale = rng.uniform(1.0, 2.0) if rng.random() < shrunk else 1.0
    side = min(round(size * scale), height, width)
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    return Crop(int(top), int(left), side, bool(rng.random() < 0.5))


def darken(crop: np.ndarray, gain: float, gamma: float) -> np.ndarray:
    """Levels v of 255 -> 255 gain (v / 255)^gamma, rounded: uint8 as a scene with little light, without its noise."""
    levels = np.round(255.0 * gain * (np.arange(256) / 255.0) ** gamma).astype(np.uint8)
    return levels[crop]


def retone(crop: np.ndarray, slope: float, middle: float) -> np.ndarray:
    """Levels v of 255 -> middle + slope (v - 127.5), rounded and clipped: uint8.

    As thermal cameras show a scene: a slope below 0 inverts it, one nearer to 0 compresses it, one beyond 1 clips.
    """
    levels = middle + slope * (np.arange(256) - 127.5)
    return levels.round().clip(0, 255).astype(np.uint8)[crop]


def center_crop(photo: np.ndarray, size: int) -> np.ndarray:
    """The (size, size, 3) middle of a photograph."""
    top, left = ((side - size) // 2 for side in photo.shape[:2])
    return photo[top : top + size, left : left + size]


def to_batch(crops: Sequence[np.ndarray]) -> Tensor:
    """(H, W, C) uint8 crops -> (B, C, H, W) float32 in [-1, 1], channels last in memory."""
    batch = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
    return batch.float().div_(127.5).sub_(1.0)
