"""Writing image files, and the text that they carry."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from util.files import write_atomically


def write_png(path: Path, image: np.ndarray, text: Mapping[str, str] | None = None, effort: int = 6) -> None:
    """Write (H, W) grey or (H, W, 3) RGB uint8 with text chunks; the file appears whole or not at all.

    ``effort``: of zlib, 1 (quick) to 9 (small).

    Raises OSError when it cannot be written.
    """
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_text(key, value)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", pnginfo=info, compress_level=effort)
    write_atomically(path, buffer.getvalue())


def encode_preview(image: np.ndarray, max_side: int) -> tuple[bytes, tuple[int, int]]:
    """(H, W) or (H, W, 3) uint8 -> a WebP file, scaled down to at most ``max_side``, and its width and height."""
    picture = Image.fromarray(image)
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, format="WEBP", quality=88, method=4)
    return buffer.getvalue(), picture.size


def read_png_text(path: Path) -> dict[str, str]:
    """The text chunks of a PNG file; empty when it cannot be read or is damaged."""
    return _png_text(path, whole=True)


def png_header_text(path: Path) -> dict[str, str]:
    """The same without looking at the pixels, which may be damaged: only the text that comes before them."""
    return _png_text(path, whole=False)


def _png_text(path: Path, whole: bool) -> dict[str, str]:
    try:
        if not path.is_file():  # a pipe would block
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG",)) as image:
                if whole:
                    image.load()
                return {str(key): value for key, value in image.info.items() if isinstance(value, str)}
    except Exception:  # a bomb, too little memory, whatever decoders stumble over: it is no result of a run
        return {}
