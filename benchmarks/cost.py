"""What a prior costs: parameters, bytes, and arithmetic of one step."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from guided_diffusion.config import ModelConfig
from guided_diffusion.script_util import empty_model


def parameters(config: ModelConfig) -> int:
    """Number of weights."""
    return sum(p.numel() for p in empty_model(config).parameters())


def gflop(config: ModelConfig, height: int = 256, width: int = 256) -> float:
    """Billions of floating-point operations of one call for one image, a multiplication and an addition each one.

    Convolutions, linear layers and attention, as torch counts them; nothing is computed and no weight needed.
    """
    model = empty_model(config).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(
            torch.empty(1, config.in_channels, height, width, device="meta"),
            torch.zeros(1, dtype=torch.int64, device="meta"),
        )
    return counter.get_total_flops() / 1e9
