"""Separable window filters: sums and weighted means over the windows of an image that fit in it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Array = NDArray[np.float64]

_BLOCK_DOWN, _BLOCK_ACROSS = 8, 16  # windows in a product
_STRIP = 512  # columns, or rows, in a product


def gaussian(radius: int, sigma: float) -> Array:
    """A window of 2 radius + 1 taps that sums to 1."""
    window = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    return window / window.sum()


def correlate(image: Array, window: Array, step: int = 1, across: Array | None = None) -> Array:
    """Separable correlation with a ``window`` along both axes, where it fits ('valid').

    ``step``: only every such row and column of the result; ``across``: another window along the rows.

    As products of small banded matrices it is several times faster than tap by tap. They are too small for BLAS to
    start threads, whose waiting for each other costs more than they save, and which the workers of
    :mod:`util.evaluation.measuring` would only take from each other.
    """
    return _across(_down(image, window, step), window if across is None else across, step)


def correlate_all(image: Array, window: Array, step: int = 1, across: Array | None = None) -> Array:
    """As :func:`correlate`, of the image's size: zeros lie beyond the border. Windows have an odd number of taps."""
    margins = [(len(taps) // 2,) * 2 for taps in (window, window if across is None else across)]
    return correlate(np.pad(image, margins), window, step, across)


def _down(image: Array, window: Array, step: int) -> Array:
    count, width = (len(image) - len(window)) // step + 1, image.shape[1]
    block = min(_BLOCK_DOWN, count)
    band = _band(window.tobytes(), block, step)
    reach, whole = band.shape[1], count // block
    out = np.empty((count, width))
    down, right = image.strides
    for left in range(0, width, _STRIP):
        strip, result = image[:, left : left + _STRIP], out[:, left : left + _STRIP]
        columns = strip.shape[1]
        # whole blocks, and once more, flush with the end, for what they leave over
        tiles = as_strided(strip, (whole, reach, columns), (block * step * down, down, right))
        np.matmul(band, tiles, out=result[: whole * block].reshape(whole, block, columns))
        if count % block:
            start = (count - block) * step
            np.matmul(band, strip[start : start + reach], out=result[-block:])
    return out


def _across(image: Array, window: Array, step: int) -> Array:
    height, count = len(image), (image.shape[1] - len(window)) // step + 1
    block = min(_BLOCK_ACROSS, count)
    band = _band_across(window.tobytes(), block, step)
    reach, whole = band.shape[0], count // block
    out = np.empty((height, count))
    (down, right), (below, beside) = image.strides, out.strides
    for top in range(0, height, _STRIP):
        strip, result = image[top : top + _STRIP], out[top : top + _STRIP]
        rows = len(strip)
        tiles = as_strided(strip, (whole, rows, reach), (block * step * right, down, right))
        np.matmul(tiles, band, out=as_strided(result, (whole, rows, block), (block * beside, below, beside)))
        if count % block:
            start = (count - block) * step
            np.matmul(strip[:, start : start + reach], band, out=result[:, -block:])
    return out


@lru_cache
def _band(window: bytes, block: int, step: int) -> Array:
    """(block, reach): row k holds the window shifted by k steps."""
    taps = np.frombuffer(window)
    band = np.zeros((block, (block - 1) * step + len(taps)))
    for row in range(block):
        band[row, row * step : row * step + len(taps)] = taps
    return band


@lru_cache
def _band_across(window: bytes, block: int, step: int) -> Array:
    """(reach, block): the transposed :func:`_band`, in the order of memory in which BLAS is twice as fast."""
    return np.ascontiguousarray(_band(window, block, step).T)


def sobel(padded: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Horizontal and vertical Sobel responses of an image with one pixel more on each side."""
    along = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    across = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    return along[:, 2:] - along[:, :-2], across[2:] - across[:-2]


def box_sums(image: NDArray[Any]) -> NDArray[Any]:
    """Sums over the 7x7 windows that fit, of integers exact."""
    two = image[:-1] + image[1:]
    four = two[:-2] + two[2:]
    rows = four[:-3] + two[4:-1] + image[6:]
    two = rows[:, :-1] + rows[:, 1:]
    four = two[:, :-2] + two[:, 2:]
    return four[:, :-3] + two[:, 4:-1] + rows[:, 6:]
