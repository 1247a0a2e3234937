"""What a sequence keeps from frame to frame, so that nothing but the scene changes: noise, tone and range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from guided_diffusion.denoising.source_noise import GREY, LEAST_SIGMA
from guided_diffusion.local.tone import active_histogram, equalise
from guided_diffusion.neumann import blur
from util.images.levels import round_to_uint8, stretch

KEPT = 0.9
"""Part of a running estimate that is kept at every frame: it follows within some ten frames, as an exposure does."""
CUT = 0.5
"""Distance of two histograms, 0 to 1, from which on a new scene begins, and with it the estimates."""
HOLD, STILL = 0.75, 2.0
"""The largest part of the frame before in a pixel, and the grey levels of change at which little of that is left."""
DRIFT = 1.0
"""Grey levels by which a whole source may become brighter from frame to frame, as thermal cameras do, and count as
still."""
STOP = 0.6
"""Part of the least sigma below which a source that was noisy counts as clean again."""


@dataclass
class Steady:
    """Running estimates. ``sigmas``: of the sources' noise in grey levels; ``noisy``: whether they count so.

    ``histogram``: (1, 256) counts of the fused levels. ``bounds``: the lowest and the highest fused luma, for results
    that are stretched. ``shown``: the last frame, (H, W) uint8.
    """

    sigmas: list[float] | None = None
    noisy: list[bool] = field(default_factory=list)
    histogram: Tensor | None = None
    bounds: tuple[float, float] | None = None
    shown: np.ndarray | None = None

    def noise(self, found: Sequence[float]) -> list[float]:
        """The running sigma of each source, after what was found in a frame; 0 for those that count as clean."""
        if self.sigmas is None:
            self.sigmas, self.noisy = list(found), [sigma > 0 for sigma in found]
        else:
            self.sigmas = [_follow(a, b) for a, b in zip(self.sigmas, found, strict=True)]
            least = [LEAST_SIGMA * (STOP if noisy else 1.0) for noisy in self.noisy]
            self.noisy = [sigma >= low for sigma, low in zip(self.sigmas, least, strict=True)]
        return [sigma if noisy else 0.0 for sigma, noisy in zip(self.sigmas, self.noisy, strict=True)]

    def tone(self, fused: Tensor, tone: float, activity: Tensor) -> Tensor:
        """A fused luma (1, 1, H, W), spread by ``tone`` along the running curve."""
        found = active_histogram(fused, activity).double()
        shares = [
            each / each.sum().clamp(min=1)
            for each in (found, found if self.histogram is None else self.histogram)
        ]
        if self.histogram is None or float((shares[0] - shares[1]).abs().sum()) / 2 > CUT:
            self.histogram = found
        else:
            self.histogram = KEPT * self.histogram + (1 - KEPT) * found
        return equalise(fused, tone, self.histogram) if tone else fused

    def stretch(self, luma: np.ndarray) -> np.ndarray:
        """(H, W) -> levels 0 ... 255, float64: stretched between the running bounds, and clipped."""
        own = float(luma.min()), float(luma.max())
        if self.bounds is None:
            self.bounds = own
        else:
            self.bounds = _follow(self.bounds[0], own[0]), _follow(self.bounds[1], own[1])
        return np.clip(stretch(luma, self.bounds), 0, 255)

    def hold(self, levels: np.ndarray, share: np.ndarray | None) -> np.ndarray:
        """(H, W) levels, with ``share`` (H, W) of the last frame in them; rounded to uint8, as they are shown."""
        if share is not None and self.shown is not None:
            levels = levels + share * (self.shown - levels)
        self.shown = round_to_uint8(levels)
        return self.shown

    def to_json(self) -> dict[str, Any]:
        """What :meth:`of_json` takes: kept in every frame, so that a run can go on behind it."""
        counts = None if self.histogram is None else [round(value, 2) for value in self.histogram[0].tolist()]
        return {"sigmas": self.sigmas, "noisy": self.noisy, "histogram": counts, "bounds": self.bounds}

    @classmethod
    def of_json(cls, said: dict[str, Any]) -> Steady:
        """The estimates that :meth:`to_json` has written."""
        counts = said["histogram"]
        histogram = None if counts is None else torch.tensor([counts], dtype=torch.float64)
        bounds = None if said["bounds"] is None else (said["bounds"][0], said["bounds"][1])
        return cls(said["sigmas"], said["noisy"], histogram, bounds)


def calm(now: Sequence[Tensor], before: Sequence[Tensor]) -> Tensor:
    """How far each pixel may stay as it was, 0 to :data:`HOLD`, (1, 1, H, W): 0 where a source has changed.

    now, before: the sources' lumas (1, 1, H, W) in [-1, 1]. Changes count blurred by 2 pixels, so that noise is none,
    and at a third as they are, so that nothing small that moves is held. What most of a source changes by is no
    motion, up to :data:`DRIFT`.
    """
    changes = [(a - b) * GREY for a, b in zip(now, before, strict=True)]
    changes = [each - each.median().clamp(-DRIFT, DRIFT) for each in changes]
    most = torch.stack([torch.maximum(blur(each, 2.0).abs(), each.abs() / 3) for each in changes]).amax(dim=0)
    return HOLD * torch.exp(-(most / STILL).square())


def _follow(old: float, new: float) -> float:
    return KEPT * old + (1 - KEPT) * new
