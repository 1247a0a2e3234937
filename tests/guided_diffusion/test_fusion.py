"""Fusion: the golden trajectory, and images that do not depend on their company."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from guided_diffusion.admm import FixedBalance
from guided_diffusion.config import DiffusionConfig
from guided_diffusion.em_paper import Paper
from guided_diffusion.em_released import Released
from guided_diffusion.fusion import em_alone_steps, fuse, fusion_steps, step_count
from guided_diffusion.gaussian_diffusion import GaussianDiffusion, Model
from guided_diffusion.prior import NetworkPrior
from guided_diffusion.rectification import LumaHook, Rectification
from guided_diffusion.samplers import SAMPLERS, with_eta
from guided_diffusion.typed import from_mapping
from guided_diffusion.ycbcr import full_range_luma, rgb_to_ycbcr, ycbcr_to_rgb
from tests.conftest import TINY, golden, rule_model
from tests.rounding import of_network

PAPER = Paper()


def diffusion_of(**keys: Any) -> GaussianDiffusion:
    return GaussianDiffusion.from_config(DiffusionConfig(**keys))


@pytest.fixture(scope="module")
def tiny():
    return rule_model(TINY, 7).requires_grad_(False)


def sources(count: int, height: int = 32, width: int = 48) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((2, count, 1, height // 8, width // 8), generator=generator) * 2 - 1
    ir, vi = (torch.nn.functional.interpolate(side, size=(height, width), mode="bicubic") for side in coarse)
    return ir.clamp(-1, 1), vi.clamp(-1, 1)


def test_ycbcr_of_the_released_code():
    """1e-3 of 255 levels: float32 sums of products up to 130."""
    arrays = golden("ycbcr.npz")
    rgb = torch.from_numpy(arrays["rgb"])
    np.testing.assert_allclose(rgb_to_ycbcr(rgb).numpy(), arrays["ycbcr"], atol=1e-3)
    np.testing.assert_allclose(ycbcr_to_rgb(rgb_to_ycbcr(rgb)).numpy(), arrays["rgb_back"], atol=1e-5)


def test_full_range_luma_of_grey_is_grey():
    grey = torch.linspace(-1, 1, 12).view(1, 1, 3, 4)
    torch.testing.assert_close(full_range_luma(grey.expand(1, 3, 3, 4)), grey)
    assert full_range_luma(grey) is grey


def test_golden_trajectory(trajectory: dict[str, np.ndarray]):
    """Ten whole steps of the released implementation: noise, network, EM, colour planes, DDIM."""
    config = from_mapping(DiffusionConfig, json.loads(str(trajectory["diffusion"])), "golden")
    model = rule_model(json.loads(str(trajectory["config"])), int(trajectory["weight_seed"]))

    def luma(name: str) -> Tensor:
        return (2 * torch.from_numpy(trajectory[name][:64, :96]).float() / 255 - 1)[None, None]

    diffusion = GaussianDiffusion.from_config(config)
    steps = list(fusion_steps(NetworkPrior(model, diffusion), (luma("ir"), luma("vi"))))
    assert [step.t for step in steps] == [999, 888, 777, 666, 555, 444, 333, 222, 111, 0]
    for step, x, pred_xstart in zip(steps, trajectory["x"], trajectory["pred_xstart"], strict=True):
        np.testing.assert_allclose(step.x_t.numpy(), x, atol=1e-3)
        np.testing.assert_allclose(step.pred_xstart.numpy(), pred_xstart, atol=2e-3)
    # noise: the same numbers as seeding torch globally before the pair, as the released script does
    torch.manual_seed(3407)
    # Box-Muller, sqrt(-2 ln u) cos(2 pi v), where processors round differently: u >= 2^-24 makes the root 5.8 at
    # most, and the angle, up to 2 pi, is rounded twice: 5.8 * 2 pi * 2 * 2^-24 = 4e-6
    np.testing.assert_allclose(torch.randn(1, 3, 64, 96).numpy(), trajectory["x_T"], rtol=1e-6, atol=5e-6)


@pytest.mark.parametrize("em", [Released(), PAPER, FixedBalance(0.5, roles="released"), Paper(tv=False)])
@pytest.mark.parametrize("sampler, eta", [("ddim", 0.0), ("ddim", 1.0), ("ddpm", 0.0), ("dpmpp_2m", 0.0)])
def test_a_batch_gives_the_images_of_its_members(tiny: Any, em: Rectification[Any], sampler: str, eta: float):
    """But for the network's rounding, in another order for another batch size, which the first step magnifies most:
    its x_0 takes over the error of eps 1 / sqrt(alphas_cumprod) = 157 times."""
    prior = NetworkPrior(tiny, diffusion_of(timestep_respacing=5))
    ir, vi = sources(3)

    def run(members: list[int]) -> Tensor:
        pair = (ir[members], vi[members])
        return fuse(prior, pair, rectification=em, sampler=with_eta(SAMPLERS[sampler], eta))

    together = run([0, 1, 2])
    rounding = math.sqrt(2 / prior.diffusion.alphas_cumprod[-1]) * of_network(tiny)  # of both
    for members in ([2, 0, 1], [0], [1], [2]):
        assert (run(members) - together[members]).square().mean().sqrt() < rounding


def test_the_same_call_twice_is_the_same_image_and_another_seed_is_not(tiny: Any):
    prior, sampler = NetworkPrior(tiny, diffusion_of(timestep_respacing=4)), SAMPLERS["ddpm"]
    torch.manual_seed(1)
    first = fuse(prior, sources(1), sampler=sampler)
    torch.manual_seed(2)  # nothing depends on torch's global generator
    assert torch.equal(first, fuse(prior, sources(1), sampler=sampler))
    assert not torch.allclose(first, fuse(prior, sources(1), sampler=sampler, seed=1), atol=1e-3)


def test_ddpm_uses_the_rectified_estimate(tiny: Any):
    """The last ddpm step returns the posterior mean at t = 0, which is the rectified estimate itself."""
    ir, vi = sources(1)
    prior = NetworkPrior(tiny, diffusion_of(timestep_respacing=4))
    steps = list(fusion_steps(prior, (ir, vi), rectification=PAPER, sampler=SAMPLERS["ddpm"]))
    torch.testing.assert_close(steps[-1].x_t, steps[-1].pred_xstart, rtol=0, atol=1e-5)
    between = (full_range_luma(steps[-1].x_t) - (ir + vi) / 2).abs() <= (ir - vi).abs() / 2 + 0.05
    assert between.float().mean() > 0.95  # the paper's form keeps the luma between both sources


@pytest.mark.parametrize("em", [Released(), PAPER])
def test_rectification_changes_luma_and_keeps_chroma(em: Rectification[Any]):
    ir, vi = sources(2)
    rgb = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(3)) * 2 - 1
    out = LumaHook(em, (ir, vi), diffusion_of())(rgb, 0)
    before, after = rgb_to_ycbcr(rgb), rgb_to_ycbcr(out)
    torch.testing.assert_close(after[:, 1:], before[:, 1:], rtol=0, atol=1e-2)  # of 255
    assert (after[:, 0] - before[:, 0]).abs().mean() > 1


def test_roles_of_the_sources():
    """released binds the visible file to i and the infrared one to v; paper binds them as they are called."""
    ir, vi = sources(1)
    released, paper = (em.start((ir, vi)).problem for em in (Released(), PAPER))
    assert torch.equal(released.i, vi) and torch.equal(released.v, ir)
    assert torch.equal(paper.i, ir) and torch.equal(paper.v, vi)


@pytest.mark.parametrize("em", [Released(), PAPER])
def test_em_alone_takes_as_many_iterations_and_needs_no_model(em: Any):
    diffusion = diffusion_of(timestep_respacing=7)
    ir, vi = sources(2)
    steps = list(em_alone_steps(diffusion, (ir, vi), em))
    assert [step.index for step in steps] == list(range(6, -1, -1))
    state, f = em.start((ir, vi)), (ir + vi) / 2
    for _ in range(7):
        f, state = em.step(state, f)
    torch.testing.assert_close(fuse(None, (ir, vi), diffusion=diffusion, rectification=em), f)


def test_neither_prior_nor_steps_is_refused():
    with pytest.raises(ValueError, match="needs a prior or"):
        fuse(None, sources(1))


def test_a_result_that_is_not_finite_is_an_error():
    def broken(x: Tensor, t: Tensor) -> Tensor:
        return torch.full((1, 6, *x.shape[2:]), float("nan"))

    with pytest.raises(FloatingPointError, match="not finite"):
        fuse(NetworkPrior(broken, diffusion_of(timestep_respacing=2)), sources(1))


def test_steps_are_reported_in_order(tiny: Any):
    seen: list[int] = []
    prior = NetworkPrior(tiny, diffusion_of(timestep_respacing=3))
    fuse(prior, sources(1), on_step=lambda step: seen.append(step.index))
    assert seen == [2, 1, 0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda(tiny: Any):
    """Runs on the tensors' device; noise differs from the CPU's, so only the form of the result is checked."""
    ir, vi = (side.cuda() for side in sources(2))
    model = rule_model(TINY, 7).requires_grad_(False)
    fused = fuse(NetworkPrior(model.cuda(), diffusion_of(timestep_respacing=3)), (ir, vi))
    assert fused.is_cuda and fused.shape == ir.shape


@pytest.mark.parametrize("em", [Released(), PAPER])
def test_a_warm_start_takes_the_last_steps_from_em_alone_with_noise(tiny: Model, em: Rectification[Any]):
    """Its first state is q(x_t | EM alone), Come-Closer-Diffuse-Faster Eq. (8); from t = 0 nothing is left to do."""
    diffusion = diffusion_of(timestep_respacing=10)
    ir, vi = sources(2)
    seen: list[tuple[int, Tensor]] = []

    def model(x_t: Tensor, timesteps: Tensor) -> Tensor:
        seen.append((int(timesteps[0]), x_t))
        return tiny(x_t, timesteps)

    prior = NetworkPrior(model, diffusion)
    steps = list(fusion_steps(prior, (ir, vi), rectification=em, warm_start=400))
    assert [step.t for step in steps] == [333, 222, 111, 0] == [t for t, _ in seen]
    assert step_count(diffusion, 400) == 4
    *_, first = em_alone_steps(diffusion, (ir, vi), em)
    noise = torch.randn((1, 3, 32, 48), generator=torch.Generator().manual_seed(3407))
    alpha_bar = float(diffusion.alphas_cumprod[3])
    start = (seen[0][1] - (1 - alpha_bar) ** 0.5 * noise) / alpha_bar**0.5
    # the image whose luma, as the variant counts it, is that of EM alone, without colour
    luma = rgb_to_ycbcr(start)[:, :1] / 255 if isinstance(em, Released) else full_range_luma(start)
    torch.testing.assert_close(luma, first.x_t, rtol=0, atol=2e-5)
    torch.testing.assert_close(start[:, 0], start[:, 2], rtol=0, atol=2e-5)


def test_a_warm_start_below_the_first_step(tiny):
    diffusion = diffusion_of(timestep_respacing="ddim10")
    assert [step_count(diffusion, start) for start in (1, 5000, None)] == [1, 10, 10]
