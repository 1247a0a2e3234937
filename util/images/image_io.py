"""Reading image files; nothing else in the project does."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from util.images.deep import (
    TIFF_HEADS,
    TOO_MANY_PIXELS,
    DeepImage,
    Unreadable,
    ValueRange,
    deep_png,
    deep_tiff,
)

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})

# What Pillow may try; it knows formats that start other programs (EPS).
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")

_PHOTOMETRIC, _YCBCR = 262, 6  # a tag of TIFF, and its value
_MOST_BYTES = 32  # a pixel: four channels of 64 bits
_LITTLE_MEMORY = "there is too little memory to open it; use a smaller image"

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
    red, green, blue = (rgb[..., channel].astype(np.uint32) for channel in range(3))
    return ((299 * red + 587 * green + 114 * blue + 500) // 1000).astype(np.uint8)


def is_coloured(rgb: np.ndarray) -> bool:
    """Whether an (H, W, 3) uint8 image holds colour, rather than grey stored as RGB."""
    red, green, blue = (rgb[..., channel] for channel in range(3))
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return bool((spread > _COLOUR_SPREAD).mean() > _COLOUR_SHARE)


def _open(content: bytes, name: str) -> Image.Image:
    """Decode one image and turn it upright. Raises ImageError."""
    if not content:
        raise ImageError(f"{name}: the file is empty; replace it with a whole image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=_FORMATS)
        frames = getattr(image, "n_frames", 1)
        if frames == 1 or image.format == "MPO":  # MPO: a JPEG with a preview or a depth map behind it
            _expect_three_bytes(image)
            image.load()
            return ImageOps.exif_transpose(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name}: {TOO_MANY_PIXELS}") from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name}: not a readable image, its content is no PNG, JPEG, BMP, TIFF or WebP file whatever its "
            "name says; replace or convert it"
        ) from error
    raise ImageError(f"{name}: holds {frames} frames or pages; save the one to fuse as an image of its own")


def _expect_three_bytes(image: Any) -> None:
    """Pillow before 13 takes an uncompressed YCbCr TIFF for RGB with a fourth byte, which ends its file too early."""
    if image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == _YCBCR:
        tiles = [(tile[0], tile[3]) for tile in image.tile]
        if all(codec == "raw" and args[0] == "RGBX" for codec, args in tiles):
            image._mode = "YCbCr"
            image.tile = [(*tile[:3], ("YCbCr", *tile[3][1:])) for tile in image.tile]


def decode_rgb(
    content: bytes, name: str, value_range: ValueRange | None = None, max_pixels: int | None = None
) -> np.ndarray:
    """Bytes of an image file -> (H, W, 3) uint8; transparent parts become black.

    ``name`` is for errors; ``value_range`` is for images of more than 8 bits, see
    :func:`~util.images.deep.scale_values`; ``max_pixels``: of an image that is opened at all, by default Pillow's
    limit, 89,478,485. Raises ImageError.
    """
    with _explained(name, max_pixels):
        decoded = _decode(content, name)
        return decoded.to_rgb(value_range) if isinstance(decoded, DeepImage) else decoded


def own_range(path: Path, max_pixels: int | None = None) -> ValueRange | None:
    """The values of an image of more than 8 bits that become black and white if no others are given.

    None: it has 8 bits, and levels as they are. Raises ImageError.
    """
    content = _read_bytes(path, max_pixels)
    with _explained(str(path), max_pixels):
        decoded = _decode(content, str(path))
        return decoded.own_range() if isinstance(decoded, DeepImage) else None


@contextlib.contextmanager
def _explained(name: str, max_pixels: int | None) -> Iterator[None]:
    """Whatever decoding raises becomes an ImageError that names the file."""
    try:
        with pixel_limit(max_pixels):
            yield
    except ImageError:
        raise
    except Unreadable as error:
        raise ImageError(f"{name}: {error}") from error
    except MemoryError as error:
        raise ImageError(f"{name}: {_LITTLE_MEMORY}") from error
    except Exception as error:  # decoders raise whatever they stumble over
        raise ImageError(f"{name}: not a readable image ({error}); replace it with a whole copy") from error


def _decode(content: bytes, name: str) -> DeepImage | np.ndarray:
    """What the file holds: (H, W, 3) uint8 or, of more than 8 bits, its values."""

    def plain() -> np.ndarray:
        return np.asarray(_open(content, name))

    def open_as(mode: str, rawmode: str) -> np.ndarray:
        image: Any = Image.open(io.BytesIO(content), formats=_FORMATS)
        image._mode, image.tile = mode, [(*tile[:3], rawmode) for tile in image.tile]
        image.load()
        return np.asarray(ImageOps.exif_transpose(image))

    if content.startswith(TIFF_HEADS):
        deep = deep_tiff(content, Image.MAX_IMAGE_PIXELS or math.inf, plain)
        if deep is not None:
            return deep
    image = _open(content, name)
    deep = deep_png(content, open_as)
    if deep is None and (image.mode == "F" or image.mode.startswith("I")):
        deep = DeepImage(np.asarray(image)[..., None])
    if deep is not None:
        return deep
    try:
        if image.has_transparency_data:
            visible = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), visible)
        return np.asarray(image.convert("RGB"))
    except ValueError as error:
        raise ImageError(f"{name}: colour mode {image.mode} is not known; save it as grey or RGB") from error


def most_pixels() -> int | None:
    """Of an image that is opened at all; None: as many as there is memory for."""
    return Image.MAX_IMAGE_PIXELS


@contextlib.contextmanager
def pixel_limit(pixels: int | None) -> Iterator[None]:
    """With Pillow's limit set to this, for all threads; None leaves it as it is."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = before if pixels is None else pixels
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def read_image(
    path: Path, value_range: ValueRange | None = None, max_pixels: int | None = None
) -> SourceImage:
    """Read a PNG, JPEG, BMP, TIFF or WebP file, turned upright. Raises ImageError.

    ``value_range``, ``max_pixels``: see :func:`decode_rgb`.
    """
    try:
        content = _read_bytes(path, max_pixels)
        rgb = decode_rgb(content, str(path), value_range, max_pixels)
        return SourceImage(
            path=path,
            luma=grey_from_rgb(rgb),
            rgb=rgb if is_coloured(rgb) else None,
            sha256=hashlib.sha256(content).hexdigest(),
        )
    except MemoryError as error:
        raise ImageError(f"{path}: {_LITTLE_MEMORY}") from error


