"""A quick look at a prior while it is trained."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from guided_diffusion.gaussian_diffusion import GaussianDiffusion, Model
from guided_diffusion.losses import training_losses

SIGMAS = (10, 25, 50, 100)  # of 255, as denoising papers count


def sigma_timestep(diffusion: GaussianDiffusion, sigma: float) -> int:
    """The timestep whose noise, after scaling the state to unit signal, is nearest to sigma of 255."""
    return diffusion.nearest_index(2.0 * sigma / 255.0)


@torch.no_grad()
def validate(model: Model, diffusion: GaussianDiffusion, images: Tensor) -> dict[str, float]:
    """Mean validation loss over eight timesteps, and the PSNR of one-step x_0 prediction at four noise levels.

    ``images``: (B, C, H, W) in [-1, 1]; the noise is the same at every call. A quick look while training, over
    the error of the whole batch; ``tools.evaluate_prior`` counts as denoising papers do.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(images.shape, generator=generator).to(images.device)
    count = len(images)

    def mse(t: int) -> float:
        steps = torch.full((count,), t, dtype=torch.int64, device=images.device)
        return float(training_losses(model, diffusion, images, steps, noise)["mse"].mean())

    grid = [int(t) for t in np.linspace(0, diffusion.num_timesteps - 1, 10)[1:-1]]
    scores = {"val_loss": float(np.mean([mse(t) for t in grid]))}
    for sigma in SIGMAS:
        t = sigma_timestep(diffusion, sigma)
        alpha = float(diffusion.alphas_cumprod[t])
        error = mse(t) * (1.0 - alpha) / alpha  # of x_0, whose range is 2
        scores[f"psnr_{sigma}"] = 10.0 * math.log10(4.0 / error)
    return scores
