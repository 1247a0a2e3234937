"""Training objective of a prior that also learns its variance.

Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models" (2021), section 3: the hybrid
L_simple + 0.001 L_vlb, where L_vlb teaches the variance alone.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from guided_diffusion.gaussian_diffusion import GaussianDiffusion, Model, extract

GAMMA = 5.0
"""Of min-SNR weighting, as its paper chose it."""


def normal_kl(mean1: Tensor, log_variance1: Tensor, mean2: Tensor, log_variance2: Tensor) -> Tensor:
    """KL(N(mean1, e^log_variance1) || N(mean2, e^log_variance2)) in nats, element-wise, broadcasting."""
    log_ratio = log_variance1 - log_variance2
    return 0.5 * (log_ratio.exp() - 1.0 - log_ratio + (mean1 - mean2).square() * torch.exp(-log_variance2))


def discretized_gaussian_log_likelihood(x: Tensor, means: Tensor, log_scales: Tensor) -> Tensor:
    """log probability, in nats and element-wise, of 8-bit data under a Gaussian; DDPM Eq. (13).

    ``x``: the levels 0 ... 255 mapped to [-1, 1]. A level owns the interval of 1/255 to either side; the
    first and the last also own the tail beyond. Probabilities below 1e-12 count as that.
    """
    half = 1.0 / 255.0
    inverse = torch.exp(-log_scales)
    centered = x - means
    # An inner interval is mirrored into the lower tail, where small probabilities keep their digits.
    mirrored = -centered.abs()
    inner = torch.special.ndtr((mirrored + half) * inverse) - torch.special.ndtr((mirrored - half) * inverse)
    first = torch.special.ndtr((centered + half) * inverse)
    last = torch.special.ndtr((half - centered) * inverse)
    probability = torch.where(x < -0.999, first, torch.where(x > 0.999, last, inner))
    return probability.clamp(min=1e-12).log()


def min_snr_weight(diffusion: GaussianDiffusion, t: Tensor, gamma: float, pixels: int = 1) -> Tensor:
    """Weights (B,) of the squared error that amount to min(pixels SNR, gamma) for the error of x_0.

    Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy" (2023), section 3.4, with
    SNR = alphas_cumprod / (1 - alphas_cumprod); the mean of several ``pixels`` has that many times the SNR of one.
    An error of eps is that of x_0 times sqrt(SNR); one of the mean of x_{t-1} is that of x_0 times
    ``posterior_mean_coef1`` (DDPM Eq. (7)), one of v that of x_0 over sqrt(1 - alphas_cumprod), or SNR + 1 squared.
    """
    snr = diffusion.alphas_cumprod / (1.0 - diffusion.alphas_cumprod)
    gain = {"epsilon": snr, "start_x": 1.0, "previous_x": diffusion.posterior_mean_coef1**2, "v": snr + 1.0}
    return extract(np.minimum(pixels * snr, gamma) / gain[diffusion.model_mean_type], t).view(-1)


def coarse_error(diffusion: GaussianDiffusion, error: Tensor, t: Tensor, gamma: float) -> Tensor:
    """Squared errors (B,) of what was predicted, averaged over blocks of 2, 4, 8, ... and all pixels a side.

    ``error``: (B, C, H, W). After Hoogeboom et al., "simple diffusion" (2023), section 3.4, which adds the loss at
    lower resolutions because that of single pixels hardly sees them; here the weight of each is
    :func:`min_snr_weight` of its blocks, so that a resolution counts where the noise hides it and hardly elsewhere.
    At the noisiest steps an estimate of x_0 amplifies what is wrong with the mean of eps 157 times.
    """
    height, width = error.shape[2:]
    total, block, blocks = torch.zeros_like(error[:, 0, 0, 0]), 1, error
    while min(blocks.shape[2:]) >= 4:
        block, blocks = 2 * block, F.avg_pool2d(blocks, 2)
        total = total + min_snr_weight(diffusion, t, gamma, block**2) * _mean_square(blocks)
    mean = error.mean(dim=(2, 3), keepdim=True)
    return total + min_snr_weight(diffusion, t, gamma, height * width) * _mean_square(mean)


def _mean_square(error: Tensor) -> Tensor:
    return error.square().flatten(1).mean(1)


def training_losses(
    model: Model,
    diffusion: GaussianDiffusion,
    x_start: Tensor,
    t: Tensor,
    noise: Tensor,
    min_snr_gamma: float | None = None,
    multiscale: float = 0.0,
) -> dict[str, Tensor]:
    """Losses of a batch, each (B,): ``loss``, the one to minimise, and its parts ``mse`` and ``vb``.

    ``x_start``: (B, C, H, W) in [-1, 1]; ``t``: (B,) int64 indices of ``diffusion``, in 0 ... N - 1;
    ``noise``: standard normal, shaped like ``x_start``. ``mse`` compares what ``model_mean_type`` predicts.
    ``vb``, only for learned variances, is the term of the variational bound in bits per dimension times
    N / 1000 (its sum over all steps, weighted by 0.001); it has no gradient with respect to the mean.
    ``min_snr_gamma`` weights ``mse``, in ``loss`` alone, by :func:`min_snr_weight`; None: all timesteps alike.
    ``multiscale`` adds so many times :func:`coarse_error` to ``loss``, with the same gamma or :data:`GAMMA`.
    Raises ValueError when the model's channels do not fit ``model_var_type``.
    """
    x_t = diffusion.q_sample(x_start, t, noise)
    mean_output, var_output = diffusion.split_output(model(x_t, diffusion.model_timesteps(t, x_t)), x_t)
    posterior_mean = diffusion.q_posterior_mean(x_start, x_t, t)
    targets = {"epsilon": noise, "start_x": x_start, "previous_x": posterior_mean}
    if diffusion.model_mean_type == "v":
        targets["v"] = diffusion.v_target(x_start, noise, t)
    target = targets[diffusion.model_mean_type]
    error = target - mean_output
    mse = _mean_square(error)
    weighted = mse if min_snr_gamma is None else mse * min_snr_weight(diffusion, t, min_snr_gamma)
    if multiscale:
        weighted = weighted + multiscale * coarse_error(diffusion, error, t, min_snr_gamma or GAMMA)
    if var_output is None:
        return {"loss": weighted, "mse": mse}

    pred_xstart = diffusion.xstart_from_output(mean_output.detach(), x_t, t)
    mean = diffusion.q_posterior_mean(pred_xstart, x_t, t)
    log_variance = diffusion.log_variance(var_output, x_t, t)
    true_log_variance = extract(diffusion.posterior_log_variance_clipped, t)
    # L_{t-1}, DDPM Eq. (5), and at the last step the likelihood of the data, L_0.
    kl = normal_kl(posterior_mean, true_log_variance, mean, log_variance)
    likelihood = discretized_gaussian_log_likelihood(x_start, mean, 0.5 * log_variance)
    nats = torch.where(t.view(-1, 1, 1, 1) == 0, -likelihood, kl).flatten(1).mean(1)
    vb = nats / math.log(2.0) * (diffusion.num_timesteps / 1000.0)
    return {"loss": weighted + vb, "mse": mse, "vb": vb}
