"""Samples of a fusion: draws of clean sources from the exact posterior, their mean and spread."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from guided_diffusion.config import DiffusionConfig
from guided_diffusion.fusion import fuse
from guided_diffusion.gaussian_diffusion import GaussianDiffusion, Prediction
from guided_diffusion.local.em import LocalFast
from guided_diffusion.noise import PairNoise
from guided_diffusion.prior import NetworkPrior
from guided_diffusion.samplers import (
    ddim_loop,
    ddpm_loop,
    dpmpp_2m_loop,
    draws_noise,
    large_step_log_variance,
)
from guided_diffusion.samples import (
    DRAW_STEPS,
    Spread,
    add_samples,
    check_samples,
    draw_sources,
    sample_grey,
    sample_seeds,
)

CLEAN = 0.2  # standard deviation of the clean pixels


class Wiener:
    """The exact prior of grey images whose pixels are N(0, 0.2^2), with the exact variances of its steps."""

    def __init__(self, channels: int = 1, steps: int = 1000) -> None:
        self.diffusion = GaussianDiffusion.from_config(DiffusionConfig(timestep_respacing=steps))
        self.channels = channels

    def predict(self, x_t: Tensor, index: int) -> Prediction:
        signal = float(self.diffusion.alphas_cumprod[index])
        before = float(self.diffusion.alphas_cumprod_prev[index])
        grey = x_t.mean(dim=1, keepdim=True)
        known = signal / (1 - signal) * self.channels  # precision of what the state says of the grey level
        estimate = known / (known + 1 / CLEAN**2) * grey / signal**0.5
        beta = 1 - signal / before
        variance = beta * (1 - before) / (1 - signal)
        # x_{t-1} given x_t also carries what is not known of x_0; only along grey, as all else is known to be 0
        unknown = (before**0.5 * beta / (1 - signal)) ** 2 / (known + 1 / CLEAN**2)
        log_variance = torch.log(torch.full_like(x_t, variance + unknown if self.channels == 1 else variance))
        return Prediction(estimate.expand_as(x_t), log_variance)


def pair(sigma: float, seed: int = 0, deviation: float = CLEAN) -> tuple[Tensor, Tensor]:
    """A clean image of the prior, 64x64, and the same with noise of that many grey levels."""
    generator = torch.Generator().manual_seed(seed)
    clean = deviation * torch.randn(1, 1, 64, 64, generator=generator)
    return clean, clean + sigma / 127.5 * torch.randn(clean.shape, generator=generator)


def test_draws_are_of_the_posterior():
    """Gaussian in, Gaussian out: mean and variance in closed form.

    16 draws of 4096 independent pixels: the mean of a pixel is known to 1/4 of the deviation, the variance to
    sqrt(2 / (16 * 4096)) = 0.6 %; timestep and steps add 3 %.
    """
    sigma = 20.0
    clean, noisy = pair(sigma)
    draws = sample_grey(Wiener(), noisy, sigma, sample_seeds(3, 16))
    assert draws.shape == (16, 1, 64, 64)
    noise = (sigma / 127.5) ** 2
    gain, variance = CLEAN**2 / (CLEAN**2 + noise), CLEAN**2 * noise / (CLEAN**2 + noise)
    off = draws - gain * noisy
    assert float(off.square().mean()) == pytest.approx(variance, rel=0.05)
    assert float(off.mean(dim=0).square().mean()) == pytest.approx(variance / 16, rel=0.15)
    inside = ((draws.mean(dim=0) - clean[0]).abs() <= draws.std(dim=0) * (1 + 1 / 16) ** 0.5).float().mean()
    # within one deviation: Student's t with 15 degrees of freedom, 0.667; a binomial error of 0.007
    assert float(inside) == pytest.approx(0.667, abs=0.03)


def test_a_prior_of_three_channels_is_asked_about_grey():
    """The three channels of a state differ by noise that is added, so that the mean of the draws is that of one."""
    clean, noisy = pair(20.0)
    draws = sample_grey(Wiener(3), noisy, 20.0, sample_seeds(3, 8))
    error = (draws.mean(dim=0) - clean[0]).square().mean().sqrt()
    assert draws.shape == (8, 1, 64, 64) and float(error) < 0.85 * float(
        (noisy - clean).square().mean().sqrt()
    )


def wiener_network(steps: int, deviation: float = CLEAN) -> tuple[NetworkPrior, list[int]]:
    """:class:`Wiener` as a network that learns its variance, and the timesteps that it is asked at."""
    diffusion = GaussianDiffusion.from_config(DiffusionConfig(timestep_respacing=steps))
    signals, asked = diffusion.every_timestep().alphas_cumprod, list[int]()

    def model(x_t: Tensor, timesteps: Tensor) -> Tensor:
        asked.append(int(timesteps[0]))
        signal = float(signals[asked[-1]])
        unknown = 1 / (signal / (1 - signal) + 1 / deviation**2)
        estimate = unknown * signal**0.5 / (1 - signal) * x_t
        eps = (x_t - signal**0.5 * estimate) / (1 - signal) ** 0.5
        return torch.cat([eps, torch.full_like(x_t, 2 * unknown / (1 - signal) - 1)], dim=1)

    return NetworkPrior(model, diffusion, channels=1), asked


@pytest.mark.parametrize("sigma", [10.0, 40.0])
def test_a_network_draws_in_few_steps_whatever_the_sampler_takes(sigma: float):
    """Bounds as above. The image is flatter, so that noise can be told from it, as that of photographs can.

    The last step adds no noise: what timestep 0 leaves open, at most its own noise of 1e-4, is not drawn.
    """
    flat, noise = 0.05, (sigma / 127.5) ** 2
    variance = flat**2 * noise / (flat**2 + noise) - 1 / (1e4 + 1 / flat**2)
    noisy = pair(sigma, deviation=flat)[1]
    of_ten, asked = wiener_network(10, flat)
    draws = sample_grey(of_ten, noisy, sigma, sample_seeds(3, 16))
    assert len(asked) == DRAW_STEPS and asked[-1] == 0 and asked == sorted(asked, reverse=True)
    off = draws - flat**2 / (flat**2 + noise) * noisy
    assert float(off.square().mean()) == pytest.approx(variance, rel=0.05)
    assert float(off.mean(dim=0).square().mean()) == pytest.approx(float(off.square().mean()) / 16, rel=0.15)
    assert torch.equal(draws, sample_grey(wiener_network(100, flat)[0], noisy, sigma, sample_seeds(3, 16)))


def test_weak_noise_is_drawn_in_the_steps_that_there_are():
    prior, asked = wiener_network(10)
    sample_grey(prior, pair(2.0)[1], 2.0, [3])
    assert asked == [1, 0]
    assert sample_grey(prior, pair(0.1)[1], 0.1, [3]).isfinite().all() and asked[2:] == [0]


def test_variance_of_a_large_step_is_that_of_what_is_not_known():
    """The posterior's where x_0 is known, beta where nothing is, and linear in between; fixed ones stay."""
    diffusion = GaussianDiffusion.from_config(DiffusionConfig(timestep_respacing=10))
    low, high = diffusion.posterior_log_variance_clipped[5], np.log(diffusion.betas[5])
    given = torch.tensor([low, (low + high) / 2, high, high + 1], dtype=torch.float64)
    found = large_step_log_variance(diffusion, given, 5).exp().tolist()
    first, last = float(np.exp(low)), float(np.exp(high))
    assert found == pytest.approx([first, (first + last) / 2, last, last])
    assert torch.equal(large_step_log_variance(diffusion, given, 0), given)
    fixed = GaussianDiffusion.from_config(DiffusionConfig(model_var_type="fixed_small"))
    assert torch.equal(large_step_log_variance(fixed, given, 5), given)


