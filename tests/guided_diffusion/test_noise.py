"""The noise of a pair: its own, and the same whether the pair is cropped or padded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from guided_diffusion.config import DiffusionConfig
from guided_diffusion.fusion import fuse
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.noise import PairNoise
from guided_diffusion.prior import NetworkPrior
from guided_diffusion.samplers import SAMPLERS
from tests.conftest import TINY, rule_model

CPU = torch.device("cpu")


def test_the_noise_is_that_of_the_seed_whatever_the_company():
    alone = torch.randn((1, 3, 32, 64), generator=torch.Generator().manual_seed(5))
    noise = PairNoise(3, 5, CPU)
    batch = noise.draw(torch.Size((3, 3, 32, 64)))
    for row in batch:
        assert torch.equal(row[None], alone)
    assert not torch.equal(noise(batch)[0], batch[0])


def test_padding_extends_the_noise_of_cropping_draw_after_draw():
    cropped, padded = PairNoise(1, 5, CPU), PairNoise(2, 5, CPU, [(32, 64), (64, 96)])
    for _ in range(3):
        core = cropped.draw(torch.Size((1, 3, 32, 64)))
        small, large = padded.draw(torch.Size((2, 3, 64, 96)))
        assert torch.equal(small[None, :, :32, :64], core)
        margin = torch.cat([small[:, 32:].flatten(), small[:, :32, 64:].flatten()])
        # 5 standard errors of 12,288 numbers
        assert abs(float(margin.mean())) < 0.045 and abs(float(margin.std()) - 1) < 0.032
        assert not torch.equal(large, small)
    whole = PairNoise(1, 5, CPU).draw(torch.Size((1, 3, 64, 96)))
    assert torch.equal(PairNoise(2, 5, CPU, [(32, 64), (64, 96)]).draw(torch.Size((2, 3, 64, 96)))[1:], whole)


def _scene(height: int, width: int, seed: int) -> Tensor:
    coarse = torch.rand((1, 1, height // 8, width // 8), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse * 2 - 1, size=(height, width), mode="bilinear")


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_padding_changes_little_away_from_the_border(sampler: str):
    """The network couples distant pixels by its norms alone; with noise of its own the padded run is elsewhere."""
    model = rule_model(TINY, 7).requires_grad_(False)
    diffusion = GaussianDiffusion.from_config(DiffusionConfig(timestep_respacing=4))
    ir, vi = _scene(96, 96, 1), _scene(96, 96, 2)

    def run(size: int, cores: list[tuple[int, int]] | None) -> np.ndarray:
        i, v = (side[:, :, :size, :size] for side in (ir, vi))
        fused = fuse(NetworkPrior(model, diffusion), (i, v), sampler=SAMPLERS[sampler], cores=cores)
        return fused[0, 0, :32, :32].numpy()

    cropped, padded, strange = run(64, None), run(96, [(64, 64)]), run(96, None)
    assert np.abs(padded - cropped).mean() < 0.25 * np.abs(strange - cropped).mean()
