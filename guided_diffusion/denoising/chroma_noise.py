"""Noise of the chroma of a colour source, taken away with the fused luma as a guide. Equations: docs/local.md.

The prior sees luma alone; colours come from a source as they are, with the noise of their camera.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from guided_diffusion.denoising.source_noise import GREY, estimate_sigma
from guided_diffusion.denoising.sources import Noise
from guided_diffusion.neumann import correlate, gaussian_window

LEAST_CHROMA = 4.0
"""Grey levels under which Cb and Cr count as clean: those of clean images reach 2.1; noise of 20 in each channel
gives 7 or more."""
WINDOW = gaussian_window(4.0)
TINY = 1e-6
_LUMA = (0.299, 0.587, 0.114)
_CB, _CR = 1.772, 1.402


def clean_all_colours(
    rgbs: Sequence[np.ndarray | None], noise: Noise, guide: np.ndarray
) -> list[np.ndarray | None]:
    """The colours of each source, None where it is grey, without their noise unless the source is told to be clean.

    noise: as :func:`~guided_diffusion.denoising.sources.clean_sources` takes it; ``off``, or 0 for a source: as they
    are.
    """
    told = [0.0 if noise == "off" else 1.0] * len(rgbs) if isinstance(noise, str) else noise
    return [
        rgb if rgb is None or sigma == 0 else clean_colours(rgb, guide)
        for rgb, sigma in zip(rgbs, told, strict=True)
    ]


def clean_colours(rgb: np.ndarray, guide: np.ndarray) -> np.ndarray:
    """The colours of ``rgb``, (H, W, 3) uint8, without their noise; ``rgb`` itself where none is found in its chroma.

    guide: (H, W) uint8, the fused luma. Luma, Cb and Cr of full-range BT.601 are filtered by :func:`guided`, each by
    its own standard deviation of noise, and put together and rounded again. Raises ValueError where sizes differ.
    """
    if rgb.shape[:2] != guide.shape:
        raise ValueError(f"the colours are {rgb.shape[:2]}, but their guide is {guide.shape}")
    planes = _planes(torch.from_numpy(rgb.astype(np.float32)))
    sigma = chroma_sigma(planes)
    if float(sigma.max()) == 0:
        return rgb
    # what is not luma noise alone is noise of the three channels: luma has about as much of it
    luma_sigma = torch.maximum(estimate_sigma(planes[:1] / GREY - 1)[0, 0, 0, 0], sigma.max())
    each = torch.stack([luma_sigma, *sigma]).view(3, 1, 1, 1)
    image = torch.from_numpy(guide.astype(np.float32))[None, None]
    return _colours(guided(planes, image, each)).numpy()


def chroma_sigma(planes: Tensor) -> Tensor:
    """Standard deviations of the noise of Cb and Cr, (2,), in grey levels; 0 for both where both are clean.

    planes: (3, 1, H, W) luma, Cb, Cr. Estimated as that of luma, Eq. (14), on planes as they are.
    """
    sigma = estimate_sigma(planes[1:] / GREY, LEAST_CHROMA, LEAST_CHROMA).flatten()
    return sigma if float(sigma.max()) > 0 else torch.zeros_like(sigma)


def guided(planes: Tensor, guide: Tensor, sigma: Tensor) -> Tensor:
    """Planes as a local line of the guide, and what is left of them by Wiener's gain, Eq. (17).

    planes: (N, 1, H, W); guide: (1, 1, H, W); sigma: (N, 1, 1, 1), white noise of each plane, in the same units. The
    line is He, Sun and Tang's guided filter (2013), the gain Lee's (1980): an edge of colour that the guide does not
    have is more than noise, and stays.
    """
    mean_guide, mean = correlate(guide, WINDOW), correlate(planes, WINDOW)
    variance = (correlate(guide.square(), WINDOW) - mean_guide.square()).clamp(min=0)
    covariance = correlate(guide * planes, WINDOW) - mean_guide * mean
    slope = covariance / (variance + sigma.square() / 4 + TINY)
    line = correlate(slope, WINDOW) * guide + correlate(mean - slope * mean_guide, WINDOW)
    rest = planes - line
    energy = correlate(rest.square(), WINDOW)
    gain = ((energy - 1.5 * sigma.square()) / (energy + TINY)).clamp(min=0)
    return line + gain * rest


def _planes(rgb: Tensor) -> Tensor:
    """(H, W, 3) levels -> (3, 1, H, W) luma, Cb, Cr."""
    y = sum(
        (weight * rgb[..., channel] for channel, weight in enumerate(_LUMA)), torch.zeros_like(rgb[..., 0])
    )
    return torch.stack([y, (rgb[..., 2] - y) / _CB, (rgb[..., 0] - y) / _CR])[:, None]


def _colours(planes: Tensor) -> Tensor:
    """The inverse of :func:`_planes`, rounded to (H, W, 3) uint8."""
    y, cb, cr = planes[:, 0]
    red, blue = y + _CR * cr, y + _CB * cb
    green = (y - _LUMA[0] * red - _LUMA[2] * blue) / _LUMA[1]
    return torch.stack([red, green, blue], dim=-1).round().clamp(0, 255).byte()