def test_a_draw_depends_on_its_seed_alone():
    _, noisy = pair(20.0)
    prior, seeds = Wiener(steps=50), sample_seeds(3, 3)
    together = sample_grey(prior, noisy, 20.0, seeds)
    alone = torch.cat([sample_grey(prior, noisy, 20.0, [seed]) for seed in seeds])
    assert torch.equal(together, alone) and len({float(row.sum()) for row in together}) == 3
    assert seeds[0] == 3 and len(set(sample_seeds(2**63 - 1, 100))) == 100


def test_sources_are_drawn_independently_and_clean_ones_repeated():
    clean, noisy = pair(20.0)
    sources = [torch.cat([noisy, clean]), torch.cat([noisy, noisy])]
    drawn = draw_sources(sources, [[20.0, 0.0], [20.0, 20.0]], Wiener(steps=50), sample_seeds(3, 2))
    assert [each.shape for each in drawn] == [(4, 1, 64, 64)] * 2
    assert torch.equal(drawn[0][1], clean[0].clamp(-1, 1)) and torch.equal(drawn[0][3], drawn[0][1])
    assert not torch.equal(drawn[0][0], drawn[1][0])  # of one image, as the noise of two cameras is
    assert not torch.equal(drawn[0][0], drawn[0][2])
    assert torch.equal(draw_sources([noisy], [[20.0]], None, [1])[0], noisy.clamp(-1, 1))


