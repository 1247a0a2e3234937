"""The process and its samplers: against Gaussian data, whose posterior is known, and published numbers."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from guided_diffusion.config import DiffusionConfig
from guided_diffusion.gaussian_diffusion import (
    GaussianDiffusion,
    dynamic_thresholding,
    extract,
)
from guided_diffusion.prior import NetworkPrior
from guided_diffusion.respace import named_betas
from guided_diffusion.samplers import (
    SAMPLERS,
    Step,
    ddim_loop,
    ddpm_loop,
    dpmpp_2m_loop,
    with_eta,
)

GOLDEN = Path(__file__).parents[1] / "golden"
ORIGINAL_ALPHAS_CUMPROD = np.cumprod(1 - named_betas("linear", 1000))
MU, S = 0.2, 0.3  # the data of most tests: every pixel is N(MU, S^2)


def make(**options) -> GaussianDiffusion:
    return GaussianDiffusion.from_config(DiffusionConfig(**{"timestep_respacing": 20, **options}))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def exact_model(diffusion: GaussianDiffusion) -> Callable[[Tensor, Tensor], Tensor]:
    """The best possible network for N(MU, S^2) data, in float64, for mean and (if learned) log variance.

    Bayes: x_0 given x_t is normal with precision 1 / S^2 + a / (1 - a), a = alphas_cumprod; so is x_{t-1}.
    """
    before = dict(zip(diffusion.timestep_map.tolist(), diffusion.alphas_cumprod_prev, strict=True))

    def model(x_t: Tensor, timesteps: Tensor) -> Tensor:
        x = x_t.double()
        t = int(timesteps[0])
        a, a_prev = ORIGINAL_ALPHAS_CUMPROD[t], before[t]
        precision = 1 / S**2 + a / (1 - a)
        x_start = (MU / S**2 + math.sqrt(a) / (1 - a) * x) / precision
        # x_{t-1} ~ N(sqrt(a_prev) MU, v) a priori, and x_t = sqrt(a / a_prev) x_{t-1} + noise.
        v, alpha = a_prev * S**2 + 1 - a_prev, a / a_prev
        precision_prev = 1 / v + alpha / (1 - alpha)
        mean_prev = (math.sqrt(a_prev) * MU / v + math.sqrt(alpha) / (1 - alpha) * x) / precision_prev
        answer = {
            "epsilon": (x - math.sqrt(a) * x_start) / math.sqrt(1 - a),
            "start_x": x_start,
            "previous_x": mean_prev,
        }[diffusion.model_mean_type]
        if not diffusion.learns_variance:
            return answer
        return torch.cat([answer, torch.full_like(answer, -math.log(precision_prev))], dim=1)

    return model


def last(steps) -> Step:
    *_, step = steps
    return step


def test_options_come_from_the_config() -> None:
    diffusion = make(noise_schedule="cosine", model_var_type="fixed_large", timestep_respacing="ddim10")
    assert diffusion.num_timesteps == 10
    assert diffusion.timestep_map.tolist() == list(range(0, 1000, 100))
    assert diffusion.original_steps == 1000
    assert (diffusion.model_mean_type, diffusion.model_var_type) == ("epsilon", "fixed_large")
    assert (diffusion.clip_denoised, diffusion.dynamic_threshold, diffusion.rescale_timesteps) == (
        True,
        False,
        False,
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        diffusion.clip_denoised = False  # pyright: ignore[reportAttributeAccessIssue]


def test_impossible_config() -> None:
    with pytest.raises(ValueError, match="timestep_respacing 2000"):
        make(timestep_respacing=2000)
    with pytest.raises(ValueError, match="more than 20 steps"):
        make(steps=10, timestep_respacing="")


def test_extract_takes_an_int_or_one_index_per_image() -> None:
    values = np.array([0.1, 0.2, 0.3])
    assert extract(values, 1) == 0.2
    several = extract(values, torch.tensor([2, 0]))
    assert several.shape == (2, 1, 1, 1)
    assert several.dtype == torch.float32
    assert several.flatten().tolist() == pytest.approx([0.3, 0.1], rel=1e-7)


@pytest.mark.parametrize("index", [0, 7, 19])
def test_conversions_undo_each_other(index: int) -> None:
    diffusion, x_start, eps = make(), normal(2, 3, 4, 4).clamp(-1, 1), normal(2, 3, 4, 4, seed=1)
    both = torch.tensor([index, index])
    x_t = diffusion.q_sample(x_start, index, eps)
    a = float(ORIGINAL_ALPHAS_CUMPROD[diffusion.timestep_map[index]])
    torch.testing.assert_close(x_t, (a**0.5 * x_start.double() + (1 - a) ** 0.5 * eps.double()).float())
    torch.testing.assert_close(x_t, diffusion.q_sample(x_start, both, eps))
    # float32 rounding grows by 1 / sqrt(a) <= 157 when solved for x_0, by 1 / sqrt(1 - a) <= 100 for eps.
    x_prev = diffusion.q_posterior_mean(x_start, x_t, index)
    for solved, expected in (
        (diffusion.xstart_from_eps(x_t, index, eps), x_start),
        (diffusion.xstart_from_eps(x_t, both, eps), x_start),
        (diffusion.eps_from_xstart(x_t, index, x_start), eps),
        (diffusion.xstart_from_previous(x_t, index, x_prev), x_start),
    ):
        torch.testing.assert_close(solved, expected, rtol=0.0, atol=1e-4)


def test_network_is_given_original_timesteps() -> None:
    x = torch.zeros(2, 3, 4, 4)
    plain = make(timestep_respacing=3)
    assert plain.model_timesteps(1, x).tolist() == [500, 500]
    assert plain.model_timesteps(torch.tensor([2, 0]), x).tolist() == [999, 0]
    assert plain.model_timesteps(1, x).dtype == torch.int64
    rescaled = make(steps=4000, timestep_respacing=3, rescale_timesteps=True)
    assert rescaled.model_timesteps(2, x).tolist() == [3999 / 4] * 2
    assert rescaled.model_timesteps(2, x).is_floating_point()


def test_learned_variances() -> None:
    x_t, index = torch.zeros(1, 3, 2, 2), 7
    output = normal(1, 6, 2, 2)
    learned = make(model_var_type="learned")
    assert torch.equal(learned.predict(lambda x, t: output, x_t, index).log_variance, output[:, 3:])
    ranged = make(model_var_type="learned_range")
    middle = 0.5 * (math.log(ranged.betas[index]) + ranged.posterior_log_variance_clipped[index])
    ends = (ranged.posterior_log_variance_clipped[index], middle, math.log(ranged.betas[index]))
    for v, expected in zip((-1.0, 0.0, 1.0), ends, strict=True):
        predicted = ranged.predict(lambda x, t, v=v: torch.full((1, 6, 2, 2), v), x_t, index)
        assert predicted.log_variance.shape == x_t.shape
        np.testing.assert_allclose(predicted.log_variance.numpy(), expected, rtol=1e-6)


def test_fixed_variances() -> None:
    x_t = torch.zeros(2, 3, 2, 2)
    for var_type, expected in (
        ("fixed_small", lambda d, i: d.posterior_variance[max(i, 1)]),
        ("fixed_large", lambda d, i: d.betas[i] if i else d.posterior_variance[1]),
    ):
        diffusion = make(model_var_type=var_type)
        for index in (0, 1, 19):
            log_variance = diffusion.predict(lambda x, t: x, x_t, index).log_variance
            expanded = log_variance.expand_as(x_t).numpy()
            np.testing.assert_allclose(expanded, math.log(expected(diffusion, index)), rtol=1e-6)


@pytest.mark.parametrize("var_type", ["learned", "learned_range", "fixed_small", "fixed_large"])
def test_channels_that_do_not_fit(var_type: str) -> None:
    wrong = 3 if var_type.startswith("learned") else 6
    with pytest.raises(ValueError, match=f"gives {wrong} channels.*model_var_type: {var_type}.*learn_sigma"):
        next(
            ddim_loop(
                NetworkPrior(lambda x, t: x.new_zeros(1, wrong, 4, 4), make(model_var_type=var_type)),
                normal(1, 3, 4, 4),
            )
        )


def test_clamping_is_optional() -> None:
    model, x_t = (lambda x, t: 3 * x), normal(1, 3, 8, 8)
    options = {"model_mean_type": "start_x", "model_var_type": "fixed_small"}
    free = make(**options, clip_denoised=False).predict(model, x_t, 3).pred_xstart
    assert torch.equal(free, 3 * x_t)
    assert torch.equal(make(**options).predict(model, x_t, 3).pred_xstart, free.clamp(-1, 1))
    thresholded = make(**options, dynamic_threshold=True).predict(model, x_t, 3).pred_xstart
    assert torch.equal(thresholded, dynamic_thresholding(free))


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_dynamic_thresholding_against_numpy(size: int) -> None:
    images = normal(3, 3, size, size) * torch.tensor([0.1, 1.0, 5.0]).view(3, 1, 1, 1)
    actual = dynamic_thresholding(images).numpy()
    for image, result in zip(images.double().numpy(), actual, strict=True):
        s = max(1.0, np.percentile(np.abs(image), 99.5))
        np.testing.assert_allclose(result, np.clip(image, -s, s) / s, atol=1e-6)


def test_ddim_steps_are_the_regressions_of_gaussian_data() -> None:
    """x_{t-1} = sqrt(a') E[x_0 | x_t] + sqrt(1 - a') E[eps | x_t], both linear regressions on x_t."""
    diffusion = make(clip_denoised=False, model_var_type="learned")
    x = np.linspace(-3, 3, 61)
    for step in ddim_loop(
        NetworkPrior(exact_model(diffusion), diffusion, 1), torch.from_numpy(x).view(1, 1, 1, -1)
    ):
        a, a_prev = diffusion.alphas_cumprod[step.index], diffusion.alphas_cumprod_prev[step.index]
        covariance = math.sqrt(a_prev * a) * S**2 + math.sqrt((1 - a_prev) * (1 - a))
        x = math.sqrt(a_prev) * MU + covariance / (a * S**2 + 1 - a) * (x - math.sqrt(a) * MU)
        # float32 rounding of eps grows by 1 / sqrt(a) = 157 in the first estimates.
        np.testing.assert_allclose(step.x_t.numpy().ravel(), x, rtol=0, atol=5e-5)


@pytest.mark.parametrize("steps", [50, 1000])
def test_ddim_carries_noise_to_the_data_along_the_flow(steps: int) -> None:
    """With exact eps and small steps every pixel keeps its quantile: N(0, 1) maps affinely to the data.

    The method is of first order. Three deviations out, its error here is 4.4 / steps at 1000 steps.
    """
    diffusion = make(timestep_respacing=steps, model_var_type="fixed_small", clip_denoised=False)
    x_T = torch.linspace(-3, 3, 61).view(1, 1, 1, -1)
    a = float(diffusion.alphas_cumprod[-1])
    quantile = (x_T - math.sqrt(a) * MU) / math.sqrt(a * S**2 + 1 - a)
    image = last(ddim_loop(NetworkPrior(exact_model(diffusion), diffusion, 1), x_T)).x_t
    torch.testing.assert_close(image, MU + S * quantile, rtol=0.0, atol=5 / steps)


def test_dpmpp_2m_is_of_second_order() -> None:
    """On the flow of the test above: with a quarter of the steps the error is about 16, DDIM's 4 times as large."""

    def error(loop, steps: int) -> float:
        diffusion = make(
            timestep_respacing=steps,
            model_var_type="fixed_small",
            clip_denoised=False,
            noise_schedule="cosine",
        )
        x_T = torch.linspace(-3, 3, 61).view(1, 1, 1, -1)
        a = float(diffusion.alphas_cumprod[-1])
        cosine = np.cumprod(1 - named_betas("cosine", 1000))

        def model(x_t: Tensor, timesteps: Tensor) -> Tensor:
            here = cosine[int(timesteps[0])]
            x = x_t.double()
            x_start = (MU / S**2 + math.sqrt(here) / (1 - here) * x) / (1 / S**2 + here / (1 - here))
            return (x - math.sqrt(here) * x_start) / math.sqrt(1 - here)

        states = list(loop(NetworkPrior(model, diffusion, 1), x_T))
        # one before the last step, whose first order would hide the rest
        a_end = float(diffusion.alphas_cumprod[0])
        quantile = (x_T - math.sqrt(a) * MU) / math.sqrt(a * S**2 + 1 - a)
        exact = math.sqrt(a_end) * MU + math.sqrt(a_end * S**2 + 1 - a_end) * quantile
        return float((states[-2].x_t - exact).abs().max())

    second, first = (error(loop, 20) / error(loop, 80) for loop in (dpmpp_2m_loop, ddim_loop))
    assert first < 7 and second > 9, (first, second)


