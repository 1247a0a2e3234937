"""OKLab, a space in which lines of equal hue look of equal hue (Ottosson 2020, "A perceptual color space").

CIELAB and the Cb/Cr plane lack that for blue: mixed with white at their constant hue, it turns violet.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Linear sRGB to cone responses, and their cube roots to (L, a, b), as published.
_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    np.float32,
)
_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    np.float32,
)
_STEPS = 257  # of the table, for each of the 255 intervals between grey levels


def _linear_levels() -> NDArray[np.float32]:
    """Linear light of the sRGB levels 0, 1/257 ... 255 (IEC 61966-2-1)."""
    v = np.arange(255 * _STEPS + 1) / (255 * _STEPS)
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4).astype(np.float32)


_LINEAR = _linear_levels()


def oklab(planes: np.ndarray) -> NDArray[np.float32]:
    """(3, N) sRGB levels in [0, 255], of any real type -> (3, N) float32: L in [0, 1], a and b within 0.4.

    Levels are read to 1/257.
    """
    index = (planes.astype(np.float32) * np.float32(_STEPS) + np.float32(0.5)).astype(np.int32)
    cones = np.maximum(_CONES @ _LINEAR.take(index), np.float32(1e-30))
    return _LAB @ np.exp(np.log(cones) / 3)  # five times as fast as numpy's cbrt