def upright_size(path: Path) -> tuple[int, int] | None:
    """Height and width as :func:`read_image` will find them, from the file's header alone; None if it cannot tell."""
    try:
        if not path.is_file():  # a pipe would block
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_FORMATS) as image:
                turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
                return (image.width, image.height) if turned else (image.height, image.width)
    except Exception:  # decoders raise whatever they stumble over; reading the image will say what is wrong
        return None


def _read_bytes(path: Path, max_pixels: int | None) -> bytes:
    """The content of a regular file. Raises ImageError, also for what would block or is larger than any image."""
    pixels = max_pixels or Image.MAX_IMAGE_PIXELS or math.inf
    try:
        if path.is_symlink() and not path.exists():
            raise ImageError(f"{path}: a broken link to {path.readlink()}; mend or remove it")
        if path.exists() and not path.is_file():
            what = "a folder" if path.is_dir() else "no regular file"
            raise ImageError(f"{path}: {what}, not an image; move it elsewhere")
        if path.exists() and path.stat().st_size > _MOST_BYTES * pixels:
            raise ImageError(f"{path}: {path.stat().st_size:,} bytes, more than an image may have; shrink it")
        return path.read_bytes()
    except PermissionError as error:
        raise ImageError(f"{path}: cannot be read (permission denied); change its permissions") from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error
