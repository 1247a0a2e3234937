"""Windows, gradients and linear solves on images whose borders mirror: nothing wraps around.

Beyond the border an image goes on as its reflection, the border pixel twice (half-sample symmetry). With a
symmetric window the correlation is then a symmetric operator, its own adjoint, and the cosine transform
diagonalises grad'grad with Neumann borders. torch has no cosine transform; the FFT of the image mirrored to
twice its sides is one, and SciPy has one that is ten times as fast on the CPU. Images are (B, C, H, W) of a
floating type; every function works per image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

Window = Sequence[float]

_BLOCK_DOWN, _BLOCK_ACROSS = 8, 16  # windows in a product
_MANY = 7  # taps, from which on products are quicker


def gaussian_window(sigma: float, radius: int | None = None) -> list[float]:
    """2 radius + 1 taps of a Gaussian of ``sigma`` pixels that sum to 1; the radius is 3 sigma unless given."""
    radius = max(1, math.ceil(3 * sigma)) if radius is None else radius
    taps = [math.exp(-(k**2) / (2 * sigma**2)) for k in range(-radius, radius + 1)]
    return [tap / math.fsum(taps) for tap in taps]


def correlate(image: Tensor, window: Window) -> Tensor:
    """Correlation with the symmetric, separable ``window`` (an odd number of taps) along both axes."""
    if _MANY <= len(window) <= 2 * min(image.shape[-2:]) + 1 and _on_cpu(image):
        planes = [_by_products(plane, tuple(window)) for plane in image.flatten(0, -3)]
        return torch.stack(planes).view(image.shape)
    return _correlate_axis(_correlate_axis(image, window, -1), window, -2)


def _on_cpu(image: Tensor) -> bool:
    """Whether what is fastest on a CPU can be done, which is not recorded for gradients."""
    recorded = image.requires_grad and torch.is_grad_enabled()
    return image.device.type == "cpu" and image.dtype in (torch.float32, torch.float64) and not recorded


def _by_products(image: Tensor, window: tuple[float, ...]) -> Tensor:
    """:func:`correlate` of an (H, W) image, by products with banded matrices, each of a block of rows or columns:
    on a CPU two to four times as fast as tap by tap, which goes through the memory once for each."""
    radius, (height, width) = len(window) // 2, image.shape
    high, wide = (
        math.ceil(size / block) * block for size, block in ((height, _BLOCK_DOWN), (width, _BLOCK_ACROSS))
    )
    stride = wide + 2 * radius
    extended = image.new_zeros((high + 2 * radius, stride))
    extended[radius : radius + height, radius : radius + width] = image
    for dim, size in enumerate((height, width)):
        for target, source in ((0, radius), (size + radius, size)):
            extended.narrow(dim, target, radius).copy_(extended.narrow(dim, source, radius).flip(dim))
    count, band = high // _BLOCK_DOWN, _band(window, _BLOCK_DOWN, image.dtype)
    tiles = extended.as_strided((count, band.shape[1], stride), (_BLOCK_DOWN * stride, stride, 1))
    down = torch.bmm(band.expand(count, -1, -1), tiles).view(high, stride)
    count, band = wide // _BLOCK_ACROSS, _band(window, _BLOCK_ACROSS, image.dtype, turned=True)
    tiles = down.as_strided((count, high, band.shape[0]), (_BLOCK_ACROSS, stride, 1))
    result = image.new_empty((high, wide))
    blocks = result.as_strided((count, high, _BLOCK_ACROSS), (_BLOCK_ACROSS, wide, 1))
    torch.bmm(tiles, band.expand(count, -1, -1), out=blocks)
    return result[:height, :width]


@lru_cache
def _band(window: tuple[float, ...], block: int, dtype: torch.dtype, turned: bool = False) -> Tensor:
    """(block, block + 2 radius): row k holds the window shifted by k; ``turned``: transposed, in order of memory."""
    band = torch.zeros((block, block + len(window) - 1), dtype=dtype)
    for row in range(block):
        band[row, row : row + len(window)] = torch.tensor(window, dtype=dtype)
    return band.T.contiguous() if turned else band


def _correlate_axis(image: Tensor, window: Window, dim: int) -> Tensor:
    radius, size = len(window) // 2, image.shape[dim]
    if radius <= size:
        ends = image.narrow(dim, 0, radius).flip(dim), image.narrow(dim, size - radius, radius).flip(dim)
        extended = torch.cat((ends[0], image, ends[1]), dim=dim)
    else:  # mirrored more than once
        index = torch.arange(-radius, size + radius, device=image.device) % (2 * size)
        extended = image.index_select(dim, torch.where(index < size, index, 2 * size - 1 - index))
    result = extended.narrow(dim, 0, size) * window[0]
    for tap in range(1, len(window)):
        result.add_(extended.narrow(dim, tap, size), alpha=window[tap])
    return result


def blur(image: Tensor, sigma: float) -> Tensor:
    """G_sigma * image, a Gaussian window of ``sigma`` pixels."""
    return correlate(image, gaussian_window(sigma))


def wide_blur(image: Tensor, sigma: float) -> Tensor:
    """As :func:`blur`, at a cost that does not grow with ``sigma``: from 8 pixels on by the cosine transform, where
    the Gaussian's response is exp(-sigma^2 e / 2) to the eigenvalues e of grad'grad."""
    return blur(image, sigma) if sigma < 8 else solve(image, lambda e: torch.exp(-(sigma**2) / 2 * e))


def gradient(image: Tensor) -> tuple[Tensor, Tensor]:
    """Forward differences along rows and along columns; 0 at the far border."""
    pad = torch.nn.functional.pad
    return pad(image[..., 1:] - image[..., :-1], (0, 1)), pad(
        image[..., 1:, :] - image[..., :-1, :], (0, 0, 0, 1)
    )


def gradient_adjoint(along: Tensor, across: Tensor) -> Tensor:
    """grad' (along, across), the adjoint of :func:`gradient`: minus the divergence."""
    pad = torch.nn.functional.pad
    along, across = along[..., :-1], across[..., :-1, :]
    return pad(along, (1, 0)) - pad(along, (0, 1)) + pad(across, (0, 0, 1, 0)) - pad(across, (0, 0, 0, 1))


