"""Tone: how strongly the levels of a fused image are spread over the range, by a curve common to all its pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from guided_diffusion.neumann import blur

LEVELS = 256
ACTIVE = 2.0
"""Grey levels of local standard deviation at which a pixel counts half in the histogram: what has no content,
as the black around a slice, claims no part of the range."""


def local_deviation(image: Tensor, sigma: float = 2.0) -> Tensor:
    """Standard deviation of ``image``, (B, 1, H, W), in a Gaussian window of ``sigma`` pixels."""
    centred = image - image.mean(dim=(-2, -1), keepdim=True)
    return (blur(centred.square(), sigma) - blur(centred, sigma).square()).clamp(min=0).sqrt()


def spread(image: Tensor, tone: float, activity: Tensor) -> Tensor:
    """``image`` moved by ``tone`` (0 to 1) towards its equalised self; Eq. (13) of docs/local.md.

    image: (B, 1, H, W) in [-1, 1]. The histogram that is equalised counts each pixel by ``activity``, the same
    shape, local standard deviation in grey levels of 0 ... 255. The curve rises everywhere for ``tone`` below 1,
    black and white stay, and a ``tone`` of 0 returns the image itself. Counts are whole numbers, so that the
    curve does not depend on the order of summation.
    """
    if tone == 0:
        return image
    return equalise(image, tone, active_histogram(image, activity))


def active_histogram(image: Tensor, activity: Tensor) -> Tensor:
    """Counts of the levels of ``image``, (B, LEVELS) int64, each pixel by ``activity``; see :func:`spread`."""
    counted = (255 * activity / (activity + ACTIVE)).round().long().flatten(1)
    levels = _levels(image)
    histogram = torch.zeros((len(image), LEVELS), dtype=torch.int64, device=image.device)
    return histogram.scatter_add_(1, levels.round().long().flatten(1), counted)


def equalise(image: Tensor, tone: float, histogram: Tensor) -> Tensor:
    """``image``, (B, 1, H, W) in [-1, 1], moved by ``tone`` along the curve of ``histogram``, (B, LEVELS) counts."""
    levels = _levels(image)
    share = histogram.double() / histogram.sum(dim=1, keepdim=True).clamp(min=1)
    below = share.cumsum(dim=1)
    curve = (below - share[:, :1]) / (1 - share[:, :1]).clamp(min=1e-6)  # 0 at black, 1 at white
    identity = torch.arange(LEVELS, dtype=torch.float64, device=image.device) / (LEVELS - 1)
    curve = torch.where(histogram.sum(dim=1, keepdim=True) > 0, curve, identity).float()
    low = levels.floor().long().clamp(max=LEVELS - 2)
    fraction = levels - low
    flat = low.flatten(1)
    ends = curve.gather(1, flat).view_as(image), curve.gather(1, flat + 1).view_as(image)
    equalised = 2 * torch.lerp(ends[0], ends[1], fraction) - 1
    return image + tone * (equalised - image)


def _levels(image: Tensor) -> Tensor:
    return ((image + 1) * ((LEVELS - 1) / 2)).clamp(0, LEVELS - 1)
