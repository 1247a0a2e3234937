"""The twelve metrics that nearly every paper prints: F the fused image, A the infrared and B the visible source.

Where a definition has quirks, they are those of the evaluator that the tables of the DDFM paper and of its group's
other papers were made with. Those that are sums over both sources have a second form with the smaller of the two,
which a copy of one source cannot raise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from util.evaluation.metric_image import BOX, VIF_WINDOWS, Array, Image, correlate, edge_angle

Source = Callable[[Image, Image], float]
"""Takes F and one source."""

_VIF_NOISE = 2.0  # variance of the visual noise
_TINY = 1e-10
_STRENGTH, _ANGLE = (0.9994, -15.0, 0.5), (0.9879, -22.0, 0.8)  # T, k, D of Qabf's two sigmoids


def entropy(f: Image) -> float:
    """EN, in bits, 0 ... 8: -sum p log2 p over the 256 levels (Roberts et al. 2008)."""
    share = np.bincount(f.levels.ravel(), minlength=256) / f.levels.size
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())


def standard_deviation(f: Image) -> float:
    """SD, 0 ... 127.5: population standard deviation of the grey levels (Rao 1997)."""
    return float(f.values.std())


def spatial_frequency(f: Image) -> float:
    """SF, 0 ... 361: root of the mean squared differences along rows plus along columns (Eskicioglu 1995)."""
    return math.sqrt(sum(float((np.diff(f.values, axis=axis) ** 2).mean()) for axis in (0, 1)))


def average_gradient(f: Image) -> float:
    """AG, at least 0: mean of sqrt((gx^2 + gy^2) / 2), central differences (Cui et al. 2015)."""
    gy, gx = np.gradient(f.values)
    return float(np.sqrt((gx**2 + gy**2) / 2).mean())


def mutual_information(f: Image, a: Image, b: Image) -> float:
    """MI, in nats, at least 0: I(F; A) + I(F; B) of the joint 256-level histograms (Qu et al. 2002)."""
    return information(f, a) + information(f, b)


def information(x: Image, y: Image) -> float:
    """I(X; Y) in nats."""
    pairs = x.levels.ravel().astype(np.intp) * 256 + y.levels.ravel()
    joint = np.bincount(pairs, minlength=65536).reshape(256, 256) / pairs.size
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / independent[seen])).sum())


def information_quality(f: Image, a: Image, b: Image) -> float:
    """Q_MI, 0 ... 2: 2 (I(F; A) / (H(F) + H(A)) + I(F; B) / (H(F) + H(B))) (Hossny et al. 2008)."""
    total = 0.0
    for source in (a, b):
        entropies = entropy(f) + entropy(source)
        total += 2 * information(f, source) / math.log(2) / entropies if entropies > 0 else 0.0
    return total


def mean_squared_error(f: Image, a: Image, b: Image) -> float:
    """MSE, 0 ... 65025, lower is better: mean of the squared errors to A and to B, in grey levels."""
    return float(((f.values - a.values) ** 2).mean() + ((f.values - b.values) ** 2).mean()) / 2


def psnr(f: Image, a: Image, b: Image, peak: float | None = None) -> float:
    """PSNR, in dB: 10 log10(peak^2 / MSE), infinite where F equals both sources.

    ``peak`` None is the brightest level of F, a quirk of the evaluator that published tables used.
    """
    error = mean_squared_error(f, a, b)
    peak = float(f.levels.max()) if peak is None else peak
    if error == 0:
        return math.inf
    return 10 * math.log10(peak**2 / error) if peak > 0 else -math.inf


def _correlation(x: Array, y: Array) -> float:
    """Pearson's, of centred arrays; 0 where one is constant."""
    norm = math.sqrt(float((x * x).sum()) * float((y * y).sum()))
    return float((x * y).sum()) / norm if norm > 0 else 0.0


def correlation(f: Image, a: Image, b: Image) -> float:
    """CC, -1 ... 1: mean of the correlations of F with A and with B."""
    return (correlation_with(f, a) + correlation_with(f, b)) / 2


def correlation_with(f: Image, source: Image) -> float:
    """Pearson's correlation of F and one source."""
    return _correlation(f.centered, source.centered)


def scd(f: Image, a: Image, b: Image) -> float:
    """SCD, -2 ... 2: corr(A, F - B) + corr(B, F - A) (Aslantas and Bendes 2015)."""
    return _correlation(a.centered, f.centered - b.centered) + _correlation(
        b.centered, f.centered - a.centered
    )


def vif(f: Image, a: Image, b: Image) -> float:
    """VIF, at least 0: vifp(A, F) + vifp(B, F), pixel domain, 4 scales (Sheikh and Bovik 2006; Han et al. 2013)."""
    return vif_of(f, a) + vif_of(f, b)


