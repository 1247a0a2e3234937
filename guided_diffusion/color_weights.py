"""Whose colour counts where, in stacks of which every image has some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from guided_diffusion.denoising.source_noise import GREY, estimate_sigma
from guided_diffusion.local.em import LocalFast
from guided_diffusion.local.weights import detect_task, level_weights
from guided_diffusion.rectification import Rectification

STACKS = ("focus", "exposure")


def color_weights(rectification: Rectification[Any], sources: Sequence[Tensor]) -> list[Tensor | None]:
    """For each image of a batch the weight of each source's colour, (N, H, W), summing to 1.

    sources: (B, 1, H, W) luma in [-1, 1] each. Local fusion of multi-focus and multi-exposure images takes colour
    from where it takes levels, Eq. (1) of docs/local.md; elsewhere the item is None: one source gives the colour.
    """
    if not isinstance(rectification, LocalFast):
        return [None] * len(sources[0])
    found: list[Tensor | None] = []
    for rows in zip(*(source.float().split(1) for source in sources), strict=True):
        task = detect_task(rows)[0] if rectification.task == "auto" else rectification.task
        if task not in STACKS:
            found.append(None)
            continue
        noise = [estimate_sigma(row) / GREY for row in rows]
        found.append(torch.cat(level_weights(rows, task, noise), dim=1)[0])
    return found
