"""3x3 convolutions in a quarter of the products: Winograd's minimal filtering, F(4x4, 3x3).

A tile of 4x4 outputs takes 36 products of transformed input and transformed kernel in place of 144, for each pair of
channels (Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks"). The transforms themselves cost a
few sums a channel, which many channels outweigh. In float32 alone: the halves would lose too many digits. For
inference, and for CPUs, since cuDNN has its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor, nn

POINTS = (Fraction(0), Fraction(1), Fraction(-1), Fraction(1, 2), Fraction(-2))
"""Where polynomials are evaluated, besides infinity. 1/2 and -2 lose fewer digits than the usual 2 and -2 (Barabasz
et al. 2020, "Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks")."""

OUTPUTS = 4
"""Of a tile, each way."""

MIN_CHANNELS = 192
"""In and out, from which on it pays at every size of image; the more, the better."""

MAX_KERNELS = 2**20
"""Pairs of channels from which on it is not worth the memory: transformed kernels take four times the room."""

TILES = 1024
"""At a time: enough for the matrix products, few enough for the caches."""


def transforms(outputs: int, points: Sequence[Fraction]) -> tuple[Tensor, Tensor, Tensor]:
    """The matrices of F(outputs, taps) by Toom and Cook: output (m, a), kernel (a, r), input (a, a); float64.

    For a = m + r - 1 inputs d and r taps g, ``output @ ((kernel @ g) * (input @ d))`` are the m outputs of their
    correlation. ``points``: a - 1 different ones; infinity is the last.
    """
    size = len(points) + 1
    taps = size - outputs + 1
    output = [[p**power for p in points] + [Fraction(power == outputs - 1)] for power in range(outputs)]
    kernel, rows = [], []
    for p in points:
        others = [q for q in points if q != p]
        scale = Fraction(1)
        for q in others:
            scale *= p - q
        kernel.append([p**power / scale for power in range(taps)])
        rows.append([*_with_roots(others), Fraction(0)])
    kernel.append([Fraction(power == taps - 1) for power in range(taps)])
    rows.append(_with_roots(points))
    return _matrix(output), _matrix(kernel), _matrix(rows)


def _with_roots(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients of the polynomial with these roots, the constant first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [a - root * b for a, b in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
    return coefficients


def _matrix(rows: Sequence[Sequence[Fraction]]) -> Tensor:
    return torch.tensor([[float(value) for value in row] for row in rows], dtype=torch.float64)


class WinogradConv2d(nn.Module):
    """What a float32 ``nn.Conv2d`` of 3x3 taps, stride 1 and padding 1 computes, up to rounding: (B, C, H, W) ->
    (B, O, H, W), channels last, of any height and width. Not differentiable. Holds no parameter of the original.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        output, kernel, input_ = (torch.kron(m, m) for m in transforms(OUTPUTS, POINTS))  # of both directions
        weight = conv.weight.detach()
        self.kernels: Tensor
        self.bias: Tensor
        self.to_products: Tensor
        self.to_outputs: Tensor
        kernels = weight.new_empty((len(kernel), *weight.shape[:2]))  # (36, O, C)
        for outputs, some in zip(kernels.split(32, 1), weight.split(32), strict=True):  # float64 takes room
            outputs.copy_((some.double().flatten(2) @ kernel.T.to(weight.device)).permute(2, 0, 1))
        self.register_buffer("kernels", kernels.flatten(0, 1), persistent=False)
        bias = torch.zeros_like(weight[:, 0, 0, 0]) if conv.bias is None else conv.bias.detach()
        self.register_buffer("bias", bias, persistent=False)
        self.register_buffer("to_products", input_.to(weight), persistent=False)
        self.register_buffer("to_outputs", output.to(weight), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        down, across = -(-height // OUTPUTS), -(-width // OUTPUTS)  # tiles
        margins = (0, 0, 1, across * OUTPUTS - width + 1, 1, down * OUTPUTS - height + 1)
        padded = F.pad(x.permute(0, 2, 3, 1), margins).contiguous()  # (B, H', W', C)
        out = x.new_empty((batch, down, OUTPUTS, across, OUTPUTS, len(self.bias)))
        images, rows = max(1, TILES // (down * across)), max(1, TILES // across)
        for first in range(0, batch, images):
            for row in range(0, down, rows):
                some = padded[first : first + images, row * OUTPUTS :]
                self._strip(some, out[first : first + images, row : row + rows])
        whole = out.view(batch, down * OUTPUTS, across * OUTPUTS, len(self.bias))
        return whole[:, :height, :width].contiguous().permute(0, 3, 1, 2)

    def _strip(self, x: Tensor, out: Tensor) -> None:
        """Fill ``out``, (B, rows of tiles, 4, columns of tiles, 4, O), from the top of x (B, H', W', C)."""
        (batch, _, _, channels), (_, down, _, across, _, out_channels) = x.shape, out.shape
        image, line, pixel = x.stride()[:3]
        size, count = OUTPUTS + 2, batch * down * across
        tiles = x.as_strided(  # they overlap by two pixels
            (batch, down, across, size, size, channels),
            (image, OUTPUTS * line, OUTPUTS * pixel, line, pixel, 1),
        )
        tiles = self.to_products @ tiles.reshape(count, size * size, channels)
        # A product for each of 36 places is a 1x1 convolution of as many groups, which oneDNN does faster than bmm.
        tiles = tiles.view(1, count, 1, -1).permute(0, 3, 1, 2)
        products = F.conv2d(tiles, self.kernels[:, :, None, None], groups=size * size).permute(0, 2, 3, 1)
        parts = self.to_outputs @ products.reshape(count, size * size, out_channels)
        parts = parts.view(batch, down, across, OUTPUTS, OUTPUTS, out_channels)
        torch.add(parts.permute(0, 1, 3, 2, 4, 5), self.bias, out=out)


def pays(conv: nn.Module) -> bool:
    """Whether ``conv`` is a convolution that :class:`WinogradConv2d` can stand in for and does faster."""
    if not isinstance(conv, nn.Conv2d):
        return False
    plain = (conv.kernel_size, conv.stride, conv.padding) == ((3, 3), (1, 1), (1, 1))
    plain = plain and conv.dilation == (1, 1) and conv.groups == 1 and conv.padding_mode == "zeros"
    few, pairs = min(conv.in_channels, conv.out_channels), conv.in_channels * conv.out_channels
    return plain and few >= MIN_CHANNELS and pairs < MAX_KERNELS and conv.weight.dtype == torch.float32


def use_winograd(model: nn.Module) -> int:
    """Replace, in place, the convolutions of ``model`` for which it pays; how many those were."""
    found = [
        (parent, name) for parent in model.modules() for name, child in parent.named_children() if pays(child)
    ]
    for parent, name in found:  # one after the other, so that few weights exist in both forms
        conv = getattr(parent, name)
        assert isinstance(conv, nn.Conv2d)
        setattr(parent, name, WinogradConv2d(conv))
    return len(found)
