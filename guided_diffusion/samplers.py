"""Samplers: plain functions of a prior and a first state, yielding every step.

A new one takes ``(prior, x_T, *, hook, noise, count)`` as :func:`ddim_loop` does, and is a line in :data:`SAMPLERS`.

Ho et al., "Denoising Diffusion Probabilistic Models" (2020, "DDPM"); Song et al., "Denoising Diffusion Implicit
Models" (2021, "DDIM"); Lu et al., "DPM-Solver++" (2022).
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from guided_diffusion.gaussian_diffusion import GaussianDiffusion, Prediction
from guided_diffusion.prior import Prior
from guided_diffusion.typed import Table

Hook = Callable[[Tensor, int], Tensor]  # pred_xstart, index -> rectified pred_xstart
Noise = Callable[[Tensor], Tensor]  # like -> standard normal numbers of its shape
Sampler = Callable[..., Iterator["Step"]]  # (prior, x_T, *, hook, noise, count), and what is its own
Update = Callable[[int, Tensor, Tensor, Prediction], Tensor]  # index, x_t, pred_xstart, prediction -> x_{t-1}


@dataclass(frozen=True)
class Step:
    """One step of a sampler.

    ``index`` in the respaced process, ``t`` the timestep that the network was given before any rescaling,
    ``x_t`` the state *after* the step, ``pred_xstart`` the estimate, rectified by the hook, that led there.
    """

    index: int
    t: int
    x_t: Tensor
    pred_xstart: Tensor


def _loop(
    prior: Prior,
    x_t: Tensor,
    update: Update,
    hook: Hook | None,
    count: int | None,
) -> Iterator[Step]:
    """What the samplers share: one call of the network a step, its estimate rectified, then their own update."""
    x_t, diffusion = x_t.float(), prior.diffusion
    for index in reversed(range(diffusion.num_timesteps if count is None else count)):
        with torch.no_grad():
            prediction = prior.predict(x_t, index)
            pred_xstart = prediction.pred_xstart
            if hook is not None:
                pred_xstart = hook(pred_xstart, index)  # what it returns is not constrained again
            x_t = update(index, x_t, pred_xstart, prediction)
        yield Step(index, int(diffusion.timestep_map[index]), x_t, pred_xstart)


def ddim_loop(
    prior: Prior,
    x_T: Tensor,
    *,
    eta: float = 0.0,
    hook: Hook | None = None,
    noise: Noise | None = None,
    count: int | None = None,
) -> Iterator[Step]:
    """Sample by DDIM Eq. (12), yielding the steps of index N - 1 ... 0; the last ``x_t`` is the image.

    ``x_T``: (B, C, H, W) standard normal. ``eta`` in [0, 1] scales the noise added (Eq. (16)): 0 adds and
    draws none, 1 is as random as DDPM. ``hook`` rectifies each constrained ``pred_xstart`` before the update;
    ``noise`` draws random numbers (default ``torch.randn_like``). ``count`` takes only the last so many steps:
    ``x_T`` is then the state at index ``count - 1``.
    Raises ValueError for another ``eta``, and as :meth:`GaussianDiffusion.split_output` does.
    """
    if not 0.0 <= eta <= 1.0:
        raise ValueError(f"eta is {eta}, but must be from 0 (deterministic) to 1 (as random as DDPM)")
    draw, diffusion = noise or torch.randn_like, prior.diffusion

    def update(index: int, x_t: Tensor, pred_xstart: Tensor, _: Prediction) -> Tensor:
        eps = diffusion.eps_from_xstart(x_t, index, pred_xstart)
        alpha_bar = float(diffusion.alphas_cumprod[index])
        alpha_bar_prev = float(diffusion.alphas_cumprod_prev[index])
        sigma = eta * math.sqrt((1 - alpha_bar_prev) / (1 - alpha_bar) * (1 - alpha_bar / alpha_bar_prev))
        direction = math.sqrt(max(0.0, 1 - alpha_bar_prev - sigma**2))
        x_t = math.sqrt(alpha_bar_prev) * pred_xstart + direction * eps
        return x_t + sigma * draw(x_t) if sigma > 0 else x_t

    return _loop(prior, x_T, update, hook, count)


def ddpm_loop(
    prior: Prior,
    x_T: Tensor,
    *,
    hook: Hook | None = None,
    noise: Noise | None = None,
    count: int | None = None,
    large_steps: bool = False,
) -> Iterator[Step]:
    """Sample by ancestral steps, DDPM Algorithm 2; parameters, order and errors as in :func:`ddim_loop`.

    Mean: the posterior's given the rectified ``pred_xstart``; variance: by ``model_var_type``, or with
    ``large_steps`` that of :func:`large_step_log_variance`; the last step adds no noise.
    """
    draw, diffusion = noise or torch.randn_like, prior.diffusion

    def update(index: int, x_t: Tensor, pred_xstart: Tensor, prediction: Prediction) -> Tensor:
        log_variance = prediction.log_variance
        if large_steps:
            log_variance = large_step_log_variance(diffusion, log_variance, index)
        x_t = diffusion.q_posterior_mean(pred_xstart, x_t, index)
        return x_t + torch.exp(0.5 * log_variance) * draw(x_t) if index > 0 else x_t

    return _loop(prior, x_T, update, hook, count)


def large_step_log_variance(diffusion: GaussianDiffusion, log_variance: Tensor, index: int) -> Tensor:
    """log variance of p(x_{t-1} | x_t) over a large step, (B, C, H, W), made of that of a :class:`Prediction`.

    The variance of a step is that of q(x_{t-1} | x_t, x_0) and coef1^2 Var(x_0 | x_t) more, so it is linear in what
    is not known of x_0: the posterior's when nothing is, beta when Var(x_0 | x_t) is 1 - alpha_bar. ``learned_range``
    interpolates their logarithms instead: the same where they are close, as in the steps of training, too little
    where the posterior's is far below beta. Other ``model_var_type``, and index 0, are returned as given.
    """
    if diffusion.model_var_type != "learned_range" or index == 0:
        return log_variance
    low, high = float(diffusion.posterior_variance[index]), float(diffusion.betas[index])
    fraction = (log_variance - math.log(low)) / math.log(high / low)
    return torch.log(low + (high - low) * fraction.clamp(0.0, 1.0))


def dpmpp_2m_loop(
    prior: Prior,
    x_T: Tensor,
    *,
    hook: Hook | None = None,
    noise: Noise | None = None,
    count: int | None = None,
) -> Iterator[Step]:
    """Sample by DPM-Solver++(2M), Algorithm 2 of its paper, on the rectified ``pred_xstart``; draws no noise.

    Second order in h = lambda_{t-1} - lambda_t, lambda = log(alpha / sigma), by extrapolating from the estimate
    of the step before; the first step, which has none, and the last, which ends at sigma = 0, are of first order,
    that is DDIM's. Parameters, order and errors as in :func:`ddim_loop`.
    """
    diffusion = prior.diffusion
    earlier: list[tuple[float, Tensor]] = []  # h and the estimate of the step before

    def update(index: int, x_t: Tensor, pred_xstart: Tensor, _: Prediction) -> Tensor:
        alpha_bar = float(diffusion.alphas_cumprod[index])
        alpha_bar_prev = float(diffusion.alphas_cumprod_prev[index])
        if alpha_bar_prev == 1.0:
            return pred_xstart
        h = _log_snr(alpha_bar_prev) - _log_snr(alpha_bar)
        estimate = pred_xstart
        if earlier:
            h_before, before = earlier.pop()
            estimate = pred_xstart + (pred_xstart - before) * (0.5 * h / h_before)
        earlier.append((h, pred_xstart))
        ratio = math.sqrt((1 - alpha_bar_prev) / (1 - alpha_bar))
        return ratio * x_t - math.sqrt(alpha_bar_prev) * math.expm1(-h) * estimate

    return _loop(prior, x_T, update, hook, count)


def _log_snr(alpha_bar: float) -> float:
    """lambda = log(alpha / sigma) of a variance-preserving process."""
    return 0.5 * (math.log(alpha_bar) - math.log1p(-alpha_bar))


SAMPLERS: Table[Sampler] = Table("sampler", {"ddim": ddim_loop, "ddpm": ddpm_loop, "dpmpp_2m": dpmpp_2m_loop})
"""By the name that ``sampler`` of a configuration chooses with; another name is a ValueError."""


def as_sampler(given: Sampler | str) -> Sampler:
    """The sampler of a name in :data:`SAMPLERS`, or the function itself; ValueError for anything else."""
    if isinstance(given, str):
        return SAMPLERS[given]
    if not callable(given):
        raise ValueError(f"sampler is {given!r:.80}, but must be one of {', '.join(SAMPLERS)}, or a function")
    return given


def with_eta(sampler: Sampler, eta: float) -> Sampler:
    """``sampler`` with that ``eta``. Raises ValueError when it is not 0 and the sampler does not have one."""
    if eta == 0.0:
        return sampler
    if "eta" not in inspect.signature(sampler).parameters:
        name = getattr(sampler, "__name__", type(sampler).__name__)
        raise ValueError(f"eta is {eta}, but {name} has none: leave it at 0, or sample by ddim")
    return functools.partial(sampler, eta=eta)


def draws_noise(sampler: Sampler, eta: float) -> bool:
    """Whether steps of ``sampler`` with that ``eta`` are random; those that are not known here count as random."""
    return sampler is not dpmpp_2m_loop and (sampler is not ddim_loop or eta > 0)
