"""The picture of a standard deviation at every pixel, with its scale beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from util.images.png import write_png

LIMIT = 20.0
"""Grey levels that are drawn white, as is what lies above: the same in every picture, so that they compare."""
MARKS = (0, 5, 10, 15, 20)
GAP, BAR, LABELS = 6, 12, 22  # columns right of the image


def beside(output: Path) -> Path:
    """Where the spread of samples goes whose mean is the file ``output``."""
    return output.with_name(f"{output.stem}_uncertainty.png")


def write_uncertainty(path: Path, deviation: np.ndarray, text: Mapping[str, str]) -> None:
    """The picture of ``deviation``, (H, W) in grey levels, with ``text`` and its scale. Raises OSError."""
    write_png(path, uncertainty_picture(deviation), {**text, "scale": scale_text(deviation.shape[1])})


def uncertainty_picture(deviation: np.ndarray) -> np.ndarray:
    """deviation, (H, W) in grey levels -> (H, W + 40) uint8, 255 at :data:`LIMIT`; a bar with labels on the right."""
    values = np.rint(np.clip(deviation, 0, LIMIT) * (255 / LIMIT)).astype(np.uint8)
    height = len(values)
    margin = Image.new("L", (GAP + BAR + LABELS, height), "white")
    ramp = np.rint(np.linspace(255, 0, height)).astype(np.uint8)
    margin.paste(Image.fromarray(np.repeat(ramp[:, None], BAR, axis=1)), (GAP, 0))
    draw = ImageDraw.Draw(margin)
    draw.rectangle((GAP, 0, GAP + BAR - 1, height - 1), outline="black")
    marks = MARKS if height >= 96 else MARKS[:: len(MARKS) - 1]
    for mark in marks:
        row = round((1 - mark / LIMIT) * (height - 1))
        draw.line((GAP + BAR, row, GAP + BAR + 2, row), fill="black")
        # the letters of Pillow's own font are 11 rows high
        draw.text((GAP + BAR + 5, min(max(row - 6, 0), height - 12)), str(mark), fill="black")
    return np.concatenate([values, np.asarray(margin)], axis=1)


def scale_text(width: int) -> str:
    """The scale in words, for the text of the file; ``width``: of the image, beside which the bar stands."""
    return (
        f"standard deviation in grey levels = value * {LIMIT:g} / 255 in the first {width} columns, at least "
        f"{LIMIT:g} where it is 255; the bar beside them shows 0 to {LIMIT:g}"
    )
