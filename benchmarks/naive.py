"""The network as a straightforward port runs it: what ``benchmarks.table`` compares with.

Default layout and allocator, upsampling before its convolution, attention through the whole matrix of weights.
"""

from __future__ import annotations

import types

import torch
from torch import Tensor

from guided_diffusion.unet import AttentionBlock, UNetModel


def whole_matrix_attention(self: AttentionBlock, x: Tensor) -> Tensor:
    """In place of :meth:`AttentionBlock.forward`: softmax(q^T k / sqrt(c)) v, by two einsums, channels first."""
    batch, channels, height, width = x.shape
    heads, size = self.num_heads, channels // self.num_heads
    h = self.norm(x.flatten(2))  # (B, C, T)
    qkv = self.qkv(h)  # (B, 3C, T)
    if self.new_order:
        q, k, v = qkv.view(batch, 3, heads, size, -1).unbind(1)
    else:
        q, k, v = qkv.view(batch, heads, 3, size, -1).unbind(2)
    weights = torch.einsum("bhct,bhcs->bhts", q * size**-0.25, k * size**-0.25).softmax(dim=-1)
    h = torch.einsum("bhts,bhcs->bhct", weights, v).reshape(batch, channels, -1)
    return x + self.proj_out(h).view(batch, channels, height, width)


def naive(model: UNetModel, device: torch.device) -> UNetModel:
    """``model`` on ``device``, in float32 as PyTorch has it by default (which is TF32 in CUDA's convolutions)."""
    for module in model.modules():
        if isinstance(module, AttentionBlock):
            module.forward = types.MethodType(whole_matrix_attention, module)
    return model.eval().requires_grad_(False).to(device)
