"""Fusing the pairs of one batch, as a run is set."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from guided_diffusion.color_weights import color_weights
from guided_diffusion.denoising.sources import clean_sources, find_noise
from guided_diffusion.fusion import fuse
from guided_diffusion.samplers import Step
from guided_diffusion.samples import Spread, add_samples
from guided_diffusion.ycbcr import full_range_luma, luma_tensor
from util.images.pairs import Pair, fit, fitted_size, listed, source_names
from util.memory import free_memory, ran_out_of_memory
from util.run.options import FuseBatch, OnStep
from util.run.results import FusedPair
from util.run.settings import FolderRun

log = logging.getLogger("ddfm")


def batch_fuser(run: FolderRun) -> FuseBatch:
    """The function that fuses pairs of one fitted size, in the form that a Runner takes."""
    config = run.fusion

    def fuse_batch(pairs: list[Pair], on_step: OnStep) -> list[FusedPair]:
        def report(step: Step, sample: int = 0) -> None:
            together = len(step.x_t) // len(pairs)
            on_step(step.index, lambda: _numbers(full_range_luma(step.x_t[: len(pairs)])), sample, together)

        sources = _tensors(pairs, run)
        deviation: Sequence[np.ndarray | None] = [None] * len(pairs)
        if config.samples > 1:
            sources, sigmas = find_noise(sources, config.noise)
            _say_noise(pairs, sigmas)
            spread = _spread(run, pairs, sources, sigmas, report)
            fused, deviation = spread.mean, list(_numbers(spread.deviation))
        else:
            sources, sigmas = clean_sources(sources, config.noise, run.prior, config.seed)
            _say_noise(pairs, sigmas)
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
        weights = _weights(run, pairs, sources)
        return [FusedPair(*each) for each in zip(_numbers(fused), weights, deviation, strict=True)]

    return fuse_batch


def _numbers(luma: Tensor) -> np.ndarray:
    """(B, 1, H, W) on any device -> (B, H, W)."""
    return luma[:, 0].cpu().numpy()


def _tensors(pairs: list[Pair], run: FolderRun) -> list[Tensor]:
    """The lumas of each source, (B, 1, H, W), of the fitted size."""
    return [
        luma_tensor(np.stack([fit(image.luma, run.fusion.fit) for image in images]), run.device)
        for images in zip(*(pair.sources for pair in pairs), strict=True)
    ]


def _say_noise(pairs: list[Pair], sigmas: list[list[float]]) -> None:
    for pair, *found in zip(pairs, *sigmas, strict=True):
        if any(found):
            names = source_names(len(found))
            said = listed([f"{sigma:.1f} ({name})" for name, sigma in zip(names, found, strict=True)])
            log.info(f"{pair.stem}: noise of sigma {said} grey levels")


def _spread(
    run: FolderRun,
    pairs: list[Pair],
    sources: list[Tensor],
    sigmas: list[list[float]],
    report: Callable[[Step, int], None],
) -> Spread:
    """Of the samples of a batch; as many together as the batch size has room for, and memory holds."""
    config, wanted = run.fusion, run.settings.batch_size
    at_once = 1 if wanted == "auto" else max(1, wanted // len(pairs))
    spread = Spread()
    if run.sampling_prior is None and not any(map(any, sigmas)):
        log.info(
            f"{', '.join(pair.stem for pair in pairs)}: without noise nothing is random, the spread is 0"
        )
    while True:
        try:
            add_samples(
                spread,
                config.samples,
                sources,
                sigmas,
                noise_prior=run.prior,
                prior=run.sampling_prior,
                seed=config.seed,
                at_once=at_once,
                cores=[fitted_size(pair.size, "crop") for pair in pairs],
                on_step=report,
                diffusion=run.diffusion,
                rectification=config.em,
                sampler=run.sampler,
                warm_start=config.warm_start,
            )
            return spread
        except Exception as error:
            if at_once == 1 or not ran_out_of_memory(error):
                raise
        free_memory()  # the error is gone, and with it the frames that held tensors
        at_once //= 2
        log.info(f"memory does not hold so many samples: {at_once} at a time from here on")


def _weights(run: FolderRun, pairs: list[Pair], sources: list[Tensor]) -> list[np.ndarray | None]:
    """Of the sources' colours, a pair each; None where at most one has colour, or the configuration names one."""
    several = [sum(image.rgb is not None for image in pair.sources) > 1 for pair in pairs]
    if run.fusion.color != "auto" or not any(several):
        return [None] * len(pairs)
    with torch.no_grad():
        found = color_weights(run.fusion.em, sources)
    return [
        own.cpu().numpy() if own is not None and many else None
        for own, many in zip(found, several, strict=True)
    ]
