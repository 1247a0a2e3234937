"""Noisy sources seen through the prior, before they are fused. Equations: docs/local.md."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from guided_diffusion.denoising.source_noise import GREY, estimate_sigma, stripes
from guided_diffusion.prior import NetworkPrior, Prior


def denoise_grey(prior: Prior, image: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """E[clean | image] of a grey image with white noise of ``sigma`` grey levels, one evaluation; Eq. (16).

    A prior of one channel is asked at the timestep of sigma. One of three channels expects independent noise
    in each, while the noise of a grey image is the same in all three: sqrt(3) sigma along grey, 0 across. Noise of
    sqrt(3) sigma is added in the two directions orthogonal to grey, and the timestep is that of sqrt(3) sigma.
    ``image`` enters whole; its sides must fit the prior. Returns luma, (B, 1, H, W).

    A network is asked at the nearest of all timesteps that it was trained with: those that a sampler takes, a
    hundred of a thousand, miss sigma by up to a tenth.
    """
    if isinstance(prior, NetworkPrior):
        prior = dataclasses.replace(prior, diffusion=prior.diffusion.every_timestep())
    x_t, index = noisy_state(prior, image, sigma, generator)
    with torch.no_grad():
        estimate = prior.predict(x_t, index).pred_xstart
    return estimate.mean(dim=1, keepdim=True)


def seen_noise(prior: Prior, sigma: float) -> float:
    """The noise of a grey image with ``sigma`` grey levels as a state of the prior, in units of its images."""
    return sigma / GREY * prior.channels**0.5


def noisy_state(prior: Prior, image: Tensor, sigma: float, generator: torch.Generator) -> tuple[Tensor, int]:
    """The grey image as a state x_t of the prior's process, (B, C, H, W), and its index; see :func:`denoise_grey`."""
    diffusion = prior.diffusion
    level = seen_noise(prior, sigma)
    index = diffusion.nearest_index(level)
    x = image.float().expand(-1, prior.channels, -1, -1)
    if prior.channels == 3:
        draw = torch.randn(x.shape[1:], generator=generator, device=generator.device).to(x.device)
        x = x + level * (draw - draw.mean(dim=0, keepdim=True))
    return math.sqrt(diffusion.alphas_cumprod[index]) * x, index


Noise = Literal["auto", "off"] | Sequence[float]
"""Standard deviations in grey levels, one a source (0: clean), or ``auto``: estimated for every source."""


def clean_sources(
    sources: Sequence[Tensor], noise: Noise, prior: Prior | None, seed: int
) -> tuple[list[Tensor], list[list[float]]]:
    """The sources without stripes and, with a prior, without noise; and each one's sigma, image by image.

    sources: (B, 1, H, W) luma in [-1, 1], H and W fitting the prior. A source that is clean is returned as it is.
    One evaluation of the prior an image with noise. Raises ValueError where ``noise`` does not fit the sources.
    """
    levels, found = find_noise(sources, noise)
    if noise == "off":
        return levels, found
    cleaned = []
    for level, sigmas in zip(levels, found, strict=True):
        rows = list(level.split(1))
        for row, sigma in enumerate(sigmas):
            if sigma > 0 and prior is not None:
                generator = torch.Generator().manual_seed(seed)
                rows[row] = denoise_grey(prior, rows[row], sigma, generator)
        cleaned.append(torch.cat(rows).clamp(-1, 1))
    return cleaned, found


def find_noise(sources: Sequence[Tensor], noise: Noise) -> tuple[list[Tensor], list[list[float]]]:
    """The sources without stripes, and each one's sigma, image by image; parameters as :func:`clean_sources`."""
    if isinstance(noise, str) and noise not in ("auto", "off"):
        raise ValueError(
            f"noise is {noise!r}, but must be auto, off, or a standard deviation for each source"
        )
    if not isinstance(noise, str) and len(noise) != len(sources):
        raise ValueError(f"noise has {len(noise)} standard deviations, but there are {len(sources)} sources")
    if noise == "off":
        return list(sources), [[0.0] * len(source) for source in sources]
    levels, found = [], []
    for place, source in enumerate(sources):
        level = source - stripes(source) - stripes(source, dim=-2)
        levels.append(level)
        if isinstance(noise, str):
            found.append(estimate_sigma(level).flatten().tolist())
        else:
            found.append([float(noise[place])] * len(source))
    return levels, found
