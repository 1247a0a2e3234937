"""Priors: a network and how to read it, behind one face.

Whatever predicts the noise, the clean image or v from a noisy image can be one: the networks of this project, any
function, a UNet of diffusers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, get_args

import numpy as np
import torch
from torch import Tensor

from guided_diffusion.config import MeanType
from guided_diffusion.gaussian_diffusion import GaussianDiffusion, Model, Prediction
from guided_diffusion.respace import FloatArray, named_betas


class Prior(Protocol):
    """An unconditional diffusion model of images in [-1, 1].

    ``channels``: 3, RGB, or 1, luma. ``diffusion``: the process, respaced, whose indices :meth:`predict` takes.
    """

    @property
    def diffusion(self) -> GaussianDiffusion: ...
    @property
    def channels(self) -> int: ...

    def predict(self, x_t: Tensor, index: int) -> Prediction:
        """What the prior says of the state x_t, (B, channels, H, W) float32, at ``index`` of the process."""
        ...


def check_prior(given: object) -> None:
    """Raise ValueError for what has not the three parts of a :class:`Prior`."""
    missing = [name for name in ("diffusion", "channels", "predict") if not hasattr(given, name)]
    if missing:
        raise ValueError(
            f"prior is {given!r:.80}, which has no {' and no '.join(missing)}: give what open_prior or function_prior"
            " returns, or None for the rectification alone"
        )


@dataclass(frozen=True, eq=False)
class NetworkPrior:
    """A network, (B, C, H, W) and timesteps (B,) -> (B, C or 2 C, H, W), and the process that reads it."""

    model: Model
    diffusion: GaussianDiffusion
    channels: int = 3

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise ValueError(f"a prior has 1 or 3 channels, not {self.channels}")

    def predict(self, x_t: Tensor, index: int) -> Prediction:
        """One call of the network, its estimate constrained. Raises ValueError for channels that do not fit."""
        if x_t.shape[1] != self.channels:
            raise ValueError(f"this prior takes images of {self.channels} channels, got {tuple(x_t.shape)}")
        return self.diffusion.predict(self.model, x_t, index)


def function_prior(
    function: Model,
    *,
    predicts: MeanType = "epsilon",
    channels: int = 3,
    alphas_cumprod: Sequence[float] | FloatArray | None = None,
    respacing: int | str | list[int] = 100,
    clip_denoised: bool = True,
) -> NetworkPrior:
    """A prior from any function of x_t, (B, channels, H, W) in [-1, 1] plus noise, and timesteps, (B,) int64.

    ``predicts``: what it returns, shaped like x_t: ``epsilon``, ``start_x``, ``previous_x`` or ``v``.
    ``alphas_cumprod``: of the process that it was trained with, (T,), falling from about 1 (default: 1000 steps of
    linear betas). ``respacing``: the steps to take, as ``timestep_respacing``. Raises ValueError.
    """
    if predicts not in get_args(MeanType):
        raise ValueError(f"predicts is {predicts!r}, but must be one of {', '.join(get_args(MeanType))}")
    betas = (
        named_betas("linear", 1000)
        if alphas_cumprod is None
        else betas_of(np.asarray(alphas_cumprod, np.float64))
    )
    diffusion = GaussianDiffusion.from_betas(
        betas, respacing, model_mean_type=predicts, model_var_type="fixed_small", clip_denoised=clip_denoised
    )
    return NetworkPrior(function, diffusion, channels)


def betas_of(alphas_cumprod: FloatArray) -> FloatArray:
    """betas (T,) of a process from its alphas_cumprod, (T,). Raises ValueError unless they fall, inside (0, 1)."""
    before = np.concatenate(([1.0], alphas_cumprod.ravel()[:-1]))
    if (
        alphas_cumprod.ndim != 1
        or not len(alphas_cumprod)
        or not np.all((alphas_cumprod > 0) & (alphas_cumprod < before))
    ):
        raise ValueError("alphas_cumprod must be a row of numbers that fall from below 1 to above 0")
    return 1.0 - alphas_cumprod / before


PREDICTION_TYPES: dict[str, MeanType] = {"epsilon": "epsilon", "sample": "start_x", "v_prediction": "v"}
"""As schedulers of diffusers call them."""


def diffusers_prior(unet: Any, scheduler: Any, *, respacing: int | str | list[int] = 100) -> NetworkPrior:
    """A prior from a ``UNet2DModel`` of diffusers and its ``DDPMScheduler`` (or another with ``alphas_cumprod``).

    Both are used through their public attributes alone, so diffusers is not imported here. Raises ValueError for a
    conditional network, one whose channels are not 1 or 3, or a prediction type that is not known.
    """
    channels, out_channels = unet.config.in_channels, unet.config.out_channels
    if channels != out_channels:
        raise ValueError(
            f"the UNet takes {channels} channels and gives {out_channels}: a prior needs as many"
        )
    if getattr(unet.config, "num_class_embeds", None):
        raise ValueError("the UNet is conditional (num_class_embeds): fusion needs an unconditional prior")
    kind = getattr(scheduler.config, "prediction_type", "epsilon")
    if kind not in PREDICTION_TYPES:
        raise ValueError(f"prediction_type is {kind!r}, but must be one of {', '.join(PREDICTION_TYPES)}")

    def model(x_t: Tensor, timesteps: Tensor) -> Tensor:
        return unet(x_t, timesteps, return_dict=False)[0]

    unet.eval().requires_grad_(False)
    alphas_cumprod = torch.as_tensor(scheduler.alphas_cumprod).double().cpu().numpy()
    return function_prior(
        model,
        predicts=PREDICTION_TYPES[kind],
        channels=channels,
        alphas_cumprod=alphas_cumprod,
        respacing=respacing,
    )
