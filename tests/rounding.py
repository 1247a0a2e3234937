"""What rounding may cost, from arithmetic alone: on every processor, in every order of summation.

A rounding adds at most the unit u of the number that it rounds, 2^-p for p bits of mantissa. Roundings are
independent of each other, so n of them add sqrt(n) u where no part of a sum is larger than the whole: in the
Euclidean norm, with white inputs and weights (Higham & Mary 2019, "A New Approach to Probabilistic Rounding Error
Analysis").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import nn

from guided_diffusion.winograd import OUTPUTS, POINTS, WinogradConv2d, transforms

UNIT = {dtype: torch.finfo(dtype).eps / 2 for dtype in (torch.float32, torch.bfloat16, torch.float16)}


def of_winograd(channels: int, points: Sequence[Fraction] = POINTS) -> float:
    """Relative error of a Winograd convolution in float32.

    An output is ``sum_p O[p] sum_c (K[p] g_c) (I[p] d_c)``, with a product for each of 36 places p. White d and g
    make the product of a place ``a[p] = |K[p]| |I[p]| / 3`` times as large as the output: it is rounded once with
    its kernel, once for each term of I[p] and once a channel. The sum over places is at most ``sum |O[p]| a[p]`` and
    is rounded once a term, and once with the bias.
    """
    output, kernel, input_ = (torch.kron(m, m) for m in transforms(OUTPUTS, points))
    places = kernel.norm(dim=1) * input_.norm(dim=1) / kernel.shape[1] ** 0.5
    terms_in, terms_out = (int((m != 0).sum(1).max()) for m in (input_, output))
    variance = (1 + terms_in + channels) * (output.square() @ places.square())
    variance += (terms_out + 1) * (output.abs() @ places).square()
    return UNIT[torch.float32] * float(variance.mean().sqrt())


def of_network(model: nn.Module) -> float:
    """Relative error of a network whose normalised activations pass a layer's error on without magnifying it.

    A layer sums a product for each of its weights of an output, in float32 always. In half precision its weights, its
    normalised, activated input, its output and the sum of that with the skip connection are rounded as well.
    """
    variance = 0.0
    for layer in model.modules():
        if isinstance(layer, WinogradConv2d):
            variance += of_winograd(layer.kernels.shape[1]) ** 2
        elif isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            variance += layer.weight[0].numel() * UNIT[torch.float32] ** 2
            if layer.weight.dtype != torch.float32:
                variance += 5 * UNIT[layer.weight.dtype] ** 2
    return math.sqrt(variance)
