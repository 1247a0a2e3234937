"""Where the pixels of one image lie in another of the same scene, and bringing the one onto the grid of the other.

:mod:`util.images.registration.search` finds it. See docs/registration.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import ndimage

Size = tuple[int, int]

FEATHER = 48
"""Pixels outside the overlap over which the levels of an image give way to those of the other one."""
NEAR = 6.0
"""Pixels: of the neighbourhood whose difference of levels is carried beyond the overlap."""


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
    slopes, around = edge_strength(image, sigma)
    return np.minimum(np.hypot(*slopes) / around, 3).astype(np.float32)


def edge_strength(image: np.ndarray, sigma: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Slopes along rows and columns of (H, W) levels, (2, H, W), and their root mean square around, (H, W)."""
    levels = image.astype(np.float64)
    orders: Any = ((0, 1), (1, 0))
    slopes = np.stack([ndimage.gaussian_filter(levels, sigma, order, mode="nearest") for order in orders])
    around = np.sqrt(ndimage.gaussian_filter((slopes**2).sum(axis=0), 16, mode="nearest")) + 1.0
    return slopes, around


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
    """Where ``moving`` covers the grid of ``size``, (H, W) bool."""
    y, x = np.mgrid[: size[0], : size[1]]
    at = np.tensordot(found.matrix, np.stack([x, y]), axes=1) + found.offset[:, None, None]
    return (at >= 0).all(axis=0) & (at[0] <= moving[1] - 1) & (at[1] <= moving[0] - 1)


def continued(image: np.ndarray, reference: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """``image`` inside the overlap, and beyond it ``reference``; (H, W) levels each, ``inside`` bool.

    What the two differ by along the edge of the overlap fades over FEATHER pixels beyond it. So nothing inside is
    touched, and neither a seam nor a frame of other levels shows.
    """
    if inside.all():
        return image
    beyond: Any = ndimage.distance_transform_edt(~inside, return_indices=True)
    weight = ndimage.gaussian_filter(inside.astype(np.float64), NEAR, mode="nearest")
    apart = ndimage.gaussian_filter(np.where(inside, image - reference, 0.0), NEAR, mode="nearest")
    distance, nearest = beyond
    rest = np.clip(1 - distance / FEATHER, 0, 1)
    carried = (apart / np.maximum(weight, 1e-9))[tuple(nearest)] * rest**2 * (3 - 2 * rest)
    return np.where(inside, image, reference + carried)
