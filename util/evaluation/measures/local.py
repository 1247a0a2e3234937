"""Metrics of local windows: Q_W and Q_E (Piella and Heijmans 2003), MEF-SSIM (Ma et al. 2015).

F is the fused image, A and B the sources, levels 0 ... 255.
"""

from __future__ import annotations

import numpy as np

from util.evaluation.measures.filters import Array, correlate, gaussian
from util.evaluation.measures.metric_image import Image

_SQUARE = np.full(8, 1 / 8)
_MEF_WINDOW, _MEF_SQUARE = gaussian(5, 1.5), np.full(11, 1 / 11)
_MEF_CONSTANT = (0.03 * 255) ** 2
_MEF_WEIGHTS = np.array([0.0448, 0.2856, 0.3001])


def weighted_quality(f: Image, a: Image, b: Image) -> float:
    """Q_W, -1 ... 1: Wang and Bovik's index with each source in 8x8 windows, weighted by the sources' variances, and
    windows weighted by the larger of the two (Piella and Heijmans 2003)."""
    return _weighted_quality(f.values, a.values, b.values)


def edge_quality(f: Image, a: Image, b: Image) -> float:
    """Q_E, -1 ... 1: Q_W of the images times Q_W of their gradient magnitudes (Sobel), with exponent 1 (Piella and
    Heijmans 2003)."""
    edges = [np.sqrt(np.square(image.sobel, dtype=np.float64).sum(axis=0)) for image in (f, a, b)]
    return weighted_quality(f, a, b) * _weighted_quality(*edges)


def _weighted_quality(f: Array, a: Array, b: Array) -> float:
    mean_f, square_f = correlate(f, _SQUARE), correlate(f * f, _SQUARE)
    indices, variances = [], []
    for source in (a, b):
        mean = correlate(source, _SQUARE)
        variance = np.maximum(correlate(source * source, _SQUARE) - mean**2, 0.0)
        covariance = correlate(source * f, _SQUARE) - mean * mean_f
        spread = variance + np.maximum(square_f - mean_f**2, 0.0)
        # two flat windows differ in brightness alone, two black ones not at all
        flat = spread < 1e-9 * (1 + mean**2 + mean_f**2)
        structure = np.divide(2 * covariance, spread, out=np.ones_like(spread), where=~flat)
        bright = mean**2 + mean_f**2
        luminance = np.divide(2 * mean * mean_f, bright, out=np.ones_like(bright), where=bright > 0)
        indices.append(structure * luminance)
        variances.append(variance)
    total = variances[0] + variances[1]
    share = np.divide(variances[0], total, out=np.full_like(total, 0.5), where=total > 0)
    quality = share * indices[0] + (1 - share) * indices[1]
    weight = np.maximum(*variances)
    return float((weight * quality).sum() / weight.sum()) if weight.sum() > 0 else float(quality.mean())


def mef_ssim(f: Image, a: Image, b: Image) -> float:
    """MEF-SSIM, 0 ... 1, for exposures: 11x11 windows at three scales (Ma, Zeng and Wang 2015).

    In each window the image to be wished for has the largest contrast of the sources and the mean of their
    structures, weighted by contrast to the power tan(pi R / 2), at most 10, R being how consistent they are; F is
    compared with it in contrast and structure under a Gaussian of sigma 1.5, C = (0.03 * 255)^2. The mean
    brightness does not count. The scales weigh as the first three of MS-SSIM.
    """
    product = 1.0
    planes = [image.values for image in (f, a, b)]
    for scale, weight in enumerate(_MEF_WEIGHTS / _MEF_WEIGHTS.sum()):
        if scale:
            planes = [_mean_of_four(plane) for plane in planes]
        product *= max(_mef_scale(*planes), 0.0) ** weight
    return product


def _mef_scale(f: Array, a: Array, b: Array) -> float:
    flat = _covariances(f, a, b, _MEF_SQUARE)
    bell = _covariances(f, a, b, _MEF_WINDOW)
    # sums over a window, as norms of vectors; the constant keeps flat windows from dividing by 0
    norms = [121 * np.maximum(flat[pair], 0.0) for pair in ("aa", "bb")]
    both = 121 * flat["ab"]
    contrast_a, contrast_b = (np.sqrt(norm) + 0.001 for norm in norms)
    summed = np.sqrt(np.maximum(norms[0] + norms[1] + 2 * both, 0.0))
    consistency = np.divide(
        summed, np.sqrt(norms[0]) + np.sqrt(norms[1]), out=np.ones_like(summed), where=summed > 0
    )
    power = np.minimum(np.tan(np.pi / 2 * np.minimum(consistency, 1 - 1e-12)), 10.0)
    largest = np.maximum(contrast_a, contrast_b)
    share_a = (contrast_a / largest) ** power / contrast_a
    share_b = (contrast_b / largest) ** power / contrast_b
    norm = np.sqrt(
        np.maximum(share_a**2 * norms[0] + share_b**2 * norms[1] + 2 * share_a * share_b * both, 0.0)
    )
    scale = np.divide(largest, norm, out=np.zeros_like(norm), where=norm > 1e-9)
    share_a, share_b = share_a * scale, share_b * scale
    wished = share_a**2 * bell["aa"] + share_b**2 * bell["bb"] + 2 * share_a * share_b * bell["ab"]
    shared = share_a * bell["fa"] + share_b * bell["fb"]
    return float(((2 * shared + _MEF_CONSTANT) / (wished + bell["ff"] + _MEF_CONSTANT)).mean())


def _covariances(f: Array, a: Array, b: Array, window: Array) -> dict[str, Array]:
    planes = {"f": f, "a": a, "b": b}
    means = {name: correlate(plane, window) for name, plane in planes.items()}
    return {
        x + y: correlate(planes[x] * planes[y], window) - means[x] * means[y]
        for x, y in ("ff", "fa", "fb", "aa", "bb", "ab")
    }


def _mean_of_four(plane: Array) -> Array:
    """Half the size, an odd last row or column repeated."""
    plane = np.pad(plane, [(0, side % 2) for side in plane.shape], mode="edge")
    height, width = (side // 2 for side in plane.shape)
    return plane.reshape(height, 2, width, 2).mean(axis=(1, 3))
