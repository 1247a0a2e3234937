"""Difference operators and their transfer functions, for the quadratic sub-problems solved by FFT.

Everything here is for real images of one size (H, W); spectra are half spectra (``rfft2``), which is all that
a real image needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad


def psf2otf(psf: Tensor, shape: tuple[int, int]) -> Tensor:
    """Transfer function of a point spread function, as MATLAB's ``psf2otf`` defines it.

    psf: (h, w), real; it is zero-padded to ``shape``, rolled so that its centre ``(h // 2, w // 2)`` comes to
    the origin, and transformed. Returns the full spectrum, complex, of size ``shape``, on the device of
    ``psf``: multiplying an image's FFT by it is the circular convolution with the centred ``psf``.
    Raises ValueError if ``psf`` is larger than ``shape``.
    """
    height, width = psf.shape
    if height > shape[0] or width > shape[1]:
        raise ValueError(f"a point spread function of {height}x{width} does not fit into {tuple(shape)}")
    padded = pad(psf, (0, shape[1] - width, 0, shape[0] - height))
    return torch.fft.fft2(torch.roll(padded, (-(height // 2), -(width // 2)), dims=(0, 1)))


@dataclass(frozen=True, eq=False)
class GradientTransfer:
    """Half spectra, (H, W // 2 + 1), of the periodic forward differences along a row and along a column.

    ``k1``, ``k2``: K1, K2 of Eq. (25), complex64; ``power``: |K1|^2 + |K2|^2, float32.
    """

    k1: Tensor
    k2: Tensor
    power: Tensor


def gradient_transfer(shape: tuple[int, int], device: torch.device) -> GradientTransfer:
    """K1 and K2, the transfer functions of ``[1, -1]`` and ``[1; -1]`` on images of size ``shape``.

    Since MATLAB's centre of two elements is the second one, K1 belongs to ``h[j + 1] - h[j]``.
    """
    kernel = torch.tensor([[1.0, -1.0]], device=device)
    half = shape[1] // 2 + 1
    k1 = psf2otf(kernel, shape)[:, :half]
    k2 = psf2otf(kernel.T, shape)[:, :half]
    return GradientTransfer(k1, k2, k1.abs().square() + k2.abs().square())


def periodic_gradient(image: Tensor) -> tuple[Tensor, Tensor]:
    """``image[j + 1] - image[j]`` along rows and along columns, the last minding the first.

    image: (B, 1, H, W). This is the operator that :func:`gradient_transfer` diagonalises: with any other
    boundary, or the other sign, the k-update (25) would not minimise the objective that u enters.
    """
    return image.roll(-1, dims=-1) - image, image.roll(-1, dims=-2) - image


def released_gradient(image: Tensor) -> tuple[Tensor, Tensor]:
    """``image[j] - image[j + 1]`` along rows and along columns; at the far border ``image`` itself.

    image: (B, 1, H, W). Two quirks of the released implementation are kept here: outside the image it sees
    zeros, where the FFT of the k-update sees the opposite border; and its sign is the opposite of K1, K2
    (see :func:`gradient_transfer`).
    """
    return image - pad(image[..., 1:], (0, 1)), image - pad(image[..., 1:, :], (0, 0, 0, 1))
