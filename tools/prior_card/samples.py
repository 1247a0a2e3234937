"""Unconditional samples of a prior, of any size, as grids."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from guided_diffusion.config import DiffusionConfig
from guided_diffusion.gaussian_diffusion import GaussianDiffusion, Model
from guided_diffusion.prior import NetworkPrior, Prior
from guided_diffusion.samplers import SAMPLERS, Sampler
from util.images.png import write_png

GAP = 4


def draw_samples(
    prior: Prior,
    sampler: Sampler,
    size: tuple[int, int],
    seeds: Sequence[int],
    device: torch.device,
) -> np.ndarray:
    """Images (N, H, W, C) uint8, one for each seed; each comes out the same whichever others there are."""
    images = []
    for seed in tqdm(seeds, desc=f"sampling {size[1]}x{size[0]}", unit="image"):
        generator = torch.Generator().manual_seed(seed)

        def noise(like: Tensor, generator: torch.Generator = generator) -> Tensor:
            return torch.randn(like.shape, generator=generator).to(device)

        x = torch.zeros(1, prior.channels, *size, device=device)
        x_T = noise(x)
        for step in sampler(prior, x_T, noise=noise):
            x = step.x_t
        images.append((x[0].clamp(-1, 1) + 1).mul(127.5).round().byte().permute(1, 2, 0).cpu().numpy())
    return np.stack(images)


def grid(images: np.ndarray) -> np.ndarray:
    """(N, H, W, C) uint8 -> one picture (H', W', C), as near to a square as can be, on white."""
    count, height, width, channels = images.shape
    columns = min(count, max(1, round(math.sqrt(count * height / width))))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels), 255, np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = image
    return sheet


def write_grids(
    model: Model,
    config: DiffusionConfig,
    steps: int,
    sizes: Sequence[tuple[int, int]],
    count: int,
    seed: int,
    folder: Path,
    device: torch.device,
    channels: int = 3,
) -> list[Path]:
    """``samples_WIDTHxHEIGHT.png`` for each of ``sizes`` (height, width), from seeds ``seed``, ``seed`` + 1, ...

    Raises ValueError when ``steps`` do not fit the process, OSError when a file cannot be written.
    """
    diffusion = GaussianDiffusion.from_config(dataclasses.replace(config, timestep_respacing=steps))
    prior, paths = NetworkPrior(model, diffusion, channels), []
    for height, width in sizes:
        seeds = range(seed, seed + count)
        images = draw_samples(prior, SAMPLERS[config.sampler], (height, width), seeds, device)
        sheet = grid(images)
        paths.append(folder / f"samples_{width}x{height}.png")
        threshold = ", dynamic threshold" * config.dynamic_threshold
        text = f"{config.sampler}, {steps} steps{threshold}, seeds {seeds[0]} to {seeds[-1]}"
        write_png(paths[-1], sheet[:, :, 0] if channels == 1 else sheet, {"ddfm": text})
    return paths
