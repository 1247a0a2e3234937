"""Fusing the pairs of one batch, as a run is set."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np
from torch import Tensor

from guided_diffusion.denoise import clean_sources
from guided_diffusion.fusion import fuse
from guided_diffusion.samplers import Step
from guided_diffusion.ycbcr import full_range_luma, luma_tensor
from util.images.image_io import SourceImage
from util.images.pairs import Pair, fit, fitted_size
from util.run.options import FuseBatch, OnStep
from util.run.settings import FolderRun

log = logging.getLogger("ddfm")


def batch_fuser(run: FolderRun) -> FuseBatch:
    """The function that fuses pairs of one fitted size, in the form that a Runner takes."""
    config = run.fusion

    def to_tensor(images: Iterable[SourceImage]) -> Tensor:
        return luma_tensor(np.stack([fit(image.luma, config.fit) for image in images]), run.device)

    def fuse_batch(pairs: list[Pair], on_step: OnStep) -> np.ndarray:
        def report(step: Step) -> None:
            on_step(step.index, lambda: full_range_luma(step.x_t)[:, 0].cpu().numpy())

        ir, vi = to_tensor(pair.ir for pair in pairs), to_tensor(pair.vi for pair in pairs)
        sources, sigmas = clean_sources((ir, vi), config.noise, run.prior, config.seed)
        for pair, *found in zip(pairs, *sigmas, strict=True):
            if any(found):
                log.info(
                    f"{pair.stem}: noise of sigma {found[0]:.1f} (ir) and {found[1]:.1f} (vi) grey levels"
                )
        fused = fuse(
            run.sampling_prior,
            sources,
            diffusion=run.diffusion,
            rectification=config.em,
            sampler=run.sampler,
            seed=config.seed,
            warm_start=config.warm_start,
            cores=[fitted_size(pair.size, "crop") for pair in pairs],
            on_step=report,
        )
        return fused[:, 0].cpu().numpy()

    return fuse_batch
