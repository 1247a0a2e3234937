"""Metrics that model where the eye looks or what it resolves: Q_Y, Q_CB, Q_CV, N_ABF.

F is the fused image, A and B the sources, levels 0 ... 255. ``quirks``: as the toolbox of the infrared-visible
survey computes it, for protocol ``zoo``.
"""

from __future__ import annotations

import numpy as np

from util.evaluation.measures.filters import Array, correlate, correlate_all, gaussian, sobel
from util.evaluation.measures.metric_image import Image

_TINY = 1e-10


def yang(f: Image, a: Image, b: Image, quirks: bool = False) -> float:
    """Q_Y, -1 ... 1: SSIM with the sources, weighted by their variances where the sources agree (SSIM at least 0.75),
    the larger of the two elsewhere (Yang et al. 2008). 7x7 Gaussian window of sigma 1.5.

    ``quirks``: data range 1 for levels up to 255, and a window that is Gaussian along rows but 1 along columns, so
    that it sums to 7 and "variances" are far below 0; zeros beyond the border.
    """
    along = gaussian(3, 1.5)
    c1, c2 = ((0.01 if quirks else 2.55) ** 2, (0.03 if quirks else 7.65) ** 2)

    def windowed(values: Array) -> Array:
        if not quirks:
            return correlate(values, along)
        return correlate_all(values, np.ones(7), across=along)

    means = {image: windowed(image.values) for image in (f, a, b)}
    variances = {image: windowed(image.values**2) - means[image] ** 2 for image in (f, a, b)}

    def similarity(x: Image, y: Image) -> Array:
        product = means[x] * means[y]
        covariance = windowed(x.values * y.values) - product
        return ((2 * product + c1) * (2 * covariance + c2)) / (
            (means[x] ** 2 + means[y] ** 2 + c1) * (variances[x] + variances[y] + c2)
        )

    with_a, with_b = similarity(a, f), similarity(b, f)
    total = variances[a] + variances[b] + _TINY
    share = variances[a] / total
    alike = similarity(a, b) >= 0.75
    weighted = share * with_a + (1 - share) * with_b
    return float(np.where(alike, weighted, np.maximum(with_a, with_b)).mean())


def _unit(image: Image) -> Array:
    low, high = image.values.min(), image.values.max()
    return (image.values - low) / (high - low) if high > low else np.zeros_like(image.values)


def chen_blum(f: Image, a: Image, b: Image, quirks: bool = False) -> float:
    """Q_CB, 0 ... 1: how well local contrast survives, after a contrast sensitivity filter (Chen and Blum 2009).

    Each image is stretched to 0 ... 1, filtered by exp(-(r / 15.387)^2) - 0.7622 exp(-(r / 1.3456)^2), its local
    contrast C = (G_2 * I) / (G_4 * I) - 1 masked as C^3 / (C^2 + 1e-4). Frequencies r are those of the reference
    implementation of Liu et al. (2012), -1 ... 1 at the Nyquist frequency times a thirtieth of the side; with
    ``quirks`` half as high and each axis scaled by its own side.
    """
    height, width = f.levels.shape
    scale = 1.0 if quirks else 2.0
    v = np.fft.fftfreq(height)[:, None] * scale * height / 30
    u = np.fft.rfftfreq(width)[None, :] * scale * width / 30
    square = u**2 + v**2
    sensitivity = np.exp(-square / 15.3870**2) - 0.7622 * np.exp(-square / 1.3456**2)
    narrow, wide = (_bell(sigma) for sigma in (2, 4))

    def masked(image: Image) -> Array:
        seen = np.fft.irfft2(np.fft.rfft2(_unit(image)) * sensitivity, s=(height, width))
        near, far = (correlate_all(seen, window) for window in (narrow, wide))
        contrast = np.abs(near / (far + _TINY) - 1)
        return contrast**3 / (contrast**2 + 1e-4)

    of_f, of_a, of_b = (masked(image) for image in (f, a, b))

    def kept(source: Array) -> Array:
        low, high = np.minimum(source, of_f), np.maximum(source, of_f)
        return np.divide(low, high, out=np.ones_like(low), where=high > 0)

    weights = of_a**2 + of_b**2 + _TINY
    return float(((of_a**2 * kept(of_a) + of_b**2 * kept(of_b)) / weights).mean())


