"""FMI: mutual information of features in windows (Haghighat et al. 2011; Haghighat and Razian 2014).

Every 3x3 window of a feature is read as the distribution of a variable with values 1 ... 9. The joint distribution of
two windows is a mixture of the independent one and of Frechet's upper or lower bound, such that its correlation is
theirs (Nelsen 1987); FMI is the mean over windows and sources of 2 I / (H + H).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from util.evaluation.measures.metric_image import Image

Feature = Literal["pixel", "gradient", "dct", "wavelet"]
Windows = NDArray[np.float32]

_CELLS = 9
_MEAN, _TINY = np.float32(1 / _CELLS), np.float32(1e-30)
_PLACES = np.arange(_CELLS, dtype=np.float32)[:, None]
_BLOCK = 8192  # windows at a time: fewer cost calls, more leave the cache


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
        cdf_f = _cumulative(densities[0].p)
        for source in (1, 2):
            score = _normalized_information(densities[0], densities[source], cdf_f)
            np.copyto(score, 1.0, where=(part[0] == part[source]).all(axis=0))
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
    result = np.empty((_CELLS, height - 2, width - 2), np.float32)
    for cell in range(_CELLS):
        column, row = divmod(cell, 3)
        result[cell] = values[row : height - 2 + row, column : width - 2 + column]
    return result.reshape(_CELLS, -1)


class _Densities:
    """Windows as densities over the nine places: each from its smallest value at 0, summing to 1; a flat one is
    uniform. ``p``: (9, count); the others (count,): entropy in nats, deviation of the place, norm of p about its
    mean."""

    def __init__(self, windows: Windows) -> None:
        self.p = windows - windows.min(axis=0)
        total = self.p.sum(axis=0)
        flat = total <= 0
        self.p += flat
        self.p /= total + _CELLS * flat
        work = np.maximum(self.p, _TINY)
        np.log(work, out=work)
        work *= self.p
        self.entropy = -work.sum(axis=0)
        np.multiply(self.p, _PLACES, out=work)
        mean = work.sum(axis=0)
        work *= _PLACES
        self.deviation = np.sqrt(np.maximum(work.sum(axis=0) - mean * mean, 0.0))
        self.centred = self.p - _MEAN
        self.square = np.multiply(self.centred, self.centred, out=work).sum(axis=0)


def _cumulative(p: Windows) -> Windows:
    """(10, count): the distribution function before the first place, which is 0, and at every place."""
    cdf = np.zeros((_CELLS + 1, p.shape[1]), np.float32)
    for place in range(_CELLS - 1):
        np.add(cdf[place], p[place], out=cdf[place + 1])
    cdf[-1] = 1.0
    return cdf


def _normalized_information(f: _Densities, a: _Densities, cdf_f: Windows) -> Windows:
    """2 I / (H + H) of every window."""
    norm = np.sqrt(f.square * a.square)
    products = (f.centred * a.centred).sum(axis=0)
    correlation = np.divide(products, norm, out=np.zeros_like(norm), where=norm > 1e-12)
    # the lower bound is the upper one of F and the other window read backwards
    turned = np.where(correlation < 0, a.p[::-1], a.p)
    cdf_a = _cumulative(turned)
    bound = _bound_covariance(cdf_f[1:-1], cdf_a[1:-1]) / np.maximum(f.deviation * a.deviation, 1e-12)
    share = np.divide(np.abs(correlation), bound, out=np.zeros_like(bound), where=bound > 1e-9)
    entropies = f.entropy + a.entropy
    information = entropies - _joint_entropy(f.p, turned, cdf_f, cdf_a, share)
    return np.divide(2 * information, entropies, out=np.zeros_like(bound), where=entropies > 0)


def _bound_covariance(cdf_f: Windows, cdf_a: Windows) -> Windows:
    """Of the two places under the upper bound min(F, A): the sum of min(F, A) - F A over all cells (Hoeffding)."""
    result = np.zeros_like(cdf_f[0])
    total_a, cells = cdf_a.sum(axis=0), np.empty_like(cdf_a)
    for below in cdf_f:
        result += np.minimum(below, cdf_a, out=cells).sum(axis=0)
        result -= below * total_a
    return result


def _joint_entropy(p_f: Windows, p_a: Windows, cdf_f: Windows, cdf_a: Windows, share: Windows) -> Windows:
    """Of share * upper bound + (1 - share) * f a; its real part where a share above 1 makes a cell negative."""
    total = np.zeros_like(p_a)
    # both are scaled once, not in every one of the 81 cells
    independent = (1 - share) * p_a
    cdf_f, cdf_a = share * cdf_f, share * cdf_a
    within, cells, size = np.empty_like(cdf_a), np.empty_like(p_a), np.empty_like(p_a)
    for p, low, high in zip(p_f, cdf_f[:-1], cdf_f[1:], strict=True):
        # of the upper bound, a cell has what its two steps of the distribution functions share
        np.minimum(cdf_a, high, out=within)
        np.maximum(within, low, out=within)
        np.multiply(independent, p, out=cells)
        cells += np.subtract(within[1:], within[:-1], out=size)
        np.abs(cells, out=size)
        np.maximum(size, _TINY, out=size)
        cells *= np.log(size, out=size)
        total -= cells
    return total.sum(axis=0)
