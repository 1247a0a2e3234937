"""Pictures beside and below each other, on white."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP = 6
_LETTERS = 13  # pixels


def row(pictures: Sequence[np.ndarray], height: int, enlarge: bool = False) -> np.ndarray:
    """The (H, W, 3) uint8 images side by side, each scaled to ``height``, on white.

    ``enlarge``: leave their pixels visible as squares.
    """
    images = []
    for picture in pictures:
        image = Image.fromarray(picture)
        size = (round(image.width * height / image.height), height)
        images.append(image.resize(size, Image.Resampling.NEAREST if enlarge else Image.Resampling.LANCZOS))
    sheet = Image.new("RGB", (sum(i.width + GAP for i in images) - GAP, height), "white")
    left = 0
    for image in images:
        sheet.paste(image, (left, 0))
        left += image.width + GAP
    return np.asarray(sheet)


def stack(rows: Sequence[np.ndarray]) -> np.ndarray:
    """(H, W, 3) uint8 images below each other, on white."""
    height = sum(len(each) + GAP for each in rows) - GAP
    sheet = np.full((height, max(each.shape[1] for each in rows), 3), 255, np.uint8)
    top = 0
    for each in rows:
        sheet[top : top + len(each), : each.shape[1]] = each
        top += len(each) + GAP
    return sheet


def caption(text: str, width: int) -> np.ndarray:
    """A line of text, black on white, (H, ``width``, 3) uint8; what does not fit into it is cut off."""
    line = Image.new("RGB", (width, _LETTERS + 5), "white")
    ImageDraw.Draw(line).text((1, 1), text, fill="black", font=ImageFont.load_default(_LETTERS))
    return np.asarray(line)
