"""How far a result in colour is from the fused luma and from the colours of its source.

Hue and saturation are measured in IPT (Ebner & Fairchild 1998), a space made for constant hue that no colour
method here works in: I (0 ... 1) is lightness, P red-green, T yellow-blue.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter

_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)  # of linear sRGB
_CONES = np.array([[0.4002, 0.7075, -0.0807], [-0.2280, 1.1500, 0.0612], [0.0, 0.0, 0.9184]])  # of XYZ, D65
_IPT = np.array([[0.4, 0.4, 0.2], [4.455, -4.851, 0.396], [0.8056, 0.3572, -1.1628]])
_LUMA = np.array([0.299, 0.587, 0.114])
_EDGES = 0.1  # share of the pixels that counts as edges: those of the steepest fused luma

HEADINGS = {
    "luma": "mean difference from the fused luma, in levels of 255",
    "clipped": "pixels more than one level off the fused luma, which only clipping does, %",
    "hue": "mean hue difference from the source, weighted by the chroma of both, degrees",
    "satur.": "mean difference of saturation from the source, weighted by lightness, %",
    "fringe": "at edges of the fused luma, change of saturation that the source does not have, weighted alike, %",
    "noise": "fine chroma detail where the luma has risen, relative to the source's, by RMS of Cb and Cr",
}


def ipt(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 sRGB -> (3, H, W) float64 IPT."""
    v = rgb / 255.0
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    cones = linear @ (_CONES @ _XYZ).T
    return np.moveaxis((np.sign(cones) * np.abs(cones) ** 0.43) @ _IPT.T, -1, 0)


def saturation(colours: np.ndarray) -> np.ndarray:
    """(3, H, W) IPT -> (2, H, W): (P, T) by the length of (I, P, T), so 0 for grey and at most 1 long (Luebbe)."""
    return colours[1:] / np.maximum(np.linalg.norm(colours, axis=0), 1e-6)


def measures(result: np.ndarray, luma: np.ndarray, source: np.ndarray) -> dict[str, float]:
    """The values named in ``HEADINGS``: 0 is best, but 1 for ``noise``.

    ``result`` and ``source``: (H, W, 3) uint8; ``luma``: (H, W) uint8, the fused image. NaN where an image has no
    pixel that counts (no colour; luma that rises nowhere).
    """
    off = np.abs(result @ _LUMA - luma)
    now, before = ipt(result), ipt(source)
    seen = np.clip(now[0], 0, None)
    s_now, s_before = saturation(now), saturation(before)
    change = np.abs(np.linalg.norm(s_now, axis=0) - np.linalg.norm(s_before, axis=0))
    steep = _slope(luma[None].astype(float))
    edges = steep >= max(float(np.quantile(steep, 1 - _EDGES)), 1e-9)
    excess = np.maximum(0, _slope(s_now) - _slope(s_before))
    risen = luma > source @ _LUMA + 1
    values = {
        "luma": off.mean(),
        "clipped": 100 * (off > 1).mean(),
        "hue": _mean(_hue_difference(now, before), _chroma(now) * _chroma(before)),
        "satur.": 100 * _mean(change, seen),
        "fringe": 100 * _mean(excess[edges], seen[edges]),
        "noise": _ratio(_fine_chroma(result)[risen], _fine_chroma(source)[risen]),
    }
    return {name: float(value) for name, value in values.items()}


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    total = weights.sum()
    return (values * weights).sum() / total if total > 0 else np.nan


def _ratio(now: np.ndarray, before: np.ndarray) -> float:
    """Of root mean squares, from squares."""
    return np.sqrt(now.sum() / before.sum()) if before.sum() > 0 else np.nan


def _chroma(colours: np.ndarray) -> np.ndarray:
    return np.hypot(colours[1], colours[2])


def _hue_difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Degrees, 0 ... 180."""
    cross, dot = a[1] * b[2] - a[2] * b[1], a[1] * b[1] + a[2] * b[2]
    return np.abs(np.degrees(np.arctan2(cross, dot)))


def _slope(planes: np.ndarray) -> np.ndarray:
    """(C, H, W) -> (H, W): length of the gradient over all planes, central differences."""
    return np.sqrt(sum(d**2 for plane in planes for d in np.gradient(plane)))


def _fine_chroma(rgb: np.ndarray) -> np.ndarray:
    """(H, W): squared difference of (Cb, Cr) from its mean over 3x3."""
    y = rgb @ _LUMA
    planes = [(rgb[..., 2] - y) / 1.772, (rgb[..., 0] - y) / 1.402]
    return sum(((plane - uniform_filter(plane, 3)) ** 2 for plane in planes), np.zeros(y.shape))