def test_dpmpp_2m_without_an_estimate_before_is_ddim() -> None:
    """Algorithm 2's first step, and its last, which ends free of noise."""
    diffusion = make(timestep_respacing=2, model_var_type="fixed_small")
    x_T = normal(1, 3, 4, 4)
    for one, other in zip(
        dpmpp_2m_loop(NetworkPrior(exact_model(diffusion), diffusion), x_T),
        ddim_loop(NetworkPrior(exact_model(diffusion), diffusion), x_T),
        strict=True,
    ):
        torch.testing.assert_close(one.x_t, other.x_t, rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpmpp_2m"])
def test_the_last_steps_alone_go_on_from_the_state_before_them(sampler) -> None:
    diffusion = make(model_var_type="fixed_small")
    model, x_T = exact_model(diffusion), normal(1, 3, 4, 4)

    def run(x: Tensor, count: int | None) -> list[Step]:
        return list(SAMPLERS[sampler](NetworkPrior(model, diffusion), x, noise=torch.ones_like, count=count))

    whole = run(x_T, None)
    rest = run(whole[-6].x_t, 5)
    assert [step.index for step in rest] == [4, 3, 2, 1, 0]
    if sampler != "dpmpp_2m":  # which has forgotten the estimate before
        assert torch.equal(rest[-1].x_t, whole[-1].x_t)


@pytest.mark.parametrize("mean_type", ["epsilon", "start_x", "previous_x"])
def test_ddpm_with_exact_mean_and_variance_samples_the_data(mean_type: str) -> None:
    """For Gaussian data p(x_{t-1} | x_t) is Gaussian, so that ancestral sampling is exact in any 20 steps."""
    diffusion = make(model_mean_type=mean_type, model_var_type="learned", clip_denoised=False)
    generator = torch.Generator().manual_seed(3)
    steps = ddpm_loop(
        NetworkPrior(exact_model(diffusion), diffusion, 1),
        normal(1, 1, 180, 180),
        noise=lambda like: torch.randn(like.shape, generator=generator),
    )
    for step in steps:
        a_prev = diffusion.alphas_cumprod_prev[step.index]
        std = math.sqrt(a_prev * S**2 + 1 - a_prev)
        # 32,400 pixels: standard errors std / 180 of the mean and std / 254 of the deviation, times four. The
        # last step adds no noise and so lacks a variance of at most 1 - alphas_cumprod[0] = 1e-4.
        assert step.x_t.mean().item() == pytest.approx(math.sqrt(a_prev) * MU, abs=4 * std / 180)
        assert step.x_t.std().item() == pytest.approx(
            std, abs=4 * std / 254 + (2e-4 if step.index == 0 else 0)
        )


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpmpp_2m"])
@pytest.mark.parametrize("mean_type", ["start_x", "previous_x"])
def test_mean_types_give_one_trajectory(sampler, mean_type: str) -> None:
    def trajectory(mean_type: str) -> Tensor:
        diffusion = make(model_mean_type=mean_type, model_var_type="fixed_large")
        model, x_T = exact_model(diffusion), normal(1, 3, 4, 4)
        return torch.stack(
            [s.x_t for s in SAMPLERS[sampler](NetworkPrior(model, diffusion), x_T, noise=torch.ones_like)]
        )

    # float32 rounding of eps grows by 1 / sqrt(alphas_cumprod) = 157 in the first estimate.
    torch.testing.assert_close(trajectory(mean_type), trajectory("epsilon"), rtol=0.0, atol=2e-4)


def test_ddim_with_eta_one_is_ddpm_with_the_small_variance() -> None:
    """Song et al. 2021, section 4.1: at eta = 1 the two have the same mean and variance at every step."""
    diffusion = make(model_var_type="fixed_small")
    draws = [normal(1, 3, 4, 4, seed=seed) for seed in range(diffusion.num_timesteps)]
    ddim_noise, ddpm_noise = iter(draws), iter(draws)
    model, x_T = exact_model(diffusion), normal(1, 3, 4, 4, seed=99)
    ddim = ddim_loop(NetworkPrior(model, diffusion), x_T, eta=1.0, noise=lambda like: next(ddim_noise))
    ddpm = ddpm_loop(NetworkPrior(model, diffusion), x_T, noise=lambda like: next(ddpm_noise))
    for a, b in zip(ddim, ddpm, strict=True):
        torch.testing.assert_close(a.x_t, b.x_t, rtol=0.0, atol=1e-4)  # rounding as above


def test_ddim_step_equals_the_published_trajectory() -> None:
    """Given the published rectified estimates, the states are the published ones."""
    with np.load(GOLDEN / "trajectory.npz") as golden:
        x_T, x, pred_xstart = (torch.from_numpy(golden[name]) for name in ("x_T", "x", "pred_xstart"))
        timesteps = golden["timesteps"].tolist()
    diffusion = make(timestep_respacing=10)
    steps = list(
        ddim_loop(
            NetworkPrior(lambda x, t: x.new_zeros(1, 6, *x.shape[2:]), diffusion),
            x_T,
            hook=lambda _, i: pred_xstart[9 - i],
        )
    )
    assert [step.t for step in steps] == timesteps
    # float32 coefficients on one side, float64 on the other; states are of order 1
    torch.testing.assert_close(torch.stack([step.x_t for step in steps]), x, rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpmpp_2m"])
def test_hook_rectifies_every_clamped_estimate(sampler) -> None:
    calls: list[tuple[int, float]] = []

    def hook(pred_xstart: Tensor, index: int) -> Tensor:
        calls.append((index, pred_xstart.abs().max().item()))
        return torch.full_like(pred_xstart, 2.5)

    diffusion = make(model_var_type="fixed_small")
    steps = list(
        SAMPLERS[sampler](NetworkPrior(lambda x, t: 50 * x, diffusion), normal(2, 3, 4, 4), hook=hook)
    )
    assert [index for index, _ in calls] == [step.index for step in steps] == list(range(19, -1, -1))
    assert max(largest for _, largest in calls) == 1.0
    assert all((step.pred_xstart == 2.5).all() for step in steps)  # beyond the range: not clamped again
    assert (steps[-1].x_t == 2.5).all()


def test_deterministic_ddim_draws_nothing() -> None:
    def no_noise(like: Tensor) -> Tensor:
        raise AssertionError("drew noise")

    diffusion = make(model_var_type="fixed_small")
    before = torch.get_rng_state()
    for noise in (no_noise, None):
        list(ddim_loop(NetworkPrior(exact_model(diffusion), diffusion), normal(1, 3, 4, 4), noise=noise))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(("sampler", "eta"), [("ddim", 0.0), ("ddim", 1.0), ("ddpm", 0.0), ("dpmpp_2m", 0.0)])
def test_batch_equals_its_members(sampler, eta: float) -> None:
    diffusion = make(model_var_type="fixed_small", dynamic_threshold=True)
    x_T = normal(3, 3, 4, 4)

    def run(members: list[int]) -> Tensor:
        generators = [torch.Generator().manual_seed(member) for member in members]

        def noise(like: Tensor) -> Tensor:
            return torch.stack([torch.randn(like.shape[1:], generator=generator) for generator in generators])

        prior = NetworkPrior(exact_model(diffusion), diffusion)
        return last(with_eta(SAMPLERS[sampler], eta)(prior, x_T[members], noise=noise)).x_t

    together = run([0, 1, 2])
    for member in (2, 0, 1):
        # Vector instructions may round differently at another position.
        torch.testing.assert_close(run([member])[0], together[member], rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpmpp_2m"])
def test_loop_is_free_of_gradients_and_synchronisation(sampler) -> None:
    """Meta tensors have no values, so any read of one by the host (``item``, ``if tensor``) would raise."""
    weight = torch.nn.Parameter(torch.ones(1, 3, 1, 1, device="meta"))
    diffusion = make(model_var_type="fixed_small", dynamic_threshold=True)
    steps = SAMPLERS[sampler](
        NetworkPrior(lambda x, t: x * weight, diffusion), torch.empty(2, 3, 8, 8, device="meta")
    )
    for step in steps:
        assert torch.is_grad_enabled()  # the consumer's own mode is left alone
        assert not step.x_t.requires_grad
        assert step.x_t.shape == (2, 3, 8, 8)


def test_state_stays_float32_under_a_half_precision_model() -> None:
    diffusion = make(model_var_type="fixed_small")
    seen: list[torch.dtype] = []

    def model(x_t: Tensor, timesteps: Tensor) -> Tensor:
        seen.append(x_t.dtype)
        return x_t.bfloat16()

    steps = list(ddpm_loop(NetworkPrior(model, diffusion), normal(1, 3, 4, 4).half()))
    assert set(seen) == {torch.float32}
    assert {step.x_t.dtype for step in steps} == {step.pred_xstart.dtype for step in steps} == {torch.float32}


@pytest.mark.parametrize("eta", [-0.1, 1.5, math.nan])
def test_eta_out_of_range(eta: float) -> None:
    with pytest.raises(ValueError, match=r"from 0 .* to 1"):
        next(ddim_loop(NetworkPrior(lambda x, t: x, make()), normal(1, 3, 4, 4), eta=eta))
