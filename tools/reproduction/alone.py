"""The iterations of a rectification without a prior, on the grey levels that a fusion's files hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guided_diffusion.em import EMState
from guided_diffusion.em_paper import Paper
from guided_diffusion.rectification import Rectification
from guided_diffusion.ycbcr import luma_tensor
from util.evaluation.folders import Triple
from util.images.image_io import read_image

Levels = NDArray[np.uint8]
Values = NDArray[np.float64]

ITERATIONS = 100


def read_levels(triple: Triple) -> tuple[Levels, Levels, Levels]:
    """Fused, infrared, visible, the sources cropped as the fused image was."""
    fused, ir, vi = (read_image(path).luma for path in (triple.fused, triple.ir, triple.vi))
    height, width = fused.shape
    return fused, ir[:height, :width], vi[:height, :width]


def em_alone(
    rectification: Rectification[Any], ir: Levels, vi: Levels, noise: float = 0.0
) -> Iterator[Values]:
    """The luma, (H, W) about [-1, 1], after each iteration from the mean of the sources, without a prior.

    ``noise``: deviation, in grey levels, of Gaussian noise added to the start.
    """
    a, b = (luma_tensor(image[None]) for image in (ir, vi))
    generator = torch.Generator().manual_seed(3407)
    f = (a + b) / 2 + torch.randn(a.shape, generator=generator) * (noise / 127.5)
    state = rectification.start((a, b))
    for _ in range(ITERATIONS):
        with torch.no_grad():
            f, state = rectification.step(state, f)
        yield f[0, 0].double().numpy()


@dataclass(frozen=True)
class AsPrinted(Paper):
    """Algorithm 1 with the right side of Eq. (16) as printed, the reciprocal of the expectation that is meant."""

    def expectations(self, y: Tensor, x: Tensor, state: EMState) -> tuple[Tensor, Tensor]:
        m, n = super().expectations(y, x, state)
        return 1 / m, 1 / n