def vif_of(distorted: Image, reference: Image) -> float:
    """vifp(reference, distorted): the information about one source that F carries; 1 for a copy."""
    covariances = (
        correlate(x * y, window) - mean_x * mean_y
        for window, (x, mean_x, _), (y, mean_y, _) in zip(
            VIF_WINDOWS, reference.scales, distorted.scales, strict=True
        )
    )
    return vif_ratio(
        (covariance, ref[2], dis[2])
        for covariance, ref, dis in zip(covariances, reference.scales, distorted.scales, strict=True)
    )


def vif_ratio(scales: Iterable[tuple[Array, Array, Array]]) -> float:
    """Information carried over information there, summed over scales of (covariance, variance x, variance y)."""
    carried = total = 0.0
    for covariance, var_x, var_y in scales:
        gain = covariance / (var_x + _TINY)
        residual = var_y - gain * covariance
        gain[var_x < _TINY] = 0.0
        np.copyto(residual, var_y, where=var_x < _TINY)
        gain[var_y < _TINY] = 0.0
        residual[var_y < _TINY] = 0.0
        np.copyto(residual, var_y, where=gain < 0)
        np.maximum(gain, 0.0, out=gain)
        np.maximum(residual, _TINY, out=residual)
        residual += _VIF_NOISE
        gain *= gain
        gain *= var_x
        gain /= residual
        carried += _sum_log1(gain)
        total += _sum_log1(var_x / _VIF_NOISE)
    return carried / total if total > 0 else 1.0


def _sum_log1(x: Array) -> float:
    """Sum of log(1 + x), the logarithms in float32, which is several times faster and exact to 1e-7."""
    return float(np.log((1 + x).astype(np.float32)).sum(dtype=np.float64))


def qabf(f: Image, a: Image, b: Image, quirks: bool = True) -> float:
    """Qabf, 0 ... 1: how well edges survive in strength and angle, weighted by strength (Xydeas and Petrovic 2000).

    Two ``quirks`` of the evaluator that published tables used: where both gradients are equal, the ratio of
    strengths is the gradient itself instead of 1; where the horizontal response is 0, the angle is pi/2
    whatever the vertical one is.
    """
    angles = [edge_angle(image, quirks) for image in (f, a, b)]
    weighted = 0.0
    for source, angle in ((a, angles[1]), (b, angles[2])):
        weighted += float((_edges_kept(source, angle, f, angles[0], quirks) * source.strength).sum())
    total = float(a.strength.sum() + b.strength.sum())
    return weighted / total if total > 0 else 0.0


def _edges_kept(source: Image, angle: Array, fused: Image, fused_angle: Array, quirks: bool) -> Array:
    low, high = np.minimum(source.strength, fused.strength), np.maximum(source.strength, fused.strength)
    ratio = np.divide(low, high, out=np.ones_like(low), where=high > 0)
    if quirks:
        np.copyto(ratio, high, where=low == high)
    agreement = np.abs(angle - fused_angle)
    agreement *= -2 / np.pi
    agreement += 1
    (t1, k1, d1), (t2, k2, d2) = _STRENGTH, _ANGLE
    # exponentials in float32: several times faster, exact to 1e-6
    strength = np.exp((k1 * (ratio - d1)).astype(np.float32))
    alignment = np.exp((k2 * (agreement - d2)).astype(np.float32))
    return np.divide(t1 * t2, (1 + strength) * (1 + alignment), dtype=np.float64)


def ssim(f: Image, a: Image, b: Image, data_range: float = 2.0) -> float:
    """SSIM, -2 ... 2: ssim(F, A) + ssim(F, B), 7x7 uniform window, sample covariance (Wang et al. 2004).

    ``data_range`` 2 is what published tables used, by an old library's default for floating-point images,
    although the levels span 255. 3 pixels at each border are left out.
    """
    return ssim_of(f, a, data_range) + ssim_of(f, b, data_range)


def ssim_of(x: Image, y: Image, data_range: float = 2.0) -> float:
    """SSIM of F and one source, -1 ... 1."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    (mean_x, square_x), (mean_y, square_y) = x.uniform, y.uniform
    product, sample = mean_x * mean_y, 49 / 48
    covariance = sample * (correlate(x.values * y.values, BOX) - product)
    means = mean_x**2 + mean_y**2
    variances = sample * (square_x + square_y - means)
    score = ((2 * product + c1) * (2 * covariance + c2)) / ((means + c1) * (variances + c2))
    return float(score.mean())


def smaller(measure: Source) -> Callable[[Image, Image, Image], float]:
    """The smaller of the values with A and with B."""
    return lambda f, a, b: min(measure(f, a), measure(f, b))
