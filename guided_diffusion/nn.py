"""Small layers and functions that the UNet is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class GroupNorm32(nn.GroupNorm):
    """Group normalisation whose statistics are float32 whatever the input's type.

    ``forward``: (B, C, ...) -> the same shape and type. C must be a multiple of ``groups``; the published networks
    have 32. A group of one channel loses its mean, and with it what the channel knows of the image's brightness.
    """

    def __init__(self, channels: int, groups: int) -> None:
        if groups < 1 or channels % groups:
            raise ValueError(f"group normalisation needs a multiple of {groups} channels, got {channels}")
        super().__init__(groups, channels)

    def forward(self, input: Tensor) -> Tensor:
        out = F.group_norm(input.float(), self.num_groups, self.weight.float(), self.bias.float(), self.eps)
        return out.to(input.dtype)


def timestep_embedding(timesteps: Tensor, dim: int, max_period: float = 10000.0) -> Tensor:
    """Sinusoidal embedding of (fractional) timesteps: (B,) -> (B, dim) float32, cosines before sines.

    Frequencies fall geometrically from 1 to 1 / ``max_period`` (Vaswani et al. 2017, section 3.5). An odd
    ``dim`` ends with a zero.
    """
    half = dim // 2
    exponents = torch.arange(half, dtype=torch.float32, device=timesteps.device) / half
    angles = timesteps.float()[:, None] * torch.exp(-math.log(max_period) * exponents)[None]
    embedding = torch.cat([angles.cos(), angles.sin()], dim=-1)
    return F.pad(embedding, (0, dim % 2))


def zero_module(module: M) -> M:
    """Set every parameter of ``module`` to zero, so that a residual branch starts as the identity."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    return module


def channels_last(module: M) -> M:
    """``module`` with its convolutions' weights laid out channels last, which both CPU and CUDA prefer."""
    return module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


@torch.no_grad()
def update_ema(targets: Iterable[Tensor], sources: Iterable[Tensor], decay: float) -> None:
    """Move each of ``targets`` towards its source, in place: ``target = decay target + (1 - decay) source``."""
    for target, source in zip(targets, sources, strict=True):
        target.lerp_(source, 1.0 - decay)
