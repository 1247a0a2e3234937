"""Training losses: against quadrature, exact predictors and the definition of the bound."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from guided_diffusion.config import DiffusionConfig
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.losses import (
    coarse_error,
    discretized_gaussian_log_likelihood,
    min_snr_weight,
    normal_kl,
    training_losses,
)

T = torch.tensor([0, 1, 40, 99])
LEVELS = torch.arange(256, dtype=torch.float64) / 127.5 - 1


def make(**options) -> GaussianDiffusion:
    return GaussianDiffusion.from_config(DiffusionConfig(**{"timestep_respacing": 100, **options}))


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    """8-bit images (4, 3, 8, 8) in [-1, 1], and noise."""
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(256, (4, 3, 8, 8), generator=generator)
    return levels / 127.5 - 1, torch.randn(4, 3, 8, 8, generator=generator)


def oracle(diffusion: GaussianDiffusion, x_start: Tensor, noise: Tensor, v: float):
    """A model that knows the answer for the indices T, with ``v`` as its variance channels."""

    def model(x_t: Tensor, timesteps: Tensor) -> Tensor:
        answers = {
            "epsilon": noise,
            "start_x": x_start,
            "previous_x": diffusion.q_posterior_mean(x_start, x_t, T),
        }
        answer = answers[diffusion.model_mean_type]
        return torch.cat([answer, torch.full_like(answer, v)], dim=1)

    return model


@pytest.mark.parametrize(
    ("mean1", "var1", "mean2", "var2"), [(0.3, 0.5, -0.4, 1.7), (0, 2, 0, 2), (1, 3, 0, 1)]
)
def test_normal_kl_against_quadrature(mean1: float, var1: float, mean2: float, var2: float) -> None:
    def integrand(x: float) -> float:
        log_p = stats.norm.logpdf(x, mean1, math.sqrt(var1))
        return float(np.exp(log_p)) * float(log_p - stats.norm.logpdf(x, mean2, math.sqrt(var2)))

    expected, _ = integrate.quad(integrand, -30, 30)
    arguments = [torch.tensor(a, dtype=torch.float64) for a in (mean1, math.log(var1), mean2, math.log(var2))]
    assert normal_kl(*arguments).item() == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("mean", [-1.4, -1.0, -0.3, 0.001, 0.9])
@pytest.mark.parametrize("scale", [0.02, 0.3, 2.0])
def test_discretized_likelihood_sums_to_one(mean: float, scale: float) -> None:
    log_scale = torch.tensor(math.log(scale), dtype=torch.float64)
    log_likelihood = discretized_gaussian_log_likelihood(LEVELS, torch.tensor(mean), log_scale)
    # Each of 256 levels may be raised to the floor of 1e-12.
    assert log_likelihood.exp().sum().item() == pytest.approx(1.0, abs=1e-9)


def test_discretized_likelihood_of_each_level() -> None:
    edges = np.concatenate([[-np.inf], LEVELS.numpy()[1:] - 1 / 255, [np.inf]])
    expected = np.log(np.maximum(np.diff(stats.norm(0.2, 0.25).cdf(edges)), 1e-12))
    log_scale = torch.tensor(math.log(0.25), dtype=torch.float64)
    actual = discretized_gaussian_log_likelihood(LEVELS, torch.tensor(0.2, dtype=torch.float64), log_scale)
    # scipy's difference of two values near 1 keeps about 1e-16 of probabilities down to 1e-4
    np.testing.assert_allclose(actual.numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("mean_type", ["epsilon", "start_x", "previous_x"])
def test_exact_prediction_has_no_loss(mean_type: str) -> None:
    diffusion = make(model_mean_type=mean_type)
    x_start, noise = batch()
    losses = training_losses(oracle(diffusion, x_start, noise, v=-1.0), diffusion, x_start, T, noise)
    assert set(losses) == {"loss", "mse", "vb"}
    assert all(value.shape == (4,) for value in losses.values())
    assert losses["mse"].max() < 1e-10
    # v = -1 is the posterior's own variance. float32: x_0 from eps at index 99 multiplies rounding by 157.
    assert losses["vb"][1:].abs().max() < 1e-5
    # At index 0 what remains is the likelihood of 8-bit data under N(x_0, variance of index 1).
    sigma = math.sqrt(diffusion.posterior_variance[1])
    inner = math.log2(2 * stats.norm.cdf(1 / 255 / sigma) - 1)
    assert losses["vb"][0].item() == pytest.approx(
        -inner * 100 / 1000, rel=0.05
    )  # edge levels differ a little
    torch.testing.assert_close(losses["loss"], losses["mse"] + losses["vb"])


def test_wrong_variance_costs_its_divergence() -> None:
    """v = 1 is log beta: KL = (r - 1 - log r) / 2 nats with r = posterior variance / beta."""
    diffusion = make(model_mean_type="start_x")
    x_start, noise = batch()
    losses = training_losses(oracle(diffusion, x_start, noise, v=1.0), diffusion, x_start, T, noise)
    ratio = (diffusion.posterior_variance / diffusion.betas)[T[1:]]
    expected = 0.5 * (ratio - 1 - np.log(ratio)) / math.log(2) * 100 / 1000
    # float32; at index 99 the ratio is 1 - 1e-5 and its divergence below rounding
    np.testing.assert_allclose(losses["vb"][1:].numpy(), expected, rtol=1e-4, atol=1e-7)


def test_bound_does_not_teach_the_mean() -> None:
    diffusion = make()
    x_start, noise = batch()
    output = torch.randn(4, 6, 8, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    losses = training_losses(lambda x_t, t: output, diffusion, x_start, T, noise)
    (gradient,) = torch.autograd.grad(losses["loss"].sum(), output, retain_graph=True)
    (of_mse,) = torch.autograd.grad(losses["mse"].sum(), output)
    assert torch.equal(gradient[:, :3], of_mse[:, :3])
    assert gradient.isfinite().all()
    assert (gradient[:, 3:] != 0).any(dim=(1, 2, 3)).all()


@pytest.mark.parametrize("var_type", ["fixed_small", "fixed_large"])
def test_fixed_variance_is_not_trained(var_type: str) -> None:
    x_start, noise = batch()
    losses = training_losses(
        lambda x_t, t: torch.zeros_like(x_t), make(model_var_type=var_type), x_start, T, noise
    )
    assert set(losses) == {"loss", "mse"}
    torch.testing.assert_close(losses["loss"], noise.square().mean(dim=(1, 2, 3)))


def test_each_image_has_its_own_timestep() -> None:
    diffusion = make(timestep_respacing=100)
    weight = torch.randn(6, 3, 1, 1, generator=torch.Generator().manual_seed(2))
    seen: list[Tensor] = []

    def model(x_t: Tensor, timesteps: Tensor) -> Tensor:
        seen.append(timesteps)
        return torch.nn.functional.conv2d(x_t, weight)

    x_start, noise = batch()
    together = training_losses(model, diffusion, x_start, T, noise)
    assert seen[0].tolist() == diffusion.timestep_map[T].tolist()
    for i in range(4):
        one = slice(i, i + 1)
        alone = training_losses(model, diffusion, x_start[one], T[one], noise[one])
        for name, value in alone.items():
            torch.testing.assert_close(value, together[name][one])


def test_channels_that_do_not_fit() -> None:
    x_start, noise = batch()
    with pytest.raises(ValueError, match="model_var_type: learned_range needs 6"):
        training_losses(lambda x_t, t: x_t, make(), x_start, T, noise)


def test_min_snr_weights_of_noise_are_those_of_the_paper() -> None:
    """min(SNR, gamma) / SNR: 1 where there is more noise than gamma allows for, falling to 0 where there is less."""
    diffusion = make()
    every = torch.arange(diffusion.num_timesteps)
    weights = min_snr_weight(diffusion, every, gamma=5.0).numpy()
    snr = diffusion.alphas_cumprod / (1 - diffusion.alphas_cumprod)
    np.testing.assert_allclose(weights, np.minimum(1.0, 5.0 / snr), rtol=1e-6)
    assert (weights[snr < 5] == 1).all() and weights[0] < 0.01


@pytest.mark.parametrize("mean_type", ["epsilon", "start_x", "previous_x"])
def test_min_snr_weighs_the_error_of_x_0_alike_whatever_is_predicted(mean_type: str) -> None:
    """One estimate of x_0, said in three ways, costs min(SNR, gamma) times its squared error in each."""
    diffusion = make(model_mean_type=mean_type, model_var_type="fixed_small")
    x_start, noise = batch()
    error = 0.1 * torch.randn(x_start.shape, generator=torch.Generator().manual_seed(3))
    guess = x_start + error

    def model(x_t: Tensor, timesteps: Tensor) -> Tensor:
        if mean_type == "epsilon":
            return diffusion.eps_from_xstart(x_t, T, guess)
        return guess if mean_type == "start_x" else diffusion.q_posterior_mean(guess, x_t, T)

    losses = training_losses(model, diffusion, x_start, T, noise, min_snr_gamma=5.0)
    snr = diffusion.alphas_cumprod[T] / (1 - diffusion.alphas_cumprod[T])
    expected = np.minimum(snr, 5.0) * error.square().mean(dim=(1, 2, 3)).numpy()
    # float32; at index 99 an error of x_0 is 157 times that of eps
    np.testing.assert_allclose(losses["loss"].numpy(), expected, rtol=1e-3)


def test_weighting_leaves_the_bound_alone() -> None:
    x_start, noise = batch()
    model = oracle(make(), x_start, noise + 0.3, v=0.0)
    plain = training_losses(model, make(), x_start, T, noise)
    weighted = training_losses(model, make(), x_start, T, noise, min_snr_gamma=5.0)
    assert torch.equal(plain["mse"], weighted["mse"]) and torch.equal(plain["vb"], weighted["vb"])
    weight = min_snr_weight(make(), T, 5.0)
    torch.testing.assert_close(weighted["loss"], weight * plain["mse"] + plain["vb"])


def test_a_block_of_pixels_has_their_number_times_the_snr() -> None:
    diffusion = make()
    every = torch.arange(diffusion.num_timesteps)
    snr = diffusion.alphas_cumprod / (1 - diffusion.alphas_cumprod)
    weights = min_snr_weight(diffusion, every, gamma=5.0, pixels=16).numpy()
    np.testing.assert_allclose(weights, np.minimum(16.0, 5.0 / snr), rtol=1e-6)


@pytest.mark.parametrize("side", [1, 2, 4, 16])
def test_an_error_costs_at_every_resolution_that_shows_it(side: int) -> None:
    """Signs that alternate in blocks of ``side`` pixels vanish in larger blocks and are whole in smaller ones."""
    diffusion = make()
    pattern = torch.ones(16, 16)
    if side < 16:
        index = torch.arange(16) // side % 2
        pattern = 1.0 - 2.0 * (index[:, None] ^ index[None, :])
    error = pattern.expand(4, 3, 16, 16)
    expected = sum(min_snr_weight(diffusion, T, 5.0, block**2) for block in (2, 4, 8) if block <= side)
    expected = expected + (min_snr_weight(diffusion, T, 5.0, 256) if side == 16 else torch.zeros(4))
    torch.testing.assert_close(coarse_error(diffusion, error, T, 5.0), expected)


def test_odd_sizes_have_coarse_errors_too() -> None:
    error = torch.full((4, 3, 5, 13), 2.0)
    blocks = sum(
        min_snr_weight(make(), T, 5.0, pixels) for pixels in (4, 65)
    )  # 2x6 blocks are not halved again
    torch.testing.assert_close(coarse_error(make(), error, T, 5.0), 4.0 * blocks)


def test_multiscale_adds_coarse_errors_to_the_loss_alone() -> None:
    x_start, noise = batch()
    model = oracle(make(), x_start, noise + 0.3, v=0.0)
    plain = training_losses(model, make(), x_start, T, noise, min_snr_gamma=2.0)
    more = training_losses(model, make(), x_start, T, noise, min_snr_gamma=2.0, multiscale=0.25)
    assert torch.equal(plain["mse"], more["mse"]) and torch.equal(plain["vb"], more["vb"])
    coarse = coarse_error(make(), torch.full_like(noise, -0.3), T, 2.0)
    torch.testing.assert_close(more["loss"], plain["loss"] + 0.25 * coarse)