def _bell(sigma: float) -> Array:
    """A Gaussian density at -15 ... 15."""
    return np.exp(-(np.arange(-15, 16) ** 2) / (2 * sigma**2)) / (np.sqrt(2 * np.pi) * sigma)


def chen_varshney(f: Image, a: Image, b: Image) -> float:
    """Q_CV, 0 ... 65025, lower is better: error to each source after Mannos and Sakrison's contrast sensitivity
    filter, in regions of 16x16, weighted by the sum of the source's Sobel magnitudes to the fifth power (Chen and
    Varshney 2007).

    Images are stretched to 0 ... 255 first and regions that do not fit are left out, as in the implementation of
    Liu et al. (2012), whose frequencies r are taken too: -1 ... 1 at Nyquist times an eighth of the side.
    """
    height, width = f.levels.shape
    v = np.fft.fftfreq(height)[:, None] * 2 * height / 8
    u = np.fft.rfftfreq(width)[None, :] * 2 * width / 8
    r = np.sqrt(u**2 + v**2)
    sensitivity = 2.6 * (0.0192 + 0.144 * r) * np.exp(-((0.144 * r) ** 1.1))
    fused = 255 * _unit(f)
    error = weight = 0.0
    for source in (a, b):
        values = 255 * _unit(source)
        seen = np.fft.irfft2(np.fft.rfft2(values - fused) * sensitivity, s=(height, width))
        salience = _regions(_strength(values) ** 5)
        error += float((salience * _regions(seen**2)).sum()) / 256
        weight += float(salience.sum())
    return error / weight if weight > 0 else 0.0


def _strength(values: Array) -> Array:
    """Sobel magnitude, zeros beyond the border."""
    horizontal, vertical = sobel(np.pad(values, 1))
    return np.sqrt(horizontal**2 + vertical**2)


def _regions(values: Array, side: int = 16) -> Array:
    """Sums over squares of that side."""
    rows, columns = (extent // side for extent in values.shape)
    return values[: rows * side, : columns * side].reshape(rows, side, columns, side).sum(axis=(1, 3))


def artefacts(f: Image, a: Image, b: Image) -> float:
    """N_ABF, 0 ... 1, lower is better: edges of F that are stronger than both sources', weighted by what F does not
    keep of theirs (Petrovic and Xydeas 2005, as changed by Shreyamsha Kumar 2013). Reflected at the border.
    """
    gradients = [_reflected_gradient(image) for image in (f, a, b)]
    (strength_f, angle_f), *sources = gradients
    added = (strength_f > sources[0][0]) & (strength_f > sources[1][0])
    lost = total = 0.0
    for strength, angle in sources:
        low, high = np.minimum(strength, strength_f), np.maximum(strength, strength_f)
        ratio = np.divide(low, high, out=np.zeros_like(low), where=low > 0)
        agreement = np.abs(np.abs(angle - angle_f) - np.pi / 2) * 2 / np.pi
        kept = np.sqrt(
            0.9999 / (1 + np.exp(-19 * (ratio - 0.5))) * 0.9995 / (1 + np.exp(-22 * (agreement - 0.5)))
        )
        weight = np.where(strength >= 2, strength, 0.0) ** 1.5
        lost += float(((1 - kept) * weight)[added].sum())
        total += float(weight.sum())
    return lost / total if total > 0 else 0.0


def _reflected_gradient(image: Image) -> tuple[Array, Array]:
    """Magnitude and angle of Sobel / 8."""
    horizontal, vertical = sobel(np.pad(image.values, 1, mode="reflect") / 8)
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.arctan(horizontal / vertical)
    strength = np.sqrt(horizontal**2 + vertical**2)
    return strength, np.where((horizontal == 0) & (vertical == 0), 0.0, angle)
