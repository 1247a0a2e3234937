"""Where the pixels of one image lie in another of the same scene, and bringing the one onto the grid of the other.

:mod:`util.images.registration_search` finds it. See docs/registration.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import ndimage

Size = tuple[int, int]

FEATHER = 24
"""Pixels inside the overlap over which an image gives way to the other one."""


@dataclass(frozen=True, eq=False)
class Registration:
    """Where the pixels of a grid lie in another image: (x, y) at ``matrix`` (x, y) + ``offset``, both 2D.

    ``misfit``: mean displacement over the grid, in its pixels, from where the image would lie unregistered.
    ``information``: of both edge maps before and after, in nats. ``refused``: why it is not to be used, or empty.
    """

    matrix: np.ndarray
    offset: np.ndarray
    model: Literal["translation", "similarity", "affine"]
    misfit: float
    information: tuple[float, float]
    refused: str = ""

    def describe(self) -> dict[str, Any]:
        """For logs and files."""
        return {
            "model": self.model,
            "matrix": [[round(float(value), 6) for value in row] for row in self.matrix],
            "offset": [round(float(value), 3) for value in self.offset],
            "misfit": round(self.misfit, 2),
            "information": [round(value, 4) for value in self.information],
        }

    def __str__(self) -> str:
        before, after = self.information
        return f"{self.model}, misfit {self.misfit:.1f} pixels, information {before:.3f} -> {after:.3f}"


def edge_map(image: np.ndarray, sigma: float = 1.5) -> np.ndarray:
    """Gradient magnitude of (H, W) grey levels over its own mean around each pixel, 0 to 3, float32.

    Sensors disagree about levels and about how strong an edge is, less about where there is one.
    """
    levels = image.astype(np.float64)
    strength = ndimage.gaussian_gradient_magnitude(levels, sigma, mode="nearest")
    around = np.sqrt(ndimage.gaussian_filter(strength**2, 16, mode="nearest")) + 1.0
    return np.minimum(strength / around, 3).astype(np.float32)


def smoothed(image: np.ndarray) -> np.ndarray:
    """(H, W) grey levels, blurred by a pixel, float32."""
    return ndimage.gaussian_filter(image.astype(np.float32), 1.0, mode="nearest")


def measure_shift(moving: np.ndarray, fixed: np.ndarray) -> tuple[float, float]:
    """(x, y) by which ``moving`` lies further right and down than ``fixed``; (H, W) levels of one size.

    The peak of the phase correlation of both edge maps, up to a quarter of each side, to a fraction of a pixel.
    """
    height, width = fixed.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    spectra = []
    for image in (fixed, moving):
        edges = edge_map(image)
        spectra.append(np.fft.rfft2((edges - edges.mean()) * window))
    cross = spectra[0].conj() * spectra[1]
    surface = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-9), s=(height, width))
    surface = np.fft.fftshift(ndimage.gaussian_filter(surface, 1.0, mode="wrap"))
    centre = np.array([height // 2, width // 2])
    reach = np.array([height // 4, width // 4])
    low, high = centre - reach, centre + reach + 1
    part = surface[low[0] : high[0], low[1] : high[1]]
    peak = np.array(np.unravel_index(part.argmax(), part.shape)) + low
    row, column = (
        float(place + _vertex(surface.take(other, axis=1 - axis), place) - middle)
        for axis, (place, other, middle) in enumerate(zip(peak, peak[::-1], centre, strict=True))
    )
    return column, row


def _vertex(line: np.ndarray, place: int) -> float:
    """Where between its neighbours a parabola through three samples has its vertex, -0.5 to 0.5."""
    before, here, after = (line[(place + step) % len(line)] for step in (-1, 0, 1))
    bend = before - 2 * here + after
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend < 0 else 0.0


def is_slice(image: np.ndarray) -> bool:
    """Whether a quarter of the pixels are black, as around a slice of a body."""
    return bool((image <= 3).mean() >= 0.25)


def warp(image: np.ndarray, found: Registration, size: Size) -> np.ndarray:
    """``image``, (H, W) or (H, W, 3), on the grid of ``size`` by cubic B-splines; beyond its edge it is mirrored.

    Where the grid is coarser than the image, this is smoothed first. Returns float64.
    """
    if image.ndim == 3:
        return np.stack([warp(plane, found, size) for plane in np.moveaxis(image, 2, 0)], axis=2)
    scale = np.sqrt(abs(np.linalg.det(found.matrix)))
    levels = image.astype(np.float64)
    if scale > 1.2:
        levels = ndimage.gaussian_filter(levels, 0.5 * np.sqrt(scale**2 - 1), mode="mirror")
    swapped = found.matrix[::-1, ::-1]  # rows come first in arrays
    offset: Any = found.offset[::-1]
    return ndimage.affine_transform(levels, swapped, offset, size, order=3, mode="mirror")


def overlap(found: Registration, moving: Size, size: Size) -> np.ndarray:
    """(H, W) float64 of ``size``: 1 where ``moving`` covers the grid, falling to 0 at its edge in FEATHER pixels."""
    y, x = np.mgrid[: size[0], : size[1]]
    at = np.tensordot(found.matrix, np.stack([x, y]), axes=1) + found.offset[:, None, None]
    inside = (at >= 0).all(axis=0) & (at[0] <= moving[1] - 1) & (at[1] <= moving[0] - 1)
    if inside.all():
        return np.ones(size)
    within: Any = ndimage.distance_transform_edt(inside)
    share = np.clip(within / FEATHER, 0, 1)
    return share**2 * (3 - 2 * share)
