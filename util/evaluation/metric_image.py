"""An image with what the metrics share: windowed means, gradients, VIF's scales; each computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float64]


def gaussian(radius: int, sigma: float) -> Array:
    """A window of 2 radius + 1 taps that sums to 1."""
    window = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    return window / window.sum()


VIF_WINDOWS = [
    gaussian(radius, (2 * radius + 1) / 5) for radius in (8, 4, 2, 1)
]  # N = 17, 9, 5, 3: VIF's four scales
BOX = np.full(7, 1 / 7)
_BLOCK, _COLUMNS = 32, 128


def correlate(image: Array, window: Array) -> Array:
    """Separable correlation with a symmetric ``window`` along both axes, where it fits ('valid')."""
    return correlate_rows(correlate_rows(image, window).T, window).T


def correlate_rows(image: Array, window: Array) -> Array:
    """Along the first axis, as products of small banded matrices: several times faster than tap by tap.

    They are too small for BLAS to start threads, whose waiting for each other costs more than they save, and which
    the processes of :mod:`util.evaluation.folders` would only take from each other.
    """
    taps = len(window)
    count = image.shape[0] - taps + 1
    padding = np.zeros(_BLOCK - 1)
    reversed_rows = sliding_window_view(np.concatenate([padding, window, padding]), _BLOCK + taps - 1)
    band = np.ascontiguousarray(reversed_rows[::-1])  # row k holds the window shifted by k
    out = np.empty((count, image.shape[1]))
    for start in range(0, count, _BLOCK):
        rows = min(_BLOCK, count - start)
        for left in range(0, image.shape[1], _COLUMNS):
            columns = slice(left, left + _COLUMNS)
            np.matmul(
                band[:rows, : rows + taps - 1],
                image[start : start + rows + taps - 1, columns],
                out=out[start : start + rows, columns],
            )
    return out


@dataclass(frozen=True, eq=False)
class Image:
    """An image with everything that several metrics need of it, computed once."""

    levels: NDArray[np.uint8]

    @cached_property
    def values(self) -> Array:
        return self.levels.astype(np.float64)

    @cached_property
    def centered(self) -> Array:
        return self.values - self.values.mean()

    @cached_property
    def uniform(self) -> tuple[Array, Array]:
        """Means of x and of x^2 over the 7x7 windows that fit."""
        return correlate(self.values, BOX), correlate(self.values**2, BOX)

    @cached_property
    def scales(self) -> list[tuple[Array, Array, Array]]:
        """For each VIF scale: the image, its local mean and its local variance."""
        result, image = [], self.values
        for scale in range(4):
            if scale > 0:
                image = correlate(image, VIF_WINDOWS[scale])[::2, ::2]
            mean = correlate(image, VIF_WINDOWS[scale])
            variance = np.maximum(correlate(image**2, VIF_WINDOWS[scale]) - mean**2, 0.0)
            result.append((image, mean, variance))
        return result

    @cached_property
    def sobel(self) -> tuple[Array, Array]:
        """Horizontal and vertical Sobel responses, zeros beyond the border."""
        padded = np.pad(self.values, 1)
        along = padded[:-2] + 2 * padded[1:-1] + padded[2:]
        across = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
        return along[:, 2:] - along[:, :-2], across[2:] - across[:-2]

    @cached_property
    def strength(self) -> Array:
        """Gradient magnitude."""
        horizontal, vertical = self.sobel
        return np.sqrt(horizontal * horizontal + vertical * vertical)


def edge_angle(image: Image, quirks: bool) -> Array:
    """Angle of the gradient in radians, from -pi/2 to pi/2; ``quirks`` as in :func:`util.evaluation.metrics.qabf`.

    The horizontal response is taken from right to left, as the published evaluator does: the sign matters next to
    the quirk, whose pi/2 has the same sign for every edge.
    """
    horizontal, vertical = image.sobel
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.arctan(vertical / -horizontal)
    flat = horizontal == 0
    angle[flat] = np.pi / 2 if quirks else np.pi / 2 * np.sign(vertical[flat])
    return angle
