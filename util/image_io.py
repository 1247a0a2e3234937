"""Reading and writing image files; nothing else in the project does."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})

# An image counts as coloured when this share of its pixels has channels further apart than the spread:
# compression alone tints grey images by a few levels, scattered pixels of colour (a logo) do not matter.
_COLOUR_SHARE, _COLOUR_SPREAD = 0.001, 10


class ImageError(ValueError):
    """An image file that cannot be used; the message names it and says why and what to do."""


@dataclass(frozen=True, eq=False)
class SourceImage:
    """An image file as it was read.

    ``luma``: (H, W) uint8; ``rgb``: (H, W, 3) uint8, or None when the image is grey in fact, whatever its
    file format; ``sha256``: of the file's bytes.
    """

    path: Path
    luma: np.ndarray
    rgb: np.ndarray | None
    sha256: str

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.luma.shape[0], self.luma.shape[1]


def grey_from_rgb(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (H, W) uint8: 0.299 R + 0.587 G + 0.114 B, rounded, in exact integer arithmetic."""
    weighted = rgb.astype(np.uint32) @ np.array([299, 587, 114], dtype=np.uint32)
    return ((weighted + 500) // 1000).astype(np.uint8)


def is_coloured(rgb: np.ndarray) -> bool:
    """Whether an (H, W, 3) uint8 image holds colour, rather than grey stored as RGB."""
    spread = rgb.max(axis=2).astype(np.int16) - rgb.min(axis=2)
    return bool((spread > _COLOUR_SPREAD).mean() > _COLOUR_SHARE)


def _open(content: bytes, name: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
        return ImageOps.exif_transpose(image)
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: too many pixels to be opened safely ({error})") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise ImageError(
            f"{name}: not a readable image ({error}); replace it with a whole PNG or JPEG file"
        ) from error


def _is_deep(image: Image.Image) -> bool:
    return image.mode == "F" or image.mode.startswith("I")


def _scale_deep(image: Image.Image, name: str) -> np.ndarray:
    """More than 8 bits (thermal cameras) -> (H, W) uint8, the middle 99.8 % of the values spread over it."""
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise ImageError(f"{name}: holds NaN or infinite values; replace them")
    low, high = np.percentile(values, (0.1, 99.9))
    if high <= low:
        raise ImageError(f"{name}: all its values are the same, there is nothing to fuse")
    return np.round(np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def decode_rgb(content: bytes, name: str) -> np.ndarray:
    """Bytes of an image file -> (H, W, 3) uint8. ``name`` is for errors. Raises ImageError."""
    image = _open(content, name)
    if _is_deep(image):
        return np.repeat(_scale_deep(image, name)[:, :, None], 3, axis=2)
    return np.asarray(image.convert("RGB"))


def read_image(path: Path) -> SourceImage:
    """Read a PNG, JPEG, BMP, TIFF or WebP file, turned upright. Raises ImageError.

    Images of more than 8 bits are scaled by percentiles of their own.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error
    rgb = decode_rgb(content, str(path))
    return SourceImage(
        path=path,
        luma=grey_from_rgb(rgb),
        rgb=rgb if is_coloured(rgb) else None,
        sha256=hashlib.sha256(content).hexdigest(),
    )


def stretch(luma: np.ndarray) -> np.ndarray:
    """Min-max stretch of a floating-point image over [0, 255] (float64); a constant image becomes 0."""
    luma = luma.astype(np.float64)
    low, high = luma.min(), luma.max()
    return (luma - low) * (255.0 / (high - low)) if high > low else np.zeros_like(luma)


def round_to_uint8(stretched: np.ndarray) -> np.ndarray:
    """[0, 255] -> uint8 as the released code rounds when it saves: halves go down."""
    return np.floor(stretched + 0.5 - 1e-9).astype(np.uint8)


def write_png(path: Path, image: np.ndarray, text: Mapping[str, str] | None = None) -> None:
    """Write (H, W) grey or (H, W, 3) RGB uint8 with text chunks; the file appears whole or not at all.

    Raises OSError when it cannot be written.
    """
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_text(key, value)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", pnginfo=info)
    write_atomically(path, buffer.getvalue())


def read_png_text(path: Path) -> dict[str, str]:
    """The text chunks of a PNG file; empty when it cannot be read or is damaged."""
    try:
        with Image.open(path) as image:
            image.load()
            return {key: str(value) for key, value in image.info.items() if isinstance(value, str)}
    except (OSError, ValueError, SyntaxError):
        return {}


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside its own, then rename it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part-", suffix=path.suffix)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
