"""Animations: frames in the order of time, in one file that browsers play."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import ExifTags, Image

from util.files import write_atomically

AnimationForm = Literal["webp", "gif"]

SIDE = 640  # pixels of the longer side
_LENGTH, _LEAST, _MOST, _LAST = (
    4000,
    40,
    400,
    2000,
)  # milliseconds: of all but the last frame, of one, of the last


def shrink(image: np.ndarray, side: int = SIDE) -> np.ndarray:
    """(H, W) or (H, W, 3) uint8, scaled down so that the longer side is at most ``side``."""
    picture = Image.fromarray(image)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def write_animation(path: Path, frames: Sequence[np.ndarray], form: AnimationForm, text: str) -> None:
    """Write (H, W) or (H, W, 3) uint8 frames of one size, played in about four seconds and again after two more.

    Frames that differ by next to nothing may be one in the file, shown as long as both. ``text`` is kept in it. It
    appears whole or not at all. Raises OSError when it cannot be written.
    """
    each = min(max(_LENGTH // max(len(frames) - 1, 1), _LEAST), _MOST) // 10 * 10  # GIF counts hundredths
    first, *others = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    common = {
        "save_all": True,
        "append_images": others,
        "duration": [each] * len(others) + [_LAST],
        "loop": 0,
    }
    if form == "gif":
        first.save(buffer, format="GIF", comment=text.encode(), **common)
    else:
        exif = Image.Exif()
        exif[ExifTags.Base.ImageDescription] = text
        first.save(buffer, format="WEBP", quality=85, method=2, exif=exif, **common)
    write_atomically(path, buffer.getvalue())


def animation_text(path: Path) -> str:
    """The text that :func:`write_animation` kept in a file; empty when there is none or it cannot be read."""
    try:
        with Image.open(path, formats=("WEBP", "GIF")) as image:
            found = image.info.get("comment") or image.getexif().get(ExifTags.Base.ImageDescription, "")
            return found.decode() if isinstance(found, bytes) else str(found)
    except Exception:  # decoders raise whatever they stumble over: it is no animation of a run
        return ""
