"""DDFM itself: a diffusion prior generates, and EM rectifies every estimate towards both sources.

Zhao et al., "DDFM: Denoising Diffusion Model for Multi-Modality Image Fusion" (ICCV 2023), Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from guided_diffusion import em
from guided_diffusion.config import EMConfig, FusionConfig
from guided_diffusion.gaussian_diffusion import GaussianDiffusion, Model, Step, sample_loop
from guided_diffusion.noise import PairNoise, Size
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
        if self.variant == "released":
            # Quirk: studio-range luma, although the sources span [-1, 1].
            ycbcr = rgb_to_ycbcr(pred_xstart) / 255
            fused = self.rectify_luma(ycbcr[:, :1])
            return ycbcr_to_rgb(torch.cat([fused, ycbcr[:, 1:]], dim=1) * 255)
        f = full_range_luma(pred_xstart)
        return pred_xstart + (self.rectify_luma(f) - f)


def fusion_steps(
    model: Model | None,
    diffusion: GaussianDiffusion,
    sampler: Literal["ddim", "ddpm"],
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
    x_T = noise.draw(torch.Size((len(ir), 3, *ir.shape[2:])))
    hook = Rectifier(config.em, ir, vi)
    return sample_loop(sampler, model, diffusion, x_T, eta=config.eta, hook=hook, noise=noise)


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
    sampler: Literal["ddim", "ddpm"],
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
