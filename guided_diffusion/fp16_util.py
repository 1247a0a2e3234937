"""Half precision for the body of the UNet: convolutions in half, everything delicate in float32."""

from __future__ import annotations

import torch
from torch import nn


def convert_convolutions(module: nn.Module, dtype: torch.dtype) -> None:
    """Convert the weights and biases of every convolution below ``module`` to ``dtype``, in place.

    Normalisation and the linear layers of the embeddings keep float32, as in guided-diffusion.
    """
    for child in module.modules():
        if isinstance(child, nn.Conv1d | nn.Conv2d):
            child.to(dtype)
