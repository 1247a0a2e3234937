"""The iterations of local fusion: uphill on what f tells of its sources, within bounds. Equations: docs/local.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from guided_diffusion.denoising.source_noise import GREY
from guided_diffusion.local.information import Edges, Information, Structure
from guided_diffusion.local.tone import local_deviation

LIVELY = 6.0
"""Grey levels of local deviation from which a neighbourhood has room beyond its sources: noise in the dark parts of a
clean source reaches 3."""
QUIET = 2.0  # grey levels of local deviation at which a pixel moves half as far
MOMENTS = 0.9, 0.99  # of the running mean and mean square of a pixel's gradient
WEIGHTS = 2.2, 0.7, 2.0
"""Of structure, information and edges in Eq. (11); set on every fifth pair of RoadScene and of
TNO, and used everywhere."""


@dataclass(frozen=True, eq=False)
class Ascent:
    """The iterations of Eq. (11) and (12) on images in grey levels. All (B, 1, H, W); ``done``: how many."""

    likelihoods: tuple[Structure, Information, Edges]
    stride: Tensor
    low: Tensor
    high: Tensor
    f: Tensor
    mean: Tensor
    square: Tensor
    done: int = 0

    @classmethod
    def at(
        cls, sources: Sequence[Tensor], fused: Tensor, noise: Sequence[Tensor], deviation: Tensor
    ) -> Ascent:
        """Before the first iteration, from ``fused``; arguments as those of :func:`envelope`."""
        grey = [(source + 1) * GREY for source in sources]
        first = (fused + 1) * GREY
        least, most = ((bound + 1) * GREY for bound in envelope(sources, noise, deviation))
        zeros = torch.zeros_like(first)
        return cls(
            (Structure(grey), Information(grey), Edges(grey)),
            deviation / (deviation + QUIET),
            torch.maximum(first - deviation, torch.minimum(first, least)).clamp(min=0),
            torch.minimum(first + deviation, torch.maximum(first, most)).clamp(max=255),
            first.clamp(0, 255),
            zeros,
            zeros,
        )

    def advance(self) -> Ascent:
        """E-step: local gains in closed form. M-step: a bounded step uphill (moments of Kingma and Ba 2015)."""
        slope = torch.zeros_like(self.f)
        for weight, likelihood in zip(WEIGHTS, self.likelihoods, strict=True):
            slope.add_(likelihood.score(self.f)[1], alpha=weight)
        (a, b), done = MOMENTS, self.done + 1
        mean = a * self.mean + (1 - a) * slope
        square = b * self.square + (1 - b) * slope.square()
        scale = (square / (1 - b**done)).sqrt() + 1e-12
        f = self.f + self.stride * (mean / (1 - a**done)) / scale
        f = torch.minimum(torch.maximum(f, self.low), self.high)
        return replace(self, f=f, mean=mean, square=square, done=done)


def deviation_of(sources: Sequence[Tensor], noise: Sequence[Tensor] | None = None) -> Tensor:
    """d of Eq. (11): the largest local standard deviation of the sources in grey levels, without that of noise."""
    deviations = [local_deviation((source + 1) * GREY) for source in sources]
    if noise is not None:
        deviations = [
            (d.square() - (GREY * n).square()).clamp(min=0).sqrt()
            for d, n in zip(deviations, noise, strict=True)
        ]
    return torch.stack(deviations).amax(dim=0)


def envelope(
    sources: Sequence[Tensor], noise: Sequence[Tensor] | None = None, deviation: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Between which levels a fused pixel may lie, Eq. (5): the least and the largest of its sources, and some room.

    sources: (B, 1, H, W) luma in [-1, 1]. noise: what each still has, (B, 1, 1, 1) in the same units (None: none),
    twice which a clean level may lie away. deviation: their :func:`deviation_of`, where it is known. Returns two
    (B, 1, H, W). What the transform of Eq. (4) spreads over a neighbourhood is cut away: black next to a body stays
    black, a roof next to a sky gets no rim.
    """
    deviation = deviation_of(sources, noise) if deviation is None else deviation
    room = deviation.pow(3) / (deviation.square() + LIVELY**2) / (2 * GREY)
    doubt = [0.0] * len(sources) if noise is None else [2 * sigma for sigma in noise]
    low = torch.stack([source - d for source, d in zip(sources, doubt, strict=True)]).amin(dim=0)
    high = torch.stack([source + d for source, d in zip(sources, doubt, strict=True)]).amax(dim=0)
    return low - room, high + room
