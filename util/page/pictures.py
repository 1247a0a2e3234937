"""What a visitor brings: files of images, read once, known by the names that they had there."""

from __future__ import annotations

import hashlib
import threading
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from util.files import project_root
from util.images.image_io import ImageError, decode_rgb, grey_from_rgb, is_coloured, upright_size
from util.images.pairs import MULTIPLE, find_pairs
from util.page.limits import Limits

_LONGEST_NAME = 80

_DECODING = threading.Lock()  # the limit of pixels is one for the whole process


@dataclass(frozen=True, eq=False)
class Picture:
    """An image as it is fused. ``name``: to be shown, never a path. ``luma``: (H, W) uint8; ``rgb``: (H, W, 3) uint8,
    None where it is grey; ``sha256``: of the file.
    """

    name: str
    luma: np.ndarray
    rgb: np.ndarray | None
    sha256: str

    @property
    def pixels(self) -> np.ndarray:
        """(H, W), or (H, W, 3) where there is colour; uint8."""
        return self.luma if self.rgb is None else self.rgb

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.luma.shape[0], self.luma.shape[1]

    @property
    def measures(self) -> str:
        """In words: 640 x 480 pixels, grey."""
        height, width = self.size
        return f"{width} x {height} pixels, {'grey' if self.rgb is None else 'colour'}"


def shown_name(path: Path | str) -> str:
    """The last part of a name as it may be shown: printable, not too long; whoever shows it still escapes markup."""
    name = str(path).replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(c if c.isprintable() else "?" for c in unicodedata.normalize("NFC", name))
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 12]}...{name[-9:]}"


def read_picture(path: Path, limits: Limits) -> Picture:
    """The image of a file that was uploaded. Raises ImageError, which knows the file by its shown name."""
    name = shown_name(path)
    try:
        size = path.stat().st_size
        if size > limits.megabytes * 1_000_000:
            raise ImageError(
                f"{name}: {size / 1e6:.0f} MB, but this page takes files of up to {limits.megabytes} MB"
            )
        _check_pixels(upright_size(path), name, limits)
        content = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{name}: it is not here any more; upload it again") from error
    with _DECODING:
        rgb = decode_rgb(content, name, None, limits.pixels)
    luma = grey_from_rgb(rgb)
    height, width = luma.shape
    _check_pixels((height, width), name, limits)
    if min(luma.shape) < MULTIPLE:
        raise ImageError(f"{name}: {width} x {height} pixels; the smallest side possible is {MULTIPLE}")
    if luma.min() == luma.max():
        raise ImageError(f"{name}: all its pixels look the same, there is nothing to fuse; leave it out")
    return Picture(name, luma, rgb if is_coloured(rgb) else None, hashlib.sha256(content).hexdigest())


def _check_pixels(size: tuple[int, int] | None, name: str, limits: Limits) -> None:
    if size is not None and size[0] * size[1] > limits.pixels:
        raise ImageError(
            f"{name}: {size[1]} x {size[0]} pixels, but this page takes up to {limits.pixels:,}; use a smaller image"
        )


def read_pictures(paths: Sequence[Path], limits: Limits) -> list[Picture]:
    """The images of one scene, in order. Raises ValueError that names every file that cannot be used."""
    if len(paths) > limits.images:
        raise ValueError(f"{len(paths)} images, but this page takes up to {limits.images} of one scene")
    pictures: list[Picture] = []
    errors: list[str] = []
    for path in paths:
        try:
            pictures.append(read_picture(path, limits))
        except ImageError as error:
            errors.append(str(error))
    if errors:
        raise ValueError("\n".join(errors))
    return pictures


def check_sizes(pictures: Sequence[Picture]) -> None:
    """Raise ValueError, naming them, for images of different sizes."""
    if len({picture.size for picture in pictures}) > 1:
        found = "; ".join(f"{picture.name} is {picture.measures}" for picture in pictures)
        raise ValueError(
            f"the images must show the same scene at the same size, but {found}. Let them be brought together "
            "(Settings, Alignment), or bring them to one size first"
        )


def sample_pairs() -> dict[str, tuple[Path, Path]]:
    """The sample pairs that come with the project, by name."""
    folder = project_root() / "input"
    pairs, _ = find_pairs(folder / "ir", folder / "vi")
    return {pair.stem: (pair.ir, pair.vi) for pair in pairs}
