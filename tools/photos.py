"""Photographs for training a prior: decoded once into memory, cropped anew at every step."""

from __future__ import annotations

import itertools
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from util.image_io import SUFFIXES, ImageError, decode_rgb


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every image in a folder (recursively) or a tar archive, in order of name."""
    if source.is_dir():
        for path in sorted(p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES):
            yield str(path), path.read_bytes()
    else:
        with tarfile.open(source) as archive:
            members = [
                m for m in archive.getmembers() if m.isfile() and Path(m.name).suffix.lower() in SUFFIXES
            ]
            for member in sorted(members, key=lambda m: m.name):
                stream = archive.extractfile(member)
                assert stream is not None  # a regular file
                yield f"{source}:{member.name}", stream.read()


def load_photos(sources: Sequence[Path], min_side: int, limit: int | None = None) -> list[np.ndarray]:
    """Every photograph of ``sources`` whose sides are at least ``min_side``: (H, W, 3) uint8 arrays.

    Unreadable files are named and left out. Raises ValueError when nothing is left.
    """
    photos: list[np.ndarray] = []
    bar = tqdm(desc="decoding photographs", unit="image")
    for source in sources:
        if not source.exists():
            raise ValueError(f"{source} does not exist: give folders or tar archives of photographs")
    for name, content in itertools.chain.from_iterable(map(_files, sources)):
        if limit is not None and len(photos) >= limit:
            break
        try:
            photo = decode_rgb(content, name)
        except ImageError as error:
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


def random_crop(photo: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A random (size, size, 3) crop, flipped half of the time, and half of the time scaled down by 1 to 2."""
    height, width = photo.shape[:2]
    scale = rng.uniform(1.0, 2.0) if rng.random() < 0.5 else 1.0
    window = min(round(size * scale), height, width)
    top, left = rng.integers(0, height - window + 1), rng.integers(0, width - window + 1)
    crop = photo[top : top + window, left : left + window]
    if window != size:
        crop = np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.BICUBIC))
    return crop[:, ::-1] if rng.random() < 0.5 else crop


def center_crop(photo: np.ndarray, size: int) -> np.ndarray:
    """The (size, size, 3) middle of a photograph."""
    top, left = ((side - size) // 2 for side in photo.shape[:2])
    return photo[top : top + size, left : left + size]


def to_batch(crops: Sequence[np.ndarray]) -> Tensor:
    """(H, W, 3) uint8 crops -> (B, 3, H, W) float32 in [-1, 1], channels last in memory."""
    batch = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
    return batch.float().div_(127.5).sub_(1.0)
