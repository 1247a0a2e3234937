"""One-step denoising by a prior, counted as denoising papers count, beside denoisers from libraries; its losses."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from guided_diffusion.gaussian_diffusion import GaussianDiffusion, Model
from guided_diffusion.losses import training_losses
from tools.training.photos import to_batch
from tools.training.validation import sigma_timestep

Denoiser = Callable[[np.ndarray, float], np.ndarray]  # (H, W, C) float of range 255, sigma -> the same


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    """10 log10(255^2 / MSE) in dB over all pixels and channels; infinite for equal images."""
    error = float(np.mean((image.astype(np.float64) - reference) ** 2))
    return 10.0 * np.log10(255.0**2 / error) if error else np.inf


def add_noise(photo: np.ndarray, sigma: float, seed: int, index: int) -> np.ndarray:
    """(H, W, C) uint8 -> float64 plus white Gaussian noise of ``sigma``, neither clipped nor rounded.

    The noise of image ``index`` is the same pattern at every sigma, whichever other images there are.
    """
    noise = np.random.default_rng([seed, index]).standard_normal(photo.shape)
    return photo + sigma * noise


def _pred_xstart(diffusion: GaussianDiffusion, output: Tensor, x_t: Tensor, t: int) -> Tensor:
    """The estimate of x_0 in the network's output for x_t, (B, C, H, W), not clamped."""
    mean_output, _ = diffusion.split_output(output, x_t)
    return diffusion.xstart_from_output(mean_output, x_t, t)


@torch.no_grad()
def denoise_in_one_step(
    model: Model, diffusion: GaussianDiffusion, noisy: np.ndarray, sigma: float, device: torch.device
) -> np.ndarray:
    """pred_xstart of one call of the network, as (H, W, C) float64 of range 255, not clipped.

    ``noisy``: (H, W, C) of range 255 with noise ``sigma``. It becomes a state of the timestep whose noise is
    nearest: brought to [-1, 1] and scaled by sqrt(alphas_cumprod), which is what DDPM Eq. (4) does to an image.
    """
    t = sigma_timestep(diffusion, sigma)
    scaled = np.sqrt(diffusion.alphas_cumprod[t]) * (noisy / 127.5 - 1.0)
    x_t = torch.from_numpy(scaled).float().permute(2, 0, 1)[None].to(device)  # (H, W, C) -> (1, C, H, W)
    x_0 = _pred_xstart(diffusion, model(x_t, diffusion.model_timesteps(t, x_t)), x_t, t)
    return (x_0[0].permute(1, 2, 0).double().cpu().numpy() + 1.0) * 127.5


def nl_means(noisy: np.ndarray, sigma: float) -> np.ndarray:
    """Non-local means of scikit-image, given sigma; h is the best of 0.4 to 0.8 sigma on a few photographs."""
    from skimage.restoration import denoise_nl_means

    result = denoise_nl_means(
        noisy / 255.0, patch_size=5, patch_distance=6, h=0.5 * sigma / 255.0, sigma=sigma / 255.0,
        fast_mode=True, channel_axis=-1,
    )  # fmt: skip
    return 255.0 * result.reshape(noisy.shape)  # a single channel comes back without its axis


def total_variation(noisy: np.ndarray, sigma: float) -> np.ndarray:
    """Chambolle's total variation of scikit-image with a weight of sigma."""
    from skimage.restoration import denoise_tv_chambolle

    return 255.0 * denoise_tv_chambolle(noisy / 255.0, weight=sigma / 255.0, channel_axis=-1)


def cbm3d(noisy: np.ndarray, sigma: float) -> np.ndarray:
    """CBM3D by its authors' package ``bm3d``, whose licence allows non-commercial use only."""
    return 255.0 * importlib.import_module("bm3d").bm3d_rgb(noisy / 255.0, sigma / 255.0)


def bm3d(noisy: np.ndarray, sigma: float) -> np.ndarray:
    """BM3D of grey images, (H, W, 1), by the same package."""
    return 255.0 * importlib.import_module("bm3d").bm3d(noisy[:, :, 0] / 255.0, sigma / 255.0)[:, :, None]


DENOISERS: Mapping[str, Denoiser] = {
    "nl_means": nl_means,
    "tv": total_variation,
    "bm3d": bm3d,
    "cbm3d": cbm3d,
}


