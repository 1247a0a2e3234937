"""The noise of a source: how strong it is, and its stripes.

Equations are those of docs/local.md. Images are (B, 1, H, W) luma in [-1, 1]; standard deviations come as
(B, 1, 1, 1) in grey levels of 0 ... 255. Everything is per image and stays on its device.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from guided_diffusion.neumann import gaussian_window

GREY = 127.5  # grey levels in a unit of luma
BLOCK = 16
FLATTEST = 0.2
BLOCK_BIAS = 0.883
"""What the ``FLATTEST`` quantile of the blocks' estimates is of sigma, for white noise: 64 differences a block."""
RMS_BIAS = 0.921
"""The same of their root mean squares: of the square root of a chi-squared variable of 64 degrees over 64."""
UNCLIPPED, ENOUGH = 0.05, 16
"""Of a block's pixels, how many may be black or white without narrowing its noise; and of how many such blocks the
strength is read."""
MAD = 0.6744897501960817  # median of |z|, z standard normal
LEAST_SIGMA, LEAST_SIGMA_FEW, LEAST_SIGMA_MASKED = 5.0, 9.0, 14.0
"""Grey levels under which a source counts as clean: texture and compression of clean photographs and thermal images
reach 3.4; the second where fewer than half of the blocks can be used, as in slices of a body, whose texture is
everywhere. The third where most of the others are all black: noise, clipped, would light half of their pixels, so
that what is found is texture, which reaches 10.1, unless the noise was masked there."""
LEAST_STRIPES = 3.0
"""Grey levels of standard deviation under which offsets are left as they are."""


def estimate_sigma(image: Tensor, least: float = LEAST_SIGMA, few: float = LEAST_SIGMA_FEW) -> Tensor:
    """Standard deviation of white noise, Eq. (14), 0 for a clean source: diagonal Haar differences of flat blocks.

    A block of 16x16 gives the median of its 64 absolute differences; texture only adds to it, so that a low quantile
    of the blocks sees the noise. Blocks that reach black or white in a quarter of their pixels are left out,
    for clipping hides noise; where no block is left, or less than ``least`` grey levels are found (``few`` where
    fewer than half of the blocks can be used, and ``LEAST_SIGMA_MASKED`` where most others are all black), the image
    counts as clean. Of a noisy one the strength is read from root mean squares, Eq. (14'): medians of 8-bit levels
    come in steps of 0.84, and a denoiser that is told a tenth too little leaves noise.
    """
    grey = (image.float() + 1) * GREY
    height, width = (size - size % BLOCK for size in grey.shape[-2:])
    if height == 0 or width == 0:
        return torch.zeros_like(grey[:, :1, :1, :1])
    grey = grey[..., :height, :width]
    differences = _blocks(_diagonal(grey).abs(), BLOCK // 2)
    medians = differences.median(dim=-1).values / MAD
    black = _blocks((grey <= 0.5).float(), BLOCK).mean(dim=-1)
    touched = black + _blocks((grey >= 254.5).float(), BLOCK).mean(dim=-1)
    clipped = touched >= 0.25
    masked = 2 * (black > 0.95).sum(dim=1, keepdim=True) > clipped.sum(dim=1, keepdim=True)
    count = (~clipped).sum(dim=1, keepdim=True)
    sigma = _low_quantile(medians, ~clipped) / BLOCK_BIAS
    few_least = torch.where(masked, max(few, LEAST_SIGMA_MASKED), few)
    found = (count > 0) & (sigma >= torch.where(2 * count < clipped.shape[1], few_least, least))
    free = touched < UNCLIPPED
    free = torch.where(free.sum(dim=1, keepdim=True) >= ENOUGH, free, ~clipped)
    strength = _low_quantile(differences.square().mean(dim=-1).sqrt(), free) / RMS_BIAS
    return torch.where(found, strength, torch.zeros_like(sigma)).view(-1, 1, 1, 1)


def _low_quantile(blocks: Tensor, usable: Tensor) -> Tensor:
    """The ``FLATTEST`` quantile of the usable blocks of each image: (B, N), (B, N) -> (B, 1)."""
    order = blocks.masked_fill(~usable, torch.inf).sort(dim=1).values
    place = (FLATTEST * (usable.sum(dim=1, keepdim=True) - 1).clamp(min=0)).long()
    return order.gather(1, place)


def _diagonal(grey: Tensor) -> Tensor:
    """Diagonal Haar differences of 2x2 cells, orthonormal: white noise keeps its standard deviation."""
    a, b = grey[..., ::2, ::2], grey[..., ::2, 1::2]
    c, d = grey[..., 1::2, ::2], grey[..., 1::2, 1::2]
    height, width = d.shape[-2:]
    return (a[..., :height, :width] - b[..., :height, :width] - c[..., :height, :width] + d) / 2


def _blocks(image: Tensor, side: int) -> Tensor:
    """(B, 1, H, W) -> (B, blocks, side * side)."""
    batch, _, height, width = image.shape
    cells = image.view(batch, height // side, side, width // side, side).transpose(2, 3)
    return cells.reshape(batch, -1, side * side)


def stripes(image: Tensor, dim: int = -1) -> Tensor:
    """Offsets of the columns (``dim`` -1) or of the rows (-2), Eq. (15), that a thermal camera's read-out adds.

    Returns them in units of luma, (B, 1, 1, W) or (B, 1, H, 1); 0 for an image whose offsets are not
    more than its noise explains. The step from a column to the next is the median over the rows, which edges
    that cross less than half of the image do not move; what is wider than about 8 columns is left to the scene.
    """
    across = -2 if dim == -1 else -1
    steps = image.float().diff(dim=dim)
    median = steps.median(dim=across, keepdim=True).values
    spread = (steps - median).abs().median(dim=across, keepdim=True).values / MAD
    offset = pad(median.cumsum(dim=dim), (1, 0) if dim == -1 else (0, 0, 1, 0))
    offset = offset - _smooth(offset, dim, 4.0)
    chance = 1.2533 * spread.median(dim=dim, keepdim=True).values / image.shape[across] ** 0.5
    size = offset.abs().median(dim=dim, keepdim=True).values / MAD
    least = torch.clamp(2 * chance, min=LEAST_STRIPES / GREY)
    offset = offset.clamp(-4 * size, 4 * size)  # an edge along the whole image is no stripe
    return torch.where(size > least, offset, torch.zeros_like(offset))


def _smooth(line: Tensor, dim: int, sigma: float) -> Tensor:
    window = gaussian_window(sigma)
    radius, size = len(window) // 2, line.shape[dim]
    index = torch.arange(-radius, size + radius, device=line.device) % (2 * size)
    longer = line.index_select(dim, torch.where(index < size, index, 2 * size - 1 - index))
    total = torch.zeros_like(line)
    for tap, weight in enumerate(window):
        total = total + weight * longer.narrow(dim, tap, size)
    return total