def test_spread_is_mean_and_deviation():
    samples = torch.randn(7, 2, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 1e-3 + 1
    spread = Spread()
    with pytest.raises(ValueError, match="no sample yet"):
        _ = spread.mean
    for sample in samples:
        spread.add(sample)
    assert torch.allclose(spread.mean, samples.mean(dim=0), atol=1e-6)
    assert torch.allclose(spread.deviation, samples.std(dim=0), rtol=1e-3)  # of numbers 1000 times as large
    alone = Spread()
    alone.add(samples[0])
    assert torch.equal(alone.mean, samples[0]) and not alone.deviation.any()


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_samples_do_not_depend_on_how_many_go_together(at_once: int):
    """Two scenes, three samples, in any company; the network works per image, so they agree to rounding."""
    sources = [torch.cat([pair(20.0, n)[1] for n in seeds]).clamp(-1, 1) for seeds in ((0, 1), (2, 3))]
    prior, told = Wiener(steps=20), list[int]()
    spread = Spread()
    add_samples(
        spread,
        3,
        sources,
        [[20.0, 20.0], [0.0, 0.0]],
        noise_prior=prior,
        prior=prior,
        seed=5,
        at_once=at_once,
        cores=[(64, 64), (32, 32)],
        on_step=lambda step, first: told.append(first),
        rectification=LocalFast(task="ivf"),
        sampler=ddpm_loop,
    )
    assert spread.count == 3 and sorted(set(told)) == list(range(0, 3, at_once))
    drawn = draw_sources(sources, [[20.0, 20.0], [0.0, 0.0]], prior, sample_seeds(5, 3))
    singles = [
        fuse(
            prior,
            [source[row : row + 1] for source in drawn],
            seed=sample_seeds(5, 3)[row // 2],
            cores=[(64, 64) if row % 2 == 0 else (32, 32)],
            rectification=LocalFast(task="ivf"),
            sampler=ddpm_loop,
        )
        for row in range(6)
    ]
    stacked = torch.cat(singles).view(3, 2, 1, 64, 64)
    assert torch.allclose(spread.mean, stacked.mean(dim=0), atol=1e-5)
    assert torch.allclose(spread.deviation, stacked.std(dim=0), atol=1e-5)
    assert float(spread.deviation.mean()) > 0.01


def test_where_nothing_is_random_one_sample_says_it_all():
    clean, _ = pair(0.0)
    spread, calls = Spread(), list[int]()
    add_samples(
        spread,
        4,
        [clean.clamp(-1, 1)] * 2,
        [[0.0], [0.0]],
        noise_prior=Wiener(steps=20),
        prior=None,
        seed=5,
        diffusion=Wiener(steps=20).diffusion,
        rectification=LocalFast(task="ivf"),
        on_step=lambda step, first: calls.append(first),
    )
    assert calls == [0] and not spread.deviation.any()


def test_what_cannot_differ_is_refused():
    for sampler, eta, random in (
        (ddim_loop, 0.0, False),
        (ddim_loop, 0.5, True),
        (ddpm_loop, 0.0, True),
        (dpmpp_2m_loop, 0.0, False),
    ):
        assert draws_noise(sampler, eta) == random
        if not random:
            with pytest.raises(ValueError, match="sampler draw nothing: set eta: 1 for ddim"):
                check_samples(2, True, sampler, eta)
        else:
            check_samples(2, True, sampler, eta)
        check_samples(1, False, sampler, eta)
    with pytest.raises(ValueError, match="without a prior nothing is random: choose prior: true"):
        check_samples(2, False, None, 0.0)
    with pytest.raises(ValueError, match="samples is 0, but must be at least 1"):
        check_samples(0, True, None, 0.0)
    check_samples(8, True, None, 0.0)


def test_noise_takes_a_seed_for_each():
    device = torch.device("cpu")
    both = PairNoise(2, [4, 9], device).draw(torch.Size((2, 1, 8, 8)))
    alone = [PairNoise(1, seed, device).draw(torch.Size((1, 1, 8, 8))) for seed in (4, 9)]
    np.testing.assert_array_equal(both.numpy(), torch.cat(alone).numpy())
