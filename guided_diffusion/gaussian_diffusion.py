"""The diffusion process: x_t <-> pred_xstart <-> eps, and the posterior.

Images are (B, C, H, W) float32 in [-1, 1]. An *index* counts the steps of the respaced process, 0 ... N - 1;
a *timestep* is what the network was trained with. Equations are those of Ho et al., "Denoising Diffusion
Probabilistic Models" (2020, "DDPM").
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
import torch
from torch import Tensor

from guided_diffusion.config import DiffusionConfig, MeanType
from guided_diffusion.respace import FloatArray, Schedule, named_betas, respaced_betas, space_timesteps

Model = Callable[[Tensor, Tensor], Tensor]  # x_t (B, C, H, W), timesteps (B,) -> (B, C or 2C, H, W)


@dataclass(frozen=True)
class Prediction:
    """What one call of the network says.

    ``pred_xstart``: the clean image, (B, C, H, W); ``log_variance``: of p(x_{t-1} | x_t), broadcasting to it.
    """

    pred_xstart: Tensor
    log_variance: Tensor


@overload
def extract(values: FloatArray, index: int) -> float: ...
@overload
def extract(values: FloatArray, index: Tensor) -> Tensor: ...
def extract(values: FloatArray, index: int | Tensor) -> float | Tensor:
    """The schedule's value at an index, or at (B,) indices as float32 (B, 1, 1, 1) on their device."""
    if isinstance(index, Tensor):
        table = torch.tensor(values, dtype=torch.float32, device=index.device)
        return table[index].view(-1, 1, 1, 1)
    return float(values[index])


