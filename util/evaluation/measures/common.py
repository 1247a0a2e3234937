"""The twelve metrics that nearly every paper prints: F the fused image, A the infrared and B the visible source.

Where a definition has quirks, they are those of the evaluator that the tables of the DDFM paper and of its group's
other papers were made with. Those that are sums over both sources have a second form with the smaller of the two,
which a copy of one source cannot raise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from util.evaluation.measures.filters import Array, correlate
from util.evaluation.measures.metric_image import (
    VIF_NOISE,
    VIF_WINDOWS,
    Image,
    Single,
    mean_product,
    remembered,
    sample_covariance,
    sum_log1,
    symmetric,
)

Source = Callable[[Image, Image], float]
"""Takes F and one source."""

_TINY = 1e-10
_STRENGTH, _ANGLE = (0.9994, -15.0, 0.5), (0.9879, -22.0, 0.8)  # T, k, D of Qabf's two sigmoids


def entropy(f: Image) -> float:
    """EN, in bits, 0 ... 8: -sum p log2 p over the 256 levels (Roberts et al. 2008)."""
    share = f.histogram[f.histogram > 0] / f.levels.size
    return float(-(share * np.log2(share)).sum())


def standard_deviation(f: Image) -> float:
    """SD, 0 ... 127.5: population standard deviation of the grey levels (Rao 1997)."""
    return math.sqrt(_product(f.centered, f.centered) / f.centered.size)


def spatial_frequency(f: Image) -> float:
    """SF, 0 ... 361: root of the mean squared differences along rows plus along columns (Eskicioglu 1995)."""
    return math.sqrt(sum(float((np.diff(f.samples, axis=axis) ** 2).mean()) for axis in (0, 1)))


def average_gradient(f: Image) -> float:
    """AG, at least 0: mean of sqrt((gx^2 + gy^2) / 2), central differences (Cui et al. 2015)."""
    gy, gx = np.gradient(f.values)
    return float(np.sqrt((gx * gx + gy * gy) / 2).mean())


def mutual_information(f: Image, a: Image, b: Image) -> float:
    """MI, in nats, at least 0: I(F; A) + I(F; B) of the joint 256-level histograms (Qu et al. 2002)."""
    return information(f, a) + information(f, b)


@symmetric
def information(x: Image, y: Image) -> float:
    """I(X; Y) in nats."""
    pairs = (x.levels.astype(np.uint16) << 8) | y.levels
    joint = np.bincount(pairs.ravel(), minlength=65536)
    seen = np.flatnonzero(joint)
    share = joint[seen] / pairs.size
    independent = (x.histogram[seen >> 8] / pairs.size) * (y.histogram[seen & 255] / pairs.size)
    return float((share * np.log(share / independent)).sum())


def information_quality(f: Image, a: Image, b: Image) -> float:
    """Q_MI, 0 ... 2: 2 (I(F; A) / (H(F) + H(A)) + I(F; B) / (H(F) + H(B))) (Hossny et al. 2008)."""
    total = 0.0
    for source in (a, b):
        entropies = entropy(f) + entropy(source)
        total += 2 * information(f, source) / math.log(2) / entropies if entropies > 0 else 0.0
    return total


def mean_squared_error(f: Image, a: Image, b: Image) -> float:
    """MSE, 0 ... 65025, lower is better: mean of the squared errors to A and to B, in grey levels."""
    return (_squared_error(f, a) + _squared_error(f, b)) / 2


@symmetric
def _squared_error(x: Image, y: Image) -> float:
    difference = x.values - y.values
    return _product(difference, difference) / difference.size


def psnr(f: Image, a: Image, b: Image, peak: float | None = None) -> float:
    """PSNR, in dB: 10 log10(peak^2 / MSE), infinite where F equals both sources.

    ``peak`` None is the brightest level of F, a quirk of the evaluator that published tables used.
    """
    error = mean_squared_error(f, a, b)
    peak = float(f.levels.max()) if peak is None else peak
    if error == 0:
        return math.inf
    return 10 * math.log10(peak**2 / error) if peak > 0 else -math.inf


def _product(x: Array, y: Array) -> float:
    """Sum of x y, without the threads that BLAS would start for it."""
    return float(np.einsum("ij,ij->", x, y))


def _correlation(x: Array, y: Array) -> float:
    """Pearson's, of centred arrays; 0 where one is constant."""
    norm = math.sqrt(_product(x, x) * _product(y, y))
    return _product(x, y) / norm if norm > 0 else 0.0


def correlation(f: Image, a: Image, b: Image) -> float:
    """CC, -1 ... 1: mean of the correlations of F with A and with B."""
    return (correlation_with(f, a) + correlation_with(f, b)) / 2


