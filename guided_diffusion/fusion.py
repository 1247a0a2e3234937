"""DDFM itself: a diffusion prior generates, and EM rectifies every estimate towards the sources.

Zhao et al., "DDFM: Denoising Diffusion Model for Multi-Modality Image Fusion" (ICCV 2023), Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from guided_diffusion.em_released import Released
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.noise import PairNoise, Size
from guided_diffusion.prior import Prior
from guided_diffusion.rectification import LumaHook, Rectification
from guided_diffusion.samplers import Sampler, Step, ddim_loop
from guided_diffusion.ycbcr import full_range_luma

StepCallback = Callable[[Step], None]

RELEASED = Released()


def fusion_steps(
    prior: Prior,
    sources: Sequence[Tensor],
    *,
    rectification: Rectification[Any] = RELEASED,
    sampler: Sampler = ddim_loop,
    seed: int | Sequence[int] = 3407,
    warm_start: int | None = None,
    cores: Sequence[Size] | None = None,
) -> Iterator[Step]:
    """Fuse a batch of scenes of one size, yielding every step; the last ``x_t`` is the fused image.

    Algorithm 1 is the loop of ``sampler``. In each step the prior estimates x_0 from x_t (unconditional diffusion
    sampling), ``rectification`` brings that estimate to the sources (likelihood rectification: E-step (16), M-step
    (31), (25), (27), (29), (30)) as the sampler's hook, and the sampler goes from x_t to x_{t-1} by the rectified
    one.

    ``sources``: (B, 1, H, W) luma in [-1, 1] each, on the device of the prior, H and W fitting it. ``seed``: of
    every scene's own noise, one for all or one for each. ``warm_start``: begin at the timestep nearest below it,
    from the rectification alone with noise added, instead of from noise. ``cores``: for padded scenes, the size to
    which each would be cropped, see :class:`PairNoise`. Raises ValueError for sources that do not fit.
    """
    diffusion, first = prior.diffusion, sources[0]
    hook = LumaHook(rectification, sources, diffusion)
    noise = PairNoise(len(first), seed, first.device, cores)
    count = step_count(diffusion, warm_start)
    x_t = noise.draw(torch.Size((len(first), prior.channels, *first.shape[2:])))
    if warm_start is not None:
        *_, alone = em_alone_steps(diffusion, sources, rectification)
        x_t = diffusion.q_sample(hook.image_of(alone.x_t, prior.channels), count - 1, x_t)
    return sampler(prior, x_t, hook=hook, noise=noise, count=count)


def step_count(diffusion: GaussianDiffusion, warm_start: int | None) -> int:
    """How many steps a scene takes with a prior: all of the process, or those up to the timestep of a warm start.

    Starting from a first guess with noise added is Chung et al., "Come-Closer-Diffuse-Faster" (CVPR 2022).
    """
    if warm_start is None:
        return diffusion.num_timesteps
    return int((diffusion.timestep_map <= warm_start).sum())  # timestep 0 is always among them


def iteration_count(diffusion: GaussianDiffusion, rectification: Rectification[Any]) -> int:
    """How many steps a scene takes without a prior: those of the process, unless the rectification has its own."""
    return getattr(rectification, "iterations", None) or diffusion.num_timesteps


def em_alone_steps(
    diffusion: GaussianDiffusion, sources: Sequence[Tensor], rectification: Rectification[Any] = RELEASED
) -> Iterator[Step]:
    """The ablation without the prior (Exp. I): :func:`iteration_count` steps, from the mean of the sources.

    ``sources`` as in :func:`fusion_steps`; the steps hold (B, 1, H, W) luma.
    """
    hook = LumaHook(rectification, sources, diffusion)
    f = sum((source.float() for source in sources), torch.zeros_like(sources[0], dtype=torch.float32)) / len(
        sources
    )
    for index in reversed(range(iteration_count(diffusion, rectification))):
        with torch.no_grad():
            f = hook.rectify(f)
        yield Step(index, int(diffusion.timestep_map[min(index, diffusion.num_timesteps - 1)]), f, f)


def fuse(
    prior: Prior | None,
    sources: Sequence[Tensor],
    *,
    diffusion: GaussianDiffusion | None = None,
    rectification: Rectification[Any] = RELEASED,
    sampler: Sampler = ddim_loop,
    seed: int | Sequence[int] = 3407,
    warm_start: int | None = None,
    cores: Sequence[Size] | None = None,
    on_step: StepCallback | None = None,
) -> Tensor:
    """The fused luma (B, 1, H, W) of a batch of scenes; parameters as in :func:`fusion_steps`.

    ``prior`` None: the rectification alone (:func:`em_alone_steps`), which needs ``diffusion`` for its steps. About
    [-1, 1], not stretched. ``on_step`` sees every step (recording, progress) and must not change it. Raises
    ValueError for what does not fit, and FloatingPointError when the result is not finite.
    """
    if prior is not None:
        steps = fusion_steps(
            prior,
            sources,
            rectification=rectification,
            sampler=sampler,
            seed=seed,
            warm_start=warm_start,
            cores=cores,
        )
    elif diffusion is not None:
        steps = em_alone_steps(diffusion, sources, rectification)
    else:
        raise ValueError(
            "fusing needs a prior or, for the rectification alone, a diffusion whose steps it takes"
        )
    x_t = sources[0]
    for step in steps:
        x_t = step.x_t
        if on_step is not None:
            on_step(step)
    fused = full_range_luma(x_t)
    if not torch.isfinite(fused).all():
        raise FloatingPointError("the fused image is not finite: use --precision fp32, or another prior")
    return fused