@torch.no_grad()
def loss_at(
    model: Model, diffusion: GaussianDiffusion, x_start: Tensor, t: int, seed: int
) -> dict[str, float]:
    """Means of the training losses over ``x_start`` (B, C, H, W) at one timestep, with noise of its own.

    And ``colour``: the squared error, of range 255, of the mean colour of pred_xstart, not clipped.
    """
    generator = torch.Generator().manual_seed(seed * 100_003 + t)
    noise = torch.randn(x_start.shape, generator=generator).to(x_start.device)
    steps = torch.full((len(x_start),), t, dtype=torch.int64, device=x_start.device)
    estimates: list[Tensor] = []

    def watched(x_t: Tensor, timesteps: Tensor) -> Tensor:
        output = model(x_t, timesteps)
        estimates.append(_pred_xstart(diffusion, output, x_t, t))
        return output

    losses = training_losses(watched, diffusion, x_start, steps, noise)
    colour = (127.5 * (estimates[0] - x_start).mean(dim=(2, 3))).square()
    parts = {name: value for name, value in losses.items() if name != "loss"} | {"colour": colour}
    return {name: float(value.mean()) for name, value in parts.items()}


def denoise_all(
    model: Model,
    diffusion: GaussianDiffusion,
    crops: Sequence[np.ndarray],
    sigmas: Sequence[float],
    denoisers: Sequence[str],
    seed: int,
    device: torch.device,
    others: Mapping[str, Denoiser] | None = None,
) -> dict[str, Any]:
    """For every sigma its timestep and the mean PSNR of the noisy images, the companions and the prior.

    ``prior`` is clipped to 0 ... 255 like the companions, ``noisy`` and ``prior_unclipped`` are not. ``others``: more
    companions by their names.
    """
    companions = {name: DENOISERS[name] for name in denoisers} | dict(others or {})
    levels = []
    for sigma in sigmas:
        scores: dict[str, list[float]] = {}
        for index, photo in enumerate(tqdm(crops, desc=f"sigma {sigma:g}", unit="image")):
            noisy = add_noise(photo, sigma, seed, index)
            estimate = denoise_in_one_step(model, diffusion, noisy, sigma, device)
            images = {"noisy": noisy}
            images |= {name: np.clip(denoise(noisy, sigma), 0, 255) for name, denoise in companions.items()}
            images |= {"prior": np.clip(estimate, 0, 255), "prior_unclipped": estimate}
            for name, image in images.items():
                scores.setdefault(name, []).append(psnr(image, photo))
        means = {name: float(np.mean(values)) for name, values in scores.items()}
        t = sigma_timestep(diffusion, sigma)
        levels.append({"sigma": sigma, "t": t, "psnr": means, "psnr_per_image": scores})
    return {"images": len(crops), "crop": crops[0].shape[0], "seed": seed, "levels": levels}


def losses_by_timestep(
    model: Model,
    diffusion: GaussianDiffusion,
    crops: Sequence[np.ndarray],
    count: int,
    seed: int,
    device: torch.device,
) -> list[dict[str, float]]:
    """Mean training losses at up to ``count`` timesteps from first to last, closer where there is less noise.

    Beside them ``colour``, the root mean square error of the estimates' mean colours, in levels of 255.
    """
    spaced = (diffusion.num_timesteps - 1) * np.linspace(0, 1, count) ** 2
    timesteps = np.unique(spaced.round().astype(int))
    entries = []
    for t in tqdm(timesteps, desc="loss by timestep", unit="timestep"):
        each = [
            loss_at(model, diffusion, to_batch([crop]).to(device), int(t), seed + index)
            for index, crop in enumerate(crops)
        ]
        means = {name: float(np.mean([e[name] for e in each])) for name in each[0]}
        entries.append({"t": int(t), **means, "colour": math.sqrt(means["colour"])})
    return entries


def spread_of_colours(crops: Sequence[np.ndarray]) -> float:
    """Standard deviation of the mean colours (R, G, B) of photographs, in levels: what a blind guess is off by."""
    return float(np.sqrt(np.var([crop.mean(axis=(0, 1)) for crop in crops], axis=0).mean()))
