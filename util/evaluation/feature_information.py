"""FMI: mutual information of features in windows (Haghighat et al. 2011; Haghighat and Razian 2014).

Every 3x3 window of a feature is read as the distribution of a variable with values 1 ... 9. The joint distribution of
two windows is a mixture of the independent one and of Frechet's upper or lower bound, such that its correlation is
theirs (Nelsen 1987); FMI is the mean over windows and sources of 2 I / (H + H).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from util.evaluation.metric_image import Image

Feature = Literal["pixel", "gradient", "dct", "wavelet"]
Windows = NDArray[np.float32]

_CELLS = 9
_BLOCK = 8192


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
        densities = [_densities(window) for window in part]
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
        return np.asarray(dctn(image.values, norm="ortho"))
    try:
        import pywt  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError("FMI_wavelet needs the package PyWavelets: pip install PyWavelets") from error
    low, (horizontal, vertical, diagonal) = pywt.dwt2(image.values, "dmey")
    return np.block([[low, horizontal], [vertical, diagonal]])


def _windows(values: NDArray[np.float64]) -> Windows:
    """(9, count): the 3x3 windows that fit, each read column by column."""
    height, width = values.shape
    shifted = [
        values[row : height - 2 + row, column : width - 2 + column].ravel()
        for column in range(3)
        for row in range(3)
    ]
    return np.stack(shifted).astype(np.float32)


def _densities(windows: Windows) -> Windows:
    """(9, count): each window from its smallest value at 0, summing to 1; a flat one is uniform."""
    raised = windows - windows.min(axis=0)
    total = raised.sum(axis=0)
    flat = total <= 0
    raised[:, flat] = 1.0
    total[flat] = _CELLS
    return raised / total


def _entropy(p: Windows) -> Windows:
    return -(p * np.log2(np.maximum(p, 1e-30))).sum(axis=0)


def _normalized_information(f: Windows, a: Windows) -> Windows:
    cdf_f, cdf_a = np.cumsum(f, axis=0), np.cumsum(a, axis=0)
    cdf_f[-1] = cdf_a[-1] = 1.0
    mean = np.float32(1 / _CELLS)
    products = ((f - mean) * (a - mean)).sum(axis=0)
    norm = np.sqrt(((f - mean) ** 2).sum(axis=0) * ((a - mean) ** 2).sum(axis=0))
    correlation = np.divide(products, norm, out=np.zeros_like(norm), where=norm > 1e-12)
    # the lower bound is the upper one of F and the other window read backwards
    negative = correlation < 0
    turned = np.where(negative, a[::-1], a)
    cdf = np.where(negative, np.cumsum(a[::-1], axis=0), cdf_a)
    cdf[-1] = 1.0
    bound = np.float32(0) * norm
    for i in range(_CELLS - 1):
        for j in range(_CELLS - 1):
            bound += np.minimum(cdf_f[i], cdf[j]) - cdf_f[i] * cdf[j]
    bound /= np.maximum(_deviation(f) * _deviation(a), 1e-12)
    share = np.divide(np.abs(correlation), bound, out=np.zeros_like(bound), where=bound > 1e-9)
    joint = _joint_entropy(f, turned, cdf_f, cdf, share)
    entropies = _entropy(f) + _entropy(a)
    information = entropies - joint
    return np.divide(2 * information, entropies, out=np.zeros_like(joint), where=entropies > 0)


def _deviation(p: Windows) -> Windows:
    places = np.arange(_CELLS, dtype=np.float32)[:, None]
    mean = (places * p).sum(axis=0)
    return np.sqrt(np.maximum((places**2 * p).sum(axis=0) - mean**2, 0.0))


def _joint_entropy(f: Windows, a: Windows, cdf_f: Windows, cdf_a: Windows, share: Windows) -> Windows:
    """Of share * upper bound + (1 - share) * f a; its real part where a share above 1 makes a cell negative."""
    total = np.zeros_like(share)
    rest = 1 - share
    zero = np.zeros_like(share)
    for i in range(_CELLS):
        below_f = cdf_f[i - 1] if i else zero
        independent = rest * f[i]
        for j in range(_CELLS):
            below_a = cdf_a[j - 1] if j else zero
            cell = np.minimum(cdf_f[i], cdf_a[j])
            cell -= np.maximum(below_f, below_a)
            np.maximum(cell, 0, out=cell)
            cell *= share
            cell += independent * a[j]
            total -= cell * np.log2(np.maximum(np.abs(cell), 1e-30))
    return total
