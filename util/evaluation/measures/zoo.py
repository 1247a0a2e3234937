"""Metrics as the toolbox of the infrared-visible survey (IVIF_ZOO; Liu et al. 2024) computes them: protocol ``zoo``.

F is the fused image, A and B the sources, levels 0 ... 255. The quirks are the toolbox's and decide its numbers;
they are named one by one, and each is pinned by ``tests/golden/metrics_zoo.npz``.
"""

from __future__ import annotations

import math

import numpy as np

from util.evaluation.measures.common import (
    correlation_with,
    entropy,
    information,
    mean_squared_error,
    vif_ratio,
)
from util.evaluation.measures.filters import Array, correlate, correlate_all, gaussian
from util.evaluation.measures.metric_image import Image, Scales, Single, vif_content, vif_scales

_MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_SSIM_WINDOW = gaussian(5, 1.5)
_MS_SIDE = 160  # smaller images have no fifth scale


def cross_entropy(f: Image, a: Image, b: Image) -> float:
    """CE, at least 0, lower is better: binary cross-entropy of F against the mean of A and B, after a sigmoid.

    The sigmoid is taken of the levels themselves, so that only pixels darker than about 17 count at all; numbers
    are float32, whose rounding of 1 - 1e-7 is most of the value in bright images.
    """
    table = (1 / (1 + np.exp(-np.arange(256.0)))).astype(np.float32)
    low, high = np.float32(1e-7), np.float32(1 - 1e-7)
    target = np.clip((table[a.levels] + table[b.levels]) / 2, low, high)
    guess = np.clip(table[f.levels], low, high)
    one = np.float32(1)
    return float(-(target * np.log(guess) + (one - target) * np.log1p(-guess)).mean(dtype=np.float64))


def nonlinear_correlation_entropy(f: Image, a: Image, b: Image) -> float:
    """QNCIE, 0.80 ... 1: 1 + sum (r / 3) log256(r / 3) over the eigenvalues r of a 3x3 matrix of correlations.

    Wang et al. (2005) take nonlinear correlations of ranks; the toolbox takes Pearson's.
    """
    images = (a, b, f)
    matrix = [[1.0 if x is y else correlation_with(x, y) for y in images] for x in images]
    r = np.linalg.eigvalsh(np.array(matrix)) / 3
    r = r[r > 0]
    return float(1 + (r * np.log2(r)).sum() / 8)


def tsallis(f: Image, a: Image, b: Image) -> float:
    """TE, in bits: EN(A) + EN(B) - EN(F). The Tsallis entropy of order q = 1 is Shannon's; F's counts negatively."""
    return entropy(a) + entropy(b) - entropy(f)


def normalized_information(f: Image, a: Image, b: Image) -> float:
    """NMI, 0 ... 2: 2 (I(F; A) + I(F; B)) / (EN(A) + EN(B)); Hossny et al. (2008) have F's entropy in each ratio."""
    total = entropy(a) + entropy(b)
    return 2 * information_in_bits(f, a, b) / total if total > 0 else 0.0


def information_in_bits(f: Image, a: Image, b: Image) -> float:
    """MI in bits: I(F; A) + I(F; B)."""
    return (information(f, a) + information(f, b)) / math.log(2)


def edge_intensity(f: Image) -> float:
    """EI, at least 0: mean Sobel magnitude, zeros beyond the border."""
    return float(f.strength.mean())


def mse_of_unit_range(f: Image, a: Image, b: Image) -> float:
    """MSE, 0 ... 1, lower is better: the mean of both sources' errors with levels divided by 255."""
    return mean_squared_error(f, a, b) / 255**2


def psnr_of_unit_range(f: Image, a: Image, b: Image) -> float:
    """PSNR in dB with peak 255 for errors of levels that were divided by 255: 48.13 dB more than meant."""
    error = mse_of_unit_range(f, a, b)
    return 10 * math.log10(255**2 / error) if error > 0 else math.inf


