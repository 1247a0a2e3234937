"""Metrics of image fusion: F the fused image, A the infrared and B the visible source.

All take 8-bit grey images, (H, W) uint8. Two protocols: ``ddfm`` is what the tables of the DDFM paper and of its
group's other papers were made with, quirks included, so that published rows are comparable; ``standard`` differs
in SSIM (data range 255), PSNR (peak 255) and Qabf (no quirks). Higher is better for all but MSE.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from util.evaluation.metric_image import BOX, VIF_WINDOWS, Array, Image, correlate, edge_angle

Protocol = Literal["ddfm", "standard"]

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
    return _information(f, a) + _information(f, b)


def _information(x: Image, y: Image) -> float:
    pairs = x.levels.ravel().astype(np.intp) * 256 + y.levels.ravel()
    joint = np.bincount(pairs, minlength=65536).reshape(256, 256) / pairs.size
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / independent[seen])).sum())


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
    return (_correlation(f.centered, a.centered) + _correlation(f.centered, b.centered)) / 2


def scd(f: Image, a: Image, b: Image) -> float:
    """SCD, -2 ... 2: corr(A, F - B) + corr(B, F - A) (Aslantas and Bendes 2015)."""
    return _correlation(a.centered, f.centered - b.centered) + _correlation(
        b.centered, f.centered - a.centered
    )


def vif(f: Image, a: Image, b: Image) -> float:
    """VIF, at least 0: vifp(A, F) + vifp(B, F), pixel domain, 4 scales (Sheikh and Bovik 2006; Han et al. 2013)."""
    return _vifp(a, f) + _vifp(b, f)


def _vifp(reference: Image, distorted: Image) -> float:
    carried = total = 0.0
    for scale, (ref, dis) in enumerate(zip(reference.scales, distorted.scales, strict=True)):
        (x, mean_x, var_x), (y, mean_y, var_y) = ref, dis
        covariance = correlate(x * y, VIF_WINDOWS[scale]) - mean_x * mean_y
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
    return _ssim(f, a, data_range) + _ssim(f, b, data_range)


def _ssim(x: Image, y: Image, data_range: float) -> float:
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    (mean_x, square_x), (mean_y, square_y) = x.uniform, y.uniform
    product, sample = mean_x * mean_y, 49 / 48
    covariance = sample * (correlate(x.values * y.values, BOX) - product)
    means = mean_x**2 + mean_y**2
    variances = sample * (square_x + square_y - means)
    score = ((2 * product + c1) * (2 * covariance + c2)) / ((means + c1) * (variances + c2))
    return float(score.mean())


_ONE: dict[str, Callable[[Image], float]] = {
    "EN": entropy,
    "SD": standard_deviation,
    "SF": spatial_frequency,
    "AG": average_gradient,
}
_THREE: dict[str, Callable[[Image, Image, Image], float]] = {
    "MI": mutual_information,
    "MSE": mean_squared_error,
    "CC": correlation,
    "SCD": scd,
    "VIF": vif,
}
PAPER_METRICS = ["EN", "SD", "MI", "VIF", "Qabf", "SSIM"]
"""Those of the tables of the paper, in its order."""

METRICS = ("EN", "SD", "SF", "AG", "MI", "MSE", "CC", "PSNR", "SCD", "VIF", "Qabf", "SSIM")


def evaluate(
    fused: NDArray[np.uint8],
    ir: NDArray[np.uint8],
    vi: NDArray[np.uint8],
    metrics: Sequence[str] = METRICS,
    protocol: Protocol = "ddfm",
) -> dict[str, float]:
    """The named metrics of one fused image; all (H, W) uint8 of one size, at least 41 pixels a side.

    Raises ValueError for another type, sizes that differ or are too small for VIF, or an unknown metric.
    """
    if any(image.ndim != 2 or image.dtype != np.uint8 for image in (fused, ir, vi)):
        raise ValueError("metrics take (H, W) uint8 images")
    if not fused.shape == ir.shape == vi.shape:
        raise ValueError(f"the images differ in size: {fused.shape}, {ir.shape}, {vi.shape}")
    if min(fused.shape) < 41:
        raise ValueError(f"metrics need at least 41 pixels a side, got {fused.shape}")
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise ValueError(f"unknown metric {unknown[0]}; there are {', '.join(METRICS)}")
    return evaluate_images(Image(fused), Image(ir), Image(vi), metrics, protocol)


def evaluate_images(
    f: Image, a: Image, b: Image, metrics: Sequence[str] = METRICS, protocol: Protocol = "ddfm"
) -> dict[str, float]:
    """As :func:`evaluate`, of images that have been checked; sources can be shared by several fused images."""
    standard = protocol == "standard"
    results: dict[str, float] = {}
    for name in metrics:
        if name in _ONE:
            results[name] = _ONE[name](f)
        elif name in _THREE:
            results[name] = _THREE[name](f, a, b)
        elif name == "PSNR":
            results[name] = psnr(f, a, b, peak=255.0 if standard else None)
        elif name == "Qabf":
            results[name] = qabf(f, a, b, quirks=not standard)
        else:
            results[name] = ssim(f, a, b, data_range=255.0 if standard else 2.0)
    return results