@dataclass(frozen=True, eq=False)
class GaussianDiffusion(Schedule):
    """An immutable, respaced process and how the network is read; see also :class:`Schedule`.

    ``original_betas``, (T,), are those of the steps that the network was trained with; the other options are those of
    :class:`DiffusionConfig`. Methods take an ``index``: an int, or a (B,) int64 tensor with one per image.
    """

    original_betas: FloatArray
    model_mean_type: MeanType = "epsilon"
    model_var_type: Literal["learned", "learned_range", "fixed_small", "fixed_large"] = "learned_range"
    dynamic_threshold: bool = False
    clip_denoised: bool = True
    rescale_timesteps: bool = False

    @classmethod
    def from_config(cls, config: DiffusionConfig) -> GaussianDiffusion:
        """The process of a configuration. Raises ValueError for a schedule or respacing that cannot be."""
        return cls.from_betas(
            named_betas(config.noise_schedule, config.steps),
            config.timestep_respacing,
            model_mean_type=config.model_mean_type,
            model_var_type=config.model_var_type,
            dynamic_threshold=config.dynamic_threshold,
            clip_denoised=config.clip_denoised,
            rescale_timesteps=config.rescale_timesteps,
        )

    @classmethod
    def from_betas(
        cls, betas: FloatArray, respacing: int | str | list[int], **options: Any
    ) -> GaussianDiffusion:
        """A process of these ``betas``, (T,) float64 in (0, 1), respaced; ``options``: the fields of this class.

        Raises ValueError for a respacing that cannot be.
        """
        kept = space_timesteps(len(betas), respacing)
        return cls(
            betas=respaced_betas(betas, kept),
            timestep_map=np.array(kept, dtype=np.int64),
            original_betas=betas,
            **options,
        )

    def every_timestep(self) -> GaussianDiffusion:
        """The same process with all of its timesteps."""
        betas = self.original_betas
        return dataclasses.replace(self, betas=betas, timestep_map=np.arange(len(betas), dtype=np.int64))

    def with_timesteps(self, kept: Sequence[int]) -> GaussianDiffusion:
        """The same process visiting only these of its original timesteps. Raises ValueError unless they ascend."""
        betas, timesteps = respaced_betas(self.original_betas, kept), np.array(kept, dtype=np.int64)
        return dataclasses.replace(self, betas=betas, timestep_map=timesteps)

    @property
    def original_steps(self) -> int:
        """The number of steps that the network was trained with."""
        return len(self.original_betas)

    @property
    def learns_variance(self) -> bool:
        """Whether the network gives 2C channels, mean first, instead of C."""
        return self.model_var_type in ("learned", "learned_range")

    def scale_timesteps(self, t: Tensor) -> Tensor:
        """(B,) original timesteps as the network takes them: int64, or float t * 1000 / steps if rescaled."""
        return t.float() * (1000.0 / self.original_steps) if self.rescale_timesteps else t

    def model_timesteps(self, index: int | Tensor, x_t: Tensor) -> Tensor:
        """(B,) timesteps to give to the network for ``x_t`` at ``index``."""
        if isinstance(index, Tensor):
            t = torch.tensor(self.timestep_map, device=index.device)[index]
        else:
            t = torch.full((len(x_t),), int(self.timestep_map[index]), dtype=torch.int64, device=x_t.device)
        return self.scale_timesteps(t)

    def q_sample(self, x_start: Tensor, index: int | Tensor, noise: Tensor) -> Tensor:
        """x_t ~ q(x_t | x_0), given standard normal ``noise`` of the same shape; DDPM Eq. (4)."""
        signal = extract(np.sqrt(self.alphas_cumprod), index)
        return signal * x_start + extract(np.sqrt(1.0 - self.alphas_cumprod), index) * noise

    def q_posterior_mean(self, x_start: Tensor, x_t: Tensor, index: int | Tensor) -> Tensor:
        """Mean of q(x_{t-1} | x_t, x_0); DDPM Eq. (7). Its variance is ``posterior_variance``."""
        coef1, coef2 = extract(self.posterior_mean_coef1, index), extract(self.posterior_mean_coef2, index)
        return coef1 * x_start + coef2 * x_t

    def xstart_from_eps(self, x_t: Tensor, index: int | Tensor, eps: Tensor) -> Tensor:
        """pred_xstart from the noise in ``x_t``: DDPM Eq. (4) solved for x_0."""
        recip = extract(np.sqrt(1.0 / self.alphas_cumprod), index)
        return recip * x_t - extract(np.sqrt(1.0 / self.alphas_cumprod - 1.0), index) * eps

    def xstart_from_previous(self, x_t: Tensor, index: int | Tensor, x_prev: Tensor) -> Tensor:
        """pred_xstart from the mean of x_{t-1}: DDPM Eq. (7) solved for x_0."""
        recip = extract(1.0 / self.posterior_mean_coef1, index)
        return recip * x_prev - extract(self.posterior_mean_coef2 / self.posterior_mean_coef1, index) * x_t

    def xstart_from_v(self, x_t: Tensor, index: int | Tensor, v: Tensor) -> Tensor:
        """pred_xstart from v = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x_0; Salimans and Ho (2022), section 4."""
        signal = extract(np.sqrt(self.alphas_cumprod), index)
        return signal * x_t - extract(np.sqrt(1.0 - self.alphas_cumprod), index) * v

    def v_target(self, x_start: Tensor, noise: Tensor, index: int | Tensor) -> Tensor:
        """What a network of ``model_mean_type`` v predicts of x_t made of these two, see :meth:`xstart_from_v`."""
        signal = extract(np.sqrt(self.alphas_cumprod), index)
        return signal * noise - extract(np.sqrt(1.0 - self.alphas_cumprod), index) * x_start

    def eps_from_xstart(self, x_t: Tensor, index: int | Tensor, pred_xstart: Tensor) -> Tensor:
        """The noise in ``x_t`` if its clean image is ``pred_xstart``: DDPM Eq. (4) solved for eps."""
        recip = extract(np.sqrt(1.0 / self.alphas_cumprod), index)
        return (recip * x_t - pred_xstart) / extract(np.sqrt(1.0 / self.alphas_cumprod - 1.0), index)

    def check_channels(self, given: int, channels: int) -> None:
        """Raise ValueError when a network of ``given`` output channels does not fit ``model_var_type``.

        ``channels``: those of the images.
        """
        expected = 2 * channels if self.learns_variance else channels
        if given != expected:
            remedy = (
                "choose fixed_small or fixed_large, or a model with learn_sigma: true"
                if self.learns_variance
                else "choose learned_range, which goes with learn_sigma: true"
            )
            raise ValueError(
                f"the model gives {given} channels for images of {channels}, but model_var_type: "
                f"{self.model_var_type} needs {expected}; {remedy}"
            )

    def split_output(self, output: Tensor, x_t: Tensor) -> tuple[Tensor, Tensor | None]:
        """The network's output as float32: what it says of the mean, and of the variance if it learns that.

        Raises as :meth:`check_channels` does.
        """
        channels = x_t.shape[1]
        self.check_channels(output.shape[1], channels)
        output = output.float()
        return (output[:, :channels], output[:, channels:]) if self.learns_variance else (output, None)

    def xstart_from_output(self, mean_output: Tensor, x_t: Tensor, index: int | Tensor) -> Tensor:
        """pred_xstart, not yet clamped, from the mean part of the output, whatever ``model_mean_type`` is."""
        if self.model_mean_type == "epsilon":
            return self.xstart_from_eps(x_t, index, mean_output)
        if self.model_mean_type == "previous_x":
            return self.xstart_from_previous(x_t, index, mean_output)
        if self.model_mean_type == "v":
            return self.xstart_from_v(x_t, index, mean_output)
        if self.model_mean_type == "start_x":
            return mean_output
        raise ValueError(
            f"model_mean_type is {self.model_mean_type!r}, which says of no way to read a network"
        )

    def log_variance(self, var_output: Tensor | None, x_t: Tensor, index: int | Tensor) -> Tensor:
        """log variance of p(x_{t-1} | x_t), broadcasting to (B, C, H, W).

        ``learned``: the output itself. ``learned_range``: the output v in [-1, 1] interpolates between the
        posterior's and beta's (Nichol and Dhariwal 2021, Eq. (15)). ``fixed_small``, ``fixed_large``: either
        of the two, at index 0, which adds no noise, the posterior's of index 1.
        """
        if var_output is not None and self.model_var_type == "learned":
            return var_output
        if var_output is not None:
            low = extract(self.posterior_log_variance_clipped, index)
            high = extract(np.log(self.betas), index)
            fraction = (var_output + 1.0) / 2.0
            return fraction * high + (1.0 - fraction) * low
        small = self.model_var_type == "fixed_small"
        fixed = self.posterior_log_variance_clipped if small else self.fixed_large_log_variance
        return extract(fixed, index) * torch.ones_like(x_t[:, :1, :1, :1])

    def constrain(self, pred_xstart: Tensor) -> Tensor:
        """Bring an estimate to [-1, 1] by ``dynamic_threshold`` or ``clip_denoised``; neither: as it is."""
        if self.dynamic_threshold:
            return dynamic_thresholding(pred_xstart)
        return pred_xstart.clamp(-1.0, 1.0) if self.clip_denoised else pred_xstart

    def predict(self, model: Model, x_t: Tensor, index: int | Tensor) -> Prediction:
        """One call of the network, its estimate constrained. Raises as :meth:`split_output` does."""
        output = model(x_t, self.model_timesteps(index, x_t))
        mean_output, var_output = self.split_output(output, x_t)
        return Prediction(
            pred_xstart=self.constrain(self.xstart_from_output(mean_output, x_t, index)),
            log_variance=self.log_variance(var_output, x_t, index),
        )


def dynamic_thresholding(pred_xstart: Tensor, quantile: float = 0.995) -> Tensor:
    """Clip each image to [-s, s] and divide by s, its own quantile of absolute values, at least 1.

    Saharia et al., "Photorealistic Text-to-Image Diffusion Models" (Imagen; arXiv 2205.11487), section 2.3.
    Quantiles interpolate linearly, over all C x H x W values of an image.
    """
    magnitudes = pred_xstart.abs().flatten(1)
    position = quantile * (magnitudes.shape[1] - 1)
    below = math.floor(position)
    tail = magnitudes.topk(magnitudes.shape[1] - below, dim=1).values  # descending: [-1] is rank `below`
    low, high = tail[:, -1], tail[:, -min(2, tail.shape[1])]
    s = torch.lerp(low, high, position - below).clamp(min=1.0).view(-1, 1, 1, 1)
    return pred_xstart.clamp(-s, s) / s
