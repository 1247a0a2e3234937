"""Giving the fused luma the colour of the source that has one."""

from __future__ import annotations

from typing import Literal

import numpy as np

from util.pairs import Pair

ColourMode = Literal["auto", "vi", "ir", "off"]

# Full-range BT.601 (JPEG): Cb = (B - Y) / 1.772, Cr = (R - Y) / 1.402
_CB_SCALE, _CR_SCALE = 1.772, 1.402
_WEIGHTS = np.array([0.299, 0.587, 0.114])


def colour_source(pair: Pair, mode: ColourMode) -> np.ndarray | None:
    """The (H, W, 3) uint8 image whose colour the result takes, or None for a grey result.

    ``auto``: the visible image if it is in colour, else the other one if that is (PET, SPECT).
    """
    if mode == "off":
        return None
    if mode == "auto":
        return pair.vi.rgb if pair.vi.rgb is not None else pair.ir.rgb
    return pair.vi.rgb if mode == "vi" else pair.ir.rgb


def substitute_luma(luma: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """(H, W) uint8 fused luma and (H, W, 3) uint8 colours -> (H, W, 3) uint8 with that luma.

    Plain YCbCr substitution: Cb and Cr of ``rgb`` (full-range BT.601) are kept, values are clipped to gamut.
    """
    colours = rgb.astype(np.float64)
    y = colours @ _WEIGHTS
    cb, cr = (colours[..., 2] - y) / _CB_SCALE, (colours[..., 0] - y) / _CR_SCALE
    fused = luma.astype(np.float64)
    red, blue = fused + _CR_SCALE * cr, fused + _CB_SCALE * cb
    green = (fused - _WEIGHTS[0] * red - _WEIGHTS[2] * blue) / _WEIGHTS[1]
    return np.clip(np.rint(np.stack([red, green, blue], axis=-1)), 0, 255).astype(np.uint8)
