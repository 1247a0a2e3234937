"""Writing an image in the format that the name of its file says, with a text that tells what made it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from util.files import write_atomically

# of every format that is read: Pillow's name, and how it is written; nothing is lost but in JPEG
_FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".tif": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".tiff": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".webp": ("WEBP", {"lossless": True}),
    ".bmp": ("BMP", {}),
}


def write_as_named(path: Path, image: np.ndarray, text: str) -> None:
    """Write (H, W) grey or (H, W, 3) RGB uint8 in the format of ``path``'s suffix, one of those that are read.

    ``text`` is kept as the image's description, but in BMP, which has none. The file appears whole or not at all.
    Raises OSError when it cannot be written.
    """
    form, options = _FORMATS[path.suffix.lower()]
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = text
    buffer = io.BytesIO()
    kept = {} if form == "BMP" else {"exif": exif}
    Image.fromarray(image).save(buffer, format=form, **options, **kept)
    write_atomically(path, buffer.getvalue())


def described_as(path: Path) -> str:
    """The text of :func:`write_as_named`, without decoding the pixels; empty when there is none."""
    try:
        with Image.open(path, formats=[form for form, _ in _FORMATS.values()]) as image:
            return str(image.getexif().get(ExifTags.Base.ImageDescription, ""))
    except Exception:  # decoders raise whatever they stumble over: it is no result of a run
        return ""