@symmetric
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


@remembered
def vif_of(distorted: Image, reference: Image) -> float:
    """vifp(reference, distorted): the information about one source that F carries; 1 for a copy."""
    if distorted is reference:
        return 1.0
    return vif_ratio(
        (
            (covariance, of_reference, of_distorted)
            for covariance, (_, _, of_reference), (_, _, of_distorted) in zip(
                _vif_covariances(distorted, reference), reference.scales, distorted.scales, strict=True
            )
        ),
        reference.vif_content,
    )


@symmetric
def _vif_covariances(x: Image, y: Image) -> list[Single]:
    """In VIF's window of every scale."""
    result = []
    for window, (of_x, mean_x, _), (of_y, mean_y, _) in zip(VIF_WINDOWS, x.scales, y.scales, strict=True):
        covariance = correlate(of_x * of_y, window)
        covariance -= mean_x * mean_y
        result.append(covariance.astype(np.float32))
    return result


def vif_ratio(scales: Iterable[tuple[Single, Single, Single]], content: float) -> float:
    """Information carried, summed over scales of (covariance, variance x, variance y), over the ``content`` of x."""
    carried = 0.0
    for covariance, var_x, var_y in scales:
        gain = np.maximum(covariance, 0)  # what is inverted or flat carries nothing
        gain /= var_x + _TINY
        residual = var_y - gain * covariance
        np.maximum(residual, _TINY, out=residual)
        residual += VIF_NOISE
        gain *= gain
        gain *= var_x
        gain /= residual
        carried += sum_log1(gain)
    return carried / content if content > 0 else 1.0


def qabf(f: Image, a: Image, b: Image, quirks: bool = True) -> float:
    """Qabf, 0 ... 1: how well edges survive in strength and angle, weighted by strength (Xydeas and Petrovic 2000).

    Two ``quirks`` of the evaluator that published tables used: where both gradients are equal, the ratio of
    strengths is the gradient itself instead of 1; where the horizontal response is 0, the angle is pi/2
    whatever the vertical one is.
    """
    kept = [
        (_edges_kept(f, source, quirks=quirks) * source.strength).sum(dtype=np.float64) for source in (a, b)
    ]
    total = sum(source.strength.sum(dtype=np.float64) for source in (a, b))
    return float(sum(kept) / total) if total > 0 else 0.0


@symmetric
def _edges_kept(x: Image, y: Image, quirks: bool) -> Single:
    """Share of the edge's strength times share of its angle, at every pixel."""
    high = np.maximum(x.strength, y.strength)
    ratio = np.minimum(x.strength, y.strength)
    ratio /= np.maximum(high, np.float32(1e-30))
    np.copyto(ratio, high if quirks else 1, where=x.strength == y.strength)
    turn = x.quirky_angle - y.quirky_angle if quirks else x.angle - y.angle
    turn = np.abs(turn, out=turn)
    (t1, k1, d1), (t2, k2, d2) = _STRENGTH, _ANGLE
    ratio *= k1
    ratio -= k1 * d1
    turn *= -k2 * 2 / math.pi
    turn += k2 * (1 - d2)
    kept = _one_and_exp(ratio)
    kept *= _one_and_exp(turn)
    return np.divide(t1 * t2, kept, out=kept)


def _one_and_exp(x: Single) -> Single:
    """1 + exp(x), in its place."""
    np.exp(x, out=x)
    x += 1
    return x


def ssim(f: Image, a: Image, b: Image, data_range: float = 2.0) -> float:
    """SSIM, -2 ... 2: ssim(F, A) + ssim(F, B), 7x7 uniform window, sample covariance (Wang et al. 2004).

    ``data_range`` 2 is what published tables used, by an old library's default for floating-point images,
    although the levels span 255. 3 pixels at each border are left out.
    """
    return ssim_of(f, a, data_range=data_range) + ssim_of(f, b, data_range=data_range)


@symmetric
def ssim_of(x: Image, y: Image, data_range: float) -> float:
    """SSIM of F and one source, -1 ... 1."""
    if x is y:
        return 1.0
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    (sums_x, square_x, var_x), (sums_y, square_y, var_y) = x.boxes, y.boxes
    covariance = sample_covariance(x.samples, y.samples, sums_x, sums_y)
    score = (2 * mean_product(sums_x, sums_y) + c1) * (2 * covariance + c2)
    score /= (square_x + square_y + c1) * (var_x + var_y + c2)
    return float(score.mean(dtype=np.float64))


def smaller(measure: Source) -> Callable[[Image, Image, Image], float]:
    """The smaller of the values with A and with B."""
    return lambda f, a, b: min(measure(f, a), measure(f, b))
