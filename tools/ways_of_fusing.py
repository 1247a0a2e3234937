"""Ways of fusing two images, from the simplest to local fusion, for tables that set them beside each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from guided_diffusion.config import DiffusionConfig
from guided_diffusion.denoising.sources import clean_sources
from guided_diffusion.em_paper import Paper
from guided_diffusion.em_released import Released
from guided_diffusion.fusion import fuse
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.local.em import Local, LocalFast
from guided_diffusion.local.weights import Task
from guided_diffusion.neumann import blur
from guided_diffusion.prior import Prior
from guided_diffusion.rectification import Rectification

Fuse = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Way:
    """One way of fusing two lumas (1, 1, H, W) in [-1, 1]; ``stretched``: written from black to white."""

    label: str
    fuse: Fuse
    stretched: bool = False


def laplacian_pyramid(a: Tensor, b: Tensor, levels: int = 5) -> Tensor:
    """Of each band the stronger detail, of what is left the mean; Burt and Adelson 1983, without decimation."""
    fused = torch.zeros_like(a)
    for level in range(levels):
        sigma = 0.8 * 2**level
        low = blur(a, sigma), blur(b, sigma)
        details = a - low[0], b - low[1]
        fused = fused + torch.where(details[0].abs() >= details[1].abs(), *details)
        a, b = low
    return fused + (a + b) / 2


def ways(task: Task, prior: Prior | None, seed: int = 3407) -> list[Way]:
    """The mean and the brighter of both, a Laplacian pyramid, ``released``, ``paper`` and both local ones.

    ``prior``: with one, the local ones once more, on sources that it has denoised where they are noisy.
    """
    diffusion = GaussianDiffusion.from_config(DiffusionConfig())

    def alone(rectification: Rectification) -> Fuse:
        return lambda a, b: fuse(None, (a, b), diffusion=diffusion, rectification=rectification)

    last: list[
        tuple[tuple[Tensor, Tensor], list[Tensor]]
    ] = []  # the sources denoised last: both ways want them

    def denoised(rectification: Rectification) -> Fuse:
        def both(a: Tensor, b: Tensor) -> Tensor:
            if not last or last[0][0][0] is not a or last[0][0][1] is not b:
                last[:] = [((a, b), clean_sources((a, b), "auto", prior, seed)[0])]
            return alone(rectification)(*last[0][1])

        return both

    found = [
        Way("mean", lambda a, b: (a + b) / 2),
        Way("brighter", torch.maximum),
        Way("Laplacian pyramid", laplacian_pyramid),
        Way("`released`, EM alone", alone(Released()), stretched=True),
        Way("`paper`, EM alone", alone(Paper()), stretched=True),
        Way("`local_fast`", alone(LocalFast(task=task))),
        Way("`local`", alone(Local(task=task))),
    ]
    if prior is not None:
        found += [
            Way("`local_fast`, `noise: auto`", denoised(LocalFast(task=task))),
            Way("`local`, `noise: auto`", denoised(Local(task=task))),
        ]
    return found
