"""DDFM itself: a diffusion prior generates, and EM rectifies every estimate towards both sources.

Zhao et al., "DDFM: Denoising Diffusion Model for Multi-Modality Image Fusion" (ICCV 2023), Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from guided_diffusion import em
from guided_diffusion.config import EMConfig, FusionConfig
from guided_diffusion.gaussian_diffusion import GaussianDiffusion, Model
from guided_diffusion.noise import PairNoise, Size
from guided_diffusion.samplers import SamplerName, Step, sample_loop
from guided_diffusion.ycbcr import full_range_luma, rgb_to_ycbcr, ycbcr_to_rgb

StepCallback = Callable[[Step], None]


class Rectifier:
    """The hook of the sampler: keeps the EM state of a batch of pairs from step to step.

    ``ir``, ``vi``: (B, 1, H, W) luma in [-1, 1]. Raises ValueError for sources that do not fit.
    """

    def __init__(self, config: EMConfig, ir: Tensor, vi: Tensor) -> None:
        self.variant = config.variant
        # Quirk: the released script reads the visible file into the variable called infrared and vice versa.
        i, v = (vi, ir) if config.variant == "released" else (ir, vi)
        self.problem = em.prepare(config, i, v)
        self.state = em.init_state(self.problem)

    def rectify_luma(self, f: Tensor) -> Tensor:
        """One EM iteration on the luma f, (B, 1, H, W)."""
        fused, self.state = em.em_step(self.problem, self.state, f)
        return fused

    def __call__(self, pred_xstart: Tensor, index: int) -> Tensor:
        """(B, 3, H, W) RGB estimate -> the estimate with its luma rectified and its chroma kept."""
        return self._replace_luma(pred_xstart, self.rectify_luma)

    def image_of(self, fused: Tensor) -> Tensor:
        """The grey RGB image (B, 3, H, W) that a step whose rectified luma is ``fused`` would hand on."""
        return self._replace_luma(fused.expand(-1, 3, -1, -1), lambda f: fused)

    def _replace_luma(self, image: Tensor, new_luma: Callable[[Tensor], Tensor]) -> Tensor:
        if self.variant == "released":
            # Quirk: studio-range luma, although the sources span [-1, 1].
            ycbcr = rgb_to_ycbcr(image) / 255
            return ycbcr_to_rgb(torch.cat([new_luma(ycbcr[:, :1]), ycbcr[:, 1:]], dim=1) * 255)
        f = full_range_luma(image)
        return image + (new_luma(f) - f)


def fusion_steps(
    model: Model | None,
    diffusion: GaussianDiffusion,
    sampler: SamplerName,
    config: FusionConfig,
    ir: Tensor,
    vi: Tensor,
    cores: Sequence[Size] | None = None,
) -> Iterator[Step]:
    """Fuse a batch of pairs of one size, yielding every step; the last ``x_t`` is the fused image.

    ``ir``, ``vi``: (B, 1, H, W) luma in [-1, 1] on the device of the model, H and W fitting the model. With
    ``config.prior`` false, ``model`` is not used (it may be None) and the steps hold one-channel images.
    ``cores``: for padded pairs, the size to which each would be cropped, see :class:`PairNoise`.
    """
    if not config.prior:
        return em_alone_steps(diffusion, config, ir, vi)
    if model is None:
        raise ValueError("fusing with prior: true needs a model")
    noise = PairNoise(len(ir), config.seed, ir.device, cores)
    hook = Rectifier(config.em, ir, vi)
    count = step_count(diffusion, config)
    x_t = noise.draw(torch.Size((len(ir), 3, *ir.shape[2:])))
    if config.warm_start is not None:
        *_, first = em_alone_steps(diffusion, config, ir, vi)
        x_t = diffusion.q_sample(hook.image_of(first.x_t), count - 1, x_t)
    return sample_loop(sampler, model, diffusion, x_t, eta=config.eta, hook=hook, noise=noise, count=count)


def step_count(diffusion: GaussianDiffusion, config: FusionConfig) -> int:
    """How many steps a pair takes: all of the process, or those up to the timestep of a warm start.

    Starting from a first guess with noise added is Chung et al., "Come-Closer-Diffuse-Faster" (CVPR 2022).
    """
    if config.warm_start is None or not config.prior:
        return diffusion.num_timesteps
    return int((diffusion.timestep_map <= config.warm_start).sum())  # timestep 0 is always among them


def em_alone_steps(
    diffusion: GaussianDiffusion, config: FusionConfig, ir: Tensor, vi: Tensor
) -> Iterator[Step]:
    """The ablation without the prior (Exp. I): as many EM iterations as steps, from the mean of the sources."""
    rectifier = Rectifier(config.em, ir, vi)
    f = (ir.float() + vi.float()) / 2
    for index in reversed(range(diffusion.num_timesteps)):
        with torch.no_grad():
            f = rectifier.rectify_luma(f)
        yield Step(index, int(diffusion.timestep_map[index]), f, f)


def fuse(
    model: Model | None,
    diffusion: GaussianDiffusion,
    sampler: SamplerName,
    config: FusionConfig,
    ir: Tensor,
    vi: Tensor,
    on_step: StepCallback | None = None,
    cores: Sequence[Size] | None = None,
) -> Tensor:
    """The fused luma (B, 1, H, W) of a batch of pairs; parameters as in :func:`fusion_steps`.

    About [-1, 1], not stretched. ``on_step`` sees every step (recording, progress) and must not change it.
    Raises FloatingPointError when the result is not finite.
    """
    x_t = ir
    for step in fusion_steps(model, diffusion, sampler, config, ir, vi, cores):
        x_t = step.x_t
        if on_step is not None:
            on_step(step)
    fused = full_range_luma(x_t)
    if not torch.isfinite(fused).all():
        raise FloatingPointError("the fused image is not finite: use --precision fp32, or another prior")
    return fused