def squared_gradient(image: Tensor) -> Tensor:
    """|grad image|^2."""
    along, across = gradient(image)
    return along.square() + across.square()


def solve(right: Tensor, response: Callable[[Tensor], Tensor]) -> Tensor:
    """response(grad'grad) applied to ``right``, by a cosine transform.

    ``response``: from the eigenvalues of grad'grad, 0 ... 8, to factors; ``lambda e: 1 / (a + b * e)`` solves
    (a + b grad'grad) f = right. The eigenvalues come as (H, W) or, of the mirrored half spectrum, (2 H, W + 1).
    """
    height, width = right.shape[-2:]
    down, across = (_eigenvalues(size, right.device) for size in (height, width))
    if _on_cpu(right):
        from scipy.fft import dctn, idctn  # here, for it takes long to import, and only this needs it

        factors = response((down[:height, None] + across[None, :width]).to(right.dtype))
        spectrum = torch.from_numpy(dctn(right.detach().numpy(), axes=(-2, -1), norm="ortho")) * factors
        return torch.from_numpy(idctn(spectrum.numpy(), axes=(-2, -1), norm="ortho", overwrite_x=True))
    mirrored = torch.cat((right, right.flip(-1)), dim=-1)
    mirrored = torch.cat((mirrored, mirrored.flip(-2)), dim=-2)
    eigenvalues = down[:, None] + across[None, : width + 1]
    spectrum = torch.fft.rfft2(mirrored) * response(eigenvalues.to(right.dtype))
    return torch.fft.irfft2(spectrum, s=mirrored.shape[-2:])[..., :height, :width]


def _eigenvalues(size: int, device: torch.device) -> Tensor:
    """4 sin^2(pi k / (2 size)), k = 0 ... 2 size - 1, float64: free of the cancellation in 2 - 2 cos."""
    return (
        4
        * torch.sin(
            torch.arange(2 * size, device=device, dtype=torch.float64) * (math.pi / (2 * size))
        ).square()
    )
