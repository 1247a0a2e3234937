"""FMI: mutual information of features in windows (Haghighat et al. 2011; Haghighat and Razian 2014).

Every 3x3 window of a feature is read as the distribution of a variable with values 1 ... 9. The joint distribution of
two windows is a mixture of the independent one and of Frechet's upper or lower bound, such that its correlation is
theirs (Nelsen 1987); FMI is the mean over windows and sources of 2 I / (H + H).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from util.evaluation.metric_image import Image

Feature = Literal["pixel", "gradient", "dct", "wavelet"]
Windows = NDArray[np.float32]

_CELLS = 9
_MEAN, _TINY = np.float32(1 / _CELLS), np.float32(1e-30)
_PLACES = np.arange(_CELLS, dtype=np.float32)[:, None]
_BLOCK = 2048  # windows at a time, whose cells fit into a core's cache


def feature_mutual_information(f: Image, a: Image, b: Image, feature: Feature = "pixel") -> float:
    """FMI, 0 ... 1, of ``feature``: grey levels; their differences along rows (central, as MATLAB's gradient);
    the discrete cosine transform of the whole image; or one level of the discrete Meyer wavelet transform, its four
    parts side by side.

    Raises ValueError for wavelet without the package PyWavelets.
    """
    windows = [_windows(_feature(image, feature)) for image in (f, a, b)]
    count = windows[0].shape[1]
    total = 0.0
    for start in range(0, count, _BLOCK):
        part = [window[:, start : start + _BLOCK] for window in windows]
        densities = [_Densities(window) for window in part]
        for source in (1, 2):
            score = _normalized_information(densities[0], densities[source])
            score[(part[0] == part[source]).all(axis=0)] = 1.0
            total += float(score.sum(dtype=np.float64))
    return total / (2 * count)


def _feature(image: Image, feature: Feature) -> NDArray[np.float64]:
    if feature == "pixel":
        return image.values
    if feature == "gradient":
        return np.gradient(image.values, axis=1)
    if feature == "dct":
        from scipy.fft import dctn  # here, for it is slow to load

        return np.asarray(dctn(image.values, norm="ortho"))
    try:
        import pywt  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(
            "FMI_wavelet needs the package PyWavelets: pip install PyWavelets, or ddfm[metrics]"
        ) from error
    low, (horizontal, vertical, diagonal) = pywt.dwt2(image.values, "dmey")
    return np.block([[low, horizontal], [vertical, diagonal]]).astype(np.float64)


def _windows(values: NDArray[np.float64]) -> Windows:
    """(9, count): the 3x3 windows that fit, each read column by column."""
    height, width = values.shape
    shifted = [
        values[row : height - 2 + row, column : width - 2 + column].ravel()
        for column in range(3)
        for row in range(3)
    ]
    return np.stack(shifted).astype(np.float32)


class _Densities:
    """Windows as densities over the nine places: each from its smallest value at 0, summing to 1; a flat one is
    uniform. ``p``, ``cdf``: (9, count); the others (count,): entropy in nats, deviation of the place, norm of p
    about its mean."""

    def __init__(self, windows: Windows) -> None:
        raised = windows - windows.min(axis=0)
        total = raised.sum(axis=0)
        flat = total <= 0
        raised[:, flat] = 1.0
        total[flat] = _CELLS
        self.p = raised / total
        self.cdf = self.p.copy()
        for place in range(1, _CELLS):
            self.cdf[place] += self.cdf[place - 1]
        self.cdf[-1] = 1.0
        self.entropy = -(self.p * np.log(np.maximum(self.p, _TINY))).sum(axis=0)
        mean = (_PLACES * self.p).sum(axis=0)
        self.deviation = np.sqrt(np.maximum((_PLACES**2 * self.p).sum(axis=0) - mean**2, 0.0))
        self.centred = self.p - _MEAN
        self.square = (self.centred**2).sum(axis=0)


def _normalized_information(f: _Densities, a: _Densities) -> Windows:
    """2 I / (H + H) of every window."""
    norm = np.sqrt(f.square * a.square)
    products = (f.centred * a.centred).sum(axis=0)
    correlation = np.divide(products, norm, out=np.zeros_like(norm), where=norm > 1e-12)
    # the lower bound is the upper one of F and the other window read backwards
    negative = correlation < 0
    turned = np.where(negative, a.p[::-1], a.p)
    cdf = a.cdf.copy()
    np.subtract(1, a.cdf[-2::-1], out=cdf[:-1], where=negative)
    excess = np.zeros_like(turned[:-1])  # of the bound over the independent distribution
    for below_f in f.cdf[:-1]:
        joint = np.minimum(below_f, cdf[:-1])
        joint -= below_f * cdf[:-1]
        excess += joint
    bound = excess.sum(axis=0) / np.maximum(f.deviation * a.deviation, 1e-12)
    share = np.divide(np.abs(correlation), bound, out=np.zeros_like(bound), where=bound > 1e-9)
    entropies = f.entropy + a.entropy
    information = entropies - _joint_entropy(f, turned, cdf, share)
    return np.divide(2 * information, entropies, out=np.zeros_like(bound), where=entropies > 0)


def _joint_entropy(f: _Densities, a: Windows, cdf_a: Windows, share: Windows) -> Windows:
    """Of share * upper bound + (1 - share) * f a; its real part where a share above 1 makes a cell negative."""
    total = np.zeros_like(a)
    rest = 1 - share
    below_f, below_a = np.zeros_like(share), np.zeros_like(cdf_a)
    below_a[1:] = cdf_a[:-1]
    for p, cdf_f in zip(f.p, f.cdf, strict=True):
        cells = np.minimum(cdf_f, cdf_a)
        cells -= np.maximum(below_f, below_a)
        np.maximum(cells, 0, out=cells)
        cells *= share
        cells += (rest * p) * a
        size = np.abs(cells)
        np.maximum(size, _TINY, out=size)
        cells *= np.log(size, out=size)
        total -= cells
        below_f = cdf_f
    return total.sum(axis=0)
