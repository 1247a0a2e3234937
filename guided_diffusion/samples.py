"""Several samples from the posterior of a fusion, their mean and their spread. What they mean: docs/samples.md."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from guided_diffusion.denoising.sources import noisy_state, seen_noise
from guided_diffusion.fusion import fuse
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.noise import Size
from guided_diffusion.prior import NetworkPrior, Prior
from guided_diffusion.samplers import Sampler, Step, ddpm_loop, draws_noise

OnSample = Callable[[Step, int], None]
"""Told of every step, and of the number, from 0, of the first sample among the rows of its state."""

DRAW_STEPS = 8
"""Evaluations of a network for a draw of a noisy source; a prior of another kind takes the steps of its process."""

_SEEDS = 2**63
# odd: all seeds differ, also in their lower 32 bits, the only ones that a generator on the CPU looks at
_STRIDE, _SOURCE = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9


def check_samples(samples: int, asked: bool, sampler: Sampler | None, eta: float) -> None:
    """Raise ValueError where ``samples`` of them would not differ, or are none.

    asked: whether there is a prior. sampler: what takes its steps with that ``eta``; None: it sees the noise of the
    sources alone.
    """
    if samples < 1:
        raise ValueError(f"samples is {samples}, but must be at least 1")
    if samples == 1:
        return
    if not asked:
        raise ValueError(
            f"samples is {samples}, but without a prior nothing is random: choose prior: true, or for noisy sources "
            "prior: noise"
        )
    if sampler is not None and not draws_noise(sampler, eta):
        raise ValueError(
            f"samples is {samples}, but the steps of the sampler draw nothing: set eta: 1 for ddim (it is {eta:g}), "
            "or sampler: ddpm"
        )


def sample_seeds(seed: int, count: int) -> list[int]:
    """The seeds of ``count`` samples, the first of which is ``seed``."""
    return [(seed + place * _STRIDE) % _SEEDS for place in range(count)]


def sample_grey(prior: Prior, image: Tensor, sigma: float, seeds: Sequence[int]) -> Tensor:
    """Draws of the clean image, given a grey one with white noise of ``sigma`` grey levels; one for each seed.

    A noisy image, scaled, is a state x_t of the prior's process at the timestep of its noise. Ancestral steps from
    there to x_0 draw from p(x_0 | x_t), which is the posterior of the clean image: nothing is approximated but by
    the prior and its steps. A network takes :data:`DRAW_STEPS` from the nearest of all its timesteps, whatever a
    sampler takes. Three channels as in :func:`~guided_diffusion.denoising.sources.denoise_grey`.

    image: (1, 1, H, W) luma in [-1, 1], H and W fitting the prior. Returns (K, 1, H, W), clipped to [-1, 1].
    """
    own_steps = isinstance(prior, NetworkPrior)
    if own_steps:
        process = draw_process(prior.diffusion, seen_noise(prior, sigma))
        prior = dataclasses.replace(prior, diffusion=process)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    states = [noisy_state(prior, image, sigma, generator) for generator in generators]
    x_t = torch.cat([state for state, _ in states])

    def noise(like: Tensor) -> Tensor:
        rows = [torch.randn(like.shape[1:], generator=generator) for generator in generators]
        return torch.stack(rows).to(like.device)

    for step in ddpm_loop(prior, x_t, noise=noise, count=states[0][1] + 1, large_steps=own_steps):
        x_t = step.x_t
    return x_t.mean(dim=1, keepdim=True).clamp(-1, 1)


def draw_process(diffusion: GaussianDiffusion, ratio: float) -> GaussianDiffusion:
    """At most :data:`DRAW_STEPS` steps, evenly spaced, down from the timestep with noise ``ratio`` of the signal."""
    first = diffusion.every_timestep().nearest_index(ratio)
    return diffusion.with_timesteps(np.unique(np.linspace(0, first, DRAW_STEPS).round().astype(int)).tolist())


def draw_sources(
    sources: Sequence[Tensor], sigmas: Sequence[Sequence[float]], prior: Prior | None, seeds: Sequence[int]
) -> list[Tensor]:
    """For each seed a draw of every source, independent of the others: (K B, 1, H, W), the B of the first seed first.

    sources: (B, 1, H, W) each; sigmas: the noise of each one's images in grey levels. What is clean, or without a
    prior, is repeated as it is.
    """
    drawn = []
    for place, (source, found) in enumerate(zip(sources, sigmas, strict=True)):
        own = [(seed + (place + 1) * _SOURCE) % _SEEDS for seed in seeds]  # not those of the sampler
        images = [
            sample_grey(prior, image, sigma, own)
            if sigma > 0 and prior is not None
            else image.float().clamp(-1, 1).expand(len(seeds), -1, -1, -1)
            for image, sigma in zip(source.split(1), found, strict=True)
        ]
        drawn.append(torch.stack(images, dim=1).flatten(0, 1))
    return drawn


class Spread:
    """Mean and standard deviation of samples, (B, 1, H, W), one after the other (Welford 1962)."""

    def __init__(self) -> None:
        self.count = 0
        self._mean: Tensor | None = None
        self._squares: Tensor | None = None

    def add(self, sample: Tensor) -> None:
        """Take one sample in."""
        self.count += 1
        if self._mean is None or self._squares is None:
            self._mean, self._squares = sample.clone(), torch.zeros_like(sample)
            return
        off = sample - self._mean
        self._mean = self._mean + off / self.count
        self._squares = self._squares + off * (sample - self._mean)

    @property
    def mean(self) -> Tensor:
        """Of the samples so far. Raises ValueError before the first."""
        if self._mean is None:
            raise ValueError("there is no sample yet")
        return self._mean

    @property
    def deviation(self) -> Tensor:
        """Their standard deviation, with K - 1 degrees of freedom; 0 for one alone."""
        return (
            torch.zeros_like(self.mean)
            if self._squares is None
            else (self._squares / max(1, self.count - 1)).sqrt()
        )


def add_samples(
    spread: Spread,
    count: int,
    sources: Sequence[Tensor],
    sigmas: Sequence[Sequence[float]],
    *,
    noise_prior: Prior | None,
    prior: Prior | None,
    seed: int,
    at_once: int = 1,
    cores: Sequence[Size] | None = None,
    on_step: OnSample | None = None,
    **options: Any,
) -> None:
    """Add samples to ``spread`` until it has ``count``, ``at_once`` of them at a time.

    Each fuses draws of the noisy sources (:func:`draw_sources`, by ``noise_prior``), with noise of its own where
    ``prior`` samples. Where nothing is random, one sample says it all, and no other is made. ``options``: of
    :func:`~guided_diffusion.fusion.fuse`, whose errors are raised.
    """
    fixed = prior is None and not (
        noise_prior is not None and any(sigma > 0 for each in sigmas for sigma in each)
    )
    while spread.count < (1 if fixed else count):
        first = spread.count
        seeds = sample_seeds(seed, count)[first : first + at_once]
        each = len(sources[0])
        rows = fuse(
            prior,
            draw_sources(sources, sigmas, noise_prior, seeds),
            seed=[own for own in seeds for _ in range(each)],
            cores=None if cores is None else [*cores] * len(seeds),
            on_step=None if on_step is None else lambda step, first=first: on_step(step, first),
            **options,
        )
        for sample in rows.split(each):
            spread.add(sample)
