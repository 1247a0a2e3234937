"""Luma planes of RGB tensors: the studio-range YCbCr of the released code, and plain full-range luma."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# ITU-R BT.601 in studio range, for RGB in [0, 1]: Y spans 16 ... 235, Cb and Cr 16 ... 240.
_STUDIO = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
_RGB = np.linalg.inv(_STUDIO)
_OFFSET = (16.0, 128.0, 128.0)
_FULL = (0.299, 0.587, 0.114)


def _weighted(planes: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The sum of planes times numbers: no matrix product, which CUDA may do in TF32, and nothing copied there."""
    return planes[0] * weights[0] + planes[1] * weights[1] + planes[2] * weights[2]


def rgb_to_ycbcr(rgb: Tensor) -> Tensor:
    """(B, 3, H, W) RGB -> studio-range YCbCr, 0 ... 255 for RGB in [0, 1].

    The released code applies it to RGB in [-1, 1] as it stands; that is kept.
    """
    planes = rgb.split(1, dim=1)
    return torch.cat(
        [_weighted(planes, row) + offset for row, offset in zip(_STUDIO.tolist(), _OFFSET, strict=True)],
        dim=1,
    )


def ycbcr_to_rgb(ycbcr: Tensor) -> Tensor:
    """The exact inverse of :func:`rgb_to_ycbcr`."""
    planes = [plane - offset for plane, offset in zip(ycbcr.split(1, dim=1), _OFFSET, strict=True)]
    return torch.cat([_weighted(planes, row) for row in _RGB.tolist()], dim=1)


def studio_luma_of_grey(grey: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The Y plane over 255 that :func:`rgb_to_ycbcr` gives of three equal channels, and the way back to grey.

    grey: (B, 1, H, W), read as the released code reads RGB in [-1, 1].
    """
    gain, offset = float(_STUDIO[0].sum()), _OFFSET[0]
    return (grey * gain + offset) / 255, lambda f: (f * 255 - offset) / gain


def luma_tensor(levels: NDArray[Any], device: torch.device | str = "cpu") -> Tensor:
    """(B, H, W) luma, 0 ... 255 -> (B, 1, H, W) float32 in [-1, 1], the range of the diffusion, on ``device``."""
    return (2 * torch.from_numpy(levels).float() / 255 - 1)[:, None].to(device)


def full_range_luma(image: Tensor) -> Tensor:
    """(B, 3, H, W) RGB -> (B, 1, H, W) luma 0.299 R + 0.587 G + 0.114 B, in the range of the input.

    A (B, 1, H, W) image is its own luma.
    """
    if image.shape[1] == 1:
        return image
    return _weighted(image.split(1, dim=1), _FULL)
