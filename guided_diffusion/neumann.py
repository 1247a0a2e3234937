"""Windows, gradients and linear solves on images whose borders mirror: nothing wraps around.

Beyond the border an image goes on as its reflection, the border pixel twice (half-sample symmetry). With a
symmetric window the correlation is then a symmetric operator, its own adjoint, and the cosine transform
diagonalises grad'grad with Neumann borders. torch has no cosine transform; the FFT of the image mirrored to
twice its sides is one. Images are (B, C, H, W) of a floating type; every function works per image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Window = Sequence[float]


def gaussian_window(sigma: float, radius: int | None = None) -> list[float]:
    """2 radius + 1 taps of a Gaussian of ``sigma`` pixels that sum to 1; the radius is 3 sigma unless given."""
    radius = max(1, math.ceil(3 * sigma)) if radius is None else radius
    taps = [math.exp(-(k**2) / (2 * sigma**2)) for k in range(-radius, radius + 1)]
    return [tap / math.fsum(taps) for tap in taps]


def correlate(image: Tensor, window: Window) -> Tensor:
    """Correlation with the symmetric, separable ``window`` (an odd number of taps) along both axes."""
    return _correlate_axis(_correlate_axis(image, window, -1), window, -2)


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
    (a + b grad'grad) f = right. The eigenvalues come as (2 H, W + 1) of the mirrored half spectrum.
    """
    height, width = right.shape[-2:]
    mirrored = torch.cat((right, right.flip(-1)), dim=-1)
    mirrored = torch.cat((mirrored, mirrored.flip(-2)), dim=-2)
    eigenvalues = (
        _eigenvalues(height, right.device)[:, None] + _eigenvalues(width, right.device)[None, : width + 1]
    )
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
