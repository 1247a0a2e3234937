"""Noise, filters and the last step to 8 bits, shared by all scenes. Images are floats, rows first."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

Array = NDArray[np.floating[Any]]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Pair:
    """One registered pair, ready to save.

    ``vi`` and ``ir``: (H, W) or (H, W, 3) uint8. ``marks``: named (H, W) coverages in [0, 1] of things in the
    scene, so that a test can ask how bright they are in each modality.
    """

    vi: NDArray[np.uint8]
    ir: NDArray[np.uint8]
    marks: dict[str, Array] = field(default_factory=dict)


def fractal(
    rng: np.random.Generator,
    shape: tuple[int, int],
    scale: float,
    beta: float = 2.0,
    stretch: tuple[float, float] = (1.0, 1.0),
) -> Array:
    """Periodic noise of zero mean and unit deviation whose amplitude falls as f^-beta above 1 / ``scale``.

    ``scale`` is the size in pixels of the largest features; ``stretch`` lengthens them along rows and columns.
    """
    rows = np.fft.fftfreq(shape[0])[:, None] * stretch[0]
    cols = np.fft.rfftfreq(shape[1])[None, :] * stretch[1]
    spectrum = np.fft.rfft2(rng.standard_normal(shape))
    spectrum *= (1.0 / scale**2 + rows**2 + cols**2) ** (-beta / 2)
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, s=shape)
    return (noise / noise.std()).astype(np.float32)


def band(rng: np.random.Generator, shape: tuple[int, int], period: float, width: float = 0.25) -> Array:
    """Periodic isotropic noise of one wavelength, ``period`` pixels: the pattern of brain folds and ripples."""
    radius = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :])
    spectrum = np.fft.rfft2(rng.standard_normal(shape)) * np.exp(-(((radius * period - 1) / width) ** 2))
    noise = np.fft.irfft2(spectrum, s=shape)
    return (noise / noise.std()).astype(np.float32)


def lookup(texture: Array, u: Any, v: Any, size: float) -> Array:
    """``texture`` (N, M), repeated every ``size`` units, at the points (u, v); v grows with the rows."""
    scale = texture.shape[1] / size
    at = [np.asarray(v) * scale, np.asarray(u) * scale]
    return np.asarray(ndimage.map_coordinates(texture, at, order=1, mode="grid-wrap"), np.float32)


def sprite(texture: Array, u: Any, v: Any) -> Array:
    """``texture`` (N, M) at fractions (u, v) of its width and height; v = 0 is the last row (the bottom)."""
    rows, cols = texture.shape
    at = [(1 - np.asarray(v)) * (rows - 1), np.asarray(u) * (cols - 1)]
    return np.asarray(ndimage.map_coordinates(texture, at, order=1, mode="nearest"), np.float32)


@cache
def outline(
    points: tuple[tuple[float, float], ...], width: float, height: float, rounding: float, per_unit: int = 150
) -> Array:
    """Coverage in [0, 1] of a polygon, a texture for :func:`sprite` of ``width`` x ``height`` units.

    ``points``: (n, 2) with v upwards; corners are rounded by about ``rounding`` units.
    """
    cols, rows = round(width * per_unit), round(height * per_unit)
    image = Image.new("L", (cols, rows))
    scaled = [(u * per_unit, rows - v * per_unit) for u, v in points]
    ImageDraw.Draw(image).polygon(scaled, fill=255)
    cover = np.asarray(image, np.float32) / 255
    return smoothstep(0.42, 0.58, ndimage.gaussian_filter(cover, rounding * per_unit, mode="constant"))


def smoothstep(low: float, high: float, x: Any) -> Array:
    """0 below ``low``, 1 above ``high``, a smooth cubic between (``low`` > ``high`` turns it round)."""
    t = np.clip((np.asarray(x, np.float32) - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(a: Any, b: Any, t: Any) -> Array:
    """``a`` where t = 0 and ``b`` where t = 1; a plane ``t`` blends colours too."""
    a, b, t = (np.asarray(value, np.float32) for value in (a, b, t))
    if (
        t.ndim
        and max(a.ndim, b.ndim)
        and (a.shape[-1:] == (3,) or b.shape[-1:] == (3,))
        and t.shape[-1:] != (1,)
    ):
        t = t[..., None]
    return a + (b - a) * t


def blur(image: Array, sigma: float | tuple[float, float]) -> Array:
    """Gaussian blur over rows and columns, the channels (if any) kept apart."""
    pair = (sigma, sigma) if isinstance(sigma, int | float) else sigma
    return np.asarray(ndimage.gaussian_filter(image, (*pair, 0)[: image.ndim], mode="nearest"))


def shrink(image: Array, factor: int) -> Array:
    """Mean over blocks of ``factor`` x ``factor`` samples: the end of supersampling."""
    rows, cols = image.shape[0] // factor, image.shape[1] // factor
    blocks = image[: rows * factor, : cols * factor].reshape(rows, factor, cols, factor, *image.shape[2:])
    return blocks.mean(axis=(1, 3), dtype=np.float32)


def film(light: Array) -> Array:
    """Linear light to display values in [0, 1]: a soft shoulder, then the sRGB-like gamma."""
    light = np.maximum(light, 0)
    return np.clip(light * (1 + light / 6) / (1 + light), 0, 1) ** np.float32(1 / 2.2)


def to_bytes(image: Array, rng: np.random.Generator, noise: float) -> NDArray[np.uint8]:
    """Display values in [0, 1] plus sensor noise of deviation ``noise``, as uint8."""
    grain = rng.standard_normal(image.shape).astype(np.float32)
    return np.clip(np.rint(255 * (image + noise * grain)), 0, 255).astype(np.uint8)


def thermal(
    heat: Array, rng: np.random.Generator, sigma: float = 0.6, noise: float = 0.01
) -> NDArray[np.uint8]:
    """A thermal camera's view of ``heat`` (H, W), display values in [0, 1]: lens blur, columns and pixel noise."""
    columns = 0.4 * noise * rng.standard_normal(heat.shape[1]).astype(np.float32)
    return to_bytes(blur(heat, sigma) + columns, rng, noise)
