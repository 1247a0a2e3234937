"""Images that several tests make up."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def noise(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Uniform in [-1, 1], without exact repeats."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 2 - 1


def soft_scene(size: int = 64, seed: int = 0) -> np.ndarray:
    """Coloured spots that run into each other, (``size``, ``size``, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))
