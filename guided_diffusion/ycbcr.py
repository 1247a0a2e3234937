"""Luma planes of RGB tensors: the studio-range YCbCr of the released code, and plain full-range luma."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# ITU-R BT.601 in studio range, for RGB in [0, 1]: Y spans 16 ... 235, Cb and Cr 16 ... 240.
_STUDIO = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
_OFFSET = (16.0, 128.0, 128.0)
_FULL = (0.299, 0.587, 0.114)


def _transform(planes: Tensor, matrix: np.ndarray) -> Tensor:
    """(B, 3, H, W) -> (B, 3, H, W): every pixel times a 3x3 matrix."""
    weights = torch.tensor(matrix, dtype=planes.dtype, device=planes.device)
    return torch.einsum("dc,bchw->bdhw", weights, planes)


def _offset(planes: Tensor) -> Tensor:
    return torch.tensor(_OFFSET, dtype=planes.dtype, device=planes.device).view(1, 3, 1, 1)


def rgb_to_ycbcr(rgb: Tensor) -> Tensor:
    """(B, 3, H, W) RGB -> studio-range YCbCr, 0 ... 255 for RGB in [0, 1].

    The released code applies it to RGB in [-1, 1] as it stands; that is kept.
    """
    return _transform(rgb, _STUDIO) + _offset(rgb)


def ycbcr_to_rgb(ycbcr: Tensor) -> Tensor:
    """The exact inverse of :func:`rgb_to_ycbcr`."""
    return _transform(ycbcr - _offset(ycbcr), np.linalg.inv(_STUDIO))


def full_range_luma(image: Tensor) -> Tensor:
    """(B, 3, H, W) RGB -> (B, 1, H, W) luma 0.299 R + 0.587 G + 0.114 B, in the range of the input.

    A (B, 1, H, W) image is its own luma.
    """
    if image.shape[1] == 1:
        return image
    weights = torch.tensor(_FULL, dtype=image.dtype, device=image.device).view(1, 3, 1, 1)
    return (weights * image).sum(dim=1, keepdim=True)