def _off_centre(radius: int) -> Array:
    """VIF's window as the toolbox builds it: 2 radius + 1 taps from -(radius + 1) to radius."""
    taps = 2 * radius + 1
    window = np.exp(-(np.linspace(-radius - 1, radius, taps) ** 2) / (2 * (taps / 5) ** 2))
    return window / window.sum()


_VIF_WINDOWS = [_off_centre(radius) for radius in (8, 4, 2, 1)]


def vif_zero_padded(f: Image, a: Image, b: Image) -> float:
    """VIF as in ``ddfm``, but with windows half a pixel off centre and zeros beyond the border."""
    scales = [vif_scales(image.values, _VIF_WINDOWS, correlate_all) for image in (f, a, b)]
    return _zoo_vif(scales[1], scales[0]) + _zoo_vif(scales[2], scales[0])


def _zoo_vif(reference: Scales, distorted: Scales) -> float:
    def covariance(x: Array, mean_x: Array, y: Array, mean_y: Array, window: Array) -> Single:
        return (correlate_all(x * y, window) - mean_x * mean_y).astype(np.float32)

    scales = (
        (covariance(x, mean_x, y, mean_y, window), var_x, var_y)
        for window, (x, mean_x, var_x), (y, mean_y, var_y) in zip(
            _VIF_WINDOWS, reference, distorted, strict=True
        )
    )
    return vif_ratio(scales, vif_content(variance for _, _, variance in reference))


def _ssim_maps(x: Array, y: Array, data_range: float) -> tuple[float, float]:
    """Means of SSIM and of its contrast-structure part in an 11x11 Gaussian window of sigma 1.5 that fits."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_x, mean_y = correlate(x, _SSIM_WINDOW), correlate(y, _SSIM_WINDOW)
    squares = correlate(x * x, _SSIM_WINDOW) + correlate(y * y, _SSIM_WINDOW)
    covariance = correlate(x * y, _SSIM_WINDOW) - mean_x * mean_y
    means = mean_x**2 + mean_y**2
    structure = (2 * covariance + c2) / (squares - means + c2)
    luminance = (2 * mean_x * mean_y + c1) / (means + c1)
    return float((luminance * structure).mean()), float(structure.mean())


def ssim_gaussian(f: Image, a: Image, b: Image, data_range: float = 1.0) -> float:
    """SSIM, -2 ... 2: ssim(F, A) + ssim(F, B), 11x11 Gaussian window, population covariance (Wang et al. 2004).

    The toolbox multiplies levels by 255 and takes a data range of 255, which is ``data_range`` 1 for levels.
    """
    return sum(_ssim_maps(f.values, source.values, data_range)[0] for source in (a, b))


def ms_ssim(f: Image, a: Image, b: Image, data_range: float = 1.0) -> float:
    """MS_SSIM, 0 ... 2, a sum over both sources: five scales (Wang et al. 2003), negative means become 0.

    NaN for images of 160 pixels or less on a side, which the toolbox refuses. ``data_range``: as in SSIM. Odd
    sides get a row or column of zeros before each halving, on both ends.
    """
    if min(f.levels.shape) <= _MS_SIDE:
        return math.nan
    return sum(_ms_ssim(f.values, source.values, data_range) for source in (a, b))


def _ms_ssim(x: Array, y: Array, data_range: float) -> float:
    product = 1.0
    for scale, weight in enumerate(_MS_WEIGHTS):
        whole, structure = _ssim_maps(x, y, data_range)
        product *= max(whole if scale == len(_MS_WEIGHTS) - 1 else structure, 0.0) ** weight
        x, y = _halved(x), _halved(y)
    return product


def _halved(x: Array) -> Array:
    """Means of 2x2 pixels."""
    x = np.pad(x, [(side % 2, side % 2) for side in x.shape])
    height, width = (side // 2 for side in x.shape)
    return x[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3))
