"""An image with what the metrics share: windowed means, gradients, VIF's scales; each computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from util.evaluation.measures.filters import Array, box_sums, correlate, gaussian, sobel

Single = NDArray[np.float32]
"""Float32, for what no difference is taken of afterwards: twice as fast and exact to 1e-7."""

VIF_WINDOWS = [
    gaussian(radius, (2 * radius + 1) / 5) for radius in (8, 4, 2, 1)
]  # N = 17, 9, 5, 3: VIF's four scales
VIF_NOISE = 2.0  # variance of the visual noise
BOX_PIXELS = 49  # of the 7x7 windows of SSIM

Scales = list[tuple[Array, Array, Single]]
"""For each scale of VIF: the image, its local mean and its local variance."""


def vif_scales(values: Array, windows: Sequence[Array], correlated: Callable[..., Array]) -> Scales:
    """The scales of an image (H, W), a window each; ``correlated``: how, as :func:`correlate` or its like."""
    scales: Scales = []
    for scale, window in enumerate(windows):
        if scale > 0:
            values = correlated(values, window, step=2)
        mean = correlated(values, window)
        variance = correlated(values * values, window)
        variance -= mean * mean
        scales.append((values, mean, np.maximum(variance, 0.0).astype(np.float32)))
    return scales


@dataclass(frozen=True, eq=False)
class Image:
    """An image with everything that several metrics need of it, computed once.

    ``exact``: (H, W) float64 grey values that ``levels`` were rounded from, for all but the histograms.
    """

    levels: NDArray[np.uint8]
    exact: Array | None = None

    @cached_property
    def samples(self) -> NDArray[Any]:
        """(H, W): integers, whose sums and products are exact, unless the image has ``exact`` values."""
        return self.levels.astype(np.int32) if self.exact is None else self.exact

    @cached_property
    def values(self) -> Array:
        return self.levels.astype(np.float64) if self.exact is None else self.exact

    @cached_property
    def centered(self) -> Array:
        return self.values - self.values.mean()

    @cached_property
    def histogram(self) -> NDArray[np.intp]:
        """How many pixels have each of the 256 levels."""
        return np.bincount(self.levels.ravel(), minlength=256)

    @cached_property
    def boxes(self) -> tuple[NDArray[Any], Single, Single]:
        """Of the 7x7 windows that fit: sums of x, means squared, and sample variances."""
        sums = box_sums(self.samples)
        return sums, mean_product(sums, sums), sample_covariance(self.samples, self.samples, sums, sums)

    @cached_property
    def scales(self) -> Scales:
        """Those of VIF, where the windows fit."""
        return vif_scales(self.values, VIF_WINDOWS, correlate)

    @cached_property
    def vif_content(self) -> float:
        """The information in all VIF scales, see :func:`vif_content`."""
        return vif_content(variance for _, _, variance in self.scales)

    @cached_property
    def sobel(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Horizontal and vertical Sobel responses, zeros beyond the border."""
        return sobel(np.pad(self.samples, 1))

    @cached_property
    def strength(self) -> Single:
        """Gradient magnitude; two that differ as levels do in float32 too."""
        horizontal, vertical = self.sobel
        return np.sqrt((horizontal * horizontal + vertical * vertical).astype(np.float32))

    @cached_property
    def angle(self) -> Single:
        """Of the gradient in radians, from -pi/2 to pi/2, 0 where there is none.

        The horizontal response is taken from right to left, as the published evaluator of Qabf does: the sign
        matters next to its quirk, :attr:`quirky_angle`.
        """
        return np.arctan(self._slope(0.0))

    @cached_property
    def quirky_angle(self) -> Single:
        """pi/2 where the horizontal response is 0, whatever the vertical one is: the same sign for every edge."""
        return np.arctan(self._slope(np.inf))

    def _slope(self, of_none: float) -> Single:
        """Of the gradient; infinite where it is vertical, with its sign where it is 0 for no gradient."""
        horizontal, vertical = (response.astype(np.float32) for response in self.sobel)
        upright = horizontal == 0
        if of_none:
            np.copyto(vertical, of_none, where=upright)
        np.copyto(horizontal, -1e-30, where=upright)
        return vertical / -horizontal


def vif_content(variances: Iterable[Single]) -> float:
    """Sum of log(1 + variance / noise) over all scales: what VIF compares with."""
    return sum((sum_log1(variance / VIF_NOISE) for variance in variances), 0.0)


def sum_log1(x: Single) -> float:
    """Sum of log(1 + x)."""
    return float(np.log(1 + x).sum(dtype=np.float64))


def mean_product(sums_x: NDArray[Any], sums_y: NDArray[Any]) -> Single:
    """Products of the means of 7x7 windows."""
    return (sums_x * sums_y).astype(np.float32) * np.float32(1 / BOX_PIXELS**2)


def sample_covariance(x: NDArray[Any], y: NDArray[Any], sums_x: NDArray[Any], sums_y: NDArray[Any]) -> Single:
    """Of the 7x7 windows that fit; for levels exact up to a rounding to float32."""
    sums = box_sums(x * y)
    sums *= BOX_PIXELS
    sums -= sums_x * sums_y
    return sums.astype(np.float32) * np.float32(1 / (BOX_PIXELS * (BOX_PIXELS - 1)))


Result = TypeVar("Result")


def remembered(measure: Callable[..., Result]) -> Callable[..., Result]:
    """A function of two images, and settings, whose results stay with the first image as long as both are there."""

    @wraps(measure)
    def look_up(x: Image, y: Image, **settings: Any) -> Result:
        # weak, for a source may outlive what was compared with it, and two images may know each other
        known = x.__dict__.setdefault("_known", WeakKeyDictionary()).setdefault(y, {})
        key = (measure, *settings.items())
        if key not in known:
            known[key] = measure(x, y, **settings)
        return known[key]

    return look_up


def symmetric(measure: Callable[..., Result]) -> Callable[..., Result]:
    """As :func:`remembered`, of a function that is the same for (x, y) and (y, x)."""
    kept = remembered(measure)

    @wraps(measure)
    def look_up(x: Image, y: Image, **settings: Any) -> Result:
        turned = y.__dict__.get("_known", {}).get(x, {})
        key = (measure, *settings.items())
        return turned[key] if key in turned else kept(x, y, **settings)

    return look_up
