"""From luma, floating point, to the grey levels of a file."""

from __future__ import annotations

import numpy as np


def stretch(luma: np.ndarray, bounds: tuple[float, float] | None = None) -> np.ndarray:
    """Stretch of a floating-point image from its least and largest value, or ``bounds``, to 0 and 255 (float64, not
    clipped); a constant image, or bounds that are one, become 0."""
    luma = luma.astype(np.float64)
    low, high = (luma.min(), luma.max()) if bounds is None else bounds
    return (luma - low) * (255.0 / (high - low)) if high > low else np.zeros_like(luma)


def written_levels(luma: np.ndarray, stretched: bool) -> np.ndarray:
    """Luma, about [-1, 1] -> levels in [0, 255] (float64), as results are written: stretched, or as they are."""
    return stretch(luma) if stretched else levels_of(luma)


def level_size(luma: np.ndarray, stretched: bool) -> float:
    """Grey levels of the written image in a unit of ``luma``, whether it is stretched by :func:`stretch` or not."""
    spanned = float(luma.max()) - float(luma.min())
    return 127.5 if not stretched else 255.0 / spanned if spanned > 0 else 0.0


def levels_of(luma: np.ndarray) -> np.ndarray:
    """Luma in [-1, 1] -> levels in [0, 255] (float64), clipped: as it is, not stretched."""
    return np.clip((luma.astype(np.float64) + 1) * 127.5, 0, 255)


def round_to_uint8(stretched: np.ndarray) -> np.ndarray:
    """[0, 255] -> uint8 as the released code rounds when it saves: halves go down."""
    return np.floor(stretched + 0.5 - 1e-9).astype(np.uint8)
